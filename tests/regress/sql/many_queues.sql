-- A queue is found among many by an index of queue.queues, among few without.
\pset null ~
CREATE SCHEMA many_queues;
SET search_path = many_queues;
SELECT queue.create_queue('q', 'n int');
SELECT queue.enqueue('q', '{"n": 1}') IS NOT NULL AS ok;
BEGIN;
-- Rows for queues that are not there.
INSERT INTO queue.queues (queue, max_attempts, backoff, backoff_factor, backoff_max, lease)
SELECT i::oid::regclass, 1, '1 s', 1, '1 s', '1 s' FROM generate_series(1000000000, 1001000000, 1000) i;
SELECT queue.alter_queue('q', max_attempts => 7, lease => '70 s');
SELECT pg_stat_get_xact_numscans('queue.queues_pkey'::regclass) AS before \gset
SELECT max_attempts, lease_until > now() + interval '1 min' AS lease FROM queue.dequeue('q');
SELECT pg_stat_get_xact_numscans('queue.queues_pkey'::regclass) > :before AS by_index;
-- One that is not there, and a table that is none.
SELECT queue.enqueue(1000000000::oid::regclass, '{}');
ROLLBACK;
SELECT queue.enqueue('pg_class', '{}');
SELECT queue.drop_queue('q', true);
