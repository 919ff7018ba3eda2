-- Put jobs on a queue.
CREATE FUNCTION queue.enqueue(
    queue regclass, payload jsonb DEFAULT '{}', priority integer DEFAULT NULL,
    run_at timestamptz DEFAULT NULL, delay interval DEFAULT NULL,
    key text DEFAULT NULL, on_conflict text DEFAULT NULL, group_key text DEFAULT NULL,
    max_attempts integer DEFAULT NULL, once interval DEFAULT NULL,
    after bigint[] DEFAULT NULL, after_failure text DEFAULT NULL, correlation_id text DEFAULT NULL,
    keep_result boolean DEFAULT false
) RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'enqueue';
COMMENT ON FUNCTION queue.enqueue IS
'Puts a job on the queue and returns its id. It becomes visible when the caller commits.
payload: fields named like the queue''s own columns fill those, the rest stays payload. priority: 0 to 9, default 5, lower first. run_at or delay: not before. key: what the job is about, at most 1000 bytes. on_conflict (the queue''s; none: keys are only stored): what is done if a job with this key waits already, also for its time or its retry. skip: it stands for both, and cannot start before this transaction ends. replace: it gets the new payload and typed columns, of the two priorities the more urgent one, and keeps id and time. debounce: the new time, too. merge: as replace, but it gets payload || new payload, and of the typed columns those that are not null. error: 23505. The id returned is then that of the waiting job. A job that has started does not count: the new one runs after it. group_key: jobs of a group run one at a time, in the order of their ids. max_attempts: overrides the queue''s. once: while a job with this key waits, runs or has failed, and for so long after it was done, nothing is enqueued and its id is returned (on_conflict error: 23505); queue.forget_key ends that. after: wait for the jobs with these ids; after_failure: when one of them fails, fail (the default) or release. correlation_id: of the request that the job belongs to; a job that a processor enqueues has, if none is given, that of the job it runs, see queue.trace. keep_result (false): queue.result is asked for it later, so the result is kept for queue_ext.keep_results even if the queue keeps no done jobs.
Errors: 42809 not a queue, 22023 an argument is out of range, 23505 on_conflict error, 54000 payload over queue_ext.max_payload, and whatever the queue''s own constraints raise. Who: INSERT on the queue.';

CREATE FUNCTION queue.enqueue_many(
    queue regclass, payloads jsonb[], priority integer DEFAULT NULL,
    run_at timestamptz DEFAULT NULL, delay interval DEFAULT NULL,
    key text DEFAULT NULL, on_conflict text DEFAULT NULL, group_key text DEFAULT NULL,
    max_attempts integer DEFAULT NULL, once interval DEFAULT NULL,
    after bigint[] DEFAULT NULL, after_failure text DEFAULT NULL, correlation_id text DEFAULT NULL,
    keep_result boolean DEFAULT false
) RETURNS SETOF bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'enqueue_many';
COMMENT ON FUNCTION queue.enqueue_many IS 'Puts a job on the queue for each payload, in order, and returns their ids in that order. Arguments, errors and rights as for enqueue.';

