-- Every way to put jobs on a queue coalesces them, also those of one statement.
CREATE SCHEMA keys_paths;
SET search_path = keys_paths;
SELECT queue.create_queue('q', 'n int, note text', on_conflict => 'replace');
CREATE FUNCTION jobs() RETURNS TABLE (state text, key text, n int, note text, payload jsonb)
    BEGIN ATOMIC SELECT state, key, n, note, payload FROM q ORDER BY key, id; END;

-- enqueue_many: one job, and its id for each payload.
SELECT count(*) AS answers, count(DISTINCT id) AS jobs
FROM queue.enqueue_many('q', ARRAY['{"n": 1}', '{"n": 2, "x": 1}', '{"note": "three"}']::jsonb[], key => 'a') id;
SELECT * FROM jobs();
SELECT count(DISTINCT id) AS jobs, bool_and(id = (SELECT id FROM q WHERE key = 'a')) AS the_same
FROM queue.enqueue_many('q', ARRAY['{"n": 4}', '{"n": 5}']::jsonb[], key => 'a', on_conflict => 'merge') id;
SELECT * FROM jobs();
SELECT count(DISTINCT id) AS jobs, bool_and(id = (SELECT id FROM q WHERE key = 'a')) AS the_same
FROM queue.enqueue_many('q', ARRAY['{"n": 6}', '{"n": 7}']::jsonb[], key => 'a', on_conflict => 'skip') id;
SELECT * FROM jobs();
SELECT queue.enqueue_many('q', ARRAY['{"n": 6}', '{"n": 7}']::jsonb[], key => 'b', on_conflict => 'error');
SELECT * FROM jobs();

-- INSERT
INSERT INTO q (key, n) VALUES ('a', 8), ('b', 9), ('a', 10), (NULL, 11), ('b', 12);
SELECT * FROM jobs();
INSERT INTO q (key, n) SELECT 'c' || i % 3, i FROM generate_series(1, 9) i;
SELECT * FROM jobs();
INSERT INTO q (key, n, run_at) VALUES ('d', 1, '2100-01-01'), ('d', 2, NULL), ('a', 13, '2100-01-01');
SELECT * FROM jobs();
-- COPY
COPY q (key, n) FROM stdin;
a	14
e	1
e	2
\.
SELECT * FROM jobs();
COPY q_ready (id, key, n) FROM stdin;
100000	e	3
\.
SELECT * FROM jobs() WHERE key = 'e';
-- A hand-written UPDATE is not enqueueing.
UPDATE q SET key = 'a' WHERE key = 'e';
SELECT count(*) FROM q WHERE key = 'a';
SELECT queue.purge('q');

-- Triggers: of a statement, of a row, of one's own; the queue's option and their own.
CREATE TABLE item (id int PRIMARY KEY, name text);
SELECT queue.attach('item', 'q', key => 'new.id', set => '{"n": "new.id", "note": "new.name"}', events => 'insert,update');
INSERT INTO item SELECT i, 'one' FROM generate_series(1, 20) i;
SELECT count(*), count(DISTINCT key), min(note), max(note) FROM q;
UPDATE item SET name = 'two' WHERE id <= 15;
UPDATE item SET name = 'three' WHERE id = 1;
SELECT note, count(*) FROM q GROUP BY note ORDER BY note;
SELECT queue.detach('item', 'q');
-- skip by statement: the first row of each key stays, and is not even met by the others.
SELECT queue.attach('item', 'q', key => 'new.id % 2', set => '{"n": "new.id", "note": "new.name"}', events => 'update', on_conflict => 'skip');
SELECT queue.purge('q');
UPDATE item SET name = 'a' WHERE id IN (1, 3, 5, 7, 2);
SELECT key, n IN (1, 3, 5, 7, 2) AS one_of_them, note FROM q ORDER BY key;
UPDATE item SET name = 'b';
SELECT key, n IN (1, 3, 5, 7, 2) AS one_of_them, note FROM q ORDER BY key;
BEGIN;
SELECT count(*) FROM queue.pop('q', 2);
UPDATE item SET name = 'c';
SELECT key, note FROM q ORDER BY key;
COMMIT;
SELECT queue.detach('item', 'q');
SELECT queue.attach('item', 'q', key => 'new.id % 2', set => '{"n": "new.id", "note": "new.name"}', events => 'update',
                    level => 'row', on_conflict => 'skip');
