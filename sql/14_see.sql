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

-- What queues were told, for people. Barriers: nobody's function sees what its caller may not.
CREATE VIEW queue.queue_options WITH (security_barrier) AS
    SELECT q.queue, q.max_attempts, q.backoff, q.backoff_factor, q.backoff_max, q.lease, q.keep_done, q.keep_failed,
           coalesce(q.on_conflict, 'none') AS on_conflict, q.on_group_failure, q.max_running, q.max_running_per_key,
           q.rate_limit, q.rate_limit_per_key, q.rate_interval
    FROM queue.queues q WHERE pg_catalog.has_table_privilege(q.queue, 'SELECT');
COMMENT ON VIEW queue.queue_options IS 'The options of each queue that the reader may select from, by the names of the arguments of queue.create_queue and queue.alter_queue; those that were never given have their defaults here';
COMMENT ON COLUMN queue.queue_options.queue IS 'The queue';
COMMENT ON COLUMN queue.queue_options.max_attempts IS 'Attempts before a job becomes an error row; default 5';
COMMENT ON COLUMN queue.queue_options.backoff IS 'Wait after the first failed attempt; default 1 s';
COMMENT ON COLUMN queue.queue_options.backoff_factor IS 'Each further wait is so many times the one before; default 2';
COMMENT ON COLUMN queue.queue_options.backoff_max IS 'No wait is longer than this; default 1 h';
COMMENT ON COLUMN queue.queue_options.lease IS 'How long dequeue lends a job unless it is told otherwise; default 30 s';
COMMENT ON COLUMN queue.queue_options.keep_done IS 'How long finished jobs and their results are kept; null, the default: not at all';
COMMENT ON COLUMN queue.queue_options.keep_failed IS 'How long error rows are kept; null, the default: for ever';
COMMENT ON COLUMN queue.queue_options.on_conflict IS 'What a job does whose key another waiting job has: skip, replace, debounce, merge or error; none, the default: keys are only stored';
COMMENT ON COLUMN queue.queue_options.on_group_failure IS 'block, the default: a failed job holds back the others of its group; continue: it lets them pass';
COMMENT ON COLUMN queue.queue_options.max_running IS 'Most jobs of the queue that run at the same time; null, the default: no limit';
COMMENT ON COLUMN queue.queue_options.max_running_per_key IS 'Most jobs with the same key that run at the same time; null, the default: no limit';
COMMENT ON COLUMN queue.queue_options.rate_limit IS 'Most jobs of the queue that start within rate_interval; null, the default: no limit';
COMMENT ON COLUMN queue.queue_options.rate_limit_per_key IS 'Most jobs with the same key that start within rate_interval; null, the default: no limit';
COMMENT ON COLUMN queue.queue_options.rate_interval IS 'The interval of rate_limit and rate_limit_per_key; default 1 s';

CREATE VIEW queue.registered_processors WITH (security_barrier) AS
    SELECT p.queue,
           coalesce(f.name, p.processor) || '('
               || coalesce(pg_catalog.format_type(CASE p.shape WHEN 'job' THEN t.oid ELSE t.typarray END, NULL), '') || ')' AS processor,
           p.role, p.batch_size, p.parallelism, p.load_balanced, p.timeout, p.then_queue
    FROM queue.processors p
    LEFT JOIN pg_catalog.pg_class c ON c.oid = p.queue
    LEFT JOIN pg_catalog.pg_type t ON t.oid = c.reltype
    LEFT JOIN LATERAL (
        -- It may have been renamed; and its oid may be another's since a restore.
        SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(o.proname) AS name
        FROM pg_catalog.pg_proc o JOIN pg_catalog.pg_namespace n ON n.oid = o.pronamespace
        WHERE o.oid = p.processor_oid AND o.pronargs = 1
          AND o.proargtypes[0] = CASE p.shape WHEN 'job' THEN t.oid ELSE t.typarray END
    ) f ON true
    WHERE pg_catalog.has_table_privilege(p.queue, 'SELECT');
