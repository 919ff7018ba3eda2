-- See what goes on, and mend it.
CREATE FUNCTION queue.status(queue regclass, id bigint)
RETURNS text LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'status_wrapper';
COMMENT ON FUNCTION queue.status IS 'The state of a job: ready, scheduled, blocked, running, failed or done; null when it is gone (done and not kept, or removed). Errors: 42809, 22023 an id this queue never issued, 42501. Who: SELECT on the queue.';

CREATE FUNCTION queue.result(queue regclass, id bigint)
RETURNS jsonb LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'result_wrapper';
COMMENT ON FUNCTION queue.result IS 'What the processor returned for a job that is done; null when it returned nothing, the job is not done, or it is not kept: it is kept for keep_done or, where the queue keeps no done jobs, for queue_ext.keep_results if it was enqueued with keep_result or by queue.call. Errors and rights as for status.';

CREATE FUNCTION queue.resubmit(queue regclass, id bigint)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'resubmit_wrapper';
COMMENT ON FUNCTION queue.resubmit IS 'Puts a failed job back among the ready ones, with as many further attempts as a new job has; or among the blocked ones, if jobs that it was to wait for (after) have not ended. False when it is not failed. Errors: 42809, 22004, 22023 an id this queue never issued, 54000 its attempt is the last that can be counted, 42501. Who: the owner of the queue.';

CREATE FUNCTION queue.resubmit_all(queue regclass, condition text DEFAULT NULL)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'resubmit_all_wrapper';
COMMENT ON FUNCTION queue.resubmit_all IS 'resubmit for all failed jobs, or for those the boolean condition over the queue''s columns is true for; returns how many. In batches, and errors and rights, as for cancel_all.';

CREATE FUNCTION queue.cancel(queue regclass, id bigint)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cancel_wrapper';
COMMENT ON FUNCTION queue.cancel IS 'A waiting or leased job becomes an error row (57014) at once; one that a worker runs is interrupted and then becomes one. It is not tried again unless resubmitted. False when there is nothing to cancel. Errors: 42809, 22004, 22023 an id this queue never issued, 42501. Who: the owner of the queue.';

CREATE FUNCTION queue.overview_rows(
    OUT queue regclass, OUT processor text, OUT role regrole, OUT paused boolean,
    OUT ready bigint, OUT scheduled bigint, OUT blocked bigint, OUT running bigint, OUT failed bigint, OUT done bigint,
    OUT estimated boolean, OUT oldest interval, OUT done_per_minute bigint, OUT failed_per_minute bigint,
    OUT workers integer, OUT target_workers integer, OUT claim_path text,
    OUT last_safety_scan timestamptz, OUT safety_found bigint, OUT problem text
) RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'overview_rows';
COMMENT ON FUNCTION queue.overview_rows IS 'The rows of the view queue.overview';
CREATE VIEW queue.overview AS SELECT * FROM queue.overview_rows();
COMMENT ON VIEW queue.overview IS 'One row for each queue that the reader may select from; counts are null where row security applies to the reader';
COMMENT ON COLUMN queue.overview.queue IS 'The queue';
COMMENT ON COLUMN queue.overview.processor IS 'The registered processor, if any';
COMMENT ON COLUMN queue.overview.role IS 'The role it runs as';
COMMENT ON COLUMN queue.overview.paused IS 'True between pause and resume';
COMMENT ON COLUMN queue.overview.ready IS 'Jobs whose time has come; includes those a worker is just processing, which leave when it commits, and those that their group or a limit holds back';
COMMENT ON COLUMN queue.overview.scheduled IS 'Jobs waiting for their time, retries included';
COMMENT ON COLUMN queue.overview.blocked IS 'Jobs waiting for others to end: those they come after, those of their group, or those of their key (max_running_per_key)';
COMMENT ON COLUMN queue.overview.running IS 'Jobs leased to clients outside';
COMMENT ON COLUMN queue.overview.failed IS 'Error rows';
COMMENT ON COLUMN queue.overview.done IS 'Finished jobs that are kept';
COMMENT ON COLUMN queue.overview.estimated IS 'True when a count was over 10,000 and is the planner''s estimate';
COMMENT ON COLUMN queue.overview.oldest IS 'How long the next ready job has waited since it was enqueued';
COMMENT ON COLUMN queue.overview.done_per_minute IS 'Jobs finished by workers in the last minute; null without shared memory';
COMMENT ON COLUMN queue.overview.failed_per_minute IS 'Attempts failed in workers in the last minute; null without shared memory';
COMMENT ON COLUMN queue.overview.workers IS 'Workers on this queue now';
COMMENT ON COLUMN queue.overview.target_workers IS 'Workers that load balancing allows it now';
COMMENT ON COLUMN queue.overview.claim_path IS 'How the reader''s claims go: direct, or in SQL and why';
COMMENT ON COLUMN queue.overview.last_safety_scan IS 'When the safety scan last looked through all below the floor; null: not since the start of the server';
COMMENT ON COLUMN queue.overview.safety_found IS 'Claimable jobs that it met there since the start: rows of prepared transactions, of logical replication, of inserts with triggers disabled. Others would be an error of queue_ext';
COMMENT ON COLUMN queue.overview.problem IS 'Why nothing runs, if nothing runs, what of the table was broken, or which group an error row holds back, and how to mend it; null when all is well';

