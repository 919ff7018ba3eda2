-- Results that are kept, timeouts, pauses, and what the views say.
CREATE SCHEMA process_limits;
SET search_path = process_limits;

-- Results: kept by a queue that keeps done jobs, pruned when they are old enough, not kept otherwise.
SELECT queue.create_queue('kept', 'n int', keep_done => '1 day', max_attempts => 1);
CREATE FUNCTION square(job kept) RETURNS int LANGUAGE sql AS 'SELECT 100 / (job.n * job.n)';
SELECT queue.register_processor('kept', 'square(kept)');
SELECT queue.enqueue('kept', '{"n": 5}') AS good \gset
SELECT queue.enqueue('kept', '{"n": 0}') AS bad \gset
SELECT queue.status('kept', :good), queue.result('kept', :good);
CALL queue.run('kept');
SELECT queue.status('kept', :good), queue.result('kept', :good);
SELECT queue.status('kept', :bad), queue.result('kept', :bad);
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.status('kept', 4711)$$);
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.result('kept', 4711)$$);
SELECT queue.alter_queue('kept', keep_done => '0');
SELECT queue.enqueue('kept', '{"n": 1}') AS unkept \gset
CALL queue.run('kept');
SELECT queue.status('kept', :unkept), queue.result('kept', :unkept);

-- timeout: a job that runs too long is an error (57014) like any other, and its neighbours are done.
CREATE TABLE done (n int);
SELECT queue.create_queue('slow', 'n int', max_attempts => 1);
CREATE FUNCTION work(job slow) RETURNS void LANGUAGE sql AS $$
    INSERT INTO process_limits.done VALUES (job.n);
    SELECT pg_catalog.pg_sleep(CASE WHEN job.n = 2 THEN 600 ELSE 0 END);
$$;
SELECT queue.register_processor('slow', 'work(slow)', timeout => '2 s');
INSERT INTO slow (n) VALUES (1), (2), (3);
CALL queue.run('slow');
SELECT * FROM done ORDER BY n;
SELECT state, n FROM slow;
SELECT sqlstate, message, hint FROM queue.errors WHERE queue = 'slow'::regclass;
-- One that tries to swallow the timeout cannot run for ever by it.
CREATE OR REPLACE FUNCTION work(job slow) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_catalog.pg_sleep(600);
EXCEPTION WHEN query_canceled THEN
    NULL;
END $$;
TRUNCATE slow;
INSERT INTO slow (n) VALUES (4);
CALL queue.run('slow');
SELECT state, count(*) FROM slow WHERE state IN ('ready', 'running') GROUP BY 1;
-- For f(queue[]) it is the limit of one call; the session's own statement_timeout is untouched by it.
SET statement_timeout = '10 min';
SELECT queue.create_queue('slow_batch', 'n int', max_attempts => 1);
CREATE FUNCTION work(jobs slow_batch[]) RETURNS void LANGUAGE sql AS $$
    SELECT pg_catalog.pg_sleep(600) WHERE EXISTS (SELECT FROM unnest(jobs) WHERE n = 2);
    INSERT INTO process_limits.done SELECT -n FROM unnest(jobs);
$$;
SELECT queue.register_processor('slow_batch', 'work(slow_batch[])', timeout => '2 s');
INSERT INTO slow_batch (n) VALUES (1), (2), (3);
CALL queue.run('slow_batch');
SELECT * FROM done WHERE n < 0 ORDER BY n;
SELECT sqlstate, job ->> 'n' AS n FROM queue.errors WHERE queue = 'slow_batch'::regclass;
SHOW statement_timeout;
RESET statement_timeout;

-- Paused: run takes nothing, and the view says why; resumed, it does.
SELECT queue.create_queue('halted', 'n int');
CREATE FUNCTION work(job halted) RETURNS void LANGUAGE sql AS 'INSERT INTO process_limits.done VALUES (1000 + job.n)';
SELECT queue.register_processor('halted', 'work(halted)');
INSERT INTO halted (n) VALUES (1);
SELECT queue.pause('halted');
CALL queue.run('halted');
CALL queue.run();
SELECT count(*) FROM done WHERE n > 1000;
SELECT paused, ready, problem IS NOT NULL AS says_why FROM queue.overview WHERE queue = 'halted'::regclass;
SELECT queue.resume('halted');
CALL queue.run('halted');
SELECT count(*) FROM done WHERE n > 1000;
SELECT paused, ready FROM queue.overview WHERE queue = 'halted'::regclass;

-- overview: each state's count; an estimate is marked as one.
SELECT queue.create_queue('seen', max_attempts => 1, keep_done => '1 day');
SELECT count(queue.enqueue('seen')) FROM generate_series(1, 7);
SELECT count(queue.enqueue('seen', delay => '1 h')) FROM generate_series(1, 2);
SELECT count(*) FROM queue.dequeue('seen', 2);
SELECT count(queue.ack('seen', id, attempt)) FROM (SELECT id, attempt FROM seen WHERE state = 'running' LIMIT 1) s;
SELECT count(queue.cancel('seen', id)) FROM (SELECT id FROM seen WHERE state = 'ready' LIMIT 1) s;
SELECT queue, processor, role, paused, ready, scheduled, blocked, running, failed, done, estimated, oldest >= '0' AS oldest
FROM queue.overview WHERE queue = 'seen'::regclass;
INSERT INTO seen (payload) SELECT '{}' FROM generate_series(1, 30000);
ANALYZE seen;
SELECT estimated, ready BETWEEN 20000 AND 40000 AS about FROM queue.overview WHERE queue = 'seen'::regclass;
SELECT claim_path IS NOT NULL AS claim_path FROM queue.overview WHERE queue = 'seen'::regclass;
SELECT count(*) FROM queue.activity;
-- Errors of several queues in one view, each with its whole row.
SELECT queue, count(*), bool_and(job ? 'errors' AND job ? 'payload' AND (job ->> 'id')::bigint = id) AS whole
FROM queue.errors WHERE queue IN ('kept'::regclass, 'slow_batch'::regclass, 'seen'::regclass) GROUP BY 1 ORDER BY queue::text;
