-- Ticks, fired by whoever dequeues, under a clock that the test sets.
CREATE SCHEMA schedule_ticks;
SET search_path = schedule_ticks;
SET timezone = 'UTC';
SELECT queue.create_queue('q');
CREATE FUNCTION at(clock timestamptz, from_queue regclass DEFAULT 'schedule_ticks.q', OUT jobs text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('queue_ext.test_clock', clock::text, false);
    SELECT coalesce(string_agg(coalesce(payload ->> 'n', payload::text), ' ' ORDER BY id), '-') INTO jobs FROM queue.pop(from_queue, 1000000);
END $$;
COMMENT ON FUNCTION at IS 'The jobs that a consumer gets then';
CREATE VIEW seen AS SELECT name, next_run, last_run, last_outcome, last_job, problem FROM queue.schedules ORDER BY name;

-- A tick fires once, at its time, whatever the clock does then.
SELECT at('2025-01-01 10:00:01');
SELECT queue.schedule('s', '*/10 * * * *', 'q', '{"n": 1}');
SELECT * FROM queue.schedules;
SELECT at('2025-01-01 10:09:59');
SELECT at('2025-01-01 10:10:00'), at('2025-01-01 10:10:00'), at('2025-01-01 10:10:01');
SELECT * FROM seen;
SELECT at('2025-01-01 09:00'), at('2025-01-01 10:10:00'), at('2025-01-01 10:19:59');
SELECT at('2025-01-01 10:20:30'), at('2025-01-01 10:29');
-- A rollback takes back both the job and the record.
BEGIN;
SELECT at('2025-01-01 10:30'), at('2025-01-01 10:30');
ROLLBACK;
SELECT at('2025-01-01 10:30'), at('2025-01-01 10:30');
-- As enqueue would have put it there.
SELECT queue.schedule('s', '*/10 * * * *', 'q', '{"n": 2}', priority => 3, key => 'k', group_key => 'g', max_attempts => 7);
SELECT set_config('queue_ext.test_clock', '2025-01-01 10:40', false);
SELECT id, priority, key, group_key, max_attempts, attempt, payload, run_at, topic FROM queue.dequeue('q');
SELECT options, last_outcome, last_job FROM queue.schedules;
SELECT queue.nack('q', last_job, 1, 'no', '1 day') FROM queue.schedules;
SELECT last_outcome FROM queue.schedules;
-- The same again goes on from where it was; another time begins anew.
SELECT set_config('queue_ext.test_clock', '2025-01-01 10:55', false);
SELECT queue.schedule('s', '*/10 * * * *', 'q', '{"n": 3}', catch_up => 'one');
SELECT at('2025-01-01 10:55');
SELECT queue.schedule('s', '0 * * * *', 'q', '{"n": 4}');
SELECT at('2025-01-01 10:55'), at('2025-01-01 11:00');
SELECT name, cron, options, next_run, last_run FROM queue.schedules;
SELECT queue.unschedule('s');
SELECT at('2025-01-01 12:00');
SELECT * FROM seen;

-- What was missed: nobody looked from 10:00 until 13:30.
SELECT at('2025-01-02 09:30');
SELECT queue.schedule('none', '0 * * * *', 'q', '{"n": "none"}');
SELECT queue.schedule('one', '0 * * * *', 'q', '{"n": "one"}', catch_up => 'one');
SELECT queue.schedule('all', '0 * * * *', 'q', '{"n": "all"}', catch_up => 'all');
SELECT at('2025-01-02 13:30');
SELECT name, next_run, last_run, last_outcome FROM seen;
SELECT at('2025-01-02 14:00');
-- A minute late is in time; but then only the last one is.
SELECT at('2025-01-02 16:01:00');
SELECT at('2025-01-02 17:01:01');
SELECT queue.unschedule(name) FROM queue.schedules;
-- Very many, in bounded steps; each comes once.
SELECT queue.schedule('all', '* * * * * *', 'q', catch_up => 'all');
SELECT set_config('queue_ext.test_clock', '2025-01-02 18:01:01', false);
SELECT count(*), min(id) > 0 AS ids FROM queue.pop('q', 1000000);
SELECT sum(n) FROM (SELECT count(*) AS n FROM generate_series(1, 5) i, LATERAL (SELECT i, * FROM queue.pop('q', 1000000)) j) s;
SELECT count(*) FROM queue.pop('q', 1000000);
SELECT next_run, last_run FROM seen;
SELECT queue.unschedule('all');

-- skip_if_running: not while the former one waits or runs.
SELECT at('2025-01-03 09:30');
SELECT queue.schedule('s', '0 * * * *', 'q', '{"n": 5}', skip_if_running => true, catch_up => 'all');
SELECT queue.alter_queue('q', keep_done => '1 day');
CREATE FUNCTION enqueued(clock timestamptz) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('queue_ext.test_clock', clock::text, false);
    -- So that nothing is taken.
    PERFORM queue.pause('schedule_ticks.q');
    PERFORM queue.dequeue('schedule_ticks.q');
    PERFORM queue.resume('schedule_ticks.q');
    RETURN (SELECT count(*) FROM schedule_ticks.q WHERE payload ->> 'n' = '5');
END $$;
SELECT enqueued('2025-01-03 10:00'), (SELECT last_outcome FROM seen);
SELECT enqueued('2025-01-03 11:00'), (SELECT last_outcome FROM seen);
SELECT payload FROM queue.dequeue('q') \gset
SELECT last_outcome, last_run FROM seen;
SELECT enqueued('2025-01-03 12:00'), (SELECT last_outcome FROM seen);
SELECT queue.snooze('q', last_job, 1, '1 h') FROM seen;
SELECT enqueued('2025-01-03 13:00'), (SELECT last_outcome FROM seen);
UPDATE q SET run_at = now() WHERE state = 'scheduled' AND payload ->> 'n' = '5';
SELECT queue.ack('q', id, attempt) FROM queue.dequeue('q');
SELECT enqueued('2025-01-03 14:00'), (SELECT last_outcome FROM seen);
SELECT queue.ack('q', id, attempt) FROM queue.dequeue('q');
SELECT last_outcome FROM seen;
-- Several that were missed: one of them.
SELECT enqueued('2025-01-03 17:30'), (SELECT last_outcome FROM seen);
SELECT queue.cancel('q', last_job) FROM seen;
SELECT enqueued('2025-01-03 18:00'), (SELECT last_outcome FROM seen);
SELECT queue.cancel('q', last_job) FROM seen;
SELECT last_outcome FROM seen;
SELECT queue.purge('q', '{failed,done}') > 0 AS purged;
SELECT last_outcome FROM seen;
SELECT queue.unschedule('s');

-- Over the changes of the clocks. In the spring the day has no 02:30, in the autumn it has two.
SELECT at('2025-03-29 12:00');
SELECT queue.schedule('fixed', '30 2 * * *', 'q', '{"n": "fixed"}', timezone => 'Europe/Berlin');
SELECT queue.schedule('interval', '*/30 * * * *', 'q', '{"n": "interval"}', timezone => 'europe/berlin');
CREATE TABLE heard (clock timestamptz, jobs text);
INSERT INTO heard SELECT t, at(t) FROM generate_series('2025-03-29 23:00'::timestamptz, '2025-03-30 03:00', '10 min') t;
SELECT clock AT TIME ZONE 'Europe/Berlin' AS wall, clock, jobs FROM heard WHERE jobs <> '-' ORDER BY clock;
TRUNCATE heard;
SELECT at('2025-10-25 22:29:59') IS NOT NULL AS later;
INSERT INTO heard SELECT t, at(t) FROM generate_series('2025-10-25 22:30'::timestamptz, '2025-10-26 03:00', '10 min') t;
SELECT clock AT TIME ZONE 'Europe/Berlin' AS wall, clock, jobs FROM heard WHERE jobs <> '-' ORDER BY clock;
SELECT name, timezone FROM queue.schedules;
SELECT queue.unschedule(name) FROM queue.schedules;

-- One that fails says why, goes on at its next tick, and stops nobody else, nor upkeep.
SELECT at('2025-05-01 09:30');
SELECT queue.create_queue('typed', 'n int');
SELECT queue.schedule('a bad', '0 * * * *', 'typed', '{"n": 13}');
SELECT queue.schedule('b good', '0 * * * *', 'typed', '{"n": 14}');
ALTER TABLE typed ADD CONSTRAINT rule CHECK (n <> 13);
SELECT queue.enqueue('typed', '{"n": 15}', delay => '1 h') AS id \gset
UPDATE typed SET run_at = now();
SELECT at('2025-05-01 10:00', 'typed');
SELECT * FROM seen;
SELECT at('2025-05-01 11:00', 'typed');
ALTER TABLE typed DROP CONSTRAINT rule;
ALTER TABLE typed DROP COLUMN n;
SELECT at('2025-05-01 12:00', 'typed');
SELECT * FROM seen;
SELECT queue.unschedule(name) FROM queue.schedules;
-- Not even one that this version cannot read.
SELECT queue.schedule('odd', '0 * * * *', 'q', '{"n": 1}');
SELECT queue.schedule('q', '0 * * * *', 'q', '{"n": 2}');
UPDATE queue.timetable SET cron = 'whenever' WHERE name = 'odd';
SELECT at('2025-05-01 13:00');
SELECT * FROM seen;
SELECT queue.unschedule('odd');

-- A pause hands nothing out; enqueueing goes on.
SELECT queue.pause('q');
SELECT at('2025-05-01 14:00'), at('2025-05-01 15:00');
SELECT count(*) FROM q WHERE state = 'ready';
CREATE FUNCTION work(job q) RETURNS void LANGUAGE sql AS '';
SELECT queue.register_processor('q', 'work(q)');
SELECT set_config('queue_ext.test_clock', '2025-05-01 16:00', false);
CALL queue.run('q');
SELECT count(*) FROM q WHERE state = 'ready';
SELECT queue.resume('q');
SELECT set_config('queue_ext.test_clock', '2025-05-01 17:00', false);
CALL queue.run('q');
SELECT last_run, last_outcome FROM seen;
SELECT queue.unregister_processor('q');

-- To another queue: it knows nothing of the jobs on the one before.
SELECT queue.create_queue('other');
SELECT queue.schedule('q', '0 * * * *', 'other', '{"n": 2}', skip_if_running => true);
SELECT name, queue, next_run, last_run, last_job FROM queue.schedules;
SELECT at('2025-05-01 18:00'), at('2025-05-01 18:00', 'other');
-- As a dump brings it back, to a session that knew of none.
SELECT queue.create_queue('restored');
SELECT at('2025-05-01 18:30', 'restored');
COPY queue.timetable (name, queue, role, cron, timezone, payload, catch_up, skip_if_running, next_tick) FROM stdin;
back	schedule_ticks.restored	postgres	0 * * * *	UTC	{"n": 6}	one	f	2025-05-01 17:00:00+00
\.
SELECT at('2025-05-01 18:30', 'restored');
SELECT queue.drop_queue('restored');
-- At REPEATABLE READ a claim does no upkeep.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT at('2025-05-01 19:00', 'other');
COMMIT;
SELECT at('2025-05-01 19:00', 'other');
-- Undone with the transaction, kept with it.
BEGIN;
SELECT queue.unschedule('q');
SELECT queue.schedule('new', '0 * * * *', 'other', '{"n": 3}');
SELECT at('2025-05-01 20:00', 'other');
ROLLBACK;
SELECT at('2025-05-01 20:00', 'other');
-- A queue that is dropped takes its schedules along.
SELECT queue.schedule('r', '0 * * * *', 'q');
DROP TABLE q CASCADE;
SELECT name FROM queue.schedules;
SELECT queue.drop_queue('other');
SELECT name FROM queue.schedules;
RESET queue_ext.test_clock;
