-- Failing jobs: alone, counted, retried, and then an error row that tells everything.
CREATE SCHEMA process_errors;
SET search_path = process_errors;
CREATE TABLE done (who text);
SELECT queue.create_queue('q', 'who text', max_attempts => 3, backoff => '100 s');
CREATE FUNCTION work(job q) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO process_errors.done VALUES (job.who);
    IF job.who LIKE 'bad%' THEN
        RAISE EXCEPTION 'cannot do %', job.who USING ERRCODE = 'QX001', DETAIL = 'the detail', HINT = 'the hint';
    END IF;
END $$;
SELECT queue.register_processor('q', 'work(q)');
CREATE FUNCTION due() RETURNS void LANGUAGE sql AS $$ UPDATE process_errors.q SET run_at = now() - interval '1 ms' WHERE state = 'scheduled' $$;

-- A bad one in the middle, at the beginning, at the end, and several: the others' work is done once, theirs not at all.
INSERT INTO q (who) SELECT CASE WHEN i IN (1, 50, 51, 100) THEN 'bad ' ELSE 'good ' END || i FROM generate_series(1, 100) i;
CALL queue.run('q');
SELECT count(*), count(DISTINCT who), count(*) FILTER (WHERE who LIKE 'bad%') AS bad FROM done;
SELECT state, who, attempt, run_at - clock_timestamp() BETWEEN '80 s' AND '100 s' AS backed_off FROM q ORDER BY id;
-- Not run again before its time.
CALL queue.run('q');
SELECT DISTINCT state, attempt FROM q;
SELECT due();
CALL queue.run('q');
SELECT DISTINCT state, attempt, run_at - clock_timestamp() BETWEEN '170 s' AND '200 s' AS backed_off FROM q;
-- One is cured in between; the others become error rows after the third attempt.
UPDATE q SET who = 'cured' WHERE who = 'bad 50';
SELECT due();
CALL queue.run('q');
SELECT state, who, attempt, finished_at IS NOT NULL AS finished FROM q ORDER BY id;
SELECT count(*) FROM done WHERE who = 'cured';
SELECT attempt, sqlstate, message, detail, hint, split_part(context, E'\n', 1) AS context, failed_at <= clock_timestamp() AS stamped, job ->> 'who' AS who
FROM queue.errors WHERE queue = 'q'::regclass ORDER BY id LIMIT 1;
SELECT e ->> 'attempt' AS attempt, e ->> 'sqlstate' AS sqlstate, e ->> 'message' AS message, e ->> 'detail' AS detail, e ->> 'hint' AS hint,
       split_part(e ->> 'context', E'\n', 1) AS context, (e ->> 'failed_at')::timestamptz BETWEEN enqueued_at AND clock_timestamp() AS stamped
FROM q, jsonb_array_elements(errors) WITH ORDINALITY j (e, n) WHERE who = 'bad 1' ORDER BY n;

-- Errors of every kind end as such, and the last words of each are kept.
TRUNCATE q, done;
SELECT queue.alter_queue('q', max_attempts => 1);
CREATE OR REPLACE FUNCTION work(job q) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO process_errors.done VALUES (job.who);
    EXECUTE job.payload ->> 'command';
END $$;
CREATE FUNCTION returns_two() RETURNS SETOF int LANGUAGE sql AS 'SELECT 1 UNION ALL SELECT 2';
INSERT INTO q (who, payload) SELECT command, jsonb_build_object('command', command) FROM (VALUES
    ('SELECT 1 / 0'), ('SELECT 1'), ('SELECT nonsense'), ('not sql'), (NULL), ('INSERT INTO process_errors.q (priority) VALUES (10)'),
    ('SELECT (SELECT process_errors.returns_two())'), ('COMMIT'), ('ROLLBACK'), ('SAVEPOINT s'), ('VACUUM'),
    ($$DO 'BEGIN RAISE EXCEPTION USING MESSAGE = ''''; END'$$), ($$DO 'BEGIN RAISE EXCEPTION ''юникод %'', repeat(''я'', 5); END'$$),
    ($$DO 'BEGIN RAISE assert_failure; END'$$), ($$DO 'BEGIN RAISE query_canceled; END'$$), ('SET transaction_read_only = on'),
    ($$DO 'BEGIN RAISE NOTICE ''only a notice''; END'$$), ('SELECT 1 -- last')) v (command);
CALL queue.run('q');
SELECT job ->> 'who' AS command, sqlstate, message, CASE WHEN detail NOT LIKE 'Failing row%' THEN detail END AS detail, hint FROM queue.errors WHERE queue = 'q'::regclass ORDER BY id;
SELECT who FROM done ORDER BY who COLLATE "C";
SELECT state, count(*) FROM q GROUP BY 1;
SHOW search_path;

-- All in f(queue[]): the batch is split until the culprit stands alone.
CREATE TABLE calls (jobs int);
SELECT queue.create_queue('b', 'n int', max_attempts => 1);
CREATE FUNCTION work(jobs b[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO process_errors.done SELECT 'b' || n FROM unnest(jobs);
    PERFORM 1 / (n % 40) FROM unnest(jobs);
END $$;
SELECT queue.register_processor('b', 'work(b[])', batch_size => 100, load_balanced => false);
INSERT INTO b (n) SELECT i FROM generate_series(1, 100) i;
CALL queue.run('b');
SELECT count(*), count(DISTINCT who) FROM done WHERE who LIKE 'b%';
SELECT state, n, attempt FROM b ORDER BY id;
SELECT sqlstate, message FROM queue.errors WHERE queue = 'b'::regclass;
-- All of them bad: each is an error row, and the run comes to an end.
UPDATE b SET n = 0;
INSERT INTO b (n) SELECT 0 FROM generate_series(1, 200);
CALL queue.run('b');
SELECT state, count(*) FROM b GROUP BY 1;

-- A job whose function is gone, or may no longer be run, stays; the queue says why nothing runs.
SELECT queue.create_queue('gone');
CREATE FUNCTION vanish(job gone) RETURNS void LANGUAGE sql AS '';
SELECT queue.register_processor('gone', 'vanish(gone)');
DROP FUNCTION vanish;
SELECT queue.enqueue('gone') IS NOT NULL AS ok;
CALL queue.run('gone');
\echo :LAST_ERROR_SQLSTATE
SELECT state, count(*) FROM gone GROUP BY 1;
SELECT problem IS NOT NULL AS says_so FROM queue.overview WHERE queue = 'gone'::regclass;
CREATE FUNCTION vanish(job gone) RETURNS void LANGUAGE sql AS '';
SELECT queue.register_processor('gone', 'vanish(gone)', replace => true);
CALL queue.run('gone');
SELECT state, count(*) FROM gone GROUP BY 1;
