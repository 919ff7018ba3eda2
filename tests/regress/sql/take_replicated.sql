-- A queue that another server wrote (here: with triggers off, as logical replication does) and whose sequence
-- was not copied: its ids are no mistakes.
CREATE SCHEMA take_replicated;
SET search_path = take_replicated;
\pset format unaligned
\pset tuples_only on
SELECT queue.create_queue('q', 'n int');
-- Before it has rows, an id is one of another queue.
SELECT sqlstate, message FROM test.fails($$SELECT queue.ack('q', 1, 1)$$);
SET session_replication_role = replica;
INSERT INTO q (id, state, attempt, lease_until, n) OVERRIDING SYSTEM VALUE
    SELECT i, 'running', 1, now() + interval '1 h', i FROM generate_series(101, 108) i;
RESET session_replication_role;
-- What its holder does is done; what it does late, or what a holder does whose job had ended there, is as late as ever.
SELECT queue.ack('q', 101, 1), queue.nack('q', 102, 1), queue.snooze('q', 103, 1, '1 h'), queue.extend_lease('q', 104, 1);
SELECT queue.ack('q', 101, 1), queue.nack('q', 102, 1), queue.snooze('q', 103, 1, '1 h'), queue.extend_lease('q', 104, 2);
SELECT queue.ack('q', 99, 1), queue.ack('q', 109, 1), queue.nack('q', 109, 1), queue.snooze('q', 109, 1, '1 h'), queue.extend_lease('q', 109, 1);
SELECT queue.ack_many('q', '{105,109}', '{1,1}');
SELECT queue.status('q', 109), queue.result('q', 109), queue.cancel('q', 109), queue.resubmit('q', 109);
-- Ids that cannot be are still none.
SELECT sqlstate, message FROM test.fails($$SELECT queue.ack('q', 0, 1)$$);
-- Its own sequence has begun, below the others: still.
SELECT queue.enqueue('q');
SELECT queue.ack('q', 109, 1);
-- Set as it must be before jobs are enqueued, it tells again what was issued.
SELECT setval(pg_get_serial_sequence('q', 'id'), 1000);
SELECT queue.ack('q', 109, 1), queue.ack('q', 1000, 1);
SELECT sqlstate, message FROM test.fails($$SELECT queue.ack('q', 1001, 1)$$);
-- One ready job whose id is beyond the sequence is enough.
SELECT queue.create_queue('late');
SELECT queue.enqueue('late');
SELECT count(*) FROM queue.pop('late');
SELECT sqlstate, message FROM test.fails($$SELECT queue.ack('late', 7, 1)$$);
SET session_replication_role = replica;
INSERT INTO late (id) OVERRIDING SYSTEM VALUE VALUES (8);
RESET session_replication_role;
SELECT queue.ack('late', 7, 1);
