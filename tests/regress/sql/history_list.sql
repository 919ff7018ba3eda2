-- queue.history: what is kept of ended jobs, the latest first.
CREATE SCHEMA history_list;
SET search_path = history_list;
SELECT queue.create_queue('q', 'who text', max_attempts => 1, keep_done => '1 day');
CREATE FUNCTION work(job q) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF job.who = 'bad' THEN RAISE EXCEPTION 'no such user: %', job.who USING ERRCODE = 'UX001'; END IF;
    RETURN 'hello ' || job.who;
END $$;
SELECT queue.register_processor('q', 'work(q)');
SELECT queue.enqueue('q', '{"who": "ann"}', key => 'k1', correlation_id => 'c1');
SELECT queue.enqueue('q', '{"who": "bad"}', key => 'k2', group_key => 'g');
SELECT queue.enqueue('q', '{"who": "cy"}', key => 'k1');
SELECT queue.enqueue('q', '{"who": "later"}', delay => '1 h');
CALL queue.run('q');
UPDATE q SET enqueued_at = '2026-01-01 12:00+00', finished_at = '2026-01-01 12:00:01+00'::timestamptz + id * interval '1 min' WHERE finished_at IS NOT NULL;
SET timezone = 'UTC';
SELECT id, state, key, group_key, attempt, enqueued_at, finished_at, duration, result, error, sqlstate, correlation_id, topic FROM queue.history('q');
SELECT id, job ->> 'who' AS who, job ->> 'state' AS state FROM queue.history('q');
-- Its arguments.
SELECT id FROM queue.history('q', 'done');
SELECT id FROM queue.history('q', state => 'failed');
SELECT id FROM queue.history('q', since => '2026-01-01 12:02:01+00');
SELECT id FROM queue.history('q', since => '2026-01-01 12:02:02+00');
SELECT id FROM queue.history('q', key => 'k1');
SELECT id FROM queue.history('q', 'failed', '2026-01-01', 'k1');
SELECT id FROM queue.history('q', max_jobs => 1);
SELECT id FROM queue.history('q', NULL, NULL, NULL, 2);
-- Found by the index, in its order, without a sort. (The function's own statement, by hand.)
SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT id FROM q WHERE state IN ('done', 'failed') AND finished_at >= '2026-01-01' ORDER BY finished_at DESC LIMIT 10;
RESET enable_seqscan; RESET enable_bitmapscan; RESET enable_sort;
-- What it refuses.
SELECT sqlstate, message, hint FROM test.tries(
    $$SELECT queue.history('q', 'ready')$$, $$SELECT queue.history('q', max_jobs => 0)$$, $$SELECT queue.history('q', max_jobs => 1000001)$$,
    $$SELECT queue.history('q', max_jobs => NULL)$$, $$SELECT queue.history(NULL)$$, $$SELECT queue.history('pg_class')$$);
-- Who: SELECT on the queue, and row security applies.
GRANT USAGE ON SCHEMA history_list TO PUBLIC;
SET ROLE regress_reader;
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.history('history_list.q')$$);
RESET ROLE;
GRANT SELECT ON q TO regress_reader;
SET ROLE regress_reader;
SELECT id FROM queue.history('history_list.q');
RESET ROLE;
CREATE POLICY mine ON q USING (who = 'cy');
ALTER TABLE q ENABLE ROW LEVEL SECURITY;
SET ROLE regress_reader;
SELECT id, job ->> 'who' AS who FROM queue.history('history_list.q');
RESET ROLE;
SELECT queue.unregister_processor('q');
-- Nothing is kept by default but error rows.
SELECT queue.create_queue('bare');
SELECT queue.enqueue('bare');
SELECT queue.cancel('bare', id) FROM bare;
SELECT id, state, error, sqlstate, result FROM queue.history('bare');