CREATE FUNCTION queue.attach(
    source regclass, queue regclass DEFAULT NULL, events text DEFAULT 'insert,update,delete',
    set jsonb DEFAULT NULL, condition text DEFAULT NULL, key text DEFAULT NULL,
    priority integer DEFAULT NULL, delay interval DEFAULT NULL,
    columns text[] DEFAULT NULL, ignore_own boolean DEFAULT false, level text DEFAULT NULL,
    on_conflict text DEFAULT NULL, topic text DEFAULT NULL
) RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'attach_wrapper';
COMMENT ON FUNCTION queue.attach IS
'From now on changes of the source table put jobs on the queue, in the same transaction.
events: any of insert, update, delete. set: queue column or payload field (payload.name) → SQL expression over new and old, for example {"recipient": "new.email"}; without it the payload is {"operation", "table", "key", "row"}. condition: boolean expression; only rows for which it is true are enqueued. key: expression for the job''s key; on_conflict (the queue''s): what is done if a job with this key waits already, see enqueue. priority 0 to 9 and delay as in enqueue. columns: an update counts only if one of these columns changed. ignore_own: changes made by this queue''s own processor do not enqueue again. level: row or statement; by default statement where Postgres allows it, so that a statement of many rows makes one bulk insert.
topic: instead of a queue: each change is published to it, see queue.publish, and so put on every queue that is subscribed when it happens; set may then name payload, its fields, priority, run_at, key, max_attempts, group_key, once and correlation_id. The role that attaches needs INSERT on those queues whenever a change happens. ignore_own: not put on the queue whose processor made the change.
Expressions are checked now, and run with the rights of the role that attaches, under search_path pg_catalog: qualify other names. The roles that change the source need no privilege on the queue.
Errors: 22004 neither queue nor topic, 22023 both, or a malformed topic, 42809 not a queue or not a table, 42703 unknown column, 42601 not a single expression, 42710 already attached, 42P17 the source is a queue and what is enqueued would come back to it, by way of attached queues and of topics with the queues subscribed now, 42501. Who: the owner of the queue who also owns the source; with a topic, the owner of the source.';

CREATE FUNCTION queue.detach(source regclass, queue regclass DEFAULT NULL, topic text DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'detach_wrapper';
COMMENT ON FUNCTION queue.detach IS 'Ends what attach began, with a queue or with a topic; jobs already enqueued stay. Errors: 42704 not attached, 22023 both a queue and a topic, 22004 neither, 42501. Who: the owner of the source or of the queue.';

CREATE FUNCTION queue.enqueue_from_trigger()
RETURNS trigger LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'enqueue_from_trigger';
COMMENT ON FUNCTION queue.enqueue_from_trigger IS
'Trigger function for a hand-written CREATE TRIGGER … AFTER …: EXECUTE FUNCTION queue.enqueue_from_trigger(''mail'', ''condition=new.total > 0'', ''set={"recipient": "new.email"}'', ''key=new.id'', ''on_conflict=skip'', ''priority=3'', ''delay=1 min'', ''columns=a,b'', ''ignore_own=true''). FOR EACH ROW, or FOR EACH STATEMENT with transition tables named new_rows and old_rows. Runs with the rights of the role that changes the table, which needs INSERT on the queue.';

CREATE FUNCTION queue.enqueue_attached()
RETURNS trigger LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'enqueue_attached';
COMMENT ON FUNCTION queue.enqueue_attached IS 'Trigger function that attach installs; its argument is the attachment''s id. Refuses to run on any other table.';

CREATE FUNCTION queue.before_change()
RETURNS trigger LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'before_change';
COMMENT ON FUNCTION queue.before_change IS 'Statement trigger of every queue: when the transaction commits, claims look where its rows may be, and a worker is woken';

CREATE FUNCTION queue.needs_check(
    id bigint, run_at timestamptz, priority smallint, max_attempts integer, key text, after bigint[], group_key text,
    correlation_id text, after_failure text, attempt integer, lease_until timestamptz, errors jsonb, result jsonb,
    finished_at timestamptz)
RETURNS boolean LANGUAGE c STABLE PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'needs_check';
COMMENT ON FUNCTION queue.needs_check IS 'The condition of the row trigger of every queue: is a ready row one for queue.check_ready?';

CREATE FUNCTION queue.check_ready()
RETURNS trigger LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'check_ready';
COMMENT ON FUNCTION queue.check_ready IS 'Row trigger of every queue: a plain INSERT or COPY with a future run_at is put among the scheduled jobs before anyone sees it; a priority, max_attempts, key, group_key, correlation_id or after_failure out of range is refused (22023), and so is, from others than the owner, who restores a dump, a value for what only queue_ext sets: attempt, lease_until, errors, result, finished_at (42501); a job with a key is coalesced as the queue''s on_conflict says, and one with after waits';

CREATE FUNCTION queue.check_moved()
RETURNS trigger LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'check_moved';
COMMENT ON FUNCTION queue.check_moved IS 'Row trigger of every queue: only its owner, to restore a dump, inserts rows in another state than ready (42501)';
