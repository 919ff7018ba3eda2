-- What reviews found, so that it stays mended.
CREATE SCHEMA review;
SET search_path = review;

-- Columns named like the aliases of the extension's own statements, of triggers and of row types.
SELECT queue.create_queue('odd', 'm text, j int, job_row text, new text, old int, p text, c text, q text, l text, x text, odd text, "Mixed ""name" text', max_attempts => 1, keep_done => '1 day');
SELECT queue.enqueue_many('odd', ARRAY['{"m": "a", "j": 1, "job_row": "r", "new": "n", "old": 2, "p": "p", "c": "c", "q": "q", "l": "l", "x": "x", "odd": "o", "Mixed \"name": "mixed"}',
    '{"m": "bad"}', '{"m": "popped", "j": 3}', '{"m": "leased", "j": 4}']::jsonb[]) IS NOT NULL AS ok;
CREATE FUNCTION work(o odd) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF o.m = 'bad' THEN RAISE EXCEPTION 'bad one'; END IF;
    RETURN concat_ws(' ', o.m, o.j, o.job_row, o.new, o.old, o.p, o.c, o.q, o.l, o.x, o.odd, o."Mixed ""name");
END $$;
SELECT queue.register_processor('odd', 'work(odd)');
CALL queue.run('odd', 2);
SELECT state, result FROM odd WHERE state IN ('done', 'failed') ORDER BY id;
SELECT message, job ->> 'm' AS m, job ? 'job_row' AS whole FROM queue.errors WHERE queue = 'odd'::regclass;
SELECT state, m, j FROM queue.pop_as(NULL::odd);
SELECT state, m, j, attempt FROM queue.dequeue_as(NULL::odd);
SELECT queue.nack('odd', id, attempt, 'no') FROM odd WHERE state = 'running';
SELECT queue.resubmit_all('odd', $$m = 'leased' AND new IS NULL AND old IS NULL AND odd.j = 4$$);
SELECT payload ->> 'm' AS m, payload ->> 'j' AS j, payload ->> 'new' AS new FROM queue.dequeue('odd');
SELECT queue.ack('odd', id, attempt) FROM odd WHERE state = 'running';
SELECT m, state, result FROM odd ORDER BY id;
SELECT queue.create_queue('odd_batch', 'm text, j int, job_row text, new text, old int', keep_done => '1 day');
CREATE FUNCTION work(jobs odd_batch[]) RETURNS int[] LANGUAGE sql AS 'SELECT array_agg(u.j * 10 ORDER BY u.id) FROM unnest(jobs) u';
SELECT queue.register_processor('odd_batch', 'work(odd_batch[])');
INSERT INTO odd_batch (m, j) VALUES ('a', 1), ('b', 2);
CALL queue.run('odd_batch');
SELECT m, result FROM odd_batch ORDER BY id;
-- The source of an attached queue, too, and its default payload.
CREATE TABLE source (m int PRIMARY KEY, j text, job_row text, new text, old text, c text, t text, r text);
SELECT queue.create_queue('fed');
SELECT queue.attach('source', 'fed');
SELECT queue.create_queue('fed_odd', 'm text, j int, job_row text, new text, old text');
SELECT queue.attach('source', 'fed_odd', 'insert,update', set => '{"m": "new.new", "j": "new.m", "old": "old.j", "new": "new.old"}', key => 'new.job_row', condition => 'new.j IS NOT NULL');
INSERT INTO source VALUES (1, 'j', 'job_row', 'new', 'old', 'c', 't', 'r');
UPDATE source SET j = 'k';
DELETE FROM source;
SELECT payload FROM fed ORDER BY id;
SELECT m, j, job_row, new, old, key, payload FROM fed_odd ORDER BY id;

-- GRANT INSERT is all that enqueueing takes.
SELECT queue.create_queue('only_insert', 'n int');
GRANT USAGE ON SCHEMA review TO PUBLIC;
GRANT INSERT ON only_insert TO regress_writer;
CREATE TABLE fills (n int);
GRANT INSERT ON fills TO regress_writer;
SELECT queue.attach('fills', 'only_insert', 'insert', set => '{"n": "new.n"}');
SET ROLE regress_writer;
SELECT queue.enqueue('review.only_insert', '{"n": 1}') IS NOT NULL AS ok;
SELECT count(queue.enqueue('review.only_insert', '{"n": 2}', delay => '1 h'));
SELECT count(*) FROM queue.enqueue_many('review.only_insert', '{"{\"n\": 3}", "{\"n\": 4}"}');
INSERT INTO review.only_insert (n) VALUES (5);
INSERT INTO review.only_insert (n, run_at) VALUES (6, now() + interval '1 h');
INSERT INTO review.fills VALUES (7);
SELECT test.code('SELECT 1 FROM review.only_insert'), test.code('DELETE FROM review.only_insert'),
       test.code($$SELECT queue.pop('review.only_insert')$$), test.code($$SELECT queue.dequeue('review.only_insert')$$);
