-- What schedule, unschedule and next_runs refuse, before anything is written.
CREATE SCHEMA schedule_errors;
SET search_path = schedule_errors;
SET timezone = 'UTC';
SELECT queue.create_queue('q');
SELECT queue.create_queue('typed', 'n int NOT NULL');
CREATE TABLE plain (id int);
CREATE VIEW refused AS SELECT * FROM test.tries(
    $$SELECT queue.schedule('s', '', 'q')$$,
    $$SELECT queue.schedule('s', '* * * *', 'q')$$,
    $$SELECT queue.schedule('s', '0 * * * * * 2030', 'q')$$,
    $$SELECT queue.schedule('s', '60 * * * *', 'q')$$,
    $$SELECT queue.schedule('s', '0 24 * * *', 'q')$$,
    $$SELECT queue.schedule('s', '0 0 0 * *', 'q')$$,
    $$SELECT queue.schedule('s', '0 0 * 13 *', 'q')$$,
    $$SELECT queue.schedule('s', '0 0 * * MONDAY', 'q')$$,
    $$SELECT queue.schedule('s', '*/0 * * * *', 'q')$$,
    $$SELECT queue.schedule('s', '5/5 * * * *', 'q')$$,
    $$SELECT queue.schedule('s', '@often', 'q')$$,
    $$SELECT queue.schedule('s', '* * * * *; DROP TABLE q', 'q')$$,
    $$SELECT queue.schedule('s', repeat('1,', 600) || '1 * * * *', 'q')$$,
    $$SELECT queue.schedule('s', '0 0 31 2 *', 'q')$$,
    $$SELECT queue.schedule('s', '0 0 31 4,6,9,11 *', 'q')$$,
    $$SELECT queue.schedule('s', '* * * * *', 'q', timezone => 'Europe/Atlantis')$$,
    $$SELECT queue.schedule('s', '* * * * *', 'q', timezone => '+02:00')$$,
    $$SELECT queue.schedule('s', '* * * * *', 'q', timezone => '')$$,
    $$SELECT queue.schedule('s', '* * * * *', 'q', catch_up => 'some')$$,
    $$SELECT queue.schedule('', '* * * * *', 'q')$$,
    $$SELECT queue.schedule(repeat('x', 201), '* * * * *', 'q')$$,
    $$SELECT queue.schedule('s', '* * * * *', 'q', priority => 10)$$,
    $$SELECT queue.schedule('s', '* * * * *', 'q', key => repeat('x', 1001))$$,
    $$SELECT queue.schedule('s', '* * * * *', 'q', group_key => repeat('x', 1001))$$,
    $$SELECT queue.schedule('s', '* * * * *', 'q', on_conflict => 'skip')$$,
    $$SELECT queue.schedule('s', '* * * * *', 'q', key => 'k', on_conflict => 'ignore')$$,
    $$SELECT queue.schedule('s', '* * * * *', 'q', max_attempts => 0)$$,
    $$SELECT queue.schedule('s', '* * * * *', 'typed', '[]')$$,
    $$SELECT queue.schedule('s', '* * * * *', 'plain')$$,
    $$SELECT queue.schedule('s', '* * * * *', 'nowhere')$$,
    $$SELECT queue.schedule(NULL, '* * * * *', 'q')$$,
    $$SELECT queue.schedule('s', NULL, 'q')$$,
    $$SELECT queue.schedule('s', '* * * * *', NULL)$$,
    $$SELECT queue.schedule('s', '* * * * *', 'q', NULL)$$,
    $$SELECT queue.schedule('s', '* * * * *', 'q', timezone => NULL)$$,
    $$SELECT queue.schedule('s', '* * * * *', 'q', catch_up => NULL)$$,
    $$SELECT queue.schedule('s', '* * * * *', 'q', skip_if_running => NULL)$$,
    $$SELECT queue.unschedule('nothing')$$,
    $$SELECT queue.unschedule(NULL)$$,
    $$SELECT queue.next_runs('* * * *')$$,
    $$SELECT queue.next_runs('0 0 30 2 *')$$,
    $$SELECT queue.next_runs('* * * * *', 'Mars/Olympus')$$,
    $$SELECT queue.next_runs('* * * * *', count => 0)$$,
    $$SELECT queue.next_runs('* * * * *', count => 1001)$$,
    $$SELECT queue.next_runs('* * * * *', after => 'infinity')$$,
    $$SELECT queue.next_runs('* * * * *', after => '0001-01-01 BC')$$,
    $$SELECT queue.next_runs(NULL)$$);
\x on
\pset format unaligned
SELECT left(command, 100) AS command, sqlstate, message, hint FROM refused;
\pset format aligned
\x off
SELECT count(*) FROM queue.schedules;
SET queue_ext.max_payload = '1kB';
SELECT test.code($$SELECT queue.schedule('s', '* * * * *', 'q', jsonb_build_object('x', repeat('x', 2000)))$$);
RESET queue_ext.max_payload;
-- A payload that the queue's columns do not take: what enqueue says.
SELECT queue.create_queue('columns', 'n int, at date, short varchar(3), amount numeric(4,2), small int CHECK (small < 10)');
SELECT p AS payload, enqueued.sqlstate, scheduled.message, scheduled.message = enqueued.message AS same
FROM unnest(ARRAY['{"n": "x"}', '{"at": "2025-02-30"}', '{"short": "long"}', '{"n": 5000000000}', '{"amount": 100}', '{"n": 1, "at": "noon"}']::jsonb[]) p,
    test.fails(format('SELECT queue.enqueue(''columns'', %L)', p)) enqueued,
    test.fails(format('SELECT queue.schedule(''s'', ''* * * * *'', ''columns'', %L)', p)) scheduled;
SELECT count(*) FROM queue.schedules;
-- What else is wrong with the row shows at the tick.
SELECT test.code(format('SELECT queue.schedule(''s'', ''* * * * *'', %L, %L)', q, p))
FROM (VALUES ('columns', '{"n": 7, "at": "2025-02-28", "short": "abc", "amount": null, "other": "x"}'), ('columns', '{"small": 10}'), ('typed', '{}')) AS v (q, p);
SELECT queue.drop_queue('columns');
-- A time that is none, for the clock of tests.
SET queue_ext.test_clock = 'noon';
SELECT test.code($$SELECT queue.schedule('s', '* * * * *', 'q')$$);
RESET queue_ext.test_clock;
-- Only a superuser sets it.
SET ROLE regress_nobody;
SET queue_ext.test_clock = '2025-01-01';
RESET ROLE;
-- Row security that applies to the role.
CREATE ROLE regress_scheduler;
GRANT USAGE ON SCHEMA schedule_errors TO regress_scheduler;
GRANT INSERT ON q TO regress_scheduler;
ALTER TABLE q ENABLE ROW LEVEL SECURITY;
SET ROLE regress_scheduler;
SELECT * FROM test.fails($$SELECT queue.schedule('s', '* * * * *', 'schedule_errors.q')$$);
RESET ROLE;
DROP OWNED BY regress_scheduler;
DROP ROLE regress_scheduler;
-- Not a trigger for other tables.
CREATE TRIGGER t AFTER UPDATE ON plain FOR EACH ROW EXECUTE FUNCTION queue.schedule_added();
INSERT INTO plain VALUES (1);
SELECT * FROM test.fails('UPDATE schedule_errors.plain SET id = 2');
SELECT count(*) FROM queue.schedules;
