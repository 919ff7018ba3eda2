-- after by plain INSERT, COPY and attached tables; what is refused; what cannot be moved; many.
CREATE SCHEMA after_plain;
SET search_path = after_plain;
SELECT queue.create_queue('q', 'n int', max_attempts => 1);
CREATE VIEW jobs AS SELECT id, state, n, after, after_failure FROM q ORDER BY id;
INSERT INTO q (n) VALUES (1), (2);
INSERT INTO q (n, after) VALUES (3, '{1}'), (4, '{1,3}'), (5, '{}') RETURNING id, n;
COPY q (n, after, after_failure) FROM stdin;
6	{2}	release
7	\N	\N
\.
INSERT INTO q (n, after, run_at) VALUES (8, '{2}', now() + interval '1 h');
TABLE jobs;
SELECT id FROM queue.pop('q', 10);
SELECT id FROM queue.pop('q', 10);
SELECT id FROM queue.pop('q', 10);
TABLE jobs;
-- What has ended is no reason to wait.
INSERT INTO q (n, after) VALUES (9, '{1,2,3}') RETURNING state;
TABLE jobs;
-- From a trigger: each row of a statement after the one before.
CREATE TABLE source (a int, b int[]);
SELECT queue.attach('source', 'q', 'insert', set => '{"n": "new.a", "after": "new.b", "after_failure": "''release''"}');
INSERT INTO source VALUES (10, '{9}'), (11, NULL);
INSERT INTO source SELECT i, '{9,10}' FROM generate_series(12, 30) i;
SELECT state, count(*), min(n), max(n) FROM q GROUP BY 1 ORDER BY 1;
SELECT queue.detach('source', 'q');
SELECT queue.attach('source', 'q', 'insert', set => '{"n": "new.a", "after": "new.b"}', delay => '1 h');
INSERT INTO source VALUES (31, '{9}'), (32, NULL);
SELECT n, state FROM q WHERE n > 30;
SELECT sqlstate, message FROM test.tries('INSERT INTO source VALUES (33, ''{12345}'')', 'INSERT INTO source VALUES (33, ''{1,NULL}'')');
-- With a trigger of the user's, everything goes by SQL.
CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER seen BEFORE INSERT ON q FOR EACH ROW EXECUTE FUNCTION seen();
TRUNCATE q;
INSERT INTO q (n) VALUES (40);
SELECT max(id) AS last FROM q \gset
SELECT queue.enqueue('q', '{"n": 41}', after => ARRAY[:last]) - :last AS id;
INSERT INTO source VALUES (42, ARRAY[:last]);
INSERT INTO q (n, after) VALUES (43, ARRAY[:last]);
SELECT state, n FROM q ORDER BY n;
SELECT payload FROM queue.pop('q', 10);
SELECT payload FROM queue.pop('q', 10);
SELECT state, n FROM q ORDER BY n;
DROP TRIGGER seen ON q;
-- What is refused.
TRUNCATE q RESTART IDENTITY;
INSERT INTO q (n) SELECT generate_series(1, 5);
SELECT * FROM test.tries(
    $$SELECT queue.enqueue('q', after => '{7}')$$, $$SELECT queue.enqueue('q', after => '{1,12345}')$$, $$SELECT queue.enqueue('q', after => '{0}')$$,
    $$SELECT queue.enqueue('q', after => '{-1,1}')$$, $$SELECT queue.enqueue('q', after => '{1,NULL}')$$,
    $$SELECT queue.enqueue('q', after => '{1}', after_failure => 'ignore')$$, $$SELECT queue.enqueue('q', after_failure => 'fail')$$,
    $$SELECT queue.enqueue('q', after => ARRAY(SELECT 1 FROM generate_series(1, 10001)))$$,
    $$SELECT queue.enqueue_many('q', '{"{}"}', after => '{12345}')$$,
    $$INSERT INTO q (after) VALUES ('{12345}')$$, $$INSERT INTO q (after) VALUES ('{1,NULL}')$$, $$INSERT INTO q (after, after_failure) VALUES ('{1}', 'ignore')$$);
