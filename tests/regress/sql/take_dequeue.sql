-- dequeue, dequeue_as, ack, ack_many.
CREATE SCHEMA take_dequeue;
SET search_path = take_dequeue;
SELECT queue.create_queue('q', 'who text, n int', max_attempts => 3, lease => '1 min');
INSERT INTO q (who, n, priority, key, payload) SELECT 'w' || i, i, i % 3, 'k' || i, jsonb_build_object('i', i) FROM generate_series(1, 7) i;
SELECT min(id) - 1 AS zero FROM q \gset

-- One by default, the most urgent first; the header, with the typed columns folded into payload.
SELECT id - :zero AS id, queue, priority, run_at, attempt, max_attempts, key, group_key, payload,
       enqueued_at <= now() AS enqueued, lease_until = now() + '1 min' OR lease_until > now() + '50 s' AS leased
FROM queue.dequeue('q');
SELECT id - :zero AS id, state, attempt, lease_until IS NOT NULL AS leased FROM q WHERE state <> 'ready';
-- More at once, in order; with a lease of one's own; fewer when there are fewer.
SELECT id - :zero AS id, lease_until > now() + '59 min' AS long_lease FROM queue.dequeue('q', 2, '1 h');
SELECT id - :zero AS id FROM queue.dequeue('q', max_jobs => 2, lease => NULL);
-- dequeue_as: the queue's own row type.
SELECT id - :zero AS id, state, who, n, priority, payload, attempt FROM queue.dequeue_as(NULL::q, 100, '1 h');
SELECT count(*) FROM queue.dequeue('q', 10);
SELECT state, count(*) FROM q GROUP BY 1;

-- ack: done, once; a stale attempt is false and changes nothing.
SELECT queue.ack('q', :zero + 3, 1);
SELECT queue.ack('q', :zero + 3, 1);
SELECT queue.ack('q', :zero + 6, 2), queue.ack('q', :zero + 6, 0), queue.ack('q', :zero + 6, -1);
SELECT id - :zero AS id, state, attempt FROM q WHERE id = :zero + 6;
-- An id that the queue has issued but that is no longer there, or not leased, is stale; one it never issued is a mistake.
SELECT queue.enqueue('q', '{"who": "fresh"}') AS fresh \gset
SELECT queue.ack('q', :fresh, 1);
SELECT sqlstate, message, hint FROM test.fails(format($$SELECT queue.ack('q', %s, 1)$$, 1000000));
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.ack('q', 0, 1)$$);
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.ack('q', -5, 1)$$);
SELECT status FROM queue.status('q', :fresh) AS status;

-- ack_many: the ids acked, whatever the others are.
SELECT id - :zero AS id FROM queue.ack_many('q', ARRAY[:zero + 6, :zero + 3, :zero + 1, :zero + 4], '{1,1,1,7}') AS id ORDER BY 1;
SELECT count(*) FROM queue.ack_many('q', '{}', '{}');
SELECT count(*) FROM queue.ack_many('q', ARRAY[:zero + 4, :zero + 4], '{1,1}');
SELECT count(*) FROM queue.ack_many('q', ARRAY(SELECT id FROM q WHERE state = 'running'), ARRAY(SELECT attempt FROM q WHERE state = 'running'));
SELECT state, count(*) FROM q GROUP BY 1;

-- In the client's own transaction: acked with its work, or not at all.
CREATE TABLE work (n int);
SELECT id, attempt FROM queue.dequeue('q') \gset
BEGIN;
INSERT INTO work VALUES (1);
SELECT queue.ack('q', :id, :attempt);
SELECT count(*) FROM q;
ROLLBACK;
SELECT state, count(*) FROM q GROUP BY 1;
BEGIN;
INSERT INTO work VALUES (2);
SELECT queue.ack('q', :id, :attempt);
COMMIT;
SELECT count(*) FROM q;
TABLE work;
-- dequeue rolled back lends nothing, and a savepoint is enough for that.
SELECT queue.enqueue('q', '{"who": "again"}') AS id \gset
BEGIN;
SELECT count(*) FROM queue.dequeue('q');
SAVEPOINT s;
SELECT count(*) FROM queue.dequeue('q');
ROLLBACK;
SELECT state, attempt FROM q;
BEGIN;
SAVEPOINT s;
SELECT count(*) FROM queue.dequeue('q');
ROLLBACK TO s;
SELECT attempt FROM queue.dequeue('q');
COMMIT;
SELECT state, attempt FROM q;
-- In one transaction with the enqueue, and at every isolation level.
TRUNCATE q;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT queue.enqueue('q', '{"who": "same"}') IS NOT NULL AS ok;
SELECT payload FROM queue.dequeue('q');
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO q (who) VALUES ('repeatable');
SELECT payload FROM queue.dequeue('q');
SELECT count(queue.ack('q', id, attempt)) FROM q WHERE state = 'running';
COMMIT;
SELECT count(*) FROM q;

-- Paused: nothing is handed out, what is lent can still be acked.
INSERT INTO q (who) VALUES ('a'), ('b');
SELECT id, attempt FROM queue.dequeue('q') \gset
SELECT queue.pause('q');
SELECT queue.pause('q');
SELECT count(*) FROM queue.dequeue('q', 5);
SELECT count(*) FROM queue.dequeue_as(NULL::q, 5);
SELECT count(*) FROM queue.pop('q', 5);
SELECT count(*) FROM queue.pop_as(NULL::q, 5);
SELECT queue.ack('q', :id, :attempt);
SELECT queue.enqueue('q', '{"who": "paused"}') IS NOT NULL AS ok;
SELECT paused FROM queue.overview WHERE queue = 'q'::regclass;
SELECT queue.resume('q');
SELECT queue.resume('q');
SELECT payload FROM queue.dequeue('q', 5);
-- Kept when the queue keeps done jobs.
SELECT queue.alter_queue('q', keep_done => '1 day');
SELECT count(queue.ack('q', id, attempt)) FROM q WHERE state = 'running';
SELECT state, who, attempt, finished_at IS NOT NULL AS finished, lease_until FROM q ORDER BY id;
