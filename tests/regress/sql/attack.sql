-- What a role that may only insert, or a clumsy user, did to a queue and its owner.
\set VERBOSITY terse

-- A job with a correlation_id or group_key too long for the indexes of the ended ones could never end, and
-- the batch it was in never commit. Refused by whatever way it comes.
SELECT queue.create_queue('attack_long', keep_done => '1 h');
CREATE TABLE attack_source (a integer);
SELECT queue.attach('attack_source', 'attack_long', set => '{"correlation_id": "repeat(''x'', new.a)"}');
SELECT t.command, t.sqlstate, t.message FROM test.tries(
    $$INSERT INTO attack_long (correlation_id) SELECT repeat('x', 1001)$$,
    $$INSERT INTO attack_long (correlation_id) SELECT repeat('x', 1000)$$,
    $$INSERT INTO attack_long (group_key) SELECT repeat('x', 1001)$$,
    $$INSERT INTO attack_long (correlation_id, run_at) SELECT repeat('ä', 501), now() + interval '1 h'$$,
    $$INSERT INTO attack_long (correlation_id) VALUES (repeat('x', 1001)) RETURNING id$$,
    $$INSERT INTO attack_source VALUES (1001)$$,
    $$INSERT INTO attack_source VALUES (1000)$$) AS t;
-- max_attempts by the trigger as by enqueue.
SELECT t.command, t.sqlstate, t.message FROM test.tries(
    $$INSERT INTO attack_long (max_attempts) VALUES (10001)$$,
    $$INSERT INTO attack_long (max_attempts) VALUES (10001) RETURNING id$$) AS t;
INSERT INTO attack_long (correlation_id, group_key) SELECT repeat('x', 1000), repeat('y', 1000);
UPDATE attack_long SET correlation_id = repeat('x', 1001);
SELECT queue.ack('attack_long', id, attempt) FROM queue.dequeue('attack_long');

-- A row's enqueued_at is whatever was inserted: it does not keep others from being seen.
SELECT queue.create_queue('attack_time', keep_done => '1 h', max_attempts => 1);
INSERT INTO attack_time (enqueued_at) VALUES ('infinity'), ('-infinity'), ('4713-01-01 BC');
SELECT id, oldest IS NULL AS unknown, problem
FROM queue.overview o, attack_time t WHERE o.queue = 'attack_time'::regclass ORDER BY id LIMIT 1;
SELECT queue.cancel_all('attack_time');
SELECT id, duration IS NULL AS unknown FROM queue.history('attack_time') ORDER BY id;
SELECT queue.drop_queue(q, true) FROM unnest('{attack_long,attack_time}'::regclass[]) q;
DROP TABLE attack_source;

-- The functions of a queue's triggers belong to tables that are none: a column of such a table may be of any type,
-- and what is in it is not to be taken for a pointer.
CREATE ROLE attack_maker;
CREATE SCHEMA attack AUTHORIZATION attack_maker;
SET ROLE attack_maker;
CREATE TABLE attack.fake (id bigint, state text, priority smallint, attempt integer, max_attempts integer,
    run_at bigint, key bigint, group_key bigint, correlation_id bigint, after bigint, after_failure bigint, once bigint)
    PARTITION BY LIST (state);
CREATE TABLE attack.fake_ready PARTITION OF attack.fake FOR VALUES IN ('ready');
CREATE TABLE attack.fake_other PARTITION OF attack.fake FOR VALUES IN ('other');
CREATE TRIGGER a AFTER INSERT ON attack.fake_ready FOR EACH ROW EXECUTE FUNCTION queue.check_ready();
CREATE TRIGGER a BEFORE INSERT ON attack.fake_other FOR EACH ROW EXECUTE FUNCTION queue.check_moved();
CREATE TRIGGER a AFTER INSERT ON attack.fake FOR EACH STATEMENT EXECUTE FUNCTION queue.check_ready();
INSERT INTO attack.fake SELECT 1, 'ready', 5, 1, 5, 8, 8, 8, 8, 8, 8, 8;
INSERT INTO attack.fake SELECT 1, 'other', 5, 1, 5, 8, 8, 8, 8, 8, 8, 8;
DROP TRIGGER a ON attack.fake;
INSERT INTO attack.fake SELECT 1, 'ready', 5, 1, 5, 8, 8, 8, 8, 8, 8, 8;
INSERT INTO attack.fake SELECT 1, 'other', 5, 1, 5, 8, 8, 8, 8, 8, 8, 8;
CREATE TRIGGER b BEFORE INSERT ON attack.fake FOR EACH STATEMENT EXECUTE FUNCTION queue.before_change();
INSERT INTO attack.fake SELECT 1, 'ready', 5, 1, 5, 8, 8, 8, 8, 8, 8, 8;
RESET ROLE;
-- Nor, in a queue, is that of a column whose type its owner has changed.
SELECT queue.create_queue('attack_type');
DROP TRIGGER queue_ext_check ON attack_type_ready;
ALTER TABLE attack_type ALTER COLUMN after_failure TYPE bigint USING 8;
ALTER TABLE attack_type_ready DISABLE TRIGGER queue_ext_wake;
DROP TRIGGER queue_ext_wake ON attack_type;
CREATE TRIGGER a AFTER INSERT ON attack_type_ready FOR EACH ROW EXECUTE FUNCTION queue.check_ready();
INSERT INTO attack_type (after_failure) VALUES (8);
DROP TABLE attack_type;
SET client_min_messages = warning;
DROP SCHEMA attack CASCADE;
DROP ROLE attack_maker;

-- A processor does not change the type of a column while the batch has rows in hand: they would be read as what they
-- are not. As for any statement that reads a table, and calls a function that alters it.
SELECT queue.create_queue('attack_rows', max_attempts => 1);
CREATE FUNCTION attack_alter(job attack_rows) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    found regclass;
BEGIN
    IF job.id > 1 THEN RAISE EXCEPTION 'no'; END IF;
    DROP TRIGGER queue_ext_check ON attack_rows_ready;
    FOR found IN SELECT i.indexrelid FROM pg_inherits p, pg_index i
        WHERE p.inhparent = 'attack_rows'::regclass AND i.indrelid = p.inhrelid
        AND pg_get_indexdef(i.indexrelid) LIKE '%(group_key%'
    LOOP
        EXECUTE 'DROP INDEX ' || found;
    END LOOP;
    ALTER TABLE attack_rows ALTER COLUMN group_key TYPE bigint USING 8;
END $$;
SELECT queue.enqueue('attack_rows', group_key => g) FROM unnest('{aaaaaaaa,bbbbbbbb}'::text[]) g;
SELECT queue.register_processor('attack_rows', 'attack_alter(attack_rows)', batch_size => 10);
CALL queue.run('attack_rows');
SELECT id, state, group_key, errors -> -1 ->> 'message' AS message FROM attack_rows ORDER BY id;
SET client_min_messages = warning;
SELECT queue.drop_queue('attack_rows', true);
RESET client_min_messages;
