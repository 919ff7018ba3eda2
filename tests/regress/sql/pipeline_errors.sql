-- Pipelines: what is refused, and what becomes of one whose end is taken away.
CREATE SCHEMA pipeline_errors AUTHORIZATION regress_owner;
SET search_path = pipeline_errors;
GRANT USAGE ON SCHEMA pipeline_errors TO PUBLIC;
SET SESSION AUTHORIZATION regress_owner;
SELECT queue.create_queue('a', 'n int', keep_done => '1 day');
SELECT queue.create_queue('b', 'n int', keep_done => '1 day');
SELECT queue.create_queue('c', 'n int', keep_done => '1 day');
CREATE FUNCTION fa(job a) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(job.n)';
CREATE FUNCTION fb(job b) RETURNS jsonb LANGUAGE sql AS $$SELECT jsonb_build_object('n', job.n)$$;
CREATE FUNCTION fc(job c) RETURNS jsonb LANGUAGE sql AS $$SELECT jsonb_build_object('n', job.n)$$;
CREATE FUNCTION nothing(job a) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION anything(job a) RETURNS SETOF record LANGUAGE sql AS 'SELECT 1, 2';
CREATE FUNCTION a_set(job a) RETURNS SETOF jsonb LANGUAGE sql AS $$SELECT jsonb_build_object('n', job.n)$$;
-- Circles.
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.register_processor('a', 'fa(a)', then_queue => 'a')$$);
SELECT queue.register_processor('a', 'a_set(a)', then_queue => 'b');
SELECT sqlstate, message FROM test.fails($$SELECT queue.register_processor('b', 'fb(b)', then_queue => 'a')$$);
SELECT queue.register_processor('b', 'fb(b)', then_queue => 'c');
SELECT sqlstate, message FROM test.fails($$SELECT queue.register_processor('c', 'fc(c)', then_queue => 'a')$$);
SELECT sqlstate, message FROM test.fails($$SELECT queue.register_processor('b', 'fb(b)', then_queue => 'a', replace => true)$$);
SELECT queue.register_processor('c', 'fc(c)');
RESET SESSION AUTHORIZATION;
SELECT queue, then_queue, shape FROM queue.processors WHERE queue IN ('a'::regclass, 'b', 'c') ORDER BY queue::text;
SET SESSION AUTHORIZATION regress_owner;
-- What cannot feed a queue, and what is none.
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.register_processor('a', 'nothing(a)', then_queue => 'b', replace => true)$$);
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.register_processor('a', 'anything(a)', then_queue => 'b', replace => true)$$);
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.register_processor('a', 'a_set(a)', replace => true)$$);
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.register_processor('a', 'fa(a)', then_queue => 'pg_class', replace => true)$$);
-- The role needs INSERT on the next queue, when it registers and when it runs.
RESET SESSION AUTHORIZATION;
SELECT queue.create_queue('foreign_queue', 'n int');
SET SESSION AUTHORIZATION regress_owner;
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.register_processor('a', 'a_set(a)', then_queue => 'foreign_queue', replace => true)$$);
RESET SESSION AUTHORIZATION;
GRANT INSERT ON foreign_queue TO regress_owner;
SET SESSION AUTHORIZATION regress_owner;
SELECT queue.register_processor('a', 'a_set(a)', then_queue => 'foreign_queue', replace => true);
INSERT INTO a (n) VALUES (1);
CALL queue.run('a');
RESET SESSION AUTHORIZATION;
SELECT n FROM foreign_queue;
REVOKE INSERT ON foreign_queue FROM regress_owner;
SET SESSION AUTHORIZATION regress_owner;
INSERT INTO a (n, max_attempts) VALUES (2, 1);
CALL queue.run('a');
SELECT n, state, errors -> -1 ->> 'sqlstate' AS sqlstate, errors -> -1 ->> 'message' AS message FROM a ORDER BY id;
SELECT queue.purge('a', '{done,failed}');
-- A queue that is fed is not dropped, unless by force; then nothing runs that would be lost.
SELECT queue.register_processor('a', 'a_set(a)', then_queue => 'b', replace => true);
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.drop_queue('c')$$);
INSERT INTO b (n) VALUES (1);
SELECT queue.drop_queue('c', true);
CALL queue.run('b');
\echo :LAST_ERROR_SQLSTATE
SELECT n, state, attempt FROM b;
SELECT problem FROM queue.overview WHERE queue = 'b'::regclass;
-- A plain DROP TABLE does not ask. (The session knows the processor already.)
INSERT INTO a (n) VALUES (3);
CALL queue.run('a');
SELECT n, state FROM b ORDER BY id;
DROP TABLE b CASCADE;
INSERT INTO a (n) VALUES (4);
CALL queue.run('a');
SELECT n, state, attempt FROM a ORDER BY id;
RESET SESSION AUTHORIZATION;
SELECT queue, then_queue FROM queue.processors WHERE queue = 'a'::regclass;
SET SESSION AUTHORIZATION regress_owner;
-- Registered anew, it goes on.
SELECT queue.register_processor('a', 'fa(a)', replace => true);
CALL queue.run('a');
SELECT n, state, result FROM a ORDER BY id;
RESET SESSION AUTHORIZATION;
SELECT queue.drop_queue('foreign_queue');
