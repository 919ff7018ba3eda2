-- Request and reply, and what belongs to one request.
CREATE PROCEDURE queue.wait_for(
    queue regclass, id bigint, timeout interval DEFAULT '30 s', INOUT result jsonb DEFAULT NULL
) LANGUAGE c AS 'MODULE_PATHNAME', 'wait_for';
COMMENT ON PROCEDURE queue.wait_for IS
'Waits until the job has ended and returns its result. A job that waits for its retry has not ended. One that has become an error row: its last error is raised, with its own SQLSTATE, message, detail and hint. One that is gone returns null: unless the queue keeps done jobs, or the job was enqueued with keep_result, a job that is done cannot be told from one that was removed.
timeout (30 s): 55000 is raised then; the job goes on, as it does if the wait is cancelled. Holds no snapshot while it waits.
Errors: 25001 inside a transaction block, 42809, 22023 an id this queue never issued, 42501, also where row security hides the job from the caller, 55000, and the job''s own. Who: SELECT on the queue.';

CREATE PROCEDURE queue.call(
    queue regclass, payload jsonb DEFAULT '{}', timeout interval DEFAULT '30 s', INOUT result jsonb DEFAULT NULL,
    priority integer DEFAULT NULL, max_attempts integer DEFAULT NULL, correlation_id text DEFAULT NULL
) LANGUAGE c AS 'MODULE_PATHNAME', 'call';
COMMENT ON PROCEDURE queue.call IS
'Enqueues a job as enqueue does, commits, waits until it has ended as wait_for does, and returns its result or raises its error. Where the queue keeps no done jobs the result is kept until it is fetched here, or for queue_ext.keep_results.
timeout (30 s): 55000 is raised then; the job, which is on the queue since before the wait, goes on, as it does if the call is cancelled. max_attempts (the queue''s): 1 has a failure raised at once instead of after the last retry. correlation_id: a random UUID if none is given. A failed job stays on the queue as an error row, as any other.
Errors: those of enqueue and of wait_for. Who: INSERT and SELECT on the queue.';

CREATE FUNCTION queue.trace(
    correlation_id text,
    OUT queue regclass, OUT id bigint, OUT state text, OUT attempt integer, OUT job_correlation_id text, OUT key text,
    OUT topic text, OUT enqueued_at timestamptz, OUT finished_at timestamptz,
    OUT sqlstate text, OUT message text, OUT result jsonb
) RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'trace';
COMMENT ON FUNCTION queue.trace IS
'The jobs that belong to one request, in all queues that the caller may select from (but those where row security applies to him): those with this correlation_id that wait, run, failed or are kept; sqlstate and message are those of the last failed attempt. For a request without an id of its own, ''schema.queue:id'' of the job it began with, also that job, whose own correlation_id is null.
Jobs that have ended are found by an index; all that wait are looked at. Errors: 22004. Who: anyone, for queues with SELECT.';
