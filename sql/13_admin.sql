-- See what has become of jobs, and deal with many of them at once.
CREATE FUNCTION queue.history(
    queue regclass, state text DEFAULT NULL, since timestamptz DEFAULT NULL, key text DEFAULT NULL,
    max_jobs integer DEFAULT 100
) RETURNS TABLE (
    id bigint, state text, key text, group_key text, attempt integer, enqueued_at timestamptz,
    finished_at timestamptz, duration interval, result jsonb, error text, sqlstate text,
    correlation_id text, topic text, job jsonb
) LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'history';
COMMENT ON FUNCTION queue.history IS
'What is kept of jobs that have ended, the latest first: done jobs as long as keep_done says, error rows as long as keep_failed says.
state: done or failed only (default: both). since: ended then or later. key: with this key. max_jobs (default 100): no more rows than this.
Returns id, state, key, group_key, attempt (the last one), enqueued_at, finished_at, duration (from one to the other), result (of a done job), error and sqlstate (the last failure of an error row), correlation_id, topic, and job: the whole row (null for one that cannot be written as jsonb).
Errors: 42809 not a queue, 22023 no such state or max_jobs out of range, 42501. Who: SELECT on the queue; row security applies.';

CREATE FUNCTION queue.cancel_all(queue regclass, condition text DEFAULT NULL)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cancel_all_wrapper';
COMMENT ON FUNCTION queue.cancel_all IS
'cancel for all waiting, leased and running jobs, or for those the boolean condition over the queue''s columns is true for; returns how many. The condition sees what a worker is just running as ready.
A thousand at a time, within the caller''s transaction; jobs that another session is changing are left. One with which it cannot be done, because a constraint of the table refuses it, say, is left and named in a WARNING; with more than a hundred of those the call fails. Of the jobs that a worker has claimed together, up to 128 are cancelled.
Errors: 42601 not a single expression, 42804 not a boolean one, 42809, 42501. Who: the owner of the queue; the condition runs with the owner''s rights under search_path pg_catalog.';

CREATE FUNCTION queue.reprioritize(queue regclass, id bigint, priority integer)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'reprioritize_wrapper';
COMMENT ON FUNCTION queue.reprioritize IS 'Gives a waiting job (ready, scheduled or blocked) another priority, 0 to 9. False when it is not waiting, or a worker or client has it. Errors: 42809, 22004 a null argument, 22023 priority out of range or an id this queue never issued, 42501. Who: the owner of the queue.';

CREATE FUNCTION queue.reprioritize_all(queue regclass, priority integer, condition text DEFAULT NULL)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'reprioritize_all_wrapper';
COMMENT ON FUNCTION queue.reprioritize_all IS 'reprioritize for all waiting jobs, or for those the boolean condition is true for; returns how many now have another priority than before. In batches, and errors and rights, as for cancel_all.';

CREATE FUNCTION queue.run_now(queue regclass, id bigint)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'run_now_wrapper';
COMMENT ON FUNCTION queue.run_now IS 'A scheduled job, one enqueued for later or one waiting for its next attempt, may start at once. False when it is not scheduled. Errors: 42809, 22004, 22023 an id this queue never issued, 42501. Who: the owner of the queue.';

CREATE FUNCTION queue.run_now_all(queue regclass, condition text DEFAULT NULL)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'run_now_all_wrapper';
COMMENT ON FUNCTION queue.run_now_all IS 'run_now for all scheduled jobs, or for those the boolean condition is true for; returns how many. In batches, and errors and rights, as for cancel_all.';

CREATE FUNCTION queue.move(queue regclass, id bigint, to_queue regclass)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'move_job_wrapper';
COMMENT ON FUNCTION queue.move IS
'Takes a waiting job or an error row off the queue and enqueues it on another one; returns its id there, or null when it is not waiting or failed, or a worker or client has it.
The queue''s own columns and the payload go over as one payload, whose fields fill the other queue''s columns of the same names, as in enqueue. priority, run_at, key, group_key, max_attempts, once, correlation_id, topic and the list of errors go with it, but an error row starts at once; attempts are counted anew. For jobs that wait for it (after) it is gone. A job that itself waits for others cannot be moved (55000).
Errors: 42809, 22004, 22023 the same queue or an id that was never issued, 55000, and those of enqueue. Who: the owner of the queue who has INSERT on the other one.';

CREATE FUNCTION queue.move_all(queue regclass, to_queue regclass, condition text DEFAULT NULL, states text[] DEFAULT '{ready,scheduled,blocked}')
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'move_all_wrapper';
COMMENT ON FUNCTION queue.move_all IS
'move for all waiting jobs, or for those the boolean condition is true for, in the order of priority and id; returns how many. states (default {ready,scheduled,blocked}): failed may be named, which moves error rows, to a dead-letter queue for example. Jobs that wait for others (after) are left.
In batches, and errors and rights, as for cancel_all and move; 22023 no such state.';
