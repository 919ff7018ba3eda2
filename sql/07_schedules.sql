-- Jobs that come again and again.
CREATE TABLE queue.timetable (
    name            text        PRIMARY KEY CHECK (octet_length(name) BETWEEN 1 AND 200),
    queue           regclass    NOT NULL,
    role            regrole     NOT NULL,
    cron            text        NOT NULL,
    timezone        text        NOT NULL,
    payload         jsonb       NOT NULL,
    catch_up        text        NOT NULL CHECK (catch_up IN ('none', 'one', 'all')),
    skip_if_running boolean     NOT NULL,
    priority        integer     CHECK (priority BETWEEN 0 AND 9),
    key             text,
    on_conflict     text,
    group_key       text,
    max_attempts    integer     CHECK (max_attempts > 0),
    next_tick       timestamptz NOT NULL,
    last_tick       timestamptz,
    last_outcome    text        CHECK (last_outcome IN ('enqueued', 'skipped', 'missed', 'refused')),
    last_job        bigint,
    problem         text
);
CREATE INDEX timetable_due ON queue.timetable (queue, next_tick);
COMMENT ON TABLE queue.timetable IS 'One row for each schedule; a tick is recorded here in the transaction that enqueues its job';
COMMENT ON COLUMN queue.timetable.name IS 'Its name, unique in the database';
COMMENT ON COLUMN queue.timetable.queue IS 'The queue that its jobs are put on';
COMMENT ON COLUMN queue.timetable.role IS 'The role that made it; without INSERT on the queue it makes no jobs';
COMMENT ON COLUMN queue.timetable.cron IS 'When it runs, as a cron expression';
COMMENT ON COLUMN queue.timetable.timezone IS 'On the clock of which time zone';
COMMENT ON COLUMN queue.timetable.payload IS 'The payload of its jobs';
COMMENT ON COLUMN queue.timetable.catch_up IS 'What becomes of ticks that were missed: none run, one run stands for all, or all run';
COMMENT ON COLUMN queue.timetable.skip_if_running IS 'No job is put on the queue while the one before waits or runs';
COMMENT ON COLUMN queue.timetable.priority IS 'As for enqueue';
COMMENT ON COLUMN queue.timetable.key IS 'As for enqueue';
COMMENT ON COLUMN queue.timetable.on_conflict IS 'As for enqueue';
COMMENT ON COLUMN queue.timetable.group_key IS 'As for enqueue';
COMMENT ON COLUMN queue.timetable.max_attempts IS 'As for enqueue';
COMMENT ON COLUMN queue.timetable.next_tick IS 'The first tick that is not dealt with yet; only ever moves on';
COMMENT ON COLUMN queue.timetable.last_tick IS 'The last tick that was dealt with; null: none was';
COMMENT ON COLUMN queue.timetable.last_outcome IS 'What came of it: enqueued, skipped, missed or refused';
COMMENT ON COLUMN queue.timetable.last_job IS 'The last job it put on the queue';
COMMENT ON COLUMN queue.timetable.problem IS 'Why the last tick was refused';
-- As for queue.processors.
SELECT pg_catalog.pg_extension_config_dump('queue.timetable',
                                           'WHERE role::pg_catalog.oid IN (SELECT r.oid FROM pg_catalog.pg_roles r)');

CREATE FUNCTION queue.schedule_added()
RETURNS trigger LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'schedule_added';
COMMENT ON FUNCTION queue.schedule_added IS 'Row trigger of queue.timetable: sessions learn that the queue has a schedule, and a worker is woken at its time; so it is after a dump was restored, too';
CREATE TRIGGER schedule_added AFTER INSERT ON queue.timetable FOR EACH ROW EXECUTE FUNCTION queue.schedule_added();

