-- CALL queue.call, as far as one session can see it: nobody works on the queue while it waits. tests/server
-- has the workers.
CREATE SCHEMA reply_call;
SET search_path = reply_call;
SELECT queue.create_queue('q', 'n int CHECK (n <> 13)');
CREATE FUNCTION work(job q) RETURNS int LANGUAGE sql AS 'SELECT job.n * 2';
\set VERBOSITY terse
-- Nobody works on it: the call times out, and the job goes on.
CALL queue.call('q', '{"n": 21}', '10 ms');
\echo :LAST_ERROR_SQLSTATE
SELECT state, n, keep_result, priority, max_attempts, correlation_id ~ '^[0-9a-f-]{36}$' AS is_uuid FROM q;
CALL queue.call('q', '{"n": 22}', '0', NULL, 1, 3, 'request 1');
SELECT state, n, keep_result, priority, max_attempts, correlation_id FROM q ORDER BY id DESC LIMIT 1;
CALL queue.call('q', timeout => '0', correlation_id => 'request 2', result => NULL);
\set VERBOSITY default
-- Its result is there for who asks later.
SELECT queue.register_processor('q', 'work(q)');
CALL queue.run('q');
SELECT state, n, result FROM q ORDER BY id;
SELECT id AS first FROM q WHERE n = 21 \gset
CALL queue.wait_for('q', :first);

-- What is refused leaves no job.
SELECT count(*) AS before FROM q \gset
\set VERBOSITY terse
CALL queue.call('q', '{"n": 13}');
\set VERBOSITY default
\echo :LAST_ERROR_SQLSTATE
CALL queue.call('q', '[]');
\echo :LAST_ERROR_SQLSTATE
CALL queue.call('q', '{"n": 1}', '-1 s');
\echo :LAST_ERROR_SQLSTATE
CALL queue.call('q', '{"n": 1}', priority => 10);
CALL queue.call('q', '{"n": 1}', max_attempts => 0);
CALL queue.call('q', '{"n": 1}', correlation_id => repeat('x', 1001));
CALL queue.call('q', NULL);
CALL queue.call(NULL);
CALL queue.call('pg_class');
BEGIN;
CALL queue.call('q', '{"n": 1}');
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
DO $$ BEGIN CALL queue.call('reply_call.q', '{"n": 1}', '0', NULL); END $$;
SELECT count(*) - :before AS more FROM q;

-- INSERT and SELECT are needed, nothing else.
GRANT USAGE ON SCHEMA reply_call TO PUBLIC;
GRANT INSERT ON q TO regress_writer;
GRANT SELECT ON q TO regress_reader;
GRANT INSERT, SELECT ON q TO regress_nobody;
SET SESSION AUTHORIZATION regress_writer;
CALL queue.call('reply_call.q', '{"n": 1}', '0');
\echo :LAST_ERROR_SQLSTATE
SET SESSION AUTHORIZATION regress_reader;
CALL queue.call('reply_call.q', '{"n": 1}', '0');
\echo :LAST_ERROR_SQLSTATE
SET SESSION AUTHORIZATION regress_nobody;
\set VERBOSITY terse
CALL queue.call('reply_call.q', '{"n": 1}', '0');
\echo :LAST_ERROR_SQLSTATE
RESET SESSION AUTHORIZATION;
SELECT n, state FROM q WHERE state = 'ready';
REVOKE ALL ON q FROM regress_writer, regress_reader, regress_nobody;
