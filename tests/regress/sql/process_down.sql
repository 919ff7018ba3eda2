-- CALL queue.run by a superuser who became the processor's role by SET SESSION AUTHORIZATION: nothing that the
-- role's code does makes it superuser again, neither at once nor when the batch commits.
CREATE SCHEMA process_down AUTHORIZATION regress_owner;
SET search_path = process_down;
SET SESSION AUTHORIZATION regress_owner;
CREATE TABLE did (n int, as_superuser boolean);
CREATE FUNCTION note(n int) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO process_down.did VALUES (n, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)); END $$;
CREATE FUNCTION up() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RESET SESSION AUTHORIZATION; PERFORM process_down.note(-1); RETURN NULL; END $$;
CREATE TABLE later (n int);
CREATE CONSTRAINT TRIGGER up AFTER INSERT ON later DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION up();
SELECT queue.create_queue('q', 'what text', max_attempts => 1);
CREATE FUNCTION work(job q) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN IF job.what IS NOT NULL THEN EXECUTE job.what; END IF; PERFORM process_down.note(job.id::int); END $$;
SELECT queue.register_processor('q', 'work(q)');
INSERT INTO q (what) VALUES
    (NULL),
    ('RESET SESSION AUTHORIZATION'),
    ('SET SESSION AUTHORIZATION DEFAULT'),
    ('SET LOCAL SESSION AUTHORIZATION DEFAULT'),
    ('SELECT set_config(''session_authorization'', ''postgres'', false)'),
    ('SET ROLE regress_nobody'),
    ('RESET ALL'),
    ('INSERT INTO process_down.later VALUES (1)'),
    ('DECLARE c CURSOR WITH HOLD FOR SELECT process_down.note(-2)'),
    ('CREATE TEMP TABLE t ()'),
    ('SET LOCAL search_path = pg_catalog');
CALL queue.run('q');
SELECT * FROM did ORDER BY n;
SELECT id, sqlstate, message FROM queue.errors WHERE queue = 'q'::regclass ORDER BY id;
SELECT session_user, current_user;
-- The session itself is as before.
CREATE TEMP TABLE t ();
DROP TABLE t;
RESET SESSION AUTHORIZATION;
SET client_min_messages = warning;
SELECT queue.drop_queue('q', true);
DROP SCHEMA process_down CASCADE;
