-- attach: what is put on the queue.
CREATE SCHEMA attach_options;
SET search_path = attach_options;
CREATE TABLE orders (id int PRIMARY KEY, email text, total numeric, note text, at timestamptz);
SELECT queue.create_queue('q', 'recipient text, subject text DEFAULT ''none'', cents int, day date');
CREATE FUNCTION jobs() RETURNS TABLE (recipient text, subject text, cents int, key text, priority int, state text, payload jsonb) LANGUAGE sql AS $$
    WITH d AS (DELETE FROM attach_options.q RETURNING *)
    SELECT recipient, subject, cents, key, priority, state, payload FROM d ORDER BY id
$$;
CREATE FUNCTION again() RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM queue.detach(source, queue) FROM queue.attachments WHERE source = 'attach_options.orders'::regclass;
    TRUNCATE attach_options.orders, attach_options.q;
END $$;

-- set: typed columns and payload fields; what is not set takes its default.
SELECT queue.attach('orders', 'q', 'insert', set => '{"recipient": "new.email", "cents": "(new.total * 100)::int",
    "payload.order": "new.id", "payload.what": "jsonb_build_object(''note'', new.note)", "payload.null": "NULL::text"}');
INSERT INTO orders VALUES (1, 'a@b', 1.25, 'first'), (2, NULL, 2, NULL);
SELECT * FROM jobs();
-- The type of the expression is assigned to the column's, as INSERT would: text to date does not go by itself.
SELECT again();
SELECT queue.attach('orders', 'q', 'insert', set => '{"day": "new.at", "subject": "new.id", "cents": "new.total"}');
INSERT INTO orders VALUES (1, 'a@b', 1.5, 'first', '2030-01-02 12:00');
SELECT day, subject, cents FROM q;
-- What an expression raises is the statement's error, and the row is not there.
SELECT again();
SELECT queue.attach('orders', 'q', 'insert', set => '{"cents": "100 / new.total"}');
SELECT sqlstate, message FROM test.fails('INSERT INTO orders VALUES (1, ''a@b'', 0)');
SELECT count(*) FROM orders;

-- old and new where the event has them.
SELECT again();
SELECT queue.attach('orders', 'q', 'update', set => '{"recipient": "old.email || '' to '' || new.email"}', level => 'row');
INSERT INTO orders VALUES (1, 'a'), (2, 'b');
UPDATE orders SET email = email || id;
SELECT recipient FROM jobs();
SELECT again();
SELECT queue.attach('orders', 'q', 'update', set => '{"recipient": "old.email || '' to '' || new.email"}', level => 'statement');
INSERT INTO orders VALUES (1, 'a'), (2, 'b');
UPDATE orders SET email = email || id;
SELECT recipient FROM jobs();
SELECT again();
SELECT queue.attach('orders', 'q', set => '{"recipient": "coalesce(new.email, old.email)"}');
INSERT INTO orders VALUES (1, 'inserted');
UPDATE orders SET email = 'updated';
DELETE FROM orders;
SELECT recipient FROM jobs();

-- condition: only rows for which it is true; null is not true.
SELECT again();
SELECT queue.attach('orders', 'q', 'insert', condition => 'new.total > 10', set => '{"cents": "new.id"}');
INSERT INTO orders VALUES (1, 'x', 5), (2, 'x', 15), (3, 'x', NULL), (4, 'x', 10.01);
SELECT cents FROM jobs();
SELECT again();
SELECT queue.attach('orders', 'q', 'update', condition => 'new.total IS DISTINCT FROM old.total AND EXISTS (SELECT FROM attach_options.orders o WHERE o.id = new.id)', set => '{"cents": "new.id"}');
INSERT INTO orders VALUES (1, 'x', 5), (2, 'x', 15);
UPDATE orders SET note = 'y';
UPDATE orders SET total = 5;
SELECT cents FROM jobs();

-- key, priority, delay.
SELECT again();
SELECT queue.attach('orders', 'q', 'insert', key => '''order-'' || new.id', priority => 1);
INSERT INTO orders VALUES (1, 'x'), (2, 'y');
SELECT key, priority, state, payload -> 'key' AS primary_key FROM jobs();
SELECT again();
SELECT queue.attach('orders', 'q', 'insert', key => 'new.id', delay => '1 h', set => '{}');
INSERT INTO orders VALUES (7, 'x');
SELECT run_at - enqueued_at AS wait FROM q;
SELECT * FROM jobs();

-- columns: an update counts only if one of these changed; inserts and deletes always do.
SELECT again();
SELECT queue.attach('orders', 'q', columns => '{total,email}', set => '{"cents": "coalesce(new.id, old.id)"}', level => 'row');
INSERT INTO orders VALUES (1, 'x', 1), (2, 'y', 2);
UPDATE orders SET note = 'changed';
UPDATE orders SET total = 2;
UPDATE orders SET email = NULL WHERE id = 2;
UPDATE orders SET email = NULL WHERE id = 2;
DELETE FROM orders WHERE id = 1;
SELECT cents FROM jobs();
SELECT again();
SELECT queue.attach('orders', 'q', 'update', columns => '{total,email}', set => '{"cents": "new.id"}');
INSERT INTO orders VALUES (1, 'x', 1), (2, 'y', 2);
UPDATE orders SET total = 2, note = 'both';
UPDATE orders SET total = NULL;
UPDATE orders SET total = NULL;
SELECT cents FROM jobs();

-- Row and statement level put the same on the queue.
SELECT again();
CREATE TABLE by_level (level text, n bigint, recipient text, cents int, key text, payload jsonb);
CREATE FUNCTION change_at(level text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM attach_options.again();
    PERFORM queue.attach('attach_options.orders', 'attach_options.q', condition => 'coalesce(new.total, old.total) <> 3', key => 'coalesce(new.id, old.id)',
                         set => '{"recipient": "coalesce(new.email, old.email)", "cents": "coalesce(new.total, 0) - coalesce(old.total, 0)", "payload.a": "old.note", "payload.b": "new.note"}', level => level);
    INSERT INTO attach_options.orders SELECT i, 'e' || i, i, 'note ' || i FROM generate_series(1, 5) i;
    UPDATE attach_options.orders SET total = total + id, note = NULL WHERE id > 2;
    UPDATE attach_options.orders SET id = 100 - id, total = id WHERE id <> 2;
    DELETE FROM attach_options.orders WHERE id < 97;
    WITH d AS (DELETE FROM attach_options.q RETURNING *)
    INSERT INTO attach_options.by_level SELECT level, row_number() OVER (ORDER BY id), recipient, cents, key, payload FROM d;
END $$;
SELECT change_at('row');
SELECT change_at('statement');
SELECT level, count(*) FROM by_level GROUP BY 1 ORDER BY 1;
SELECT n, recipient, cents, key, payload, array_agg(level) FROM by_level GROUP BY 1, 2, 3, 4, 5 HAVING count(*) <> 2;
SELECT n, recipient, cents, key, payload FROM by_level WHERE level = 'row' ORDER BY n;
