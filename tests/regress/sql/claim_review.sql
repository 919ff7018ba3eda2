-- What a reading of the claim engine found: jobs that nobody had lowered the floor for are taken at once.
CREATE SCHEMA claim_review;
SET search_path = claim_review;

-- A trigger of the user's puts a follow-up on the queue while one of our statements runs.
SELECT queue.create_queue('nested', 'n int', max_attempts => 1);
CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.state = 'failed' THEN
        INSERT INTO claim_review.nested (n, priority) VALUES (new.n + 1, new.n);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER follow AFTER INSERT ON nested FOR EACH ROW EXECUTE FUNCTION follow();
SELECT queue.enqueue('nested', '{"n": 1}') IS NOT NULL AS enqueued;
SELECT queue.nack(queue, id, attempt, 'first') FROM queue.dequeue('nested');
SELECT n, priority FROM queue.pop_as(NULL::nested);
-- With all that is checked for it.
SELECT queue.enqueue('nested', '{"n": 10}') IS NOT NULL AS enqueued;
SELECT sqlstate, message FROM test.fails($$SELECT queue.nack(queue, id, attempt, 'second') FROM queue.dequeue('claim_review.nested')$$);

-- A priority set by hand where nobody looks for it is brought back within range.
SELECT queue.create_queue('ranged', 'n int');
SELECT queue.enqueue('ranged', '{"n": 1}', delay => '1 h') IS NOT NULL AS enqueued;
UPDATE ranged SET priority = 20, run_at = now() - interval '1 s';
SELECT n, priority FROM queue.pop_as(NULL::ranged);
SELECT queue.enqueue('ranged', '{"n": 2}') IS NOT NULL AS enqueued;
CREATE TEMP TABLE leased AS SELECT * FROM queue.dequeue('ranged');
UPDATE ranged SET priority = -5;
SELECT queue.nack(queue, id, attempt, delay => '0') FROM leased;
SELECT n, priority FROM queue.pop_as(NULL::ranged);

-- A trigger of the user's gives a job another priority than it was enqueued with.
SELECT queue.create_queue('changed', 'n int');
CREATE FUNCTION hurry() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.priority := 1; RETURN new; END $$;
CREATE TRIGGER hurry BEFORE INSERT ON changed FOR EACH ROW EXECUTE FUNCTION hurry();
SELECT count(*) FROM queue.pop('changed');
SELECT queue.enqueue('changed', '{"n": 1}') IS NOT NULL AS enqueued;
SELECT n, priority FROM queue.pop_as(NULL::changed);

-- Jobs brought back with the ids they had: from a table, by COPY, after the sequence was set back.
SELECT queue.create_queue('restored', 'n int');
INSERT INTO restored (n) SELECT generate_series(1, 5);
CREATE TEMP TABLE backup AS SELECT * FROM restored;
SELECT count(*) FROM queue.pop('restored', 10);
SELECT count(*) FROM queue.pop('restored', 10);
INSERT INTO restored OVERRIDING SYSTEM VALUE SELECT * FROM backup WHERE n = 2;
SELECT n FROM queue.pop_as(NULL::restored, 10);
COPY restored (id, n, priority) FROM stdin;
1	11	3
4	14	7
\.
SELECT n, priority FROM queue.pop_as(NULL::restored, 10);
SELECT setval(pg_get_serial_sequence('restored', 'id'), 1);
INSERT INTO restored (n) VALUES (20), (21);
SELECT n FROM queue.pop_as(NULL::restored, 10);

-- Many rows through an attached trigger, wide ones and narrow, inserted and updated, spilled to disk.
SET work_mem = '64kB';
CREATE TABLE wide (v int, b text);
SELECT queue.create_queue('many', 'v int, o int');
SELECT queue.attach('wide', 'many', set => '{"v": "new.v", "o": "old.v"}');
INSERT INTO wide SELECT i, repeat('x', 8000 + i * 40) FROM generate_series(1, 300) i;
INSERT INTO wide SELECT i, 'y' FROM generate_series(301, 3000) i;
UPDATE wide SET v = v + 10000;
UPDATE wide SET b = b || 'z';
DELETE FROM wide WHERE v <= 10100;
SELECT count(*), count(v), sum(v), count(o), sum(o), count(*) FILTER (WHERE v <> o + 10000) AS changed FROM many;
-- Few, which are read in another way, and each wide enough to be spilled.
TRUNCATE wide, many;
INSERT INTO wide SELECT i, repeat(i::text, 100000) FROM generate_series(1, 8) i;
UPDATE wide SET v = v + 100, b = b || 'z';
UPDATE wide SET v = v + 100;
SELECT v, o FROM many ORDER BY v;
RESET work_mem;

-- A constant of a user's type has a cast that runs code: under the pinned search_path, and it may fire the
-- trigger once more.
CREATE TYPE mood AS ENUM ('sad');
CREATE TABLE moody (a int, b text);
SELECT queue.create_queue('moods');
CREATE FUNCTION mood_json(mood) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('claim_review.again', true) IS DISTINCT FROM 'no' THEN
        PERFORM set_config('claim_review.again', 'no', true);
        INSERT INTO claim_review.moody VALUES (2, repeat('b', 3000));
    END IF;
    RETURN json_build_object('path', current_setting('search_path'));
END $$;
CREATE CAST (mood AS json) WITH FUNCTION mood_json(mood);
SELECT queue.attach('moody', 'moods', 'insert', level => 'row',
    set => '{"payload.m": "''sad''::claim_review.mood", "payload.a": "new.a", "payload.b": "left(new.b, 1)"}');
INSERT INTO moody VALUES (1, 'a');
SELECT payload FROM queue.pop('moods', 10);
-- The row type, too, may have a cast.
CREATE FUNCTION moody_json(moody) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RETURN json_build_object('path', current_setting('search_path')); END $$;
CREATE CAST (moody AS json) WITH FUNCTION moody_json(moody);
SELECT queue.create_queue('rows', 'r jsonb');
SELECT queue.attach('moody', 'rows', 'insert', set => '{"r": "to_jsonb(new.*)"}');
INSERT INTO moody VALUES (3, 'c');
SELECT left(r::text, 40) FROM queue.pop_as(NULL::rows, 10);
-- Names in arrays are looked up under it, too.
SELECT queue.create_queue('named', 'r text');
CREATE TABLE names (t text);
SELECT queue.attach('names', 'named', 'insert', set => '{"r": "new.t::regclass[]::text"}');
SELECT sqlstate, message FROM test.fails($$INSERT INTO claim_review.names VALUES ('{moody}')$$);

-- A temporary table would leave its attachment behind.
CREATE TEMP TABLE temporary (a int);
SELECT sqlstate, message FROM test.fails($$SELECT queue.attach('temporary', 'claim_review.named')$$);
DROP SCHEMA claim_review CASCADE;
