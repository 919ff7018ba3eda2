-- Claims behave the same whichever way they go: by the floor and a scan of the index where the server preloads the
-- extension and the queue allows it, by SQL elsewhere. The proof is that this file has one expected output for both.
-- Here: what the table is like. claim_transactions: what goes on around the claim.
CREATE SCHEMA claim_paths;
SET search_path = claim_paths;
GRANT USAGE, CREATE ON SCHEMA claim_paths TO PUBLIC;
-- Row security: the owner is not concerned, a policy chooses for the taker, FORCE concerns the owner, too.
SET ROLE regress_owner;
SELECT queue.create_queue('secured', 'n int, who name');
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secured USING (who = current_user);
GRANT SELECT, DELETE, UPDATE ON secured TO regress_taker;
INSERT INTO secured (n, who) SELECT i, CASE WHEN i % 3 = 0 THEN 'regress_taker' ELSE 'somebody' END FROM generate_series(1, 12) i;
SET ROLE regress_taker;
SELECT n FROM queue.pop_as(NULL::secured, 1);
SELECT n, who FROM queue.dequeue_as(NULL::secured, 10);
SELECT ack FROM queue.ack_many('secured', '{1,6,9}', '{1,1,1}') ack ORDER BY 1;
SELECT count(*) FROM queue.pop('secured', 10);
SET ROLE regress_owner;
SELECT n FROM queue.pop_as(NULL::secured, 3);
ALTER TABLE secured FORCE ROW LEVEL SECURITY;
SELECT n FROM queue.pop_as(NULL::secured, 3);
CREATE POLICY owner_even ON secured TO regress_owner USING (n % 2 = 0);
SELECT n FROM queue.pop_as(NULL::secured, 3);
ALTER TABLE secured DISABLE ROW LEVEL SECURITY;
SELECT n FROM queue.pop_as(NULL::secured, 10);
RESET ROLE;

-- Indexes of the user's: on the parent, on the partition alone, partial, on an expression, of another kind.
SELECT queue.create_queue('indexed', 'n int, who text, tags int[]');
CREATE INDEX ON indexed (who);
CREATE INDEX ON indexed (n) WHERE n % 2 = 0;
CREATE INDEX ON indexed (upper(who));
CREATE INDEX ON indexed USING gin (tags);
CREATE INDEX ON indexed USING hash (who);
CREATE INDEX ON indexed_ready (n DESC, priority, id);
CREATE INDEX ON indexed_ready (priority);
CREATE INDEX ON indexed_running (n);
ALTER TABLE indexed ADD UNIQUE (who, state);
CREATE FUNCTION indexed_counts() RETURNS text LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    RETURN concat_ws(' ', (SELECT count(*) FROM indexed WHERE who >= ''), (SELECT count(*) FROM indexed WHERE n > 0 AND n % 2 = 0),
        (SELECT count(*) FROM indexed WHERE upper(who) >= ''), (SELECT count(*) FROM indexed WHERE tags @> '{1}'),
        (SELECT count(*) FROM indexed WHERE state = 'ready' AND n > 0), (SELECT count(*) FROM indexed WHERE state = 'running' AND n > 0));
END $$;
INSERT INTO indexed (n, who, tags, priority) SELECT i, 'w' || i, ARRAY[1, i], i % 3 FROM generate_series(1, 30) i;
SELECT indexed_counts();
SELECT n FROM queue.pop_as(NULL::indexed, 4);
SELECT indexed_counts();
SELECT n, priority FROM queue.dequeue_as(NULL::indexed, 8);
SELECT indexed_counts();
SELECT count(queue.ack('indexed', id, attempt)) FROM indexed WHERE state = 'running' AND n <> 1;
SELECT queue.nack('indexed', id, attempt, delay => '0') FROM indexed WHERE state = 'running';
SELECT indexed_counts();
SELECT n FROM queue.pop_as(NULL::indexed, 100);
SELECT indexed_counts();
-- A value that is unique among the ready ones, and there among the running ones already.
INSERT INTO indexed (n, who) VALUES (1, 'twin');
SELECT n FROM queue.dequeue_as(NULL::indexed);
INSERT INTO indexed (n, who) VALUES (2, 'twin');
SELECT sqlstate, message FROM test.fails('SELECT * FROM queue.dequeue(''claim_paths.indexed'')');
SELECT n FROM queue.pop_as(NULL::indexed);

