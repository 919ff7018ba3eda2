-- Who may schedule, change, remove and see, and with whose rights a tick is fired.
CREATE SCHEMA schedule_rights AUTHORIZATION regress_owner;
GRANT USAGE ON SCHEMA schedule_rights TO PUBLIC;
SET search_path = schedule_rights;
SET timezone = 'UTC';
CREATE ROLE regress_scheduler;
CREATE ROLE regress_other;
SET queue_ext.test_clock = '2025-01-01 09:30';
SET ROLE regress_owner;
SELECT queue.create_queue('q', 'n int, who text DEFAULT current_user');
GRANT INSERT ON q TO regress_scheduler, regress_other;
GRANT SELECT, DELETE ON q TO regress_taker;
GRANT SELECT ON q TO regress_reader;
SELECT queue.schedule('of owner', '0 * * * *', 'q', '{"n": 1}');
SET ROLE regress_scheduler;
SELECT queue.schedule('of scheduler', '0 * * * *', 'q', '{"n": 2}');
SELECT name, role, last_outcome FROM queue.schedules;
SELECT * FROM test.fails($$SELECT queue.schedule('of owner', '0 * * * *', 'schedule_rights.q')$$);
SELECT * FROM test.fails($$SELECT queue.unschedule('of owner')$$);
SET ROLE regress_other;
SELECT name FROM queue.schedules;
SELECT * FROM test.fails($$SELECT queue.unschedule('of scheduler')$$);
SELECT * FROM test.fails($$SELECT queue.schedule('of scheduler', '0 * * * *', 'schedule_rights.q')$$);
SET ROLE regress_nobody;
SELECT * FROM test.fails($$SELECT queue.schedule('of nobody', '0 * * * *', 'schedule_rights.q')$$);
SELECT * FROM test.fails($$SELECT * FROM queue.timetable$$);
SELECT name FROM queue.schedules;
SET ROLE regress_reader;
SELECT name, queue, role, payload FROM queue.schedules;
RESET ROLE;

-- A taker fires them, and has nothing of it but jobs to take: the owner's code runs as the owner.
CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.who := new.who || ' ' || current_user; RETURN new; END $$;
CREATE TRIGGER spy BEFORE INSERT ON q_ready FOR EACH ROW EXECUTE FUNCTION spy();
SET ROLE regress_taker;
SELECT set_config('queue_ext.test_clock', '2025-01-01 10:00', false) IS NULL AS set;
RESET ROLE;
SET queue_ext.test_clock = '2025-01-01 10:00';
SET ROLE regress_taker;
SELECT payload FROM queue.pop('schedule_rights.q', 10);
SELECT name, role, last_run, last_outcome, problem FROM queue.schedules;
SET ROLE regress_scheduler;
SELECT name, last_outcome FROM queue.schedules;
RESET ROLE;

-- A role that loses INSERT makes no more jobs, and says so; others go on.
REVOKE INSERT ON q FROM regress_scheduler;
SET queue_ext.test_clock = '2025-01-01 11:00';
SELECT payload FROM queue.pop('q', 10);
SELECT name, last_run, last_outcome, problem FROM queue.schedules;
GRANT INSERT ON q TO regress_scheduler;
SET queue_ext.test_clock = '2025-01-01 12:00';
SELECT count(*) FROM queue.pop('q', 10);
SELECT name, last_run, last_outcome, problem FROM queue.schedules;
-- Nor one that row security has come to apply to.
ALTER TABLE q ENABLE ROW LEVEL SECURITY;
SET queue_ext.test_clock = '2025-01-01 13:00';
SELECT count(*) FROM queue.pop('q', 10);
SELECT name, last_outcome, problem FROM queue.schedules;
SET ROLE regress_reader;
SELECT name, last_outcome FROM queue.schedules;
RESET ROLE;
ALTER TABLE q DISABLE ROW LEVEL SECURITY;
-- Nor one that is gone.
DROP OWNED BY regress_scheduler;
DROP ROLE regress_scheduler;
SET queue_ext.test_clock = '2025-01-01 14:00';
SET client_min_messages = error;
SELECT count(*) FROM queue.pop('q', 10);
SELECT name, last_outcome, problem LIKE 'role "%" may not insert into queue "q" (SQLSTATE 42501)' AS says_so FROM queue.schedules;
RESET client_min_messages;
-- The owner of the queue may change and remove what others scheduled on it; members of a role are the role.
SET ROLE regress_owner;
SELECT queue.schedule('of scheduler', '0 * * * *', 'q', '{"n": 3}');
SELECT name, role, problem FROM queue.schedules;
SET ROLE regress_other;
SELECT queue.schedule('of other', '0 * * * *', 'q');
RESET ROLE;
GRANT regress_other TO regress_nobody;
SET ROLE regress_nobody;
SELECT queue.schedule('of other', '30 * * * *', 'q');
SELECT queue.unschedule('of other');
SET ROLE regress_owner;
SELECT queue.unschedule(name) FROM queue.schedules;
RESET ROLE;
REVOKE regress_other FROM regress_nobody;
DROP OWNED BY regress_other;
DROP ROLE regress_other;
RESET queue_ext.test_clock;
