-- call and wait_for where row security applies: a job that the caller does not see is not taken for one that
-- has ended.
CREATE SCHEMA reply_hidden;
SET search_path = reply_hidden;
SELECT queue.create_queue('q', 'who text, n int', keep_done => '1 day');
GRANT USAGE ON SCHEMA reply_hidden TO PUBLIC;
GRANT SELECT, INSERT ON q TO regress_writer;
ALTER TABLE q ENABLE ROW LEVEL SECURITY;
CREATE POLICY put ON q FOR INSERT WITH CHECK (true);
CREATE POLICY own ON q FOR SELECT USING (who = current_user AND state <> 'done');
-- Not even its own: nothing is enqueued.
\set VERBOSITY terse
SET SESSION AUTHORIZATION regress_writer;
CALL queue.call('reply_hidden.q', '{"who": "somebody", "n": 1}', '0');
\echo :LAST_ERROR_SQLSTATE
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM q;
-- Its own, as long as it has not ended.
SET SESSION AUTHORIZATION regress_writer;
CALL queue.call('reply_hidden.q', '{"who": "regress_writer", "n": 2}', '0');
\echo :LAST_ERROR_SQLSTATE
SELECT max(id) AS own FROM reply_hidden.q \gset
CALL queue.wait_for('reply_hidden.q', :own, '0');
\echo :LAST_ERROR_SQLSTATE
RESET SESSION AUTHORIZATION;
SELECT n FROM queue.pop_as(NULL::q);
SELECT queue.enqueue('q', '{"who": "somebody", "n": 3}') AS foreign_job, queue.enqueue('q', '{"who": "regress_writer", "n": 4}', priority => 0) AS done_job \gset
SELECT n FROM queue.dequeue_as(NULL::q, 1);
SELECT queue.ack('q', :done_job, 1);
-- Somebody else's; its own, of which the policy shows no result; its own, which is gone.
SET SESSION AUTHORIZATION regress_writer;
CALL queue.wait_for('reply_hidden.q', :foreign_job, '0');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY default
CALL queue.wait_for('reply_hidden.q', :done_job, '0');
\set VERBOSITY terse
CALL queue.wait_for('reply_hidden.q', :own, '0');
RESET SESSION AUTHORIZATION;
-- With a policy for all states it gets what it waits for.
ALTER POLICY own ON q USING (who = current_user);
SET SESSION AUTHORIZATION regress_writer;
CALL queue.wait_for('reply_hidden.q', :done_job, '0');
RESET SESSION AUTHORIZATION;
SELECT queue.drop_queue('q', true);
DROP SCHEMA reply_hidden CASCADE;