-- Triggers of the user's fire for each change of state, row by row and statement by statement, as they do by SQL.
-- (What time does is looked for at each claim, or only when it is known to be due: so statements without rows,
-- and how often a statement begins, do not count.)
SELECT queue.create_queue('watched', 'n int', keep_done => '1 day');
CREATE TABLE fired (at int GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO claim_paths.fired (what) VALUES (concat_ws(' ', tg_when, tg_op, tg_level, coalesce(new.state, old.state), coalesce(new.n, old.n)));
    RETURN coalesce(new, old);
END $$;
CREATE FUNCTION note_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO claim_paths.fired (what) SELECT concat_ws(' ', tg_when, tg_op, tg_level, string_agg(n::text, ',' ORDER BY n)) FROM changed HAVING count(*) > 0;
    RETURN NULL;
END $$;
CREATE FUNCTION note_begin() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO claim_paths.fired (what) SELECT what FROM concat_ws(' ', tg_when, tg_op, tg_level) what
        WHERE NOT EXISTS (SELECT FROM claim_paths.fired f WHERE f.what = what.what);
    RETURN NULL;
END $$;
CREATE FUNCTION fired() RETURNS SETOF text LANGUAGE sql AS 'WITH gone AS (DELETE FROM claim_paths.fired RETURNING *) SELECT what FROM gone ORDER BY at';
CREATE TRIGGER t1 BEFORE INSERT OR DELETE ON watched FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER t2 AFTER INSERT OR DELETE ON watched FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER t3 AFTER INSERT ON watched REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_statement();
CREATE TRIGGER t4 AFTER DELETE ON watched REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_statement();
CREATE TRIGGER t0 BEFORE DELETE ON watched FOR EACH STATEMENT EXECUTE FUNCTION note_begin();
INSERT INTO watched (n) VALUES (1), (2), (3), (4);
SELECT fired();
SELECT n FROM queue.pop_as(NULL::watched, 2);
SELECT fired();
SELECT n FROM queue.dequeue_as(NULL::watched);
SELECT fired();
SELECT queue.ack('watched', 3, 1);
SELECT fired();
CREATE FUNCTION work(job watched) RETURNS void LANGUAGE sql AS $$INSERT INTO claim_paths.fired (what) VALUES ('worked ' || (job).n)$$;
SELECT queue.register_processor('watched', 'work(watched)');
CALL queue.run('watched');
SELECT fired();
-- One kind alone, on the partition alone; one that fires always; one that is disabled.
DROP TRIGGER t0 ON watched;
DROP TRIGGER t1 ON watched;
DROP TRIGGER t2 ON watched;
DROP TRIGGER t3 ON watched;
INSERT INTO watched (n) VALUES (5), (6), (7), (8);
SELECT n FROM queue.pop_as(NULL::watched, 1);
SELECT fired();
DROP TRIGGER t4 ON watched;
CREATE TRIGGER t5 AFTER DELETE ON watched_ready FOR EACH ROW EXECUTE FUNCTION note();
SELECT n FROM queue.pop_as(NULL::watched, 1);
SELECT fired();
ALTER TABLE watched_ready DISABLE TRIGGER t5;
SELECT n FROM queue.pop_as(NULL::watched, 1);
SELECT fired();
ALTER TABLE watched_ready ENABLE ALWAYS TRIGGER t5;
SELECT n FROM queue.pop_as(NULL::watched, 1);
SELECT fired();
DROP TRIGGER t5 ON watched_ready;
-- One that keeps some jobs from being taken, and one that forbids it.
CREATE FUNCTION keep_odd() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF old.n % 2 = 0 THEN RETURN old; END IF; RETURN NULL; END $$;
CREATE TRIGGER keep BEFORE DELETE ON watched FOR EACH ROW EXECUTE FUNCTION keep_odd();
INSERT INTO watched (n) SELECT generate_series(11, 14);
SELECT n FROM queue.pop_as(NULL::watched, 10);
SELECT n FROM watched WHERE state = 'ready' ORDER BY 1;
DROP TRIGGER keep ON watched;
CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'job % stays', old.n; END $$;
CREATE TRIGGER forbid BEFORE DELETE ON watched FOR EACH ROW WHEN (old.n > 11) EXECUTE FUNCTION forbid();
SELECT sqlstate, message FROM test.fails('SELECT * FROM queue.pop(''claim_paths.watched'', 10)');
SELECT n FROM queue.pop_as(NULL::watched, 1);
DROP TRIGGER forbid ON watched;
SELECT n FROM queue.pop_as(NULL::watched, 10);
-- A trigger of the time of commit, which takes a job itself.
CREATE FUNCTION take_another() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM queue.enqueue('claim_paths.watched', jsonb_build_object('n', old.n + 1)) WHERE old.n < 24;
    INSERT INTO claim_paths.fired (what) SELECT 'at commit ' || n FROM queue.pop_as(NULL::claim_paths.watched, 10);
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER late AFTER DELETE ON watched_ready DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION take_another();
INSERT INTO watched (n) VALUES (21);
SELECT n FROM queue.pop_as(NULL::watched, 10);
SELECT fired();
SELECT count(*) FROM watched WHERE state = 'ready';

-- A foreign key on the queue is honoured, whatever it does with what refers to a job.
SELECT queue.create_queue('referred', 'n int');
ALTER TABLE referred ADD UNIQUE (id, state);
CREATE TABLE child (job bigint, state text DEFAULT 'ready', FOREIGN KEY (job, state) REFERENCES referred (id, state));
INSERT INTO referred (n) VALUES (1), (2);
INSERT INTO child VALUES (1);
SELECT sqlstate, split_part(message, ' "child', 1) AS message FROM test.fails('SELECT * FROM queue.pop(''claim_paths.referred'')');
ALTER TABLE child DROP CONSTRAINT child_job_state_fkey, ADD FOREIGN KEY (job, state) REFERENCES referred (id, state) ON DELETE CASCADE;
SELECT n FROM queue.pop_as(NULL::referred, 10);
SELECT count(*) FROM child;

-- Checks, generated columns, domains, and columns of every sort come back as they went in.
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE colour AS ENUM ('red', 'green');
CREATE TYPE pair AS (a int, b text);
SELECT queue.create_queue('typed', 'n positive NOT NULL, twice int GENERATED ALWAYS AS (n * 2) STORED, c colour, p pair, ps pair[], x xml, num numeric,
    ts timestamptz, f float8, b bytea, net inet, r int4range, t text COLLATE "C", ch char(5), bits bit varying, j json, nothing text');
ALTER TABLE typed ADD CONSTRAINT small CHECK (n < 100), ADD CONSTRAINT sane CHECK (twice <> 14);
INSERT INTO typed (n, c, p, ps, num, ts, f, b, net, r, t, ch, bits, j)
VALUES (1, 'green', (1, 'x'), '{"(2,y)","(3,)"}', 1e100, '2000-01-01', 'NaN', '\x00ff', '::1', '[1,5)', 'T', 'ab', B'101', '{"a": [1,  2]}'),
       (2, NULL, NULL, NULL, NULL, 'infinity', '-0', '', NULL, 'empty', '', '', B'', 'null'), (3, 'red', NULL, '{}', 0.10, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE as_put AS SELECT to_jsonb(job) - 'id' - 'enqueued_at' - 'state' AS "row" FROM typed job ORDER BY id;
CREATE TABLE as_taken AS SELECT to_jsonb(job) - 'id' - 'enqueued_at' - 'state' AS "row" FROM queue.pop_as(NULL::typed, 2) job;
INSERT INTO as_taken SELECT to_jsonb(job) - 'id' - 'enqueued_at' - 'state' - 'lease_until' || '{"lease_until": null}' FROM queue.dequeue_as(NULL::typed) job;
SELECT count(*) FROM as_put JOIN as_taken USING ("row");
SELECT state, n, twice, ps FROM typed;
SELECT sqlstate, message FROM test.fails('INSERT INTO claim_paths.typed (n) VALUES (7)');
SELECT sqlstate, message FROM test.fails('SELECT queue.enqueue(''claim_paths.typed'', ''{"n": 100}'')');
-- A constraint that the job of today does not meet any more stops no claim that removes it.
INSERT INTO typed (n) VALUES (50), (51);
ALTER TABLE typed ADD CONSTRAINT smaller CHECK (n < 50) NOT VALID;
SELECT n FROM queue.pop_as(NULL::typed);
SELECT sqlstate, message FROM test.fails('SELECT * FROM queue.dequeue(''claim_paths.typed'')');
SELECT n FROM queue.pop_as(NULL::typed);
SELECT count(*) FROM typed WHERE state = 'ready';

-- Generated columns that are not stored, which Postgres 18 has.
SELECT queue.create_queue('computed', 'n int');
DO $$ BEGIN EXECUTE 'ALTER TABLE computed ADD twice int GENERATED ALWAYS AS (n * 2) '
    || CASE WHEN current_setting('server_version_num')::int < 180000 THEN 'STORED' ELSE 'VIRTUAL' END;
END $$;
INSERT INTO computed (n) VALUES (1), (2), (3);
SELECT queue.enqueue('computed', '{"n": 4}') IS NOT NULL AS enqueued;
SELECT n, twice FROM queue.pop_as(NULL::computed);
SELECT payload FROM queue.pop('computed');
SELECT n, twice FROM queue.dequeue_as(NULL::computed);
SELECT payload FROM queue.dequeue('computed');
SELECT n, twice, state FROM computed ORDER BY n;
ALTER TABLE computed ALTER twice SET NOT NULL;
SELECT test.code('INSERT INTO claim_paths.computed DEFAULT VALUES'), test.code('SELECT queue.enqueue(''claim_paths.computed'')');

-- Replica identity: a queue that is published says what a DELETE of one's own would say.
SELECT queue.create_queue('published', 'n int');
SET client_min_messages = error;
CREATE PUBLICATION claim_paths_all FOR TABLE published;
RESET client_min_messages;
INSERT INTO published (n) SELECT generate_series(1, 8);
SELECT n FROM queue.pop_as(NULL::published);
ALTER TABLE published_ready REPLICA IDENTITY FULL;
SELECT n FROM queue.pop_as(NULL::published);
SELECT n FROM queue.dequeue_as(NULL::published);
SELECT queue.ack('published', 3, 1);
ALTER TABLE published_ready REPLICA IDENTITY NOTHING;
SELECT sqlstate, message FROM test.fails('DELETE FROM claim_paths.published WHERE state = ''ready''');
SELECT sqlstate, message FROM test.fails('SELECT * FROM queue.pop(''claim_paths.published'')');
SELECT sqlstate, message FROM test.fails('SELECT * FROM queue.dequeue(''claim_paths.published'')');
ALTER PUBLICATION claim_paths_all SET (publish = 'insert');
SELECT n FROM queue.pop_as(NULL::published);
DROP PUBLICATION claim_paths_all;
SELECT n FROM queue.pop_as(NULL::published);
ALTER TABLE published_ready REPLICA IDENTITY DEFAULT;
SELECT n FROM queue.pop_as(NULL::published, 10);