CREATE FUNCTION queue.schedule(
    name text, cron text, queue regclass, payload jsonb DEFAULT '{}', timezone text DEFAULT 'UTC',
    catch_up text DEFAULT 'none', skip_if_running boolean DEFAULT false, priority integer DEFAULT NULL,
    key text DEFAULT NULL, on_conflict text DEFAULT NULL, group_key text DEFAULT NULL, max_attempts integer DEFAULT NULL
) RETURNS timestamptz LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'schedule';
COMMENT ON FUNCTION queue.schedule IS
'From now on a job is put on the queue at each tick of the cron expression; returns the next tick. A schedule of that name is replaced; with the same cron, timezone and queue it goes on from where it was.
name: 1 to 200 bytes, unique in the database. cron: minute hour day-of-month month day-of-week, a field for seconds before them if wanted, or @hourly, @daily, @weekly, @monthly, @yearly. timezone: of the IANA database. catch_up: what becomes of ticks that are more than a minute late, after a downtime, say: none runs, one run stands for all that were missed, or all run. skip_if_running: a tick is skipped while the job of the one before waits or runs. payload, priority, key, on_conflict, group_key, max_attempts: of the jobs, as for enqueue.
When the clocks change: with * in the hour field it runs by elapsed time; else each named time runs once, one that does not exist at the first instant after it, one that comes twice the first time.
Errors: 42809, 22023 cron not valid or never runs, unknown timezone, an argument is out of range, 54000 payload over queue_ext.max_payload, what the types of the queue''s columns say to the payload (22P02, 22003, …), 42501, also for a name that another role uses, 0A000 row security of the queue applies to the caller. Who: INSERT on the queue; to replace one: its role or the owner of its queue, too.';

CREATE FUNCTION queue.unschedule(name text)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'unschedule_wrapper';
COMMENT ON FUNCTION queue.unschedule IS 'Removes a schedule; jobs that it put on the queue stay. Waits for a tick that is being fired. Errors: 42704 no such schedule, 42501. Who: the role that made it, or the owner of its queue.';

CREATE FUNCTION queue.next_runs(cron text, timezone text DEFAULT 'UTC', after timestamptz DEFAULT now(), count integer DEFAULT 5)
RETURNS SETOF timestamptz LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'next_runs';
COMMENT ON FUNCTION queue.next_runs IS 'The ticks that a schedule would have after a time, the next ones by default; fewer than count (1 to 1000) if there are no more within 100 years. Errors: 22023 as for schedule. Who: anyone.';

CREATE FUNCTION queue.schedule_rows(
    OUT name text, OUT queue regclass, OUT role regrole, OUT cron text, OUT timezone text, OUT catch_up text,
    OUT skip_if_running boolean, OUT payload jsonb, OUT options jsonb, OUT next_run timestamptz, OUT last_run timestamptz,
    OUT last_outcome text, OUT last_job bigint, OUT problem text
) RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'schedule_rows';
COMMENT ON FUNCTION queue.schedule_rows IS 'The rows of the view queue.schedules';
CREATE VIEW queue.schedules AS SELECT * FROM queue.schedule_rows();
COMMENT ON VIEW queue.schedules IS 'One row for each schedule of a queue that the reader may select from, or that is of the reader''s role';
COMMENT ON COLUMN queue.schedules.name IS 'Its name';
COMMENT ON COLUMN queue.schedules.queue IS 'The queue';
COMMENT ON COLUMN queue.schedules.role IS 'The role that made it';
COMMENT ON COLUMN queue.schedules.cron IS 'The cron expression';
COMMENT ON COLUMN queue.schedules.timezone IS 'The time zone on whose clock it runs';
COMMENT ON COLUMN queue.schedules.catch_up IS 'none, one or all';
COMMENT ON COLUMN queue.schedules.skip_if_running IS 'As given to queue.schedule';
COMMENT ON COLUMN queue.schedules.payload IS 'The payload of its jobs';
COMMENT ON COLUMN queue.schedules.options IS 'Those of priority, key, on_conflict, group_key and max_attempts that were given';
COMMENT ON COLUMN queue.schedules.next_run IS 'The next tick; one that has passed is being waited for: see catch_up';
COMMENT ON COLUMN queue.schedules.last_run IS 'The last tick that was dealt with; null: none was';
COMMENT ON COLUMN queue.schedules.last_outcome IS 'What came of it. Its job is waiting (also while a worker is just processing it), running (lent to a client), done, failed, or ended (it is gone; it was done and not kept, or removed), or is just enqueued where the reader may not see its state. Or there is none: skipped (the job before was waiting or running), missed (late, see catch_up), refused (see problem)';
COMMENT ON COLUMN queue.schedules.last_job IS 'The id of the last job it put on the queue';
COMMENT ON COLUMN queue.schedules.problem IS 'Why the last tick was refused; null when all is well';
