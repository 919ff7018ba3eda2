-- attach: everything is checked when attaching, and the error names what is bad.
CREATE SCHEMA attach_errors;
SET search_path = attach_errors;
\pset format unaligned
\pset tuples_only on
CREATE TABLE orders (id int PRIMARY KEY, total numeric, note text);
CREATE TABLE "no queue" (i int);
CREATE VIEW a_view AS SELECT * FROM orders;
CREATE TEMP TABLE temporary (i int);
SELECT queue.create_queue('q', 'recipient text, n int');
CREATE FUNCTION tries(VARIADIC arguments text[]) RETURNS TABLE (arguments text, sqlstate text, message text, hint text) LANGUAGE sql AS $$
    SELECT a, f.* FROM unnest(tries.arguments) WITH ORDINALITY u (a, n), test.fails(format('SELECT queue.attach(%s)', a)) f ORDER BY n
$$;

-- No queue, no table.
SELECT * FROM tries(
    $$'orders', 'no queue'$$, $$'orders', '"no queue"'$$, $$'orders', 'missing'$$, $$'missing', 'q'$$, $$'a_view', 'q'$$,
    $$'orders_pkey', 'q'$$, $$'pg_class', 'q'$$, $$'orders', 'orders'$$, $$'orders', NULL$$, $$NULL, 'q'$$, $$'orders', 'q_ready'$$);
-- Events and level.
SELECT * FROM tries(
    $$'orders', 'q', ''$$, $$'orders', 'q', 'truncate'$$, $$'orders', 'q', 'insert,,update'$$, $$'orders', 'q', 'insert;delete'$$,
    $$'orders', 'q', NULL$$, $$'orders', 'q', level => 'table'$$);
-- set.
SELECT * FROM tries(
    $$'orders', 'q', set => '{"nosuch": "1"}'$$, $$'orders', 'q', set => '{"id": "1"}'$$, $$'orders', 'q', set => '{"state": "''done''"}'$$,
    $$'orders', 'q', set => '{"recipient": "new.nosuch"}'$$, $$'orders', 'q', set => '{"recipient": "new.note; DROP TABLE orders"}'$$,
    $$'orders', 'q', set => '{"recipient": "new.note) FROM (SELECT 1"}'$$, $$'orders', 'q', set => '{"recipient": ""}'$$,
    $$'orders', 'q', set => '{"recipient": "nosuch(new.note)"}'$$, $$'orders', 'q', set => '{"n": "new.note"}'$$,
    $$'orders', 'q', set => '{"recipient": 1}'$$, $$'orders', 'q', set => '["new.note"]'$$, $$'orders', 'q', set => '"new.note"'$$);
-- condition and key.
SELECT * FROM tries(
    $$'orders', 'q', condition => 'new.nosuch > 0'$$, $$'orders', 'q', condition => 'new.total'$$, $$'orders', 'q', condition => 'new.total >'$$,
    $$'orders', 'q', condition => ''$$, $$'orders', 'q', condition => 'orders.total > 0'$$,
    $$'orders', 'q', condition => 'my_function(new.id)'$$,
    $$'orders', 'q', key => 'new.nosuch'$$, $$'orders', 'q', key => 'new.id; SELECT 1'$$, $$'orders', 'q', key => ''$$,
    $$'orders', 'q', key => 'id'$$);
-- priority, delay, columns.
SELECT * FROM tries(
    $$'orders', 'q', priority => 10$$, $$'orders', 'q', priority => -1$$, $$'orders', 'q', delay => '-1 s'$$,
    $$'orders', 'q', columns => '{nosuch}'$$);
-- More than one expression, or none that has one value for each row, is no expression.
SELECT a, test.code(format('SELECT queue.attach(%s)', a)) FROM unnest(ARRAY[
    $$'orders', 'q', set => '{"recipient": "new.note, new.id"}'$$, $$'orders', 'q', condition => 'true) OR (true'$$, $$'orders', 'q', key => 'new.id, 2'$$]) a;
