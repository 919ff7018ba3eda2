-- Take jobs, from a program outside.
CREATE FUNCTION queue.dequeue(queue regclass, max_jobs integer DEFAULT 1, lease interval DEFAULT NULL)
RETURNS SETOF queue.job LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'dequeue';
COMMENT ON FUNCTION queue.dequeue IS
'Lends up to max_jobs jobs (default 1) to the caller, most urgent first, for lease (default: the queue''s). Commit, do the work, then ack with the id and the attempt; a lease that runs out returns the job. Nothing while the queue is paused. Errors: 42809, 22023, 42501, 0A000 at REPEATABLE READ or above of a queue with a limit. Who: SELECT and DELETE on the queue.';

CREATE FUNCTION queue.dequeue_as(queue anyelement, max_jobs integer DEFAULT 1, lease interval DEFAULT NULL)
RETURNS SETOF anyelement LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'dequeue_as';
COMMENT ON FUNCTION queue.dequeue_as IS 'dequeue with the queue''s own typed columns: SELECT * FROM queue.dequeue_as(NULL::mail, 10)';

CREATE FUNCTION queue.ack(queue regclass, id bigint, attempt integer)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ack';
COMMENT ON FUNCTION queue.ack IS
'The leased job is done. False, and nothing changed, when this attempt no longer holds it. Commits with the caller''s own work. Errors: 42809, 22004 a null argument, 22023 an id this queue never issued, 42501. Who: SELECT and DELETE on the queue.';

CREATE FUNCTION queue.ack_many(queue regclass, ids bigint[], attempts integer[])
RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'ack_many';
COMMENT ON FUNCTION queue.ack_many IS 'ack for many: returns the ids that were acked. ids and attempts must be of one length (2202E). Errors and rights as for ack.';

CREATE FUNCTION queue.nack(queue regclass, id bigint, attempt integer, error text DEFAULT NULL, delay interval DEFAULT NULL)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'nack';
COMMENT ON FUNCTION queue.nack IS 'The leased job failed: it is tried again after delay (default: the queue''s backoff), or becomes an error row after its last attempt. False when this attempt no longer holds it. Errors and rights as for ack.';

CREATE FUNCTION queue.snooze(queue regclass, id bigint, attempt integer, delay interval)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'snooze';
COMMENT ON FUNCTION queue.snooze IS 'Gives the leased job back to be run after delay, without counting a failure: attempt and max_attempts both go up by one, so that the old attempt stays fenced off. False when this attempt no longer holds it. Errors and rights as for ack.';

CREATE FUNCTION queue.extend_lease(queue regclass, id bigint, attempt integer, lease interval DEFAULT NULL)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'extend_lease';
COMMENT ON FUNCTION queue.extend_lease IS 'The lease now ends so long after now (default: the queue''s lease). False when this attempt no longer holds the job. Errors and rights as for ack.';

CREATE FUNCTION queue.pop(queue regclass, max_jobs integer DEFAULT 1)
RETURNS SETOF queue.job LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pop';
COMMENT ON FUNCTION queue.pop IS 'Removes up to max_jobs jobs (default 1) and returns them: done when the caller commits, back on the queue if it rolls back. Errors: 42809, 22023, 42501, 0A000 at REPEATABLE READ or above of a job that coalesces or a queue with a limit. Who: SELECT and DELETE on the queue.';

CREATE FUNCTION queue.pop_as(queue anyelement, max_jobs integer DEFAULT 1)
RETURNS SETOF anyelement LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pop_as';
COMMENT ON FUNCTION queue.pop_as IS 'pop with the queue''s own typed columns: SELECT * FROM queue.pop_as(NULL::mail, 10)';

CREATE PROCEDURE queue.wait(queue regclass, timeout interval DEFAULT '30 s')
LANGUAGE c AS 'MODULE_PATHNAME', 'wait';
COMMENT ON PROCEDURE queue.wait IS 'Returns as soon as the queue has a job to hand out, or after timeout (default 30 s). Holds no snapshot while it waits. Errors: 25001 inside a transaction block, 42809, 22023, 42501. Who: SELECT on the queue.';