-- Itself, and in a circle.
DELETE FROM q WHERE id = 3;
SELECT sqlstate, message, hint FROM test.tries(
    $$INSERT INTO q (id, after) OVERRIDING SYSTEM VALUE VALUES (3, '{3}')$$, $$INSERT INTO q (id, after) OVERRIDING SYSTEM VALUE VALUES (3, '{1,4}')$$, $$INSERT INTO q (id, after) OVERRIDING SYSTEM VALUE VALUES (-1, '{5}')$$);
SELECT count(*) FROM q WHERE after IS NOT NULL;
-- Not by an id that this queue alone knows: of another one.
SELECT queue.create_queue('small');
SELECT sqlstate, message FROM test.fails($$SELECT queue.enqueue('small', after => '{1}')$$);
-- Its own transaction's jobs count, and go with it.
BEGIN;
SELECT queue.enqueue('small');
SELECT queue.enqueue('small', after => '{1}');
SELECT id, state FROM small ORDER BY id;
ROLLBACK;
SELECT count(*) FROM small;
-- A job that waits for others stays on its queue.
TRUNCATE q RESTART IDENTITY;
INSERT INTO q (n) SELECT generate_series(1, 5);
SELECT queue.enqueue('q', '{"n": 6}', after => '{1}');
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.move('q', 6, 'small')$$);
SELECT queue.move_all('q', 'small', states => '{blocked}'), queue.reprioritize('q', 6, 0), queue.cancel_all('q', 'n = 6');
SELECT id, state, n, priority FROM q WHERE n = 6;
-- Who may put jobs may let them wait, and needs no other right.
GRANT USAGE ON SCHEMA after_plain TO PUBLIC;
GRANT INSERT ON q TO regress_writer;
SET ROLE regress_writer;
SELECT queue.enqueue('after_plain.q', '{"n": 7}', after => '{1}');
INSERT INTO after_plain.q (n, after) VALUES (8, '{2}');
SELECT test.code($$SELECT queue.enqueue('after_plain.small', after => '{1}')$$);
RESET ROLE;
SELECT id, state, n FROM q WHERE n > 6 ORDER BY n;
-- A row that cannot be moved costs itself alone.
TRUNCATE q RESTART IDENTITY;
INSERT INTO q (n) VALUES (0);
INSERT INTO q (n, after) SELECT i, '{1}' FROM generate_series(1, 10) i;
ALTER TABLE q ADD CONSTRAINT rule CHECK (n <> 5) NOT VALID;
SELECT count(queue.ack('q', id, attempt)) FROM queue.dequeue('q');
SELECT count(*) FROM queue.dequeue('q', 100);
SELECT n, state FROM q WHERE state <> 'running';
ALTER TABLE q DROP CONSTRAINT rule;
SELECT count(*) FROM queue.dequeue('q', 100);
-- Many, behind one, and one behind many.
TRUNCATE q RESTART IDENTITY;
INSERT INTO q (n) VALUES (0);
INSERT INTO q (n, after) SELECT i, '{1}' FROM generate_series(1, 3500) i;
CREATE TABLE ran (place int GENERATED ALWAYS AS IDENTITY, n int);
CREATE FUNCTION work(job q) RETURNS void LANGUAGE sql AS 'INSERT INTO after_plain.ran (n) VALUES (job.n)';
SELECT queue.register_processor('q', 'work(q)');
INSERT INTO q (n, after) SELECT 5000, array_agg(id) FROM q;
SELECT state, count(*) FROM q GROUP BY 1 ORDER BY 1;
CALL queue.run('q');
SELECT count(*), count(DISTINCT n), max(n) FILTER (WHERE place = 1) AS first, max(n) FILTER (WHERE place = 3502) AS last FROM ran;
SELECT count(*) FROM q;
SELECT queue.unregister_processor('q');
-- A chain.
TRUNCATE q RESTART IDENTITY;
TRUNCATE ran RESTART IDENTITY;
INSERT INTO q (n) VALUES (1);
INSERT INTO q (n, after) SELECT i, ARRAY[i - 1] FROM generate_series(2, 100) i;
SELECT queue.register_processor('q', 'work(q)');
CALL queue.run('q');
SELECT count(*), bool_and(n = place) AS in_order FROM ran;
SELECT queue.unregister_processor('q');
-- Found by indexes that hold nothing of others.
SELECT indexdef FROM pg_indexes WHERE schemaname = 'after_plain' AND indexdef LIKE '%after IS NOT NULL%' ORDER BY 1;