SELECT a, test.code(format('SELECT queue.attach(%s)', a)) <> 'ok' AS refused FROM unnest(ARRAY[
    $$'orders', 'q', set => '{"recipient": "count(*)"}'$$, $$'orders', 'q', set => '{"recipient": "generate_series(1, 2)::text"}'$$,
    $$'orders', 'q', set => '{"recipient": "$1"}'$$, $$'orders', 'q', columns => '{}'$$, $$'orders', 'q', columns => '{note,NULL}'$$]) a;
-- After all of that nothing is attached.
SELECT count(*) FROM queue.attachments WHERE queue = 'q'::regclass;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'orders'::regclass;
INSERT INTO orders VALUES (1, 1, 'x');
SELECT count(*) FROM q;

-- Twice; detach of what is not attached.
SELECT queue.attach('orders', 'q', 'insert');
SELECT * FROM tries($$'orders', 'q', 'insert'$$, $$'orders', 'q', 'delete'$$);
SELECT queue.detach('orders', 'q');
SELECT * FROM test.fails($$SELECT queue.detach('orders', 'q')$$);
SELECT * FROM test.fails($$SELECT queue.detach('orders', 'orders')$$);
SELECT * FROM test.fails($$SELECT queue.detach('"no queue"', 'q')$$);
SELECT * FROM test.fails($$SELECT queue.detach(NULL, 'q')$$);

-- Statement level where Postgres has none: a partition, an inheritance child.
CREATE TABLE part (i int) PARTITION BY LIST (i);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE child () INHERITS (orders);
SELECT * FROM tries($$'part_1', 'q', level => 'statement'$$, $$'child', 'q', level => 'statement'$$);

-- The trigger functions refuse to be used where they do not belong.
CREATE TRIGGER wrong AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION queue.enqueue_attached('1');
SELECT * FROM test.fails('INSERT INTO orders VALUES (2)');
DROP TRIGGER wrong ON orders;
CREATE TRIGGER wrong AFTER INSERT ON orders EXECUTE FUNCTION queue.before_change();
SELECT * FROM test.fails('INSERT INTO orders VALUES (2)');
DROP TRIGGER wrong ON orders;
CREATE TRIGGER wrong BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION queue.check_ready();
SELECT * FROM test.fails('INSERT INTO orders VALUES (2)');
DROP TRIGGER wrong ON orders;
SELECT * FROM test.fails('SELECT queue.enqueue_attached()');
SELECT count(*) FROM orders;
-- What an incomplete restore leaves: a trigger without its attachment.
CREATE TABLE restored (id int) PARTITION BY LIST (id);
CREATE TABLE restored_1 PARTITION OF restored FOR VALUES IN (1);
SELECT queue.attach('restored', 'q', 'insert', set => '{"n": "new.id"}');
SELECT id AS lost FROM queue.attachments WHERE source = 'restored'::regclass \gset
DELETE FROM queue.attachments WHERE id = :lost;
SELECT sqlstate, message, replace(hint, :'lost', 'N') FROM test.fails('INSERT INTO restored VALUES (1)');
SELECT sqlstate, message, replace(hint, :'lost', 'N') FROM test.fails('INSERT INTO restored_1 VALUES (1)');
DROP TABLE restored;
-- A trigger of another attachment's number, copied to a table of somebody else.
SELECT queue.attach('orders', 'q', 'insert', set => '{"n": "new.id"}');
SELECT id AS attachment FROM queue.attachments WHERE source = 'orders'::regclass \gset
CREATE TABLE thief (id int, total numeric, note text);
CREATE TRIGGER stolen AFTER INSERT ON thief FOR EACH ROW EXECUTE FUNCTION queue.enqueue_attached(:'attachment');
SELECT sqlstate FROM test.fails('INSERT INTO thief VALUES (1)');
SELECT count(*) FROM q;