COMMENT ON VIEW queue.registered_processors IS 'The processor of each queue that the reader may select from, if one is registered, by the names of the arguments of queue.register_processor. Whether it can run is said by queue.overview';
COMMENT ON COLUMN queue.registered_processors.queue IS 'The queue worked on';
COMMENT ON COLUMN queue.registered_processors.processor IS 'The function with the type of its argument: f(queue) is called for each job, f(queue[]) once for a batch';
COMMENT ON COLUMN queue.registered_processors.role IS 'The role that registered it: its workers are connected as this role';
COMMENT ON COLUMN queue.registered_processors.batch_size IS 'Most jobs in one transaction; default 100';
COMMENT ON COLUMN queue.registered_processors.parallelism IS 'Most workers on this queue at the same time; default 1';
COMMENT ON COLUMN queue.registered_processors.load_balanced IS 'Batch size and number of workers follow the load within these bounds; default true';
COMMENT ON COLUMN queue.registered_processors.timeout IS 'Longest run of one job, or of one call of f(queue[]); null, the default: no limit';
COMMENT ON COLUMN queue.registered_processors.then_queue IS 'What the function returns becomes jobs of this queue; null, the default: nothing follows; - or a number: the queue was dropped, so that the function does not run';

CREATE VIEW queue.attached_tables WITH (security_barrier) AS
    SELECT a.source, a.queue, a.topic,
           nullif(pg_catalog.concat_ws(',', CASE WHEN t.bits & 4 > 0 THEN 'insert' END, CASE WHEN t.bits & 16 > 0 THEN 'update' END,
                                            CASE WHEN t.bits & 8 > 0 THEN 'delete' END), '') AS events,
           nullif(a.options -> 'set', '{}') AS set, a.options ->> 'condition' AS condition, a.options ->> 'key' AS key,
           (a.options ->> 'priority')::integer AS priority, (a.options ->> 'delay')::interval AS delay,
           nullif(ARRAY(SELECT pg_catalog.jsonb_array_elements_text(a.options -> 'columns')), '{}') AS columns,
           coalesce((a.options ->> 'ignore_own')::boolean, false) AS ignore_own,
           CASE t.bits & 1 WHEN 1 THEN 'row' WHEN 0 THEN 'statement' END AS level,
           a.options ->> 'on_conflict' AS on_conflict, a.role
    FROM queue.attachments a
    JOIN pg_catalog.pg_class c ON c.oid = a.source
    LEFT JOIN LATERAL (
        SELECT pg_catalog.bit_or(g.tgtype)::integer AS bits FROM pg_catalog.pg_trigger g
        WHERE g.tgrelid = a.source AND g.tgparentid = 0
          AND g.tgfoid IN ('queue.enqueue_attached()'::pg_catalog.regprocedure, 'queue.publish_attached()'::pg_catalog.regprocedure)
          AND g.tgargs = pg_catalog.convert_to(a.id::text, 'UTF8') || '\x00'::bytea
    ) t ON true
    WHERE pg_catalog.has_table_privilege(a.queue, 'SELECT') OR pg_catalog.pg_has_role(c.relowner, 'USAGE');
COMMENT ON VIEW queue.attached_tables IS 'The attached tables of each queue that the reader may select from, and those of the reader''s role, by the names of the arguments of queue.attach: so that an attachment can be ended and made again';
COMMENT ON COLUMN queue.attached_tables.source IS 'The table whose changes are enqueued';
COMMENT ON COLUMN queue.attached_tables.queue IS 'The queue they are put on; null: they are published to the topic';
COMMENT ON COLUMN queue.attached_tables.topic IS 'The topic they are published to; null: they are put on the queue';
COMMENT ON COLUMN queue.attached_tables.events IS 'Those of insert, update and delete that count, with commas; null: the triggers of the attachment are gone';
COMMENT ON COLUMN queue.attached_tables.set IS 'Queue column, payload, or payload.name: a SQL expression over new and old; null: the payload says what happened';
COMMENT ON COLUMN queue.attached_tables.condition IS 'Only rows for which this is true are enqueued; null: all';
COMMENT ON COLUMN queue.attached_tables.key IS 'The expression for the key; null: none';
COMMENT ON COLUMN queue.attached_tables.priority IS 'Of the jobs, 0 to 9; null: the default, 5';
COMMENT ON COLUMN queue.attached_tables.delay IS 'The jobs start so long after the start of the transaction, at the earliest; null: at once';
COMMENT ON COLUMN queue.attached_tables.columns IS 'An update counts only if one of these changed; null: each does';
COMMENT ON COLUMN queue.attached_tables.ignore_own IS 'Changes made by the queue''s own processor do not count';
COMMENT ON COLUMN queue.attached_tables.level IS 'row: a trigger for each row; statement: one bulk insert a statement; null: the triggers of the attachment are gone';
COMMENT ON COLUMN queue.attached_tables.on_conflict IS 'What is done if a job with the key waits already; null: what the queue says';
COMMENT ON COLUMN queue.attached_tables.role IS 'The role that attached it: expressions and the insert run with its rights, whoever changes the source';
