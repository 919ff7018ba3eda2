-- The end of a job makes the next one of its key, which a claim had moved out of the way, ready at once.
CREATE SCHEMA limits_room;
SET search_path = limits_room;
SELECT queue.create_queue('k', 'n int', max_running_per_key => 1);
INSERT INTO k (n, key) SELECT n, 'a' FROM generate_series(1, 8) n;
SELECT n FROM queue.dequeue_as(NULL::k, 1);
SELECT n FROM queue.dequeue_as(NULL::k, 10);
SELECT state, count(*) FROM k GROUP BY 1 ORDER BY 1;
CREATE VIEW next AS SELECT count(*) > 0 AS there FROM k WHERE state = 'ready';
SELECT queue.ack('k', 1, 1);
TABLE next;
-- What pops counts, so nobody else brings one back meanwhile.
BEGIN;
SELECT n FROM queue.pop_as(NULL::k);
SELECT n FROM queue.pop_as(NULL::k);
SELECT n FROM queue.pop_as(NULL::k);
SELECT n FROM queue.pop_as(NULL::k);
COMMIT;
SELECT n FROM queue.dequeue_as(NULL::k);
SELECT queue.nack('k', 6, 1, 'no', '1 day');
TABLE next;
SELECT n FROM queue.dequeue_as(NULL::k);
SELECT queue.cancel('k', 7);
TABLE next;
SELECT n FROM queue.dequeue_as(NULL::k);
SET client_min_messages = warning;
SELECT queue.drop_queue('k', true);
DROP SCHEMA limits_room;
