-- Who may call what, as data: each function with the least right that allows it, tried as a role of
-- each kind. What is not allowed is 42501 and nothing else, for every function.
CREATE SCHEMA privileges_matrix AUTHORIZATION regress_owner;
GRANT USAGE ON SCHEMA privileges_matrix TO PUBLIC;
SET search_path = privileges_matrix;
SET ROLE regress_owner;
SELECT queue.create_queue('q', 'n int');
CREATE TABLE source (id int);
SELECT queue.create_queue('spare');
CREATE TABLE attached (id int);
CREATE FUNCTION work(job q) RETURNS void LANGUAGE sql AS '';
SELECT queue.attach('attached', 'q', 'insert');
SELECT queue.schedule('privileges_matrix', '0 0 1 1 *', 'q') > now() AS scheduled;
GRANT SELECT ON q TO regress_reader;
GRANT INSERT ON q TO regress_writer;
GRANT SELECT, DELETE ON q TO regress_taker;
SELECT count(queue.enqueue('q')) FROM generate_series(1, 5);
RESET ROLE;
SELECT queue.subscribe('privileges', 'q');

CREATE TABLE rule (function text, least text, call text);
INSERT INTO rule VALUES
    ('create_queue', 'create', $$SELECT queue.create_queue('privileges_matrix.made')$$),
    ('alter_queue', 'owner', $$SELECT queue.alter_queue('privileges_matrix.q', max_attempts => 5)$$),
    ('drop_queue', 'owner', $$SELECT queue.drop_queue('privileges_matrix.spare', true)$$),
    ('pause', 'owner', $$SELECT queue.pause('privileges_matrix.q')$$),
    ('resume', 'owner', $$SELECT queue.resume('privileges_matrix.q')$$),
    ('purge', 'owner', $$SELECT queue.purge('privileges_matrix.q')$$),
    ('enqueue', 'insert', $$SELECT queue.enqueue('privileges_matrix.q', '{"n": 1}')$$),
    ('enqueue_many', 'insert', $$SELECT queue.enqueue_many('privileges_matrix.q', '{"{}"}')$$),
    ('attach', 'owner', $$SELECT queue.attach('privileges_matrix.source', 'privileges_matrix.q')$$),
    ('detach', 'owner', $$SELECT queue.detach('privileges_matrix.attached', 'privileges_matrix.q')$$),
    ('dequeue', 'take', $$SELECT queue.dequeue('privileges_matrix.q')$$),
    ('dequeue_as', 'take', $$SELECT queue.dequeue_as(NULL::privileges_matrix.q)$$),
    ('ack', 'take', $$SELECT queue.ack('privileges_matrix.q', 1, 1)$$),
    ('ack_many', 'take', $$SELECT queue.ack_many('privileges_matrix.q', '{1}', '{1}')$$),
    ('nack', 'take', $$SELECT queue.nack('privileges_matrix.q', 1, 1)$$),
    ('snooze', 'take', $$SELECT queue.snooze('privileges_matrix.q', 1, 1, '1 s')$$),
    ('extend_lease', 'take', $$SELECT queue.extend_lease('privileges_matrix.q', 1, 1)$$),
    ('pop', 'take', $$SELECT queue.pop('privileges_matrix.q')$$),
    ('pop_as', 'take', $$SELECT queue.pop_as(NULL::privileges_matrix.q)$$),
    ('register_processor', 'owner', $$SELECT queue.register_processor('privileges_matrix.q', 'privileges_matrix.work(privileges_matrix.q)')$$),
    ('unregister_processor', 'owner', $$SELECT queue.unregister_processor('privileges_matrix.q')$$),
    ('status', 'select', $$SELECT queue.status('privileges_matrix.q', 1)$$),
    ('result', 'select', $$SELECT queue.result('privileges_matrix.q', 1)$$),
    ('resubmit', 'owner', $$SELECT queue.resubmit('privileges_matrix.q', 1)$$),
    ('resubmit_all', 'owner', $$SELECT queue.resubmit_all('privileges_matrix.q')$$),
    ('cancel', 'owner', $$SELECT queue.cancel('privileges_matrix.q', 1)$$),
    ('forget_key', 'owner', $$SELECT queue.forget_key('privileges_matrix.q', 'k')$$),
    ('history', 'select', $$SELECT queue.history('privileges_matrix.q')$$),
    ('cancel_all', 'owner', $$SELECT queue.cancel_all('privileges_matrix.q')$$),
    ('reprioritize', 'owner', $$SELECT queue.reprioritize('privileges_matrix.q', 1, 1)$$),
    ('reprioritize_all', 'owner', $$SELECT queue.reprioritize_all('privileges_matrix.q', 1)$$),
    ('run_now', 'owner', $$SELECT queue.run_now('privileges_matrix.q', 1)$$),
    ('run_now_all', 'owner', $$SELECT queue.run_now_all('privileges_matrix.q')$$),
    ('move', 'owner', $$SELECT queue.move('privileges_matrix.q', 1, 'privileges_matrix.spare')$$),
    ('move_all', 'owner', $$SELECT queue.move_all('privileges_matrix.q', 'privileges_matrix.spare')$$),
    ('start_workers', 'superuser', $$SELECT queue.start_workers()$$),
    ('stop_workers', 'superuser', $$SELECT queue.stop_workers()$$),
    ('schedule', 'insert', $$SELECT queue.schedule('made', '0 0 1 1 *', 'privileges_matrix.q')$$),
    ('unschedule', 'owner', $$SELECT queue.unschedule('privileges_matrix')$$),
    ('next_runs', 'anyone', $$SELECT queue.next_runs('0 0 1 1 *')$$),
    ('schedule_rows', 'anyone', 'SELECT queue.schedule_rows()'), ('schedule_added', 'nobody', NULL),
    ('forget_dropped', 'nobody', NULL), ('forget_queue', 'superuser', $$SELECT queue.forget_queue(0)$$), ('announce_change', 'superuser', $$SELECT queue.announce_change()$$),
    ('enqueue_from_trigger', 'trigger', NULL), ('enqueue_attached', 'trigger', NULL), ('before_change', 'trigger', NULL), ('needs_check', 'trigger', NULL), ('check_ready', 'trigger', NULL), ('check_moved', 'trigger', NULL),
    ('overview_rows', 'anyone', 'SELECT queue.overview_rows()'), ('activity_rows', 'anyone', 'SELECT queue.activity_rows()'), ('error_rows', 'anyone', 'SELECT queue.error_rows()'),
    ('publish', 'insert', $$SELECT queue.publish('privileges')$$),
    ('subscribe', 'superuser', $$SELECT queue.subscribe('matrix', 'privileges_matrix.q')$$),
    ('unsubscribe', 'owner', $$SELECT queue.unsubscribe('privileges', 'privileges_matrix.q')$$),
    ('publish_attached', 'trigger', NULL), ('subscriptions_changed', 'nobody', NULL), ('resync', 'owner of both', NULL),
    ('wait', 'select', NULL), ('wait_for', 'select', NULL), ('call', 'select and insert', NULL), ('run', 'registrant', NULL);
