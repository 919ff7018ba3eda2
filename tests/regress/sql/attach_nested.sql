-- Triggers that enqueue jobs whose triggers enqueue jobs.
CREATE SCHEMA attach_nested;
SET search_path = attach_nested;
SELECT queue.create_queue('a', 'n int');
CREATE TABLE plain (n int);
SELECT queue.attach('plain', 'a', set => '{"n": "new.n"}');

-- A circle by triggers of one's own cannot be seen beforehand. It ends soon, with all that it did.
CREATE FUNCTION to_plain() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO attach_nested.plain VALUES (new.n + 1); RETURN NULL; END $$;
-- The stack must hold it, also in builds for debugging.
SET max_stack_depth = '7MB';
CREATE TRIGGER back AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION to_plain();
SELECT * FROM test.fails('INSERT INTO plain VALUES (1)');
SELECT sqlstate, message FROM test.fails('INSERT INTO plain SELECT 1 FROM generate_series(1, 20)');
SELECT sqlstate, message FROM test.fails($$SELECT queue.enqueue('a')$$);
SELECT sqlstate, message FROM test.fails($$INSERT INTO a (n) VALUES (1)$$);
DROP TRIGGER back ON a;
CREATE FUNCTION once_more() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM queue.enqueue('attach_nested.a'); RETURN NULL; END $$;
CREATE TRIGGER back AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION once_more();
SELECT sqlstate, message FROM test.fails($$SELECT queue.enqueue('a')$$);
SELECT sqlstate, message FROM test.fails($$INSERT INTO plain VALUES (1)$$);
DROP TRIGGER back ON a;
CREATE TRIGGER back AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION queue.enqueue_from_trigger('attach_nested.a');
SELECT sqlstate, message FROM test.fails($$INSERT INTO plain VALUES (1)$$);
DROP TRIGGER back ON a;
-- One that ends by itself is not one.
CREATE FUNCTION some_more() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN IF new.n < 40 THEN INSERT INTO attach_nested.plain VALUES (new.n + 1); END IF; RETURN NULL; END $$;
CREATE TRIGGER back AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION some_more();
INSERT INTO plain VALUES (1);
-- Levels are counted afresh, also after errors.
INSERT INTO plain VALUES (1), (1), (1);
SELECT count(*), min(n), max(n) FROM a;
DROP TRIGGER back ON a;
-- By a topic.
SELECT queue.subscribe('nested.*', 'a'), queue.detach('plain', 'a'), queue.attach('plain', topic => 'nested.plain', set => '{"payload.n": "new.n"}');
CREATE TRIGGER back AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION to_plain();
SELECT sqlstate, message FROM test.fails('INSERT INTO plain VALUES (1)');
DROP TRIGGER back ON a;
SELECT count(*) FROM plain;
SELECT queue.unsubscribe('nested.*', 'a'), queue.detach('plain', topic => 'nested.plain');
