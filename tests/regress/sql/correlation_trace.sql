-- queue.trace: all that belongs to one request.
CREATE SCHEMA correlation_trace;
SET search_path = correlation_trace;
SELECT queue.create_queue('orders', 'n int', keep_done => '1 day');
SELECT queue.create_queue('"odd:name 7"', 'n int', max_attempts => 1);
CREATE FUNCTION work(job orders) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    PERFORM queue.enqueue('correlation_trace."odd:name 7"', jsonb_build_object('n', job.n), key => 'order ' || job.n);
    PERFORM queue.enqueue('correlation_trace."odd:name 7"', jsonb_build_object('n', -job.n), delay => '1 h');
    RETURN job.n;
END $$;
CREATE FUNCTION fail(job "odd:name 7") RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'bad luck' USING ERRCODE = 'LUCK0'; END $$;
SELECT queue.register_processor('orders', 'work(orders)');
SELECT queue.register_processor('"odd:name 7"', 'fail("odd:name 7")');
SELECT queue.enqueue('orders', '{"n": 1}', correlation_id => 'trace 1') AS id1 \gset
SELECT queue.enqueue('orders', '{"n": 2}') AS id2 \gset
CALL queue.run('orders');
CALL queue.run('"odd:name 7"');
SELECT queue, state, attempt, job_correlation_id, key, topic, sqlstate, message, result, finished_at IS NOT NULL AS finished
FROM queue.trace('trace 1') ORDER BY enqueued_at, queue::text, id;
-- By its first job, which is found, too; from any of those that followed.
SELECT queue, state, job_correlation_id IS NULL AS is_root, result, message
FROM queue.trace('correlation_trace.orders:' || :id2) ORDER BY enqueued_at, queue::text, id;
SELECT count(*) FROM "odd:name 7" j, queue.trace(j.correlation_id) WHERE j.n = 2;
SELECT id = :id1 AS alone, state FROM queue.trace('correlation_trace.orders:' || :id1);
SELECT queue.enqueue('"odd:name 7"', '{"n": 5}') AS odd \gset
SELECT queue, state FROM queue.trace('correlation_trace."odd:name 7":' || :odd);
-- Nothing.
SELECT count(*) FROM queue.trace('nosuch');
SELECT count(*) FROM queue.trace('');
SELECT count(*) FROM queue.trace('correlation_trace.orders:x');
SELECT count(*) FROM queue.trace('correlation_trace.orders:99999999999999999999');
SELECT sqlstate, message FROM test.fails('SELECT queue.trace(NULL)');
-- Only what the caller may select.
GRANT USAGE ON SCHEMA correlation_trace TO regress_reader;
GRANT SELECT ON orders TO regress_reader;
SET ROLE regress_reader;
SELECT queue, state FROM queue.trace('trace 1');
SELECT count(*) FROM queue.trace('correlation_trace."odd:name 7":' || :odd);
RESET ROLE;
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY none ON orders TO regress_reader USING (true);
SET ROLE regress_reader;
SELECT count(*) FROM queue.trace('trace 1');
RESET ROLE;
-- Those that have ended are found by an index.
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT FROM orders WHERE state = 'done' AND correlation_id = 'x';
RESET enable_seqscan;
