-- wait_for and keep_result: the end of a job by its id, and its result. Workers are stopped: CALL queue.run
-- ends the jobs before they are waited for.
CREATE SCHEMA reply_wait;
SET search_path = reply_wait;
SELECT queue.create_queue('q', 'n int', max_attempts => 2, backoff => '0');
CREATE FUNCTION work(job q) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF job.n < 0 THEN
        RAISE EXCEPTION 'negative: %', job.n USING ERRCODE = 'NEG01', DETAIL = 'The detail.', HINT = 'The hint.';
    END IF;
    RETURN CASE WHEN job.n > 0 THEN jsonb_build_object('twice', job.n * 2) END;
END $$;
SELECT queue.register_processor('q', 'work(q)');

-- The result is kept for who asks for it, and only that; the queue keeps no done jobs.
SELECT queue.enqueue('q', '{"n": 21}', keep_result => true) AS kept \gset
SELECT queue.enqueue('q', '{"n": 22}') AS gone \gset
SELECT queue.enqueue('q', '{"n": 0}', keep_result => true) AS nothing \gset
SELECT queue.enqueue('q', '{"n": -1}') AS failing \gset
SELECT count(*) AS many, min(id) AS first FROM queue.enqueue_many('q', ARRAY['{"n": 1}', '{"n": 2}']::jsonb[], keep_result => true) id \gset
SELECT id - :kept AS nr, n, keep_result FROM q ORDER BY id;
CALL queue.run('q');
SELECT id - :kept AS nr, state, result FROM q ORDER BY id;
SELECT queue.result('q', :kept), queue.status('q', :gone), queue.result('q', :first);

CALL queue.wait_for('q', :kept);
CALL queue.wait_for('q', :kept, '0', NULL);
CALL queue.wait_for('q', :gone);
CALL queue.wait_for('q', :nothing);
-- The job's own error, with all that it said.
\set SHOW_CONTEXT never
CALL queue.wait_for('q', :failing);
\set SHOW_CONTEXT errors
\echo :LAST_ERROR_SQLSTATE
-- Not ended: it waits for its retry; for its turn; leased.
SELECT queue.alter_queue('q', backoff => '1 h');
SELECT queue.enqueue('q', '{"n": -2}') AS retried \gset
CALL queue.run('q');
SELECT queue.status('q', :retried);
\set VERBOSITY terse
CALL queue.wait_for('q', :retried, '10 ms');
\echo :LAST_ERROR_SQLSTATE
-- Why it has not ended is said: which attempt failed, with what, and when the next is due.
\set VERBOSITY default
SELECT queue.pause('q');
UPDATE q SET run_at = '2100-01-01' WHERE id = :retried;
CALL queue.wait_for('q', :retried, '0');
SELECT queue.resume('q');
\set VERBOSITY terse
SELECT queue.enqueue('q', '{"n": 3}') AS waiting \gset
CALL queue.wait_for('q', :waiting, '0');
SELECT id = :waiting AS leased FROM queue.dequeue('q', 1);
CALL queue.wait_for('q', :waiting, '0.05 s');
\set VERBOSITY default
-- One that is ready again after a failed attempt, and one that runs; nothing is said of attempts where none failed.
SELECT queue.pause('q');
CALL queue.wait_for('q', :waiting, '0');
SELECT queue.run_now('q', :retried);
CALL queue.wait_for('q', :retried, '0');
SELECT queue.resume('q');
SELECT id = :retried AS leased FROM queue.dequeue('q', 1);
SELECT queue.pause('q');
CALL queue.wait_for('q', :retried, '0');
SELECT queue.resume('q');
-- A client's ack ends it, too; so do nack on the last attempt, cancel and purge.
SELECT queue.ack('q', :waiting, 1);
CALL queue.wait_for('q', :waiting);
SELECT queue.enqueue('q', '{"n": 4}', max_attempts => 1) AS nacked \gset
SELECT id = :nacked AS leased FROM queue.dequeue('q', 1);
SELECT queue.nack('q', :nacked, 1, 'not today');
CALL queue.wait_for('q', :nacked);
\echo :LAST_ERROR_SQLSTATE
SELECT queue.cancel('q', :retried);
CALL queue.wait_for('q', :retried);
\echo :LAST_ERROR_SQLSTATE
SELECT queue.enqueue('q', '{"n": 5}') AS purged \gset
SELECT queue.purge('q');
CALL queue.wait_for('q', :purged);
-- An ack keeps the job, too, if its result is asked for; there is none.
SELECT queue.enqueue('q', '{"n": 6}', keep_result => true) AS acked \gset
SELECT queue.ack('q', id, attempt) FROM queue.dequeue('q', 1);
SELECT queue.status('q', :acked), queue.result('q', :acked);
-- Where done jobs are kept, nothing else is needed.
SELECT queue.alter_queue('q', keep_done => '1 day');
SELECT queue.enqueue('q', '{"n": 7}') AS kept_anyway \gset
CALL queue.run('q');
CALL queue.wait_for('q', :kept_anyway);
-- A batch with one such job in it: only its result is kept.
SELECT queue.create_queue('b', 'n int');
CREATE FUNCTION sums(jobs b[]) RETURNS int[] LANGUAGE sql AS 'SELECT array_agg(j.n * 10) FROM unnest(jobs) j';
SELECT queue.register_processor('b', 'sums(b[])', load_balanced => false);
INSERT INTO b (n) VALUES (1), (2);
SELECT queue.enqueue('b', '{"n": 3}', keep_result => true) AS kept \gset
CALL queue.run('b');
SELECT n, state, result FROM b;
-- By plain INSERT as well.
INSERT INTO b (n, keep_result) VALUES (4, true), (5, false), (6, NULL);
CALL queue.run('b');
SELECT n, state, result FROM b ORDER BY id;

