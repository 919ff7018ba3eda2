-- What an administrator adds to one partition alone: a job finds its place all the same.
\set VERBOSITY terse
SELECT queue.create_queue('pa', 'n int, recipient text');
CREATE TABLE pa_source (n int);
SELECT queue.attach('pa_source', 'pa', set => '{"n": "new.n"}', delay => '1 hour');
CREATE VIEW pa_jobs AS SELECT id, state, n FROM pa ORDER BY id;

-- An index on an expression, for the jobs that wait for their time.
CREATE INDEX ON pa_scheduled (lower(recipient));
INSERT INTO pa (n, run_at) VALUES (1, now() + interval '1 hour');
SELECT queue.enqueue('pa', '{"n": 2}', delay => '1 hour');
INSERT INTO pa_source VALUES (3);
INSERT INTO pa (n) VALUES (4);
SELECT queue.enqueue('pa', '{"n": 5}');
TABLE pa_jobs;

-- A rule of theirs.
DROP INDEX pa_scheduled_lower_idx;
ALTER TABLE pa_scheduled ADD CHECK (n < 100);
INSERT INTO pa (n, run_at) VALUES (6, now() + interval '1 hour');
INSERT INTO pa_source VALUES (7);
INSERT INTO pa (n, run_at) VALUES (100, now() + interval '1 hour');
SELECT queue.enqueue('pa', '{"n": 100}', delay => '1 hour');
INSERT INTO pa_source VALUES (100);
INSERT INTO pa (n) VALUES (100);
ALTER TABLE pa_scheduled DROP CONSTRAINT pa_scheduled_n_check;

-- And for the jobs that wait for others.
CREATE INDEX ON pa_blocked (n) WHERE n > 5;
SELECT queue.enqueue('pa', '{"n": 8}', after => ARRAY[min(id)]) FROM pa;
INSERT INTO pa (n, after) SELECT 9, ARRAY[min(id)] FROM pa;
INSERT INTO pa (n) VALUES (10);
TABLE pa_jobs;

DROP VIEW pa_jobs;
DROP TABLE pa_source;
SELECT queue.drop_queue('pa', true);
