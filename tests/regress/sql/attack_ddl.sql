-- What the owner of a queue may do to it by DDL, and what then goes on.
\set VERBOSITY terse

-- A rule that leaves nothing of an INSERT: the server went down.
SET client_min_messages = warning;
SELECT queue.create_queue('ddl_rule', 'n int');
CREATE TABLE ddl_source (n int);
SELECT queue.attach('ddl_source', 'ddl_rule', set => '{"n": "new.n"}');
CREATE RULE nothing AS ON INSERT TO ddl_rule DO INSTEAD NOTHING;
SELECT queue.enqueue('ddl_rule', '{"n": 1}') > 0 AS issued;
SELECT count(*) FROM queue.enqueue_many('ddl_rule', ARRAY['{"n": 1}', '{}']::jsonb[]);
INSERT INTO ddl_rule (n) VALUES (2);
INSERT INTO ddl_source VALUES (3);
INSERT INTO ddl_source SELECT generate_series(1, 20);
SELECT count(*) FROM ddl_rule;
DROP RULE nothing ON ddl_rule;
SELECT queue.enqueue('ddl_rule', '{"n": 4}') > 0 AS issued;
INSERT INTO ddl_source VALUES (5);
SELECT n, state FROM ddl_rule ORDER BY id;
-- One that does something else instead.
CREATE RULE elsewhere AS ON INSERT TO ddl_rule DO INSTEAD INSERT INTO ddl_source VALUES (new.n);
SELECT queue.detach('ddl_source', 'ddl_rule');
SELECT queue.enqueue('ddl_rule', '{"n": 66}') > 0 AS issued;
SELECT n FROM ddl_source WHERE n = 66;
SELECT queue.drop_queue('ddl_rule');
DROP TABLE ddl_source;

-- A table whose column has the name that a trigger's statement gives to a row's number: no UPDATE of many rows went
-- through.
SELECT queue.create_queue('ddl_name');
CREATE TABLE ddl_source (id int PRIMARY KEY, queue_ext_row int);
INSERT INTO ddl_source SELECT i, 100 - i FROM generate_series(1, 20) i;
SELECT queue.attach('ddl_source', 'ddl_name', events => 'update',
                    set => '{"payload.was": "old.queue_ext_row", "payload.id": "new.id"}');
UPDATE ddl_source SET queue_ext_row = 0;
SELECT count(*), bool_and((payload -> 'was')::int = 100 - (payload -> 'id')::int) AS right FROM ddl_name;
DROP TABLE ddl_source;
SELECT queue.drop_queue('ddl_name');

-- A processor that changes its own queue, or drops it, is refused: rows of it are in hand.
SELECT queue.create_queue('ddl_self', 'n int, command text', keep_done => '1 h', max_attempts => 1);
CREATE FUNCTION ddl_work(ddl_self) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE $1.command;
    IF $1.n < 0 THEN RAISE EXCEPTION 'negative'; END IF;
END $$;
SELECT queue.register_processor('ddl_self', 'ddl_work(ddl_self)');
INSERT INTO ddl_self (n, command) VALUES (1, 'ALTER TABLE ddl_self ADD COLUMN more text DEFAULT ''x'''), (-2, 'SELECT'), (3, 'SELECT');
CALL queue.run('ddl_self');
INSERT INTO ddl_self (n, command) VALUES (4, 'ALTER TABLE ddl_self DROP COLUMN more'), (-5, 'SELECT'), (6, 'SELECT');
CALL queue.run('ddl_self');
SELECT id, n, state, errors -> -1 ->> 'message' AS error FROM ddl_self ORDER BY id;
INSERT INTO ddl_self (n, command) VALUES (7, 'ALTER TABLE ddl_self DETACH PARTITION ddl_self_done');
CALL queue.run('ddl_self');
SELECT id, state FROM ddl_self WHERE n = 7;
DELETE FROM ddl_self WHERE n = 7;
INSERT INTO ddl_self (n, command) VALUES (8, 'SELECT queue.drop_queue(''ddl_self'', true)');
CALL queue.run('ddl_self');
SELECT id, state FROM ddl_self WHERE n = 8;
DROP FUNCTION ddl_work;
SELECT queue.drop_queue('ddl_self');
