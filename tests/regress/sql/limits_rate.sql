-- rate_limit and rate_limit_per_key: no interval has more starts. What has started is made older by hand.
CREATE SCHEMA limits_rate;
SET search_path = limits_rate;
CREATE FUNCTION pass(of regclass, by interval) RETURNS void LANGUAGE sql AS
    'UPDATE queue.rates SET at = at - $2 WHERE queue = $1';
CREATE FUNCTION counted(of regclass, OUT of_key boolean, OUT key text, OUT starts bigint) RETURNS SETOF record LANGUAGE sql AS
    'SELECT of_key, key, sum(starts) FROM queue.rates WHERE queue = $1 GROUP BY 1, 2 HAVING sum(starts) <> 0 ORDER BY 1, 2';

CREATE PROCEDURE until_popped() LANGUAGE plpgsql AS $$
DECLARE
    found_n int;
    until_then timestamptz := clock_timestamp() + interval '20 s';
BEGIN
    LOOP
        SELECT n INTO found_n FROM queue.pop_as(NULL::limits_rate.g, 1);
        EXIT WHEN found_n IS NOT NULL OR clock_timestamp() > until_then;
        COMMIT;
    END LOOP;
    RAISE NOTICE '%', found_n;
END $$;

-- Of a queue: each start counts, and goes on counting when the job is done.
SELECT queue.create_queue('q', 'n int', rate_limit => 3, rate_interval => '1 hour');
INSERT INTO q (n) SELECT generate_series(1, 20);
SELECT n FROM queue.dequeue_as(NULL::q, 2);
SELECT queue.ack('q', 1, 1);
SELECT n FROM queue.pop_as(NULL::q, 10);
SELECT n FROM queue.pop_as(NULL::q, 10);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT * FROM counted('q');
SELECT ready, blocked, running, problem FROM queue.overview WHERE queue = 'q'::regclass;
-- One that comes back starts again.
SELECT queue.nack('q', 2, 1, 'no', '0');
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT pass('q', '50 min');
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT pass('q', '20 min');
SELECT problem FROM queue.overview WHERE queue = 'q'::regclass;
SELECT n, attempt FROM queue.pop_as(NULL::q, 1);
-- What is rolled back has not started.
BEGIN;
SELECT n FROM queue.pop_as(NULL::q, 10);
SELECT n FROM queue.pop_as(NULL::q, 10);
ROLLBACK;
BEGIN;
SELECT n FROM queue.pop_as(NULL::q, 1);
SAVEPOINT s;
SELECT n FROM queue.pop_as(NULL::q, 10);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
ROLLBACK TO s;
SELECT n FROM queue.dequeue_as(NULL::q, 10);
COMMIT;
SELECT * FROM counted('q');
-- A change takes effect at once.
SELECT queue.alter_queue('q', rate_limit => 5);
SELECT n FROM queue.pop_as(NULL::q, 10);
SELECT queue.alter_queue('q', rate_interval => '3 hours');
SELECT pass('q', '2 hours');
SELECT n FROM queue.pop_as(NULL::q, 10);
SELECT queue.alter_queue('q', rate_interval => '1 hour');
SELECT n FROM queue.pop_as(NULL::q, 1);
SELECT queue.alter_queue('q', rate_limit => 0);
SELECT * FROM counted('q');
SELECT n FROM queue.pop_as(NULL::q, 4);
SELECT * FROM counted('q');
SELECT queue.alter_queue('q', rate_limit => 1, rate_interval => '1 day');
SELECT n FROM queue.pop_as(NULL::q, 4);
-- A clock that was set back holds nothing back for ever.
SELECT pass('q', '-10 days');
SELECT n FROM queue.pop_as(NULL::q, 4);
SELECT bool_and(at < now() + interval '1 day') AS corrected FROM queue.rates WHERE queue = 'q'::regclass;

-- Workers: what they start counts, also if it fails.
SELECT queue.create_queue('w', 'n int', rate_limit => 4, rate_interval => '1 hour', backoff => '0');
CREATE TABLE ran (id serial, n int, attempt int);
CREATE FUNCTION work(j w) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF j.n = 2 AND j.attempt = 1 THEN RAISE EXCEPTION 'not yet'; END IF;
    INSERT INTO limits_rate.ran (n, attempt) VALUES (j.n, j.attempt);
