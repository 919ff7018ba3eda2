-- Make, change and remove queues.
CREATE FUNCTION queue.create_queue(
    name text, columns text DEFAULT NULL,
    max_attempts integer DEFAULT 5,
    backoff interval DEFAULT '1 s', backoff_factor float8 DEFAULT 2, backoff_max interval DEFAULT '1 h',
    lease interval DEFAULT '30 s', keep_done interval DEFAULT NULL,
    keep_failed interval DEFAULT NULL, on_conflict text DEFAULT NULL, on_group_failure text DEFAULT 'block',
    max_running integer DEFAULT NULL, max_running_per_key integer DEFAULT NULL,
    rate_limit integer DEFAULT NULL, rate_limit_per_key integer DEFAULT NULL, rate_interval interval DEFAULT '1 s'
) RETURNS regclass LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'create_queue_wrapper';
COMMENT ON FUNCTION queue.create_queue IS
'Makes a queue: a table of this name, partitioned by state, owned by the caller.
columns: the queue''s own columns as in CREATE TABLE (''recipient text NOT NULL, subject text''); none: jobs carry only payload.
max_attempts (default 5), backoff (1 s), backoff_factor (2), backoff_max (1 h): a failed job is tried again after backoff, then backoff times factor and so on, each wait shortened by up to a tenth at random; after the last attempt it is an error row.
lease (30 s): how long dequeue lends a job. keep_done (not kept): how long finished jobs are kept. keep_failed (for ever): how long error rows are.
on_conflict (none): what a job does whose key another waiting job has: skip, replace, debounce, merge or error, see enqueue. on_group_failure (block): a failed job holds back the others of its group_key, or continue: lets them pass.
max_running, max_running_per_key (no limit): most jobs, of the queue or of a key, that run at the same time. rate_limit, rate_limit_per_key (no limit): most jobs, of the queue or of a key, that start within any interval of the length rate_interval (1 s).
Errors: 42P07 the name is taken, 42701 a column name is reserved, 22023 an option is out of range. Who: whoever may create tables in the schema.';

CREATE FUNCTION queue.alter_queue(
    queue regclass,
    max_attempts integer DEFAULT NULL,
    backoff interval DEFAULT NULL, backoff_factor float8 DEFAULT NULL, backoff_max interval DEFAULT NULL,
    lease interval DEFAULT NULL, keep_done interval DEFAULT NULL,
    keep_failed interval DEFAULT NULL, on_conflict text DEFAULT NULL, on_group_failure text DEFAULT NULL,
    max_running integer DEFAULT NULL, max_running_per_key integer DEFAULT NULL,
    rate_limit integer DEFAULT NULL, rate_limit_per_key integer DEFAULT NULL, rate_interval interval DEFAULT NULL
) RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'alter_queue_wrapper';
COMMENT ON FUNCTION queue.alter_queue IS
'Changes options of a queue; null leaves one as it is. keep_done or keep_failed => ''0'', a limit => 0 and on_conflict => ''none'' take the option back.
max_running and max_running_per_key, set where there was no such limit, count leased jobs at once, but no batch or transaction with claims of its own that is under way: until these end, that many more may run.
Errors: 42809 not a queue, 22023 out of range, 42501 not the owner. Who: the owner of the queue.';

CREATE FUNCTION queue.drop_queue(queue regclass, force boolean DEFAULT false)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'drop_queue_wrapper';
COMMENT ON FUNCTION queue.drop_queue IS
'Drops a queue with all its jobs. Waits for batches under way. Refused (55006) while jobs are leased, and (2BP01) while tables are attached to it or processors feed it (then_queue), unless force is true: then leased jobs are lost, the attached triggers are removed, such processors do not run any more, and what depends on the table (its processor, views) is dropped too. Who: the owner of the queue.';

CREATE FUNCTION queue.pause(queue regclass)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pause_wrapper';
COMMENT ON FUNCTION queue.pause IS 'Stops handing out jobs of the queue, to workers and to dequeue and pop alike; what runs goes on, and enqueueing goes on. Who: the owner of the queue.';

CREATE FUNCTION queue.resume(queue regclass)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'resume_wrapper';
COMMENT ON FUNCTION queue.resume IS 'Ends a pause. Who: the owner of the queue.';

CREATE FUNCTION queue.purge(queue regclass, states text[] DEFAULT '{ready,scheduled,blocked}')
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'purge';
COMMENT ON FUNCTION queue.purge IS 'Removes the jobs in the given states for good and returns how many; failed and done may be named, running may not (cancel those). done also ends what once refuses. Jobs that a worker is just taking are left. Who: the owner of the queue.';
