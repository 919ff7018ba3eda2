-- CALL queue.run: processors of both shapes, in this session.
CREATE SCHEMA process_run;
SET search_path = process_run;
CREATE TABLE seen (who text, how text);
CREATE FUNCTION log(who text, how text) RETURNS void LANGUAGE sql AS 'INSERT INTO process_run.seen VALUES (who, how)';

-- f(queue): once a job, in order of priority and arrival.
SELECT queue.create_queue('single', 'who text', keep_done => '1 day');
CREATE FUNCTION one(job single) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM process_run.log(job.who, format('attempt %s of %s, payload %s, state %s', job.attempt, job.max_attempts, job.payload, job.state));
    RETURN jsonb_build_object('did', job.who);
END $$;
SELECT queue.register_processor('single', 'one(single)');
SELECT processor, shape, role, batch_size, parallelism, load_balanced, timeout FROM queue.processors WHERE queue = 'single'::regclass;
SELECT queue.enqueue('single', '{"who": "a", "more": 1}') AS first \gset
INSERT INTO single (who, priority) VALUES ('b', 1), ('c', 9);
CALL queue.run('single');
SELECT * FROM seen;
SELECT state, who, result, finished_at >= enqueued_at AS finished, attempt, errors FROM single ORDER BY id;
SELECT queue.status('single', :first), queue.result('single', :first);
CALL queue.run('single');
SELECT count(*) FROM seen;

-- f(queue[]): a whole batch at once, at most batch_size.
TRUNCATE seen;
SELECT queue.create_queue('batch', 'who text');
CREATE FUNCTION many(jobs batch[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM process_run.log(jobs[1].who, cardinality(jobs) || ' jobs to ' || jobs[cardinality(jobs)].who);
END $$;
SELECT queue.register_processor('batch', 'many(batch[])', batch_size => 4, load_balanced => false);
INSERT INTO batch (who) SELECT 'j' || i FROM generate_series(1, 10) i;
CALL queue.run('batch');
SELECT * FROM seen;
SELECT count(*) FROM batch;
-- max_jobs stops after so many.
TRUNCATE seen;
INSERT INTO batch (who) SELECT 'k' || i FROM generate_series(1, 10) i;
CALL queue.run('batch', 6);
SELECT * FROM seen;
SELECT count(*) FROM batch;
CALL queue.run('batch', max_jobs => 0);
SELECT count(*) FROM batch;
CALL queue.run('batch');
SELECT count(*) FROM batch;

-- Any language, any return type; STRICT or not; a result is what it returned.
CREATE TYPE pair AS (a int, b text);
SELECT queue.create_queue('any_kind', 'n int', keep_done => '1 day');
CREATE FUNCTION r_int(job any_kind) RETURNS int LANGUAGE sql AS 'SELECT job.n * 2';
CREATE FUNCTION r_text(job any_kind) RETURNS text STRICT LANGUAGE sql AS $$SELECT 'te"xt'$$;
CREATE FUNCTION r_pair(job any_kind) RETURNS pair LANGUAGE sql AS $$SELECT 1, 'x'$$;
CREATE FUNCTION r_null(job any_kind) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL::jsonb';
CREATE FUNCTION r_array(job any_kind) RETURNS text[] LANGUAGE sql AS $$SELECT ARRAY['a', 'b']$$;
CREATE FUNCTION r_bool(job any_kind) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true';
CREATE FUNCTION r_default(job any_kind, factor int DEFAULT 3) RETURNS int LANGUAGE sql AS 'SELECT factor * job.n';
CREATE FUNCTION results() RETURNS TABLE (result jsonb, status text) LANGUAGE sql AS $$
    SELECT result, state FROM process_run.any_kind ORDER BY id DESC LIMIT 1
$$;
CREATE PROCEDURE try(processor text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM queue.register_processor('process_run.any_kind', processor::regprocedure, replace => true);
    PERFORM queue.enqueue('process_run.any_kind', '{"n": 21}');
END $$;
CALL try('r_int(any_kind)');
CALL queue.run('any_kind');
SELECT * FROM results();
CALL try('r_text(any_kind)');
CALL queue.run('any_kind');
SELECT * FROM results();
CALL try('r_pair(any_kind)');
CALL queue.run('any_kind');
SELECT * FROM results();
CALL try('r_null(any_kind)');
CALL queue.run('any_kind');
SELECT * FROM results();
CALL try('r_array(any_kind)');
CALL queue.run('any_kind');
SELECT * FROM results();
CALL try('r_bool(any_kind)');
CALL queue.run('any_kind');
SELECT * FROM results();
SELECT sqlstate, message, hint FROM test.fails($$CALL process_run.try('process_run.r_default(process_run.any_kind, int)')$$);

-- Without a queue: all whose processor the caller registered.
TRUNCATE seen;
SELECT queue.register_processor('any_kind', 'r_int(any_kind)', replace => true);
SELECT queue.enqueue('single', '{"who": "s"}') IS NOT NULL AND queue.enqueue('batch', '{"who": "b"}') IS NOT NULL AS ok;
CALL queue.run();
SELECT who FROM seen ORDER BY who;

-- A job may put jobs on its own queue, which run too; and may take from another queue.
SELECT queue.create_queue('chain', 'n int');
CREATE FUNCTION link(job chain) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO process_run.seen VALUES ('chain', job.n);
    IF job.n < 4 THEN
        PERFORM queue.enqueue('process_run.chain', jsonb_build_object('n', job.n + 1));
    END IF;
END $$;
SELECT queue.register_processor('chain', 'link(chain)');
SELECT queue.enqueue('chain', '{"n": 1}') IS NOT NULL AS ok;
CALL queue.run('chain');
SELECT how FROM seen WHERE who = 'chain';
SELECT count(*) FROM chain;

-- Later jobs are left until they are due; then they run, as expired leases do.
TRUNCATE seen;
SELECT queue.enqueue('single', '{"who": "later"}', delay => '1 h') AS id \gset
CALL queue.run('single');
SELECT queue.status('single', :id);
UPDATE single SET run_at = now() - interval '1 s' WHERE id = :id;
SELECT queue.enqueue('single', '{"who": "expired"}') IS NOT NULL AS ok;
SELECT count(*) FROM queue.dequeue('single', 1, '1 microsecond');
CALL queue.run('single');
SELECT who FROM seen ORDER BY who;

-- Settings that a processor changes do not last, nor do its temporary tables disturb the next.
SELECT queue.create_queue('messy', 'n int');
CREATE FUNCTION mess(job messy) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO process_run.seen VALUES ('messy', current_setting('search_path'));
    SET LOCAL search_path = pg_catalog;
    CREATE TEMP TABLE t (i int) ON COMMIT DROP;
    DROP TABLE t;
END $$;
SELECT queue.register_processor('messy', 'mess(messy)', batch_size => 1, load_balanced => false);
INSERT INTO messy (n) VALUES (1), (2);
CALL queue.run('messy');
CREATE OR REPLACE FUNCTION mess(job messy) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO process_run.seen VALUES ('messy', current_setting('search_path'));
    SET search_path = nowhere;
    SET work_mem = '77MB';
END $$;
INSERT INTO messy (n) VALUES (3), (4);
CALL queue.run('messy');
SHOW work_mem;
SELECT how FROM seen WHERE who = 'messy';
SHOW search_path;
SELECT state, count(*) FROM messy GROUP BY 1;
