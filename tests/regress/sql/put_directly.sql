-- A plain INSERT is put directly where that comes to the same, and else runs as it was planned.
CREATE SCHEMA put_directly;
SET search_path = put_directly;
SELECT queue.create_queue('mail', 'recipient text NOT NULL, subject text');

-- Which way a statement goes.
CREATE FUNCTION way(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    line text;
    put boolean := false;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || statement LOOP
        put := put OR line ~ 'Custom Scan \(queue_ext put\)';
        IF line ~ 'Insert on' THEN
            RETURN CASE WHEN put THEN 'as planned, under ours' ELSE 'as planned' END;
        END IF;
    END LOOP;
    RETURN CASE WHEN put THEN 'directly' ELSE 'no INSERT' END;
END $$;
CREATE FUNCTION ways(VARIADIC statements text[]) RETURNS TABLE (statement text, way text) LANGUAGE sql AS
    'SELECT s, way(s) FROM unnest(statements) WITH ORDINALITY u (s, n) ORDER BY n';

SELECT * FROM ways(
    $$INSERT INTO mail (recipient) VALUES ('a')$$,
    $$INSERT INTO mail (recipient) VALUES ('a'), ('b')$$,
    $$INSERT INTO mail (recipient, priority, run_at, max_attempts, payload) SELECT 'a', 3, now(), 2, '{}' FROM generate_series(1, 3)$$,
    $$INSERT INTO mail (recipient) SELECT 'a' UNION ALL SELECT 'b' ORDER BY 1 LIMIT 1$$,
    $$INSERT INTO mail (recipient) SELECT subject FROM mail$$,
    $$INSERT INTO mail (recipient, state) VALUES ('a', 'ready')$$,
    $$INSERT INTO mail (recipient, state) VALUES ('a', 'done')$$,
    $$INSERT INTO mail (recipient, id) OVERRIDING SYSTEM VALUE VALUES ('a', 1)$$,
    $$INSERT INTO mail (recipient, key) VALUES ('a', 'k')$$,
    $$INSERT INTO mail (recipient, attempt) VALUES ('a', 3)$$,
    $$INSERT INTO mail (recipient, result) VALUES ('a', '{}')$$,
    $$INSERT INTO mail (recipient) VALUES ('a') RETURNING id$$,
    $$INSERT INTO mail (recipient) VALUES ('a') ON CONFLICT DO NOTHING$$,
    $$WITH other AS (INSERT INTO mail (recipient) VALUES ('b') RETURNING recipient) INSERT INTO mail (recipient) SELECT recipient FROM other$$,
    $$INSERT INTO mail_ready (recipient, state) VALUES ('a', 'ready')$$);

-- What is put is the same either way: RETURNING takes the other.
INSERT INTO mail (recipient) VALUES ('one');
INSERT INTO mail (recipient, priority, max_attempts, payload, correlation_id) VALUES ('two', 0, 7, '{"a": 1}', 'request');
INSERT INTO mail (recipient) VALUES ('one') RETURNING NULL;
INSERT INTO mail (recipient, priority, max_attempts, payload, correlation_id) VALUES ('two', 0, 7, '{"a": 1}', 'request') RETURNING NULL;
SELECT count(*) AS copies, count(DISTINCT id) AS ids, recipient, (array_agg((to_jsonb(m) - '{id,enqueued_at}'::text[]) ORDER BY id))[1]
FROM mail m GROUP BY recipient, to_jsonb(m) - '{id,enqueued_at}'::text[] ORDER BY recipient;
SELECT recipient, enqueued_at BETWEEN now() - interval '1 min' AND now() AS recent FROM mail ORDER BY id LIMIT 1;
DELETE FROM mail;

-- Many rows, to one page and to several, some for later; how many there were is told as ever.
INSERT INTO mail (recipient, subject, run_at)
SELECT 'someone', repeat('x', i % 300), CASE i % 10 WHEN 0 THEN timestamptz '2100-01-01' WHEN 1 THEN '2000-01-01' END
FROM generate_series(1, 2500) i;
SELECT state, count(*), count(DISTINCT id), sum(length(subject)) FROM mail GROUP BY 1 ORDER BY 1;
DO $$
DECLARE
    n bigint;
BEGIN
    INSERT INTO mail (recipient) SELECT 'counted' FROM generate_series(1, 123);
    GET DIAGNOSTICS n = ROW_COUNT;
    RAISE NOTICE '% rows, and found: %', n, FOUND;
    INSERT INTO mail (recipient) SELECT 'counted' WHERE false;
    RAISE NOTICE 'found: %', FOUND;
END $$;
\set QUIET off
INSERT INTO mail (recipient) SELECT 'told' FROM generate_series(1, 7);
\set QUIET on
SELECT count(*) FROM mail WHERE recipient IN ('counted', 'told');
-- In the order in which they came.
INSERT INTO mail (recipient, subject) SELECT 'ordered', i FROM generate_series(1, 300) i;
SELECT bool_and(subject::int = n) FROM (
    SELECT subject, row_number() OVER (ORDER BY id) AS n FROM mail WHERE recipient = 'ordered') m;
SELECT count(*) FROM queue.pop('mail', 5000);
DELETE FROM mail;

-- Subqueries that are computed once, parameters, values that are stored out of line.
PREPARE put (text, int) AS INSERT INTO mail (recipient, subject, priority) VALUES ($1, (SELECT max(relname) FROM pg_class WHERE relname = 'pg_class'), $2);
EXECUTE put('x', 1);
EXECUTE put('y', 2);
SELECT recipient, subject, priority FROM mail ORDER BY id;
WITH big AS MATERIALIZED (SELECT string_agg(md5(i::text), '') AS text FROM generate_series(1, 1000) i)
INSERT INTO mail (recipient, subject, payload) SELECT 'big', text, jsonb_build_object('text', text) FROM big;
SELECT length(subject), length(payload ->> 'text') FROM mail WHERE recipient = 'big';
DELETE FROM mail;

-- A statement does not see what it puts. A function of its that looks sees what was put before.
INSERT INTO mail (recipient) VALUES ('a'), ('b');
INSERT INTO mail (recipient) SELECT recipient FROM mail;
SELECT count(*) FROM mail;
DELETE FROM mail;
CREATE FUNCTION waiting() RETURNS text LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN (SELECT count(*) FROM mail); END';
INSERT INTO mail (recipient) SELECT waiting() FROM generate_series(1, 4);
INSERT INTO mail (recipient) SELECT waiting() FROM generate_series(1, 2) WHERE waiting()::int < 100 RETURNING recipient;
SELECT recipient FROM mail ORDER BY id;
DELETE FROM mail;

-- It fails as ever, and as a whole.
\set VERBOSITY terse
INSERT INTO mail (recipient, priority) VALUES ('ok', 5), ('not', 10);
INSERT INTO mail (recipient, max_attempts) VALUES ('ok', 5), ('not', 0);
INSERT INTO mail (subject) VALUES ('no recipient');
INSERT INTO mail (recipient, priority) VALUES ('x', 100000);
INSERT INTO mail (recipient) SELECT 1 / (3 - i) FROM generate_series(1, 5) i;
SELECT count(*) FROM mail;
BEGIN READ ONLY;
INSERT INTO mail (recipient) VALUES ('a');
ROLLBACK;
BEGIN;
SAVEPOINT s;
INSERT INTO mail (recipient) VALUES ('undone');
ROLLBACK TO s;
INSERT INTO mail (recipient) VALUES ('kept');
COMMIT;
SELECT recipient FROM queue.pop_as(NULL::mail, 10);

-- Privileges are those of the table.
GRANT USAGE ON SCHEMA put_directly TO PUBLIC;
SET ROLE regress_writer;
INSERT INTO mail (recipient) VALUES ('refused');
RESET ROLE;
GRANT INSERT (recipient) ON mail TO regress_writer;
SET ROLE regress_writer;
SELECT way($$INSERT INTO mail (recipient) VALUES ('allowed')$$);
INSERT INTO mail (recipient) VALUES ('allowed');
INSERT INTO mail (recipient, subject) VALUES ('refused', 'x');
RESET ROLE;
SELECT recipient FROM queue.pop_as(NULL::mail, 10);

-- A statement that was planned before goes by what the queue is now.
CREATE TABLE log (recipient text);
CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO put_directly.log VALUES (new.recipient); RETURN new; END';
EXECUTE put('before', 5);
CREATE TRIGGER log AFTER INSERT ON mail FOR EACH ROW EXECUTE FUNCTION log();
EXECUTE put('with trigger', 5);
SELECT way($$INSERT INTO mail (recipient) VALUES ('a')$$);
DROP TRIGGER log ON mail;
CREATE TRIGGER log BEFORE INSERT ON mail_ready FOR EACH ROW EXECUTE FUNCTION log();
EXECUTE put('with trigger of the partition', 5);
SELECT way($$INSERT INTO mail (recipient) VALUES ('a')$$);
DROP TRIGGER log ON mail_ready;
EXECUTE put('without', 5);
SELECT way($$INSERT INTO mail (recipient) VALUES ('a')$$);
ALTER TABLE mail ADD CONSTRAINT short CHECK (length(recipient) < 40);
EXECUTE put('much too long for what that constraint allows', 5);
SELECT way($$INSERT INTO mail (recipient) VALUES ('a')$$);
ALTER TABLE mail DROP CONSTRAINT short;
CREATE UNIQUE INDEX ON mail_ready (lower(recipient));
SELECT way($$INSERT INTO mail (recipient) VALUES ('a')$$);
DROP INDEX mail_ready_lower_idx;
CREATE UNIQUE INDEX ON mail_ready (recipient);
SELECT way($$INSERT INTO mail (recipient) VALUES ('a')$$);
EXECUTE put('without', 5);
DROP INDEX mail_ready_recipient_idx;
CREATE RULE copy AS ON INSERT TO mail DO ALSO INSERT INTO put_directly.log VALUES ('by rule: ' || new.recipient);
EXECUTE put('with rule', 5);
DROP RULE copy ON mail;
ALTER TABLE mail ADD COLUMN shouted text GENERATED ALWAYS AS (upper(recipient)) STORED;
EXECUTE put('generated', 5);
SELECT way($$INSERT INTO mail (recipient) VALUES ('a')$$);
ALTER TABLE mail DROP COLUMN shouted;
ALTER TABLE mail ADD COLUMN again text DEFAULT 'new column';
EXECUTE put('dropped and added', 5);
SELECT way($$INSERT INTO mail (recipient) VALUES ('a')$$);
SELECT recipient, subject, again FROM mail ORDER BY id;
SELECT * FROM log;
DELETE FROM mail;

-- Where the triggers are disabled nothing is done in their place.
SET session_replication_role = replica;
SELECT way($$INSERT INTO mail (recipient) VALUES ('a')$$);
RESET session_replication_role;
ALTER TABLE mail_ready DISABLE TRIGGER queue_ext_check;
SELECT way($$INSERT INTO mail (recipient) VALUES ('a')$$);
INSERT INTO mail (recipient, priority) VALUES ('unchecked', 77);
ALTER TABLE mail_ready ENABLE TRIGGER queue_ext_check;
SELECT way($$INSERT INTO mail (recipient) VALUES ('a')$$);
DELETE FROM mail;

-- Row security.
ALTER TABLE mail ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON mail USING (true) WITH CHECK (recipient = current_user);
GRANT INSERT ON mail TO regress_writer;
SET ROLE regress_writer;
SELECT way($$INSERT INTO mail (recipient) VALUES ('a')$$);
INSERT INTO mail (recipient) VALUES ('another');
INSERT INTO mail (recipient) VALUES (current_user);
RESET ROLE;
ALTER TABLE mail DISABLE ROW LEVEL SECURITY;
SELECT recipient FROM queue.pop_as(NULL::mail, 10);

-- A partition that is no queue's any more, and a table that never was one.
CREATE TABLE by_list (a int) PARTITION BY LIST (a);
CREATE TABLE by_list_1 PARTITION OF by_list FOR VALUES IN (1);
SELECT way('INSERT INTO by_list VALUES (1)');
INSERT INTO by_list VALUES (1);
ALTER TABLE mail DETACH PARTITION mail_ready;
SELECT test.code($$INSERT INTO mail (recipient) VALUES ('a')$$);
ALTER TABLE mail ATTACH PARTITION mail_ready FOR VALUES IN ('ready');
EXECUTE put('attached again', 5);
SELECT recipient FROM queue.pop_as(NULL::mail, 10);
DROP TABLE mail;
EXECUTE put('gone', 5);