INSERT INTO rule VALUES ('trace', 'anyone', $$SELECT queue.trace('x')$$);
-- Every function of the schema has its row here.
SELECT proname FROM pg_proc WHERE pronamespace = 'queue'::regnamespace AND proname NOT IN (SELECT function FROM rule)
UNION ALL SELECT function FROM rule WHERE function NOT IN (SELECT proname FROM pg_proc WHERE pronamespace = 'queue'::regnamespace);

-- What the role gets, undone again.
CREATE FUNCTION outcome(role text, command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    got text := 'ok';
BEGIN
    BEGIN
        EXECUTE format('SET LOCAL ROLE %I', role);
        EXECUTE command;
        RAISE EXCEPTION USING ERRCODE = 'UNDO0';
    EXCEPTION WHEN OTHERS THEN
        got := CASE SQLSTATE WHEN 'UNDO0' THEN 'ok' WHEN '42704' THEN 'ok (none registered)' ELSE SQLSTATE END;
    END;
    RETURN got;
END $$;
SELECT function, least,
       outcome('regress_nobody', call) AS nobody, outcome('regress_reader', call) AS reader, outcome('regress_writer', call) AS writer,
       outcome('regress_taker', call) AS taker, outcome('regress_owner', call) AS owner, outcome('postgres', call) AS superuser
FROM rule WHERE call IS NOT NULL ORDER BY function COLLATE "C";
-- The same, said by the rule: any line here is a function that allows more, or less, than it says.
SELECT function, least, role, outcome(role, call)
FROM rule, (VALUES ('regress_nobody', '{anyone}'), ('regress_reader', '{anyone,select}'), ('regress_writer', '{anyone,insert}'), ('regress_taker', '{anyone,select,take}'),
                   ('regress_owner', '{anyone,select,insert,take,owner,create}'), ('postgres', '{anyone,select,insert,take,owner,create,superuser}')) r (role, rights)
WHERE call IS NOT NULL AND ((outcome(role, call) LIKE 'ok%') <> (least = ANY (rights::text[])) OR outcome(role, call) NOT LIKE 'ok%' AND outcome(role, call) <> '42501')
ORDER BY 1, 3;

-- The procedures, which cannot be tried in a function.
SET SESSION AUTHORIZATION regress_owner;
SELECT queue.register_processor('q', 'work(q)');
SET SESSION AUTHORIZATION regress_nobody;
CALL queue.wait('privileges_matrix.q', '1 h');
\echo :LAST_ERROR_SQLSTATE
CALL queue.run('privileges_matrix.q');
\echo :LAST_ERROR_SQLSTATE
CALL queue.run();
SET SESSION AUTHORIZATION regress_writer;
CALL queue.wait('privileges_matrix.q', '1 h');
\echo :LAST_ERROR_SQLSTATE
SET SESSION AUTHORIZATION regress_reader;
CALL queue.wait('privileges_matrix.q', '1 h');
SET SESSION AUTHORIZATION regress_taker;
CALL queue.run('privileges_matrix.q');
\echo :LAST_ERROR_SQLSTATE
SET SESSION AUTHORIZATION postgres;
SELECT state, count(*) FROM q GROUP BY 1;
SET SESSION AUTHORIZATION regress_owner;
CALL queue.run('privileges_matrix.q');
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM q;

-- A right granted on a partition, or with columns, is not the right on the queue.
GRANT INSERT, SELECT, DELETE ON q_ready TO regress_nobody;
GRANT SELECT (id), INSERT (n) ON q TO regress_nobody;
SELECT function, outcome('regress_nobody', call) FROM rule WHERE function IN ('pop', 'dequeue', 'ack', 'status') ORDER BY 1;
-- Members of the owning role are owners; DELETE without SELECT, or SELECT without DELETE, does not take.
GRANT DELETE ON q TO regress_writer;
SELECT function, outcome('regress_writer', call) FROM rule WHERE function IN ('pop', 'dequeue', 'dequeue_as', 'pop_as', 'ack') ORDER BY 1;
GRANT regress_owner TO regress_nologin;
SELECT function, outcome('regress_nologin', call) FROM rule WHERE least = 'owner' AND function <> 'register_processor' ORDER BY 1;
-- start_workers and stop_workers may be granted.
GRANT EXECUTE ON FUNCTION queue.stop_workers TO regress_nobody;
SELECT outcome('regress_nobody', 'SELECT queue.stop_workers()');
REVOKE EXECUTE ON FUNCTION queue.stop_workers FROM regress_nobody;
SELECT queue.unschedule('privileges_matrix');
SELECT queue.unsubscribe('privileges', 'q');
