-- A transaction takes a bounded share of the server's locks for groups and keys, however many there are.
CREATE SCHEMA groups_locks;
SET search_path = groups_locks;
-- A sixteenth of them.
SELECT current_setting('max_locks_per_transaction')::int
    * (sum(setting::int) + CASE WHEN current_setting('server_version_num')::int < 170000 THEN 1 ELSE 2 END) / 16 AS share
FROM pg_settings
WHERE name IN ('max_connections', 'max_worker_processes', 'max_wal_senders', coalesce(
    (SELECT name FROM pg_settings WHERE name = 'autovacuum_worker_slots'), 'autovacuum_max_workers')) \gset

SELECT queue.create_queue('q', 'n int');
INSERT INTO q (n, group_key) SELECT n, 'g' || n FROM generate_series(1, 3000) n;
BEGIN;
SELECT count(*) BETWEEN 64 AND :share AS some FROM queue.pop('q', 3000);
SELECT count(*) = 0 AS no_more FROM queue.pop('q', 3000);
SELECT count(*) BETWEEN 64 AND :share AS locks FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 20805;
-- Those whose groups it could not lock are where they were.
SELECT count(*) FROM q WHERE state = 'blocked';
COMMIT;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory';
-- The rest comes with the next transactions.
DO $$
BEGIN
    FOR i IN 1..50 LOOP
        PERFORM queue.pop('groups_locks.q', 3000);
        COMMIT;
    END LOOP;
END $$;
SELECT count(*) FROM q;

-- The ends of many jobs at once, too; what comes after each is not forgotten.
INSERT INTO q (n, group_key) SELECT n, 'g' || n % 1500 FROM generate_series(1, 3000) n;
DO $$
BEGIN
    FOR i IN 1..25 LOOP
        PERFORM queue.dequeue('groups_locks.q', 3000, '1 day');
        COMMIT;
    END LOOP;
END $$;
SELECT count(*), max(n) FROM q WHERE state = 'running';
BEGIN;
SELECT count(*) FROM queue.ack_many('q', (SELECT array_agg(id) FROM q WHERE state = 'running'), array_fill(1, '{1500}'));
SELECT count(*) FROM queue.dequeue('q', 10);
SELECT count(*) BETWEEN 64 AND :share AS locks FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 20805;
COMMIT;
DO $$
BEGIN
    FOR i IN 1..25 LOOP
        PERFORM queue.dequeue('groups_locks.q', 3000, '1 day');
        COMMIT;
    END LOOP;
END $$;
SELECT count(*), min(n) FROM q WHERE state = 'running';

-- Two for each key: a claim hands out half as many.
SELECT queue.create_queue('k', 'n int', max_running_per_key => 1);
INSERT INTO k (n, key) SELECT n, 'k' || n FROM generate_series(1, 3000) n;
SELECT count(*) BETWEEN 32 AND :share / 2 AS some FROM queue.dequeue('k', 3000);
SELECT count(*) AS blocked FROM k WHERE state = 'blocked';
SELECT count(*) BETWEEN 32 AND :share / 2 AS some FROM queue.dequeue('k', 3000);
SELECT queue.drop_queue('q', true), queue.drop_queue('k', true);
DROP SCHEMA groups_locks CASCADE;
