-- pop and dequeue fold the columns of a queue into the payload: the same value, byte for byte, that SQL makes.
\set VERBOSITY terse
SELECT queue.create_queue('folded', 'zz text, a int, bb bigint, small smallint, yes boolean, t varchar(20), empty text');
-- Over 32 keys and values, where jsonb keeps ends instead of lengths.
SELECT queue.create_queue('wide', string_agg(format('c%s %s', i, (array['text', 'int', 'boolean'])[i % 3 + 1]), ', ')) FROM generate_series(1, 50) i;

INSERT INTO folded (zz, a, bb, small, yes, t, empty) VALUES
    ('text', 1, 2, 3, true, 'short', ''),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (repeat('long', 40), -1, -10000, -32768, false, E'quo"te\\ \n', ''),
    (repeat('x', 100000), 2147483647, 9223372036854775807, 32767, true, 'ünï', ''),
    ((SELECT string_agg(md5(i::text), '') FROM generate_series(1, 3000) i), -2147483648, -9223372036854775808, 0, NULL, NULL, ''),
    ('zeros', 10000, 100000000, 1, true, '', NULL),
    ('more zeros', 12340000, 1200003400000000, 10000, true, '', NULL);
INSERT INTO folded (zz, payload) VALUES ('with a payload', '{"own": [1, {"deep": true}], "a": "is replaced"}'), ('an empty one', '{}');
INSERT INTO wide (c1, c2, c3, c50) SELECT i, i % 2 = 0, 'c' || i, NULL FROM generate_series(1, 3) i;

CREATE TABLE folded_by_sql AS
    SELECT id, coalesce(payload, '{}') || jsonb_build_object('zz', zz, 'a', a, 'bb', bb, 'small', small, 'yes', yes, 't', t, 'empty', empty) AS payload FROM folded;
CREATE TABLE wide_by_sql AS
    SELECT id, (SELECT jsonb_object_agg(key, value) FROM jsonb_each(to_jsonb(w)) WHERE key ~ '^c\d') AS payload FROM wide w;
CREATE TABLE folded_taken AS SELECT id, payload FROM queue.pop('folded', 100);
CREATE TABLE wide_taken AS SELECT id, payload FROM queue.dequeue('wide', 100);

SELECT id, left(t.payload::text, 100) AS payload, t.payload = s.payload AS equal, t.payload::text = s.payload::text AS same_text,
       jsonb_send(t.payload) = jsonb_send(s.payload) AS same_sent, pg_column_size(t.payload) = pg_column_size(s.payload) AS same_size,
       (SELECT bool_and(t.payload -> key IS NOT DISTINCT FROM value) FROM jsonb_each(s.payload)) AS keys_found
FROM folded_taken t JOIN folded_by_sql s USING (id) ORDER BY id;
SELECT id, t.payload = s.payload AS equal, t.payload::text = s.payload::text AS same_text,
       pg_column_size(t.payload) = pg_column_size(s.payload) AS same_size,
       (SELECT bool_and(t.payload -> key IS NOT DISTINCT FROM value) FROM jsonb_each(s.payload)) AS keys_found
FROM wide_taken t JOIN wide_by_sql s USING (id) ORDER BY id;

-- One that only SQL can write, between others: the order stays.
INSERT INTO folded (zz, payload) VALUES ('before', '{}'), ('no object', '[1]'), ('after', '{}');
SELECT payload FROM queue.pop('folded', 100);

SELECT queue.drop_queue('folded'), queue.drop_queue('wide', force => true);
DROP TABLE folded_by_sql, wide_by_sql, folded_taken, wide_taken;