RESET ROLE;
SELECT state, n FROM only_insert ORDER BY n;

-- DROP TABLE of a queue leaves what fed it writable.
DROP TABLE only_insert;
INSERT INTO fills VALUES (8);
UPDATE fills SET n = n + 1;
DELETE FROM fills WHERE n = 9;
SELECT n FROM fills;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'fills'::regclass;
SELECT count(*) FROM queue.attachments WHERE source = 'fills'::regclass;

-- What a reader of the views, or a superuser, evaluates: nothing of the owner's with rights other than the owner's.
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_mallory;
CREATE ROLE regress_mallory LOGIN;
RESET client_min_messages;
CREATE SCHEMA mallory AUTHORIZATION regress_mallory;
GRANT USAGE ON SCHEMA mallory TO PUBLIC;
SET SESSION AUTHORIZATION regress_mallory;
SET search_path = mallory;
-- What it does outlives a rollback: a lock that the session keeps.
CREATE FUNCTION mallory.spy() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF current_user <> 'regress_mallory' THEN PERFORM pg_catalog.pg_advisory_lock(4711); END IF;
    RETURN 1;
END $$;
CREATE FUNCTION mallory.caught() RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND pid = pg_backend_pid()
$$;
CREATE TYPE mallory.mood AS ENUM ('fine');
CREATE FUNCTION mallory.mood_json(m mallory.mood) RETURNS json LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN PERFORM mallory.spy(); RETURN '{"cast": true}'; END $$;
CREATE CAST (mallory.mood AS json) WITH FUNCTION mallory.mood_json(mallory.mood);
SELECT queue.create_queue('trap', 'n int, m mallory.mood', max_attempts => 1);
DO $$
DECLARE part regclass;
BEGIN
    FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'mallory.trap'::regclass
    LOOP EXECUTE format('CREATE INDEX ON %s ((n + mallory.spy())) WHERE mallory.spy() = 1', part); END LOOP;
END $$;
CREATE STATISTICS mallory.expr ON (n + mallory.spy()), id FROM mallory.trap;
INSERT INTO trap (n, m) SELECT i, 'fine' FROM generate_series(1, 20) i;
SELECT count(queue.cancel('trap', id)) FROM (SELECT id FROM trap ORDER BY id LIMIT 3) s;
GRANT SELECT ON trap TO regress_reader;
RESET SESSION AUTHORIZATION;
-- Each in a new session: an index expression is evaluated when it is first read.
\c -
SELECT queue, ready, failed FROM queue.overview WHERE queue = 'mallory.trap'::regclass;
SELECT mallory.caught();
\c -
SELECT id, sqlstate, job ->> 'm' AS m FROM queue.errors WHERE queue = 'mallory.trap'::regclass ORDER BY id;
SELECT mallory.caught();
\c -
SELECT queue.cancel('mallory.trap', 4), queue.resubmit('mallory.trap', 4), queue.resubmit_all('mallory.trap', 'id = 1 AND n = 1'), queue.purge('mallory.trap', '{scheduled}');
SELECT mallory.caught();
\c -
SET ROLE regress_reader;
SELECT queue, ready, failed FROM queue.overview WHERE queue = 'mallory.trap'::regclass;
SELECT id, sqlstate, job ->> 'm' AS m FROM queue.errors WHERE queue = 'mallory.trap'::regclass ORDER BY id;
SELECT mallory.caught();
-- Whoever reads the table itself is caught: the trap works.
\c -
SELECT count(to_jsonb(m)) FROM mallory.trap WHERE n = 1;
SELECT mallory.caught() > 0 AS works;
\c -
SET search_path = review;

