-- What only the extension sets, a plain INSERT or COPY may not: not the past of a job, nor an attempt of its own.
CREATE SCHEMA put_header;
GRANT USAGE ON SCHEMA put_header TO regress_writer, regress_owner;
GRANT CREATE ON SCHEMA put_header TO regress_owner;
SET search_path = put_header;
\pset format unaligned
\pset tuples_only on
SET ROLE regress_owner;
SELECT queue.create_queue('q', 'n int');
GRANT INSERT ON q TO regress_writer;
CREATE VIEW door AS SELECT n, attempt FROM q;
GRANT INSERT ON door TO regress_writer;
RESET ROLE;
SET ROLE regress_writer;
-- The defaults, however they are given.
INSERT INTO q (n, attempt, lease_until, errors, result, finished_at, after_failure) VALUES (1, 1, NULL, NULL, NULL, NULL, NULL);
INSERT INTO q (n, attempt, errors, after_failure) VALUES (2, DEFAULT, DEFAULT, 'release');
COPY q (n, attempt, errors) FROM STDIN;
3	1	\N
\.
INSERT INTO q (n, topic, keep_result, enqueued_at) VALUES (4, 'a.b', true, now());
-- Anything else, now or later, and with other columns that are special.
SELECT columns, f.* FROM unnest(ARRAY['', ', run_at', ', key', ', after_failure']) WITH ORDINALITY AS more (columns, place),
    (VALUES ('attempt', '2'), ('attempt', '0'), ('attempt', '2147483647'), ('attempt', '-2147483648'), ('lease_until', 'now()'), ('errors', '''[]'''),
            ('errors', '''null'''), ('result', '''5'''), ('finished_at', '''-infinity''')) c (name, value),
    test.fails(format('INSERT INTO q (n, %s%s) SELECT 0, %s%s', name, columns, value, (ARRAY['', ', timestamptz ''2100-01-01''', ', ''k''', ', ''fail'''])[place])) f;
SELECT sqlstate, message FROM test.fails('INSERT INTO q (n, attempt) SELECT i, i FROM generate_series(1, 3) i');
SELECT sqlstate, message FROM test.fails('INSERT INTO door VALUES (1, 2)');
SELECT sqlstate, message FROM test.fails('MERGE INTO q USING (VALUES (1)) v (n) ON false WHEN NOT MATCHED THEN INSERT (n, errors) VALUES (n, ''[]'')');
SELECT sqlstate, message FROM test.fails('INSERT INTO q (n, after_failure) VALUES (1, ''never'')');
COPY q (n, attempt) FROM STDIN;
5	1
6	2
\.
SELECT queue.enqueue('q', '{"n": 7, "attempt": 5, "errors": []}');
RESET ROLE;
SELECT n, state, attempt, errors, result, payload FROM q ORDER BY n;
-- The owner restores a dump: also jobs that come back with attempts behind them.
SET ROLE regress_owner;
COPY q (n, attempt, errors, lease_until, result, finished_at, run_at) FROM STDIN;
8	3	[{"message": "broken"}]	2100-01-01 00:00:00+00	5	2000-01-01 00:00:00+00	\N
9	2	[]	\N	\N	\N	2100-01-01 00:00:00+00
\.
SELECT n, state, attempt, errors, lease_until IS NULL AS unleased, result, finished_at FROM q WHERE n > 7 ORDER BY n;
-- It is run as any other, and its errors are kept.
SELECT queue.nack('q', id, attempt, 'again', '1 h') FROM queue.dequeue('q', 10) WHERE payload ->> 'n' = '8';
SELECT n, state, attempt, jsonb_path_query_array(errors, '$[*].message') AS errors, result, finished_at FROM q WHERE n = 8;
-- The queue's own statements are not meant: retries, moves with their errors.
SELECT queue.create_queue('other', 'n int');
GRANT INSERT ON other TO regress_writer;
RESET ROLE;
GRANT CREATE ON SCHEMA put_header TO regress_writer;
SET ROLE regress_writer;
SELECT queue.create_queue('mine', 'n int', backoff => '0', max_attempts => 2);
INSERT INTO mine (n) VALUES (1);
SELECT queue.nack('mine', id, attempt, 'one') FROM queue.dequeue('mine');
SELECT queue.nack('mine', id, attempt, 'two') FROM queue.dequeue('mine');
SELECT queue.move_all('mine', 'other', states => '{failed}');
RESET ROLE;
SELECT n, attempt, jsonb_path_query_array(errors, '$[*].message') AS errors FROM other;
-- Nor is what another server wrote.
SET session_replication_role = replica;
INSERT INTO q (id, n, attempt, errors) OVERRIDING SYSTEM VALUE VALUES (100, 10, 2, '[]');
RESET session_replication_role;
SELECT n, attempt FROM q WHERE n = 10;