CREATE FUNCTION queue.activity_rows(
    OUT pid integer, OUT queue regclass, OUT role regrole, OUT state text, OUT job_id bigint, OUT batch integer,
    OUT running_for interval, OUT jobs_done bigint, OUT jobs_failed bigint
) RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'activity_rows';
COMMENT ON FUNCTION queue.activity_rows IS 'The rows of the view queue.activity';
CREATE VIEW queue.activity AS SELECT * FROM queue.activity_rows();
COMMENT ON VIEW queue.activity IS 'One row for each worker of this database whose queue the reader may select from, or that is idle and of the reader''s role. Empty without shared memory: see pg_stat_activity then';
COMMENT ON COLUMN queue.activity.pid IS 'Its process, as in pg_stat_activity';
COMMENT ON COLUMN queue.activity.queue IS 'The queue it works on; null when idle';
COMMENT ON COLUMN queue.activity.role IS 'The role it is connected as';
COMMENT ON COLUMN queue.activity.state IS 'idle, claiming, running or finishing';
COMMENT ON COLUMN queue.activity.job_id IS 'The job it runs; the first of the batch for f(queue[])';
COMMENT ON COLUMN queue.activity.batch IS 'Jobs in the present batch';
COMMENT ON COLUMN queue.activity.running_for IS 'Since the present batch began';
COMMENT ON COLUMN queue.activity.jobs_done IS 'Jobs finished by this worker since it started';
COMMENT ON COLUMN queue.activity.jobs_failed IS 'Attempts that failed in this worker since it started';

CREATE FUNCTION queue.error_rows(
    OUT queue regclass, OUT id bigint, OUT attempt integer, OUT sqlstate text, OUT message text, OUT detail text,
    OUT hint text, OUT context text, OUT failed_at timestamptz, OUT job jsonb
) RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'error_rows';
COMMENT ON FUNCTION queue.error_rows IS 'The rows of the view queue.errors';
CREATE VIEW queue.errors AS SELECT * FROM queue.error_rows();
COMMENT ON VIEW queue.errors IS 'The error rows of all queues that the reader may select from, except those where row security applies to the reader';
COMMENT ON COLUMN queue.errors.queue IS 'The queue';
COMMENT ON COLUMN queue.errors.id IS 'The job';
COMMENT ON COLUMN queue.errors.attempt IS 'The attempt that failed last';
COMMENT ON COLUMN queue.errors.sqlstate IS 'Its SQLSTATE';
COMMENT ON COLUMN queue.errors.message IS 'Its message';
COMMENT ON COLUMN queue.errors.detail IS 'Its detail';
COMMENT ON COLUMN queue.errors.hint IS 'Its hint';
COMMENT ON COLUMN queue.errors.context IS 'Where it was raised: the call stack';
COMMENT ON COLUMN queue.errors.failed_at IS 'When it failed last; the times of all attempts are in job -> ''errors''';
COMMENT ON COLUMN queue.errors.job IS 'The whole row; null for one that cannot be written as jsonb';