SELECT queue.purge('q');
UPDATE item SET name = 'four';
SELECT key, n, note FROM q ORDER BY id;
UPDATE item SET name = 'five';
SELECT key, n, note FROM q ORDER BY id;
SELECT queue.detach('item', 'q');
SELECT queue.purge('q');
CREATE TRIGGER mine AFTER UPDATE ON item REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT
    EXECUTE FUNCTION queue.enqueue_from_trigger('q', 'set={"key": "new.id % 2", "payload.name": "new.name"}', 'on_conflict=merge', 'delay=1 hour');
UPDATE item SET name = 'six' WHERE id <= 3;
UPDATE item SET name = 'seven' WHERE id = 3;
SELECT state, key, payload FROM q ORDER BY id;
SELECT queue.purge('q');
-- By SQL: the table does more than direct inserts can.
ALTER TABLE q ADD CONSTRAINT positive CHECK (n > 0), ADD COLUMN twice int GENERATED ALWAYS AS (n * 2) STORED;
UPDATE item SET name = 'eight' WHERE id <= 3;
UPDATE item SET name = 'nine' WHERE id = 3;
SELECT state, key, payload FROM q ORDER BY id;
DROP TRIGGER mine ON item;
SELECT queue.attach('item', 'q', key => '''k''', set => '{"n": "new.id"}', events => 'update');
UPDATE item SET name = 'ten' WHERE id <= 3;
SELECT state, key, n, twice FROM q WHERE key = 'k';
SELECT queue.purge('q');
SELECT count(DISTINCT id) AS jobs FROM queue.enqueue_many('q', ARRAY['{"n": 1}', '{"n": 2}']::jsonb[], key => 'a') id;
SELECT queue.enqueue('q', '{"n": 3}', key => 'a', on_conflict => 'debounce', run_at => '2100-01-01') = max(id) AS same FROM q;
SELECT queue.enqueue('q', '{"n": 4}', key => 'a', on_conflict => 'skip') = max(id) AS same FROM q;
SELECT * FROM test.fails($$SELECT queue.enqueue('q', '{"n": 0}', key => 'a', on_conflict => 'skip')$$);
SELECT state, key, n, twice FROM q;

-- Keys that are refused.
SELECT queue.enqueue('q', '{"n": 1}', key => repeat('k', 1001));
INSERT INTO q (key, n) VALUES (repeat('k', 1001), 1);
INSERT INTO q (key, n, run_at) VALUES (repeat('ä', 501), 1, '2100-01-01');
SELECT queue.detach('item', 'q');
SELECT queue.attach('item', 'q', key => 'repeat(new.name, 500)', set => '{"n": "new.id"}');
SELECT * FROM test.fails($$UPDATE item SET name = 'eleven' WHERE id = 1$$);
INSERT INTO q (key, n) VALUES (repeat('k', 1000), 1) RETURNING length(key);
INSERT INTO q (key, once, n) VALUES ('o', '-1 s', 1);
SELECT queue.detach('item', 'q');
SELECT queue.attach('item', 'q', on_conflict => 'skip');
SELECT queue.attach('item', 'q', key => 'new.id', on_conflict => 'drop');
SELECT queue.attach('item', 'q', set => '{"once": "interval ''1 day''", "n": "1"}');
CREATE TRIGGER mine AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION queue.enqueue_from_trigger('q', 'on_conflict=skip');
INSERT INTO item VALUES (0);
DROP TRIGGER mine ON item;
CREATE TRIGGER mine AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION queue.enqueue_from_trigger('q', 'key=new.id', 'on_conflict=drop');
INSERT INTO item VALUES (0);
SELECT queue.enqueue('q', on_conflict => 'skip');
SELECT queue.enqueue('q', once => '1 day');
SELECT queue.enqueue('q', key => 'a', once => '-1 day');
SELECT queue.enqueue('q', key => 'a', on_conflict => 'none');

DROP TABLE item;
DROP FUNCTION jobs;
SELECT queue.drop_queue('q', true);