END $$;
SELECT queue.register_processor('w', 'work(w)');
SELECT queue.pause('w');
INSERT INTO w (n) SELECT generate_series(1, 8);
SELECT n FROM queue.pop_as(NULL::w, 1);
SELECT queue.resume('w');
CALL queue.run('w', 1);
CALL queue.run('w');
SELECT count(*) FROM ran;
SELECT count(*) FROM w;
SELECT * FROM counted('w');
CALL queue.run('w');
SELECT count(*) FROM ran;
SELECT pass('w', '2 hours');
CALL queue.run('w');
SELECT count(*) FROM ran;
SELECT * FROM counted('w');
-- A batch whose commit fails is run one by one: each start counts.
SELECT queue.create_queue('c', 'n int', rate_limit => 100, rate_interval => '1 hour', max_attempts => 1);
CREATE TABLE checked (n int CONSTRAINT even UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO checked VALUES (3);
CREATE FUNCTION work(j c[]) RETURNS void LANGUAGE sql AS 'INSERT INTO limits_rate.checked SELECT n FROM unnest($1)';
SELECT queue.register_processor('c', 'work(c[])');
INSERT INTO c (n) SELECT generate_series(1, 5);
CALL queue.run('c');
SELECT n, state FROM c;
SELECT n FROM checked ORDER BY n;

-- Of a key: those over the rate wait as blocked ones; others pass them.
SELECT queue.create_queue('k', 'n int', rate_limit_per_key => 2, rate_interval => '1 hour');
INSERT INTO k (n, key) VALUES (1, 'a'), (2, 'a'), (3, 'a'), (4, 'b'), (5, NULL), (6, ''), (7, ''), (8, ''), (9, 'a');
SELECT n, key FROM queue.dequeue_as(NULL::k, 1);
SELECT n, key FROM queue.pop_as(NULL::k, 10);
SELECT n, key, state FROM k ORDER BY n;
SELECT * FROM counted('k');
SELECT queue.run_now('k', 3);
SELECT n FROM queue.pop_as(NULL::k, 10);
-- The end of a job makes no room.
SELECT queue.ack('k', 1, 1);
SELECT n FROM queue.pop_as(NULL::k, 10);
SELECT pass('k', '2 hours');
SELECT n, key FROM queue.pop_as(NULL::k, 10);
SELECT * FROM k;
-- Workers.
CREATE FUNCTION work(j k) RETURNS void LANGUAGE sql AS 'INSERT INTO limits_rate.ran (n) VALUES ($1.n)';
TRUNCATE ran;
SELECT pass('k', '2 hours');
SELECT queue.pause('k');
SELECT queue.register_processor('k', 'work(k)');
INSERT INTO k (n, key) VALUES (10, 'c'), (11, 'c'), (12, 'c'), (13, 'd'), (14, NULL);
SELECT queue.resume('k');
CALL queue.run('k');
SELECT array_agg(n ORDER BY n) FROM ran;
SELECT n, key, state FROM k ORDER BY n;
-- Without the rate nothing stays blocked.
SELECT queue.unregister_processor('k');
SELECT queue.alter_queue('k', rate_limit_per_key => 0);
SELECT n FROM queue.pop_as(NULL::k, 10);

-- In a group, the order stays.
SELECT queue.create_queue('g', 'n int', rate_limit_per_key => 1, rate_interval => '1 hour');
INSERT INTO g (n, key, group_key) VALUES (1, 'a', NULL), (2, 'a', 'x'), (3, 'b', 'x'), (4, 'b', NULL), (5, 'c', 'x');
SELECT n FROM queue.pop_as(NULL::g, 10);
SELECT n, key, state FROM g ORDER BY n;
SELECT n FROM queue.pop_as(NULL::g, 10);
SELECT pass('g', '2 hours');
-- Those of groups are looked at once a second.
CALL until_popped();
SELECT n, key FROM g ORDER BY n;

-- With limits on what runs.
SELECT queue.create_queue('b', 'n int', max_running => 3, max_running_per_key => 1, rate_limit => 4, rate_limit_per_key => 2,
    rate_interval => '1 hour');
INSERT INTO b (n, key) VALUES (1, 'a'), (2, 'a'), (3, 'b'), (4, 'c'), (5, 'd'), (6, 'e');
SELECT n FROM queue.dequeue_as(NULL::b, 10);
SELECT problem FROM queue.overview WHERE queue = 'b'::regclass;
SELECT queue.ack('b', 1, 1);
SELECT n FROM queue.dequeue_as(NULL::b, 10);
SELECT queue.ack_many('b', ARRAY[2, 3], ARRAY[1, 1]);
SELECT n FROM queue.dequeue_as(NULL::b, 10);
SELECT problem FROM queue.overview WHERE queue = 'b'::regclass;
SELECT * FROM counted('b');

-- CALL queue.wait waits for the rate, too.
SELECT queue.create_queue('z', 'n int', rate_limit => 1, rate_interval => '1 hour');
INSERT INTO z (n) VALUES (1), (2);
CALL queue.wait('z', '1 hour');
SELECT n FROM queue.pop_as(NULL::z, 10);
CREATE TABLE began AS SELECT clock_timestamp() AS at;
CALL queue.wait('z', '300 ms');
SELECT clock_timestamp() - at > '300 ms' AS waited FROM began;
SELECT pass('z', '2 hours');
CALL queue.wait('z', '1 hour');
SELECT n FROM queue.pop_as(NULL::z, 10);

-- Starts that do not count any more are forgotten.
SELECT pass('z', '1 day');
SELECT n FROM queue.pop_as(NULL::z, 10);
SELECT * FROM counted('z');
-- What nobody counts is refused, or costs nothing.
SELECT * FROM test.tries(
    $$SELECT queue.create_queue('bad', rate_limit => -1)$$,
    $$SELECT queue.create_queue('bad', rate_limit => 1000001)$$,
    $$SELECT queue.create_queue('bad', rate_limit_per_key => -1)$$,
    $$SELECT queue.create_queue('bad', rate_interval => '0')$$,
    $$SELECT queue.create_queue('bad', rate_interval => NULL)$$,
    $$SELECT queue.alter_queue('q', rate_limit_per_key => 1000001)$$,
    $$SELECT queue.alter_queue('q', rate_interval => '-1 s')$$,
    $$SELECT queue.alter_queue('q', rate_interval => '100001 years')$$);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT n FROM queue.pop_as(NULL::z, 10);
ROLLBACK;
SELECT queue.create_queue('plain');
SELECT queue.enqueue('plain');
SELECT id FROM queue.pop('plain');
SELECT * FROM counted('plain');
SELECT queue.drop_queue(queue, true) FROM queue.queues WHERE queue IN ('q'::regclass, 'w', 'c', 'k', 'g', 'b', 'z', 'plain');
SELECT count(*) FROM queue.rates;
DROP SCHEMA limits_rate CASCADE;
