-- publish: who gets what.
CREATE SCHEMA topic_publish;
SET search_path = topic_publish;
SELECT queue.create_queue('all_orders');
SELECT queue.create_queue('created');
SELECT queue.create_queue('mail', 'recipient text, subject text');

-- Nobody has subscribed: no error, no job.
SELECT queue.publish('orders.created', '{"id": 1}');

SELECT queue.subscribe('orders.#', 'all_orders');
SELECT queue.subscribe('orders.created', 'created');
SELECT queue.subscribe('*.created', 'mail');
TABLE queue.topics ORDER BY 1, 2;
SELECT queue.publish('orders.created', '{"id": 2, "recipient": "ann"}');
SELECT queue.publish('orders'), queue.publish('orders.created.eu'), queue.publish('carts.created'), queue.publish('carts.deleted');
SELECT id, topic, payload FROM all_orders ORDER BY id;
SELECT id, topic, payload FROM created ORDER BY id;
-- Fields named like columns fill them, as with enqueue.
SELECT id, topic, recipient, payload FROM mail ORDER BY id;

-- A queue whose patterns overlap gets it once.
SELECT queue.subscribe('#', 'all_orders');
SELECT queue.subscribe('orders.*', 'all_orders');
TRUNCATE all_orders, created, mail;
SELECT queue.publish('orders.created');
SELECT count(*) FROM all_orders;

-- The header goes along; dequeue tells the topic.
TRUNCATE all_orders, created, mail;
SELECT queue.publish('orders.created', '{"id": 3}', priority => 2, key => 'k3', group_key => 'g', max_attempts => 7, correlation_id => 'request 9', delay => '1 hour');
SELECT state, topic, priority, key, group_key, max_attempts, correlation_id, run_at = enqueued_at + interval '1 hour' AS in_time, payload FROM all_orders;
SELECT state, priority, key, correlation_id FROM mail;
SELECT queue.publish('orders.created', run_at => now() - interval '1 hour');
SELECT topic, correlation_id, payload FROM queue.pop('created', 10);

-- In the publisher's transaction, and subtransactions.
TRUNCATE all_orders, created, mail;
BEGIN;
SELECT queue.publish('orders.created', '{"n": 1}');
SAVEPOINT s;
SELECT queue.publish('orders.created', '{"n": 2}');
ROLLBACK TO s;
COMMIT;
BEGIN;
SELECT queue.publish('orders.created', '{"n": 3}');
ROLLBACK;
SELECT payload FROM all_orders;
-- All or nothing: one queue refuses, none gets it.
ALTER TABLE mail ADD CONSTRAINT has_recipient CHECK (recipient IS NOT NULL) NOT VALID;
SELECT sqlstate, message FROM test.fails($$SELECT queue.publish('orders.created')$$);
SELECT sqlstate, message FROM test.fails($$SELECT queue.publish('orders.created', '[1]')$$);
SELECT count(*) FROM all_orders;
ALTER TABLE mail DROP CONSTRAINT has_recipient;

-- A subscription counts from its own transaction's next statement on; a rollback takes it back.
BEGIN;
SELECT queue.unsubscribe('*.created', 'mail');
SELECT queue.publish('carts.created');
SELECT queue.subscribe('carts.created', 'created');
SELECT queue.publish('carts.created');
SAVEPOINT s;
SELECT queue.unsubscribe('#', 'all_orders');
SELECT queue.publish('carts.created');
ROLLBACK TO s;
SELECT queue.publish('carts.created');
ROLLBACK;
SELECT queue.publish('carts.created');
-- Likewise at REPEATABLE READ.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT queue.publish('carts.created');
SELECT queue.subscribe('carts.created', 'created');
SELECT queue.publish('carts.created');
ROLLBACK;
SELECT queue.publish('carts.created');

-- unsubscribe, by the very pattern.
SELECT queue.unsubscribe('#', 'all_orders');
SELECT queue.unsubscribe('orders.*', 'all_orders');
SELECT queue.unsubscribe('orders.#', 'all_orders');
SELECT queue.publish('orders.created');
-- A change of the table by hand, as a restore makes it, is noticed, too.
INSERT INTO queue.subscriptions VALUES ('by.hand', 'created');
SELECT queue.publish('by.hand');
TRUNCATE queue.subscriptions;
SELECT queue.publish('by.hand');

-- The subscriptions of a dropped queue go with it, however it is dropped.
SELECT queue.subscribe('t', 'all_orders'), queue.subscribe('t', 'created'), queue.subscribe('t', 'mail');
SELECT queue.publish('t');
SELECT queue.drop_queue('created');
SELECT queue.publish('t');
DROP TABLE mail;
SELECT queue.publish('t');
TABLE queue.topics;
BEGIN;
DROP TABLE all_orders;
SELECT queue.publish('t');
ROLLBACK;
SELECT queue.publish('t');
-- Renamed and moved, a queue stays subscribed.
ALTER TABLE all_orders RENAME TO renamed;
SELECT queue.publish('t');
TABLE queue.topics;

-- Many topics, more than are remembered; many queues.
SELECT queue.subscribe('many.*', 'renamed');
SELECT sum(queue.publish('many.' || n)) FROM generate_series(1, 1500) n;
SELECT queue.create_queue('q' || n), queue.subscribe('all.of.them', 'q' || n) FROM generate_series(1, 12) n \g /dev/null
SELECT queue.publish('all.of.them', '{"a": 1}');
SELECT payload, topic FROM q12;
SELECT queue.drop_queue(format('q%s', n)) FROM generate_series(1, 12) n \g /dev/null
SELECT queue.drop_queue('renamed');
SELECT count(*) FROM queue.subscriptions;
