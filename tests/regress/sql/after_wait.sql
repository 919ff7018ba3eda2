-- after: a job waits until others have ended.
CREATE SCHEMA after_wait;
SET search_path = after_wait;
SELECT queue.create_queue('q', 'n int', max_attempts => 1, keep_done => '1 day');
CREATE VIEW jobs AS SELECT id, state, n, after, after_failure, run_at > now() AS later, errors -> -1 ->> 'message' AS error FROM q ORDER BY id;
CREATE PROCEDURE fresh(jobs int DEFAULT 3) LANGUAGE sql AS $$
    TRUNCATE after_wait.q RESTART IDENTITY;
    INSERT INTO after_wait.q (n) SELECT generate_series(1, jobs);
$$;
-- By function: in blocked until the last has ended, and then a job like any other.
CALL fresh();
SELECT queue.enqueue('q', '{"n": 4}', after => '{1,2}', priority => 0);
SELECT queue.enqueue('q', '{"n": 5}', after => '{4,3}', after_failure => 'release');
TABLE jobs;
SELECT queue.status('q', 4), (SELECT blocked FROM queue.overview WHERE queue = 'q'::regclass);
SELECT id FROM queue.dequeue('q', 10);
SELECT queue.ack('q', 1, 1);
SELECT id FROM queue.dequeue('q', 10);
SELECT queue.ack('q', 2, 1);
SELECT id FROM queue.dequeue('q', 10);
TABLE jobs;
SELECT queue.ack_many('q', '{3,4}', '{1,1}');
SELECT id FROM queue.dequeue('q', 10);
TABLE jobs;
-- One that ends badly: the waiting one fails too, with an error of its own, and so on; or it is let go.
CALL fresh();
SELECT queue.enqueue('q', '{"n": 4}', after => '{1,3}');
SELECT queue.enqueue('q', '{"n": 5}', after => '{1}', after_failure => 'release');
SELECT queue.enqueue('q', '{"n": 6}', after => '{4,2}', after_failure => 'fail');
SELECT count(*) FROM queue.dequeue('q', 3);
SELECT queue.nack('q', 1, 1, 'broken');
SELECT id FROM queue.dequeue('q', 10);
SELECT count(*) FROM queue.dequeue('q', 10);
TABLE jobs;
SELECT id, attempt, sqlstate, message FROM queue.errors WHERE queue = 'q'::regclass ORDER BY id;
-- Resubmitted: they wait again, for what has not ended.
SELECT queue.resubmit_all('q');
TABLE jobs;
SELECT queue.ack('q', 2, 1), queue.ack('q', 3, 1), queue.ack('q', 5, 1);
SELECT id, attempt FROM queue.dequeue('q', 10);
SELECT queue.ack('q', 1, 2);
SELECT id, attempt FROM queue.dequeue('q', 10);
SELECT queue.ack('q', 4, 2);
SELECT id, attempt FROM queue.dequeue('q', 10);
-- Resubmitted alone: what has failed counts as ended.
CALL fresh(1);
SELECT queue.enqueue('q', '{"n": 2}', after => '{1}');
SELECT queue.cancel('q', 1);
SELECT count(*) FROM queue.dequeue('q');
SELECT queue.resubmit('q', 2);
TABLE jobs;
SELECT id FROM queue.dequeue('q');
-- What has ended already counts at once: done, gone, failed and let go.
CALL fresh(4);
SELECT count(queue.ack('q', id, attempt)) FROM queue.dequeue('q', 1);
SELECT id FROM queue.pop('q');
SELECT queue.cancel('q', 3);
SELECT queue.enqueue('q', '{"n": 5}', after => '{1,2}');
SELECT queue.enqueue('q', '{"n": 6}', after => '{3}', after_failure => 'release');
SELECT queue.enqueue('q', '{"n": 7}', after => '{3,4}');
SELECT queue.enqueue('q', '{"n": 8}', after => '{}');
SELECT queue.enqueue('q', '{"n": 9}', after => '{1}', delay => '1 h');
TABLE jobs;
SELECT id FROM queue.dequeue('q', 10);
TABLE jobs;
-- Both must hold: the time, and the others.
CALL fresh();
SELECT queue.enqueue('q', '{"n": 4}', after => '{1}', delay => '1 h');
SELECT queue.enqueue('q', '{"n": 5}', after => '{1}', delay => '2 h');
SELECT queue.enqueue('q', '{"n": 6}', after => '{2}', delay => '1 microsecond');
TABLE jobs;
SELECT id FROM queue.dequeue('q', 10);
SELECT queue.ack('q', 1, 1);
UPDATE q SET run_at = now() WHERE id = 5;
SELECT id FROM queue.dequeue('q', 10);
TABLE jobs;
SELECT queue.run_now('q', 4), queue.run_now('q', 6) AS waits;
SELECT queue.ack('q', 2, 1);
SELECT id FROM queue.dequeue('q', 10);
-- enqueue_many: all of them wait.
CALL fresh();
SELECT queue.enqueue_many('q', ARRAY['{"n": 4}', '{"n": 5}', '{}']::jsonb[], after => '{1,2}');
TABLE jobs;
-- The ways out of a queue: pop, cancel, move, purge, DELETE.
SELECT queue.create_queue('other');
CALL fresh(6);
INSERT INTO q (n, after) SELECT i + 6, ARRAY[i] FROM generate_series(1, 6) i;
UPDATE q SET after_failure = 'release' WHERE after IS NOT NULL;
SELECT id FROM queue.pop('q');
SELECT id FROM queue.dequeue('q', 1);
SELECT queue.move('q', 3, 'other'), queue.cancel('q', 4);
DELETE FROM q WHERE id = 5;
TABLE jobs;
SELECT id FROM queue.dequeue('q', 10);
SELECT queue.move('q', 7, 'other') AS free_now;
SELECT queue.cancel('q', 12), queue.cancel('q', 8);
SELECT id FROM queue.dequeue('q', 10);
TABLE jobs;
CALL fresh();
SELECT queue.enqueue('q', '{"n": 4}', after => '{3}');
SELECT queue.purge('q', '{ready}');
SELECT id FROM queue.dequeue('q', 10);
-- By a processor.
CALL fresh(5);
SELECT queue.alter_queue('q', keep_done => '0');
CREATE TABLE ran (place int GENERATED ALWAYS AS IDENTITY, n int);
CREATE FUNCTION work(job q) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO after_wait.ran (n) VALUES (job.n);
    IF job.n = 3 THEN RAISE EXCEPTION 'broken'; END IF;
END $$;
SELECT queue.register_processor('q', 'work(q)', batch_size => 1);
SELECT queue.enqueue('q', '{"n": 6}', priority => 0, after => '{1,2,4,5}');
SELECT queue.enqueue('q', '{"n": 7}', priority => 0, after => '{1,2,3,4,5}');
SELECT queue.enqueue('q', '{"n": 8}', priority => 0, after => '{7,6}', after_failure => 'release');
SELECT queue.enqueue('q', '{"n": 9}', priority => 0, after => '{8}');
CALL queue.run('q');
SELECT n FROM ran ORDER BY place;
TABLE jobs;
SELECT queue.unregister_processor('q');