-- After queue_ext.keep_results they are forgotten; those that keep_done kept are not.
SHOW queue_ext.keep_results;
INSERT INTO b (n) VALUES (7);
SELECT queue.alter_queue('b', keep_done => '1 h');
CALL queue.run('b');
SELECT queue.alter_queue('b', keep_done => '0');
ALTER SYSTEM SET queue_ext.keep_results = '1 s';
SELECT pg_reload_conf();
UPDATE b SET finished_at = now() - interval '1 min' WHERE state = 'done' AND n IN (3, 4, 7);
-- When it arrives in this session is up to the server; one that begins later has it.
\c -
SET search_path = reply_wait;
CALL queue.run('b');
SHOW queue_ext.keep_results;
SELECT n, state FROM b WHERE n <> 5 ORDER BY id;
ALTER SYSTEM RESET queue_ext.keep_results;
SELECT pg_reload_conf();

-- What is refused.
BEGIN;
CALL queue.wait_for('q', :kept);
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
CALL queue.wait_for('q', 1000000);
\echo :LAST_ERROR_SQLSTATE
CALL queue.wait_for('q', NULL);
CALL queue.wait_for(NULL, 1);
CALL queue.wait_for('q', :kept, NULL);
CALL queue.wait_for('q', :kept, '-1 s');
\echo :LAST_ERROR_SQLSTATE
CALL queue.wait_for('pg_class', 1);
\echo :LAST_ERROR_SQLSTATE
GRANT USAGE ON SCHEMA reply_wait TO PUBLIC;
GRANT INSERT ON q TO regress_writer;
GRANT SELECT ON q TO regress_reader;
SET SESSION AUTHORIZATION regress_writer;
CALL queue.wait_for('reply_wait.q', :kept_anyway);
\echo :LAST_ERROR_SQLSTATE
SET SESSION AUTHORIZATION regress_reader;
CALL queue.wait_for('reply_wait.q', :kept_anyway);
RESET SESSION AUTHORIZATION;