-- A function of the processor's name that another role puts in its place is not run.
GRANT CREATE ON SCHEMA mallory TO regress_taker;
CREATE TABLE ran (who text, n int);
GRANT INSERT ON ran TO PUBLIC;
SET SESSION AUTHORIZATION regress_mallory;
CREATE FUNCTION mallory.work(job mallory.trap) RETURNS void LANGUAGE sql AS $$ INSERT INTO review.ran VALUES ('own', job.n) $$;
SELECT queue.register_processor('mallory.trap', 'mallory.work(mallory.trap)');
CALL queue.run('mallory.trap', 1);
ALTER FUNCTION mallory.work(mallory.trap) RENAME TO renamed;
SET SESSION AUTHORIZATION regress_taker;
CREATE FUNCTION mallory.work(job mallory.trap) RETURNS void LANGUAGE sql AS $$ INSERT INTO review.ran VALUES ('foreign, as ' || current_user, job.n) $$;
-- A rename is followed.
SET SESSION AUTHORIZATION regress_mallory;
CALL queue.run('mallory.trap', 1);
DROP FUNCTION mallory.renamed;
\set VERBOSITY terse
CALL queue.run('mallory.trap', 1);
\set VERBOSITY default
RESET SESSION AUTHORIZATION;
SELECT who, count(*) FROM ran GROUP BY 1;
SELECT problem IS NOT NULL AS says_so FROM queue.overview WHERE queue = 'mallory.trap'::regclass;
-- One of its own in its place is.
DROP FUNCTION mallory.work;
SET SESSION AUTHORIZATION regress_mallory;
CREATE FUNCTION mallory.work(job mallory.trap) RETURNS void LANGUAGE sql AS $$ INSERT INTO review.ran VALUES ('made again', job.n) $$;
CALL queue.run('mallory.trap', 1);
RESET SESSION AUTHORIZATION;
SELECT who, count(*) FROM ran GROUP BY 1 ORDER BY 1;

-- Who no longer acts for the owner gets no more jobs.
CREATE SCHEMA owned AUTHORIZATION regress_owner;
GRANT USAGE ON SCHEMA owned TO PUBLIC;
GRANT regress_owner TO regress_taker;
SET ROLE regress_owner;
SELECT queue.create_queue('owned.q', 'n int');
INSERT INTO owned.q (n) VALUES (1), (2), (3);
SET SESSION AUTHORIZATION regress_taker;
CREATE FUNCTION mallory.work(job owned.q) RETURNS void LANGUAGE sql AS $$ INSERT INTO review.ran VALUES ('member', job.n) $$;
SELECT queue.register_processor('owned.q', 'mallory.work(owned.q)');
CALL queue.run('owned.q', 1);
RESET SESSION AUTHORIZATION;
REVOKE regress_owner FROM regress_taker;
SET SESSION AUTHORIZATION regress_taker;
\set VERBOSITY sqlstate
CALL queue.run('owned.q');
CALL queue.run();
\set VERBOSITY default
RESET SESSION AUTHORIZATION;
SELECT n FROM ran WHERE who = 'member';
SELECT state, count(*) FROM owned.q GROUP BY 1;

-- A commit that fails with a message of any size is a failure like any other.
SELECT queue.create_queue('huge', 'n int', max_attempts => 1);
CREATE FUNCTION work(job huge) RETURNS void LANGUAGE sql AS '';
SELECT queue.register_processor('huge', 'work(huge)');
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '%', repeat('x', 10000000); END $$;
SELECT partition FROM (SELECT inhrelid::regclass::text AS partition FROM pg_inherits WHERE inhparent = 'huge'::regclass) s WHERE partition LIKE '%failed%' \gset
INSERT INTO huge (n) VALUES (1), (2);
CREATE CONSTRAINT TRIGGER shout AFTER DELETE ON huge DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION shout();
\set VERBOSITY sqlstate
CALL queue.run('huge');
\set VERBOSITY default
SELECT state, count(*) FROM huge GROUP BY 1;
DROP TRIGGER shout ON huge;
CREATE CONSTRAINT TRIGGER shout AFTER INSERT ON :partition DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION shout();
CREATE OR REPLACE FUNCTION work(job huge) RETURNS void LANGUAGE sql AS 'SELECT 1 / 0';
\set VERBOSITY sqlstate
CALL queue.run('huge');
\set VERBOSITY default
SELECT state, count(*) FROM huge GROUP BY 1;
DROP TRIGGER shout ON :partition;
CALL queue.run('huge');
SELECT state, count(*) FROM huge GROUP BY 1;

-- A transaction that sees only the past does not move what is due, and it is not forgotten over it.
SELECT queue.create_queue('late', 'n int', backoff => '0');
INSERT INTO late (n, priority) VALUES (1, 0), (2, 5), (3, 5);
SELECT queue.nack('late', id, attempt, 'again') FROM queue.dequeue('late');
SELECT state, n FROM late ORDER BY n;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM queue.dequeue('late');
COMMIT;
SELECT n, attempt FROM queue.dequeue_as(NULL::late, 3) WHERE n = 1;
SELECT state, n FROM late ORDER BY n;
SELECT queue.nack('late', id, attempt, 'again') FROM late ORDER BY n LIMIT 1;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM queue.pop('late');
COMMIT;
SELECT n, attempt FROM queue.pop_as(NULL::late);

-- A trigger of the user's that puts a job on another queue while a job moves: it arrives as any other.
SELECT queue.create_queue('first', 'n int', max_attempts => 1);
SELECT queue.create_queue('second', 'n int');
CREATE FUNCTION forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO review.second (n, run_at) VALUES (new.n, now() + interval '1 h'), (new.n + 1, NULL);
    PERFORM queue.enqueue('review.second', '{"n": 100}', delay => '1 h');
    RETURN NULL;
