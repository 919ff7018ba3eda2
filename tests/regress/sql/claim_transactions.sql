-- Claims behave the same whichever way they go (see claim_paths), whatever the transaction around them is, and
-- whatever has been done to the table since the last claim.
CREATE SCHEMA claim_transactions;
SET search_path = claim_transactions;
SELECT queue.create_queue('q', 'n int');

-- What is not announced is found within the poll interval: claims again and again until so many are found.
CREATE PROCEDURE drain(q regclass, expected int, INOUT numbers text DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
    all_found int[] := '{}';
    until_then timestamptz := clock_timestamp() + interval '20 s';
BEGIN
    LOOP
        all_found := all_found || ARRAY(SELECT (payload ->> 'n')::int FROM queue.pop(q, 100));
        COMMIT;
        EXIT WHEN cardinality(all_found) >= expected OR clock_timestamp() > until_then;
        PERFORM pg_sleep(0.05);
    END LOOP;
    SELECT string_agg(n::text, ' ' ORDER BY n) INTO numbers FROM unnest(all_found) n;
END $$;

-- In the transaction that put it: at once, whichever way it was put, and back with a savepoint.
BEGIN;
INSERT INTO q (n) VALUES (1), (2);
SELECT n FROM queue.pop_as(NULL::q);
SELECT queue.enqueue('q', '{"n": 3}', priority => 1) IS NOT NULL AS put;
SELECT n FROM queue.pop_as(NULL::q, 10);
SAVEPOINT s;
COPY q (n) FROM stdin;
4
5
\.
SELECT n FROM queue.pop_as(NULL::q);
ROLLBACK TO s;
SELECT n FROM queue.pop_as(NULL::q, 10);
SELECT count(*) FROM queue.enqueue_many('q', '{"{\"n\": 6}", "{\"n\": 7}"}');
SAVEPOINT t;
SELECT n FROM queue.pop_as(NULL::q, 1);
ROLLBACK TO t;
SELECT n FROM queue.pop_as(NULL::q, 10);
COMMIT;
SELECT count(*) FROM q;
-- The whole transaction rolled back: as if nothing had been.
INSERT INTO q (n) VALUES (8);
BEGIN;
INSERT INTO q (n) VALUES (9);
SELECT n FROM queue.pop_as(NULL::q, 10);
ROLLBACK;
SELECT n FROM queue.pop_as(NULL::q, 10);

-- Subtransactions, one in another, released and rolled back.
INSERT INTO q (n) SELECT generate_series(10, 17);
BEGIN;
SAVEPOINT a;
SELECT n FROM queue.pop_as(NULL::q);
SAVEPOINT b;
SELECT n FROM queue.pop_as(NULL::q);
SAVEPOINT c;
SELECT n FROM queue.pop_as(NULL::q);
RELEASE c;
ROLLBACK TO b;
SELECT n FROM queue.pop_as(NULL::q);
RELEASE a;
SELECT n FROM queue.pop_as(NULL::q);
COMMIT;
SELECT n FROM queue.pop_as(NULL::q);
-- An exception block gives back what was taken in it.
DO $$
DECLARE
    round int;
BEGIN
    FOR round IN 1..3 LOOP
        BEGIN
            RAISE NOTICE 'took %', (SELECT array_agg(n) FROM queue.pop_as(NULL::claim_transactions.q, 2));
            PERFORM 1 / (round - 3);
            RAISE EXCEPTION 'undone';
        EXCEPTION WHEN division_by_zero OR raise_exception THEN
            RAISE NOTICE '%', sqlerrm;
        END;
    END LOOP;
END $$;
SELECT n FROM queue.pop_as(NULL::q);
-- In a function, also one of another's rights; twice in one statement; as often as a query asks.
CREATE FUNCTION take(most int) RETURNS SETOF int LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY SELECT n FROM queue.pop_as(NULL::claim_transactions.q, most);
    RETURN QUERY SELECT n FROM queue.pop_as(NULL::claim_transactions.q, most);
END $$;
CREATE FUNCTION take_one() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT n FROM queue.pop_as(NULL::claim_transactions.q)';
INSERT INTO q (n) SELECT generate_series(20, 33);
SELECT take(2);
SELECT a.n, b.n FROM queue.pop_as(NULL::q) a, queue.pop_as(NULL::q) b;
WITH a AS MATERIALIZED (SELECT n FROM queue.pop_as(NULL::q)), b AS MATERIALIZED (SELECT n FROM queue.pop_as(NULL::q)) SELECT * FROM a, b;
SELECT i, (SELECT n FROM queue.pop_as(NULL::q) WHERE i > 0) FROM generate_series(1, 2) i;
SELECT take_one();
SET ROLE regress_nobody;
SELECT test.code('SELECT * FROM queue.pop(''claim_transactions.q'')');
RESET ROLE;
SELECT n FROM queue.pop_as(NULL::q, 10);

-- A cursor: taken when it is first fetched from, for good when its transaction commits.
INSERT INTO q (n) SELECT generate_series(40, 44);
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT n FROM queue.pop_as(NULL::q, 3);
FETCH 1 FROM c;
FETCH 1 FROM c;
FETCH BACKWARD 1 FROM c;
SELECT n FROM queue.pop_as(NULL::q);
CLOSE c;
COMMIT;
SELECT n FROM queue.pop_as(NULL::q, 10);

-- A transaction that may not write says so (by one SQLSTATE; the text names what was about to be done).
\set VERBOSITY sqlstate
INSERT INTO q (n) VALUES (50), (51), (52), (53);
BEGIN READ ONLY;
SELECT * FROM queue.pop('q');
ROLLBACK;
BEGIN READ ONLY;
SELECT * FROM queue.dequeue('q');
ROLLBACK;
SET default_transaction_read_only = on;
SELECT * FROM queue.pop_as(NULL::q);
RESET default_transaction_read_only;
\set VERBOSITY default
-- One with a snapshot of its beginning takes what it sees, its own changes too.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT n FROM queue.pop_as(NULL::q);
INSERT INTO q (n, priority) VALUES (54, 0);
SELECT n FROM queue.pop_as(NULL::q, 2);
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT n FROM queue.dequeue_as(NULL::q);
SAVEPOINT s;
SELECT n FROM queue.pop_as(NULL::q, 2);
ROLLBACK TO s;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE, DEFERRABLE;
SELECT n FROM queue.pop_as(NULL::q, 1);
COMMIT;
SELECT n FROM queue.pop_as(NULL::q, 10);
SELECT queue.nack('q', id, attempt, delay => '0') FROM q WHERE state = 'running';
SELECT n, attempt FROM queue.pop_as(NULL::q, 10);

-- Payloads that are stored out of line: whole, also after a claim that was rolled back, and when the row is gone.
CREATE TABLE big AS SELECT string_agg(md5(i::text), '' ORDER BY i) AS text FROM generate_series(1, 330000) i;
ALTER TABLE q ADD big text, ALTER big SET STORAGE EXTERNAL;
SELECT length(text) > 10000000 AS big FROM big;
SELECT queue.enqueue('q', jsonb_build_object('n', 60, 'text', text)) IS NOT NULL AS put FROM big;
INSERT INTO q (n, big) SELECT 61, text FROM big;
BEGIN;
SELECT n, payload ->> 'text' = text AS whole FROM queue.pop_as(NULL::q), big;
ROLLBACK;
SELECT p.payload ->> 'n' AS n, payload ->> 'text' = text AS whole FROM queue.pop('q') p, big;
SELECT n, d.big = text AS whole FROM queue.dequeue_as(NULL::q) d, big;
SELECT q.big = text AS whole FROM q, big;
SELECT queue.nack('q', id, attempt, delay => '0') FROM q WHERE state = 'running';
CREATE FUNCTION work(job q) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM claim_transactions.worked;
    INSERT INTO claim_transactions.worked SELECT job.n, job.big = text FROM claim_transactions.big;
END $$;
CREATE TABLE worked (n int, whole boolean);
SELECT queue.register_processor('q', 'work(q)');
CALL queue.run('q');
SELECT * FROM worked;
SELECT queue.unregister_processor('q');
DROP FUNCTION work;
ALTER TABLE q DROP big;

-- Columns that come, go, change their type, or have been there before the rows.
INSERT INTO q (n) VALUES (70);
ALTER TABLE q ADD added text DEFAULT 'by default', ADD gone int;
INSERT INTO q (n, added, gone) VALUES (71, 'given', 1), (72, NULL, 2);
ALTER TABLE q DROP gone;
SELECT n, added FROM queue.pop_as(NULL::q, 2);
ALTER TABLE q ADD volatile int DEFAULT (random() * 0)::int, ALTER n TYPE bigint;
INSERT INTO q (n) VALUES (73);
SELECT n, added, volatile FROM queue.dequeue_as(NULL::q, 2);
SELECT payload FROM queue.pop('q');
SELECT queue.nack('q', id, attempt, delay => '0') FROM q WHERE state = 'running' ORDER BY id;
SELECT payload FROM queue.pop('q', 10);
ALTER TABLE q DROP added, DROP volatile, ALTER n TYPE int;

-- Emptied, rewritten, reindexed, numbered anew: what comes after is found at once.
INSERT INTO q (n) SELECT generate_series(80, 89);
SELECT count(*) FROM queue.pop('q', 5);
TRUNCATE q;
INSERT INTO q (n) VALUES (90);
SELECT n FROM queue.pop_as(NULL::q, 10);
INSERT INTO q (n) VALUES (91), (92);
TRUNCATE q RESTART IDENTITY;
INSERT INTO q (n) VALUES (93);
SELECT id, n FROM queue.pop_as(NULL::q, 10);
SELECT queue.enqueue('q', '{"n": 94}');
BEGIN;
TRUNCATE q RESTART IDENTITY;
INSERT INTO q (n) VALUES (95);
SELECT id, n FROM queue.pop_as(NULL::q, 10);
ROLLBACK;
SELECT id, n FROM queue.pop_as(NULL::q, 10);
BEGIN;
TRUNCATE q RESTART IDENTITY;
INSERT INTO q (n) VALUES (96);
COMMIT;
SELECT id, n FROM queue.pop_as(NULL::q, 10);
INSERT INTO q (n) SELECT generate_series(100, 119);
SELECT count(*) FROM queue.pop('q', 4);
VACUUM FULL q_ready;
SELECT n FROM queue.pop_as(NULL::q);
CLUSTER q_ready USING q_ready_priority_id_idx;
SELECT n FROM queue.pop_as(NULL::q);
REINDEX TABLE q_ready;
SELECT n FROM queue.pop_as(NULL::q);
REINDEX INDEX CONCURRENTLY q_ready_priority_id_idx;
SELECT n FROM queue.pop_as(NULL::q);
VACUUM q;
SELECT n FROM queue.pop_as(NULL::q);
ALTER TABLE q_ready SET (fillfactor = 50);
ALTER TABLE q SET SCHEMA public;
ALTER TABLE public.q RENAME TO moved;
SELECT n FROM queue.pop_as(NULL::public.moved);
ALTER TABLE public.moved RENAME TO q;
ALTER TABLE public.q SET SCHEMA claim_transactions;
SELECT n FROM queue.pop_as(NULL::q, 7);
-- The index made anew under another name, or none at all.
CREATE UNIQUE INDEX other ON q_ready (priority, id);
SELECT n FROM queue.pop_as(NULL::q);
ALTER TABLE q_ready REPLICA IDENTITY NOTHING;
DROP INDEX q_ready_priority_id_idx;
SELECT n FROM queue.pop_as(NULL::q);
DROP INDEX other;
SELECT n FROM queue.pop_as(NULL::q);
CREATE UNIQUE INDEX q_ready_priority_id_idx ON q_ready (priority, id);
SELECT count(*) FROM queue.pop('q', 100);

-- By hand, and announced by nobody: found within the poll interval, in whatever order.
SELECT count(*) FROM q;
INSERT INTO q (n) SELECT generate_series(120, 129);
SELECT count(*) FROM queue.pop('q', 8);
ALTER SEQUENCE q_id_seq RESTART 1;
INSERT INTO q (n) VALUES (130);
SELECT queue.enqueue('q', '{"n": 131}');
CALL drain('q', 4);
INSERT INTO q (n) VALUES (132), (133), (134);
SELECT n FROM queue.pop_as(NULL::q, 1);
INSERT INTO q (id, n) OVERRIDING SYSTEM VALUE VALUES (-5, 135), (0, 136);
CALL drain('q', 4);
INSERT INTO q (n, priority) SELECT i, 7 FROM generate_series(140, 145) i;
SELECT n FROM queue.pop_as(NULL::q, 2);
UPDATE q SET priority = 2 WHERE n = 144;
UPDATE q SET priority = 9 WHERE n = 142;
UPDATE q SET n = n + 10 WHERE n = 143;
CALL drain('q', 4);
SET session_replication_role = replica;
INSERT INTO q (n) VALUES (150);
INSERT INTO q (n, run_at) VALUES (151, now() - interval '1 s'), (152, now() + interval '1 h');
RESET session_replication_role;
CALL drain('q', 2);
SELECT state, n FROM q;
TRUNCATE q;
BEGIN;
INSERT INTO q (n) VALUES (160), (161);
SAVEPOINT s;
DELETE FROM q WHERE n = 160;
ROLLBACK TO s;
COMMIT;
SELECT n FROM queue.pop_as(NULL::q, 1);
BEGIN;
DELETE FROM q;
SELECT n FROM queue.pop_as(NULL::q, 10);
ROLLBACK;
CALL drain('q', 1);
