-- max_running and max_running_per_key: never more at the same time, and nothing is forgotten.
CREATE SCHEMA limits_running;
SET search_path = limits_running;

-- Of a queue: each lease counts.
SELECT queue.create_queue('q', 'n int', max_running => 2);
INSERT INTO q (n) SELECT generate_series(1, 6);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT n FROM queue.pop_as(NULL::q, 10);
SELECT ready, blocked, running, problem FROM queue.overview WHERE queue = 'q'::regclass;
SELECT queue.ack('q', 1, 1);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT queue.nack('q', 2, 1, 'no', '1 day');
SELECT n FROM queue.dequeue_as(NULL::q, 10);
-- What pops counts one, however many it pops, until it commits.
SELECT queue.ack('q', 3, 1);
BEGIN;
SELECT n FROM queue.pop_as(NULL::q, 1);
SELECT n FROM queue.pop_as(NULL::q, 10);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
ROLLBACK;
SELECT n FROM queue.pop_as(NULL::q, 10);
-- In one transaction, with a savepoint.
INSERT INTO q (n) SELECT generate_series(7, 9);
BEGIN;
SAVEPOINT s;
SELECT n FROM queue.dequeue_as(NULL::q);
SELECT n FROM queue.dequeue_as(NULL::q);
ROLLBACK TO s;
SELECT n FROM queue.dequeue_as(NULL::q);
SELECT n FROM queue.dequeue_as(NULL::q);
COMMIT;
SELECT queue.ack('q', 7, 1);
-- A lease that runs out makes room, and so does a change of the limit.
SELECT n FROM queue.dequeue_as(NULL::q, 1, lease => '1 microsecond');
SELECT n, attempt FROM queue.dequeue_as(NULL::q, 10);
SELECT queue.alter_queue('q', max_running => 3);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT queue.alter_queue('q', max_running => 0);
INSERT INTO q (n) SELECT generate_series(10, 12);
SELECT n FROM queue.dequeue_as(NULL::q, 10);

-- Workers: a batch counts one.
SELECT queue.create_queue('w', 'n int', max_running => 1);
CREATE TABLE ran (id serial, n int);
CREATE FUNCTION work(w) RETURNS void LANGUAGE sql AS 'INSERT INTO limits_running.ran (n) VALUES ($1.n)';
SELECT queue.register_processor('w', 'work(w)');
INSERT INTO w (n) SELECT generate_series(1, 5);
SELECT n FROM queue.dequeue_as(NULL::w, 2);
CALL queue.run('w');
SELECT count(*) FROM ran;
SELECT queue.ack('w', 1, 1);
CALL queue.run('w');
SELECT array_agg(n ORDER BY id) FROM ran;

-- Of a key: those over the limit wait as blocked ones; others pass them.
SELECT queue.create_queue('k', 'n int', max_running_per_key => 1);
INSERT INTO k (n, key) VALUES (1, 'a'), (2, 'a'), (3, 'a'), (4, 'b'), (5, NULL), (6, NULL);
SELECT n, key FROM queue.dequeue_as(NULL::k, 2);
SELECT n, key FROM queue.dequeue_as(NULL::k, 10);
SELECT n, key, state FROM k ORDER BY n;
SELECT queue.ack('k', 1, 1);
SELECT n, key, state FROM k ORDER BY n;
SELECT n, key FROM queue.dequeue_as(NULL::k, 10);
SELECT queue.nack('k', 2, 1, 'no', '1 day');
SELECT n, key FROM queue.dequeue_as(NULL::k, 10);
SELECT queue.ack_many('k', ARRAY[3, 4], ARRAY[1, 1]);
-- What pops counts one, for each key.
INSERT INTO k (n, key) VALUES (7, 'c'), (8, 'c'), (9, 'd');
SELECT n, key FROM queue.dequeue_as(NULL::k, 1);
SELECT n, key FROM queue.pop_as(NULL::k, 10);
SELECT n, key, state FROM k WHERE key = 'c' ORDER BY n;
SELECT queue.ack('k', 7, 1);
INSERT INTO k (n, key) VALUES (10, 'c');
SELECT n, key FROM queue.pop_as(NULL::k, 10);
-- Workers: the jobs of a key in one batch run one after the other.
CREATE FUNCTION work(k) RETURNS void LANGUAGE sql AS 'INSERT INTO limits_running.ran (n) VALUES ($1.n)';
SELECT queue.register_processor('k', 'work(k)');
TRUNCATE ran;
INSERT INTO k (n, key) VALUES (11, 'e'), (12, 'e'), (13, 'e'), (14, 'f');
SELECT n FROM queue.dequeue_as(NULL::k, 1);
CALL queue.run('k');
SELECT array_agg(n ORDER BY id) FROM ran;
SELECT n, key, state FROM k WHERE key = 'e' ORDER BY n;
SELECT queue.ack('k', (SELECT id FROM k WHERE n = 11), 1);
CALL queue.run('k');
SELECT array_agg(n ORDER BY id) FROM ran;
SELECT n, key, state FROM k ORDER BY n;
-- Without the limit nothing stays blocked.
INSERT INTO k (n, key) VALUES (15, 'g'), (16, 'g'), (17, 'g');
SELECT n FROM queue.dequeue_as(NULL::k, 1);
SELECT n FROM queue.dequeue_as(NULL::k, 1);
SELECT queue.alter_queue('k', max_running_per_key => 0);
SELECT n FROM queue.dequeue_as(NULL::k, 10);
-- In a group, the order stays.
SELECT queue.create_queue('g', 'n int', max_running_per_key => 1);
INSERT INTO g (n, key, group_key) VALUES (1, 'a', NULL), (2, 'a', 'x'), (3, 'b', 'x'), (4, 'b', NULL);
SELECT n FROM queue.dequeue_as(NULL::g, 1);
SELECT n FROM queue.pop_as(NULL::g, 10);
SELECT n, key, state FROM g ORDER BY n;

-- Both limits, and deleting by hand.
SELECT queue.create_queue('b', 'n int', max_running => 2, max_running_per_key => 1);
INSERT INTO b (n, key) VALUES (1, 'a'), (2, 'a'), (3, 'b'), (4, 'c');
SELECT n FROM queue.dequeue_as(NULL::b, 10);
SELECT n, state FROM b ORDER BY n;
DELETE FROM b WHERE n = 3;
SELECT n FROM queue.dequeue_as(NULL::b, 10);

-- A snapshot of the past does not show what runs.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT n FROM queue.dequeue_as(NULL::b, 10);
ROLLBACK;
SELECT queue.drop_queue(queue, true) FROM queue.queues WHERE queue IN ('q'::regclass, 'w', 'k', 'g', 'b');
DROP SCHEMA limits_running CASCADE;
