-- enqueue_from_trigger: the same by a hand-written CREATE TRIGGER.
CREATE SCHEMA attach_trigger;
SET search_path = attach_trigger;
CREATE TABLE orders (id int PRIMARY KEY, email text, total numeric);
SELECT queue.create_queue('mail', 'recipient text, n int');
CREATE FUNCTION jobs() RETURNS TABLE (recipient text, n int, key text, priority int, state text, payload jsonb) LANGUAGE sql AS $$
    WITH d AS (DELETE FROM attach_trigger.mail RETURNING *)
    SELECT recipient, n, key, priority, state, payload FROM d ORDER BY id
$$;

-- No options: the payload that attach makes.
CREATE TRIGGER enqueue AFTER INSERT OR UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION queue.enqueue_from_trigger('mail');
INSERT INTO orders VALUES (1, 'a@b', 1), (2, 'c@d', 2);
UPDATE orders SET total = 3 WHERE id = 1;
DELETE FROM orders WHERE id = 2;
SELECT payload FROM jobs();

-- Every option; the queue is named as anywhere else, and other schemas' names qualified.
DROP TRIGGER enqueue ON orders;
CREATE TRIGGER enqueue AFTER INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION
    queue.enqueue_from_trigger('attach_trigger.mail', 'condition=new.total > 0', 'set={"recipient": "new.email", "payload.id": "new.id"}',
                               'key=new.id', 'priority=3', 'delay=1 min', 'columns=email,total', 'ignore_own=true');
INSERT INTO orders VALUES (3, 'e@f', 0), (4, 'g@h', 5);
UPDATE orders SET id = id + 10 WHERE id = 4;
UPDATE orders SET email = 'changed' WHERE id = 14;
SELECT run_at - enqueued_at AS wait FROM mail;
SELECT * FROM jobs();

-- Together with the trigger's own WHEN and UPDATE OF.
DROP TRIGGER enqueue ON orders;
CREATE TRIGGER enqueue AFTER UPDATE OF total ON orders FOR EACH ROW WHEN (new.total > old.total)
    EXECUTE FUNCTION queue.enqueue_from_trigger('mail', 'set={"n": "new.total - old.total"}');
UPDATE orders SET total = total + 2;
UPDATE orders SET total = total - 1;
UPDATE orders SET email = 'again';
SELECT n FROM jobs();

-- By statement, with transition tables of the names it expects.
DROP TRIGGER enqueue ON orders;
CREATE TRIGGER enqueue_i AFTER INSERT ON orders REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION queue.enqueue_from_trigger('attach_trigger.mail', 'condition=new.total > 0', 'set={"n": "new.id"}');
CREATE TRIGGER enqueue_d AFTER DELETE ON orders REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION queue.enqueue_from_trigger('mail', 'set={"n": "-old.id"}');
CREATE TRIGGER enqueue_u AFTER UPDATE ON orders REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION queue.enqueue_from_trigger('mail', 'set={"recipient": "new.email", "payload.op": "1"}', 'columns=email');
TRUNCATE orders;
INSERT INTO orders SELECT i, 'e' || i, i - 1 FROM generate_series(1, 4) i;
UPDATE orders SET total = 9;
UPDATE orders SET email = 'one' WHERE id = 1;
DELETE FROM orders WHERE id > 2;
SELECT recipient, n, payload FROM jobs();

-- It runs with the rights of whoever changes the table.
GRANT USAGE ON SCHEMA attach_trigger TO regress_nobody, regress_writer;
GRANT INSERT, SELECT ON orders TO regress_nobody, regress_writer;
GRANT INSERT ON mail TO regress_writer;
SET ROLE regress_nobody;
SELECT sqlstate, message FROM test.fails('INSERT INTO attach_trigger.orders VALUES (50, ''x'', 1)');
SET ROLE regress_writer;
INSERT INTO orders VALUES (51, 'x', 1);
RESET ROLE;
SELECT n FROM jobs();
-- A queue that is paused takes jobs; the search path of the moment changes nothing.
SELECT queue.pause('mail');
SET search_path = pg_catalog;
INSERT INTO attach_trigger.orders VALUES (52, 'x', 1);
SET search_path = attach_trigger;
SELECT queue.resume('mail');
SELECT n FROM jobs();

-- Every mistake is named when the trigger first runs, and the change is refused.
DROP TRIGGER enqueue_i ON orders;
DROP TRIGGER enqueue_d ON orders;
DROP TRIGGER enqueue_u ON orders;
\pset format unaligned
\pset tuples_only on
CREATE FUNCTION try(arguments text, OUT code text, OUT message text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER t AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION queue.enqueue_from_trigger(%s)', arguments);
    SELECT * INTO code, message, hint FROM test.raised('INSERT INTO orders VALUES (100)');
    DROP TRIGGER t ON orders;
END $$;
SELECT a, t.* FROM unnest(ARRAY['', $$'orders'$$, $$'missing'$$, $$''$$, $$'mail', 'nosuch=1'$$, $$'mail', 'condition'$$, $$'mail', ''$$,
    $$'mail', 'condition=new.nosuch'$$, $$'mail', 'condition=new.total'$$, $$'mail', 'set={"nosuch": "1"}'$$, $$'mail', 'set=not json'$$,
    $$'mail', 'set={"n": "old.id"}'$$, $$'mail', 'priority=high'$$, $$'mail', 'priority=11'$$, $$'mail', 'delay=soon'$$, $$'mail', 'ignore_own=perhaps'$$]) u (a), try(a) t;
SELECT a, code FROM unnest(ARRAY[$$'mail', 'delay=-1 s'$$, $$'mail', 'columns=nosuch'$$, $$'mail', 'key=new.id, 1'$$]) u (a), try(a) t;
CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION queue.enqueue_from_trigger('mail');
SELECT * FROM test.fails('INSERT INTO orders VALUES (100)');
DROP TRIGGER t ON orders;
CREATE TRIGGER t AFTER INSERT ON orders EXECUTE FUNCTION queue.enqueue_from_trigger('mail');
SELECT * FROM test.fails('INSERT INTO orders VALUES (100)');
DROP TRIGGER t ON orders;
CREATE TRIGGER t AFTER INSERT ON orders REFERENCING NEW TABLE AS misnamed FOR EACH STATEMENT EXECUTE FUNCTION queue.enqueue_from_trigger('mail');
SELECT * FROM test.fails('INSERT INTO orders VALUES (100)');
DROP TRIGGER t ON orders;
CREATE TRIGGER t AFTER TRUNCATE ON orders EXECUTE FUNCTION queue.enqueue_from_trigger('mail');
SELECT * FROM test.fails('TRUNCATE orders');
DROP TRIGGER t ON orders;
SELECT count(*) FROM orders WHERE id = 100;
SELECT count(*) FROM mail;
