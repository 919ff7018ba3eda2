-- ALTER TABLE … OWNER TO on a queue leaves the partitions with the old owner; everything goes on for the new one.
CREATE SCHEMA owner_change;
GRANT ALL ON SCHEMA owner_change TO PUBLIC;
SET search_path = owner_change;
SET ROLE regress_owner;
SELECT queue.create_queue('q', 'n int', keep_done => '1 day', backoff => '0', max_attempts => 2);
INSERT INTO q (n) SELECT generate_series(1, 6);
SELECT count(*) FROM queue.dequeue('q');
RESET ROLE;
ALTER TABLE q OWNER TO regress_taker;
SELECT c.relkind, c.relowner::regrole, count(*) FROM pg_class c
WHERE c.oid = 'q'::regclass OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'q'::regclass)
   OR c.oid = pg_get_serial_sequence('q', 'id')::regclass GROUP BY 1, 2 ORDER BY 1, 2;
SET SESSION AUTHORIZATION regress_taker;
SELECT queue.enqueue('q', '{"n": 7}') IS NOT NULL AS enqueued, queue.enqueue('q', '{"n": 8}', delay => '1 h') IS NOT NULL AS later;
INSERT INTO q (n, run_at) VALUES (9, now() + interval '1 h');
UPDATE q SET run_at = now() WHERE n = 9;
SELECT queue.ack('q', 1, 1), queue.status('q', 1);
SELECT id, payload FROM queue.dequeue('q', 2);
SELECT queue.nack('q', 2, 1, 'no'), queue.snooze('q', 3, 1, '0'), count(*) FROM queue.dequeue('q', 1);
SELECT id, payload FROM queue.pop('q');
CREATE FUNCTION work(job q) RETURNS int LANGUAGE plpgsql AS $$ BEGIN IF job.n = 6 THEN RAISE EXCEPTION 'six'; END IF; RETURN job.n; END $$;
SELECT queue.register_processor('q', 'work(q)');
CALL queue.run('q');
SELECT state, count(*) FROM q GROUP BY 1 ORDER BY 1;
SELECT id, message FROM queue.errors WHERE queue = 'q'::regclass;
SELECT queue, ready, scheduled, failed FROM queue.overview WHERE queue = 'q'::regclass;
SELECT queue.resubmit_all('q'), queue.pause('q'), queue.resume('q'), queue.alter_queue('q', keep_done => '0');
CREATE TABLE source (n int);
SELECT queue.attach('source', 'q', 'insert', set => '{"n": "new.n"}');
INSERT INTO source VALUES (10);
SELECT count(*) FROM q WHERE n = 10;
SELECT queue.purge('q', '{ready,scheduled,failed,done}') > 0 AS purged;
-- What Postgres asks of the partitions' owner: columns cannot be added, until they follow.
SELECT sqlstate, message FROM test.fails('ALTER TABLE owner_change.q ADD COLUMN extra text');
RESET SESSION AUTHORIZATION;
DO $$ DECLARE part regclass; BEGIN
    FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'owner_change.q'::regclass
    LOOP EXECUTE format('ALTER TABLE %s OWNER TO regress_taker', part); END LOOP;
END $$;
SET SESSION AUTHORIZATION regress_taker;
ALTER TABLE q ADD COLUMN extra text;
SELECT queue.enqueue('q', '{"n": 1, "extra": "e"}') IS NOT NULL AS enqueued;
SELECT payload FROM queue.pop('q');
-- The old owner has no more say.
SET SESSION AUTHORIZATION regress_owner;
SELECT test.code($$SELECT queue.pause('owner_change.q')$$), test.code($$SELECT queue.dequeue('owner_change.q')$$), test.code($$SELECT queue.enqueue('owner_change.q')$$);
SET SESSION AUTHORIZATION regress_taker;
SELECT queue.unregister_processor('q'), queue.drop_queue('q', true);
RESET SESSION AUTHORIZATION;

-- Triggers on a queue fire as its owner, who moves the jobs; deferred ones as the role that commits, from Postgres 18 on as the owner, too.
SET ROLE regress_owner;
SELECT queue.create_queue('fires', 'n int');
CREATE TABLE fired (what text, who text);
GRANT INSERT ON fired TO PUBLIC;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO owner_change.fired VALUES (tg_name, current_user); RETURN NULL; END $$;
CREATE TRIGGER at_once AFTER DELETE ON fires FOR EACH ROW EXECUTE FUNCTION note();
CREATE CONSTRAINT TRIGGER at_commit AFTER DELETE ON fires DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();
GRANT SELECT, DELETE ON fires TO regress_taker;
INSERT INTO fires (n) VALUES (1);
SET ROLE regress_taker;
SELECT count(*) FROM queue.pop('fires');
RESET ROLE;
SELECT what, who = CASE WHEN what = 'at_commit' AND current_setting('server_version_num')::int < 180000
    THEN 'regress_taker' ELSE 'regress_owner' END AS fits
FROM fired ORDER BY what;