END $$;
SELECT inhrelid::regclass AS partition FROM pg_inherits WHERE inhparent = 'first'::regclass AND inhrelid::regclass::text LIKE '%failed%' \gset
CREATE TRIGGER forward AFTER INSERT ON :partition FOR EACH ROW EXECUTE FUNCTION forward();
CREATE FUNCTION work(job first) RETURNS void LANGUAGE sql AS 'SELECT 1 / 0';
SELECT queue.register_processor('first', 'work(first)');
INSERT INTO first (n) VALUES (1);
CALL queue.run('first');
SELECT state, n FROM first;
SELECT state, n, run_at > now() AS later FROM second ORDER BY n;

-- statement_timeout is the call's, not a job's.
SELECT queue.create_queue('slow', 'n int', max_attempts => 1);
CREATE FUNCTION work(job slow) RETURNS void LANGUAGE sql AS 'SELECT pg_catalog.pg_sleep(600)';
SELECT queue.register_processor('slow', 'work(slow)');
INSERT INTO slow (n) VALUES (1), (2);
SET statement_timeout = '100 ms';
CALL queue.run('slow');
RESET statement_timeout;
SELECT state, attempt, count(*) FROM slow GROUP BY 1, 2;
CREATE FUNCTION work(jobs slow[]) RETURNS void LANGUAGE sql AS 'SELECT pg_catalog.pg_sleep(600)';
SELECT queue.register_processor('slow', 'work(slow[])', replace => true);
SET statement_timeout = '100 ms';
CALL queue.run('slow');
RESET statement_timeout;
SELECT state, attempt, count(*) FROM slow GROUP BY 1, 2;

-- What a job sets ends with it: for the next job, the next queue and the caller.
CREATE TABLE settings (queue text, n int, who text, path text, memory text);
GRANT INSERT ON settings TO PUBLIC;
SELECT queue.create_queue('sets_1', 'n int', max_attempts => 1);
SELECT queue.create_queue('sets_2', 'n int', max_attempts => 1);
CREATE FUNCTION set_things(queue text, n int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO review.settings VALUES (queue, n, current_user, current_setting('search_path'), current_setting('work_mem'));
    SET ROLE regress_nobody;
    SET search_path = nowhere;
    SET work_mem = '77MB';
    IF n = 2 THEN RAISE EXCEPTION 'fails'; END IF;
END $$;
CREATE FUNCTION work(job sets_1) RETURNS void LANGUAGE sql AS $$ SELECT review.set_things('1', job.n) $$;
CREATE FUNCTION work(job sets_2) RETURNS void LANGUAGE sql AS $$ SELECT review.set_things('2', job.n) $$;
SELECT queue.register_processor('sets_1', 'work(sets_1)'), queue.register_processor('sets_2', 'work(sets_2)');
INSERT INTO sets_1 (n) SELECT generate_series(1, 3);
INSERT INTO sets_2 (n) SELECT generate_series(1, 3);
SELECT queue.unregister_processor('odd'), queue.unregister_processor('odd_batch'), queue.unregister_processor('huge'),
       queue.unregister_processor('first'), queue.unregister_processor('slow');
CALL queue.run('sets_1');
CALL queue.run('sets_2');
SELECT queue, n, who = session_user AS who, path, memory = current_setting('work_mem') AS memory FROM settings ORDER BY 1, 2;
SELECT current_user = session_user AS own, current_setting('search_path') AS path, current_setting('work_mem') <> '77MB' AS memory;
SELECT job ->> 'n' AS n, sqlstate, message FROM queue.errors WHERE queue IN ('sets_1'::regclass, 'sets_2'::regclass) ORDER BY queue::text;

-- A condition is one expression, whatever its parentheses.
SELECT test.code($$SELECT queue.resubmit_all('first', 'true) OR (true')$$), test.code($$SELECT queue.resubmit_all('first', 'true -- ')$$),
       test.code($$SELECT queue.resubmit_all('first', 'true) RETURNING (1')$$), test.code($$SELECT queue.resubmit_all('first', 'n = 1 LIMIT 1')$$);

-- A statement of somebody else's that fails keeps its SQLSTATE and context, though it passes through our hook.
CREATE TABLE others (n int);
CREATE FUNCTION refuse_all() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = 'U0002'; END $$;
CREATE EVENT TRIGGER refuse_all ON ddl_command_end EXECUTE FUNCTION refuse_all();
ALTER TABLE others RENAME n TO m;
\echo :LAST_ERROR_SQLSTATE
DROP EVENT TRIGGER refuse_all;
DROP FUNCTION refuse_all;
DROP TABLE others;
