-- attach to a topic: changes of a table are published.
CREATE SCHEMA topic_attach;
GRANT USAGE, CREATE ON SCHEMA topic_attach TO regress_owner;
GRANT USAGE ON SCHEMA topic_attach TO PUBLIC;
SET search_path = topic_attach;
CREATE TABLE orders (id int PRIMARY KEY, who text, total numeric);
SELECT queue.create_queue('one');
SELECT queue.create_queue('two', 'who text, total numeric');

SELECT queue.attach('orders', topic => 'orders.changed');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'orders'::regclass;
-- Nobody listens yet.
INSERT INTO orders VALUES (1, 'ann', 10);
SELECT queue.subscribe('orders.*', 'one'), queue.subscribe('#', 'two');
INSERT INTO orders VALUES (2, 'bob', 20), (3, 'cy', 30);
UPDATE orders SET total = 21 WHERE id = 2;
DELETE FROM orders WHERE id = 3;
-- No row, no job.
DELETE FROM orders WHERE id = 99;
SELECT id, topic, payload FROM one ORDER BY id;
SELECT id, topic, who, total, payload ->> 'operation' AS operation FROM two ORDER BY id;
TRUNCATE one, two;
SELECT queue.detach('orders', topic => 'orders.changed');
INSERT INTO orders VALUES (3, 'cy', 30);
SELECT count(*) FROM one;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'orders'::regclass;

-- Options; what fields name fills the columns of queues that have them.
SELECT queue.attach('orders', topic => 'orders.created', events => 'insert', condition => 'new.total > 0', key => 'new.id', priority => 3, delay => '1 hour',
    set => '{"payload.who": "new.who", "payload.total": "new.total * 2", "group_key": "new.who", "correlation_id": "''order '' || new.id", "max_attempts": "2 + 1"}');
INSERT INTO orders VALUES (4, 'dee', 40), (5, 'eve', 0), (6, 'dee', 60);
SELECT id, state, topic, priority, key, group_key, correlation_id, max_attempts, payload FROM one ORDER BY id;
SELECT id, state, topic, key, who, total, payload FROM two ORDER BY id;
TRUNCATE one, two;
SELECT queue.detach('orders', topic => 'orders.created');

-- A volatile expression is evaluated once for all queues.
CREATE SEQUENCE events;
SELECT queue.attach('orders', topic => 'orders.created', events => 'insert', set => '{"payload.event": "nextval(''topic_attach.events'')"}');
INSERT INTO orders VALUES (7, 'fay', 1), (8, 'gus', 1);
SELECT payload FROM one UNION ALL SELECT payload FROM two ORDER BY 1;
SELECT queue.detach('orders', topic => 'orders.created');
TRUNCATE one, two;

-- Row level, a payload of its own, priority and time by row.
SELECT queue.attach('orders', topic => 'orders.created', events => 'insert', level => 'row', set => '{"payload": "to_jsonb(new.who)", "priority": "new.id % 10", "run_at": "now() + new.id * interval ''1 hour''"}');
SELECT queue.unsubscribe('#', 'two');
INSERT INTO orders VALUES (11, 'a', 1), (12, NULL, 1);
SELECT priority, state, run_at = enqueued_at + (priority + 10) * interval '1 hour' AS later, payload FROM one ORDER BY id;
SELECT (test.fails($$INSERT INTO topic_attach.orders VALUES (-11, 'b', 1)$$)).*;
SELECT queue.detach('orders', topic => 'orders.created');
TRUNCATE one;

-- Many rows, through several batches, with and without a key, to two queues.
SELECT queue.subscribe('orders.*', 'two');
SELECT queue.attach('orders', topic => 'orders.created', events => 'insert');
INSERT INTO orders SELECT n, 'w' || n, n FROM generate_series(1001, 4500) n;
SELECT count(*), min(payload #>> '{row,id}'), max(payload #>> '{row,id}'), bool_and(topic = 'orders.created') FROM one;
SELECT count(*) FROM two;
SELECT queue.detach('orders', topic => 'orders.created');
TRUNCATE one, two;
SELECT queue.attach('orders', topic => 'orders.created', events => 'update', key => 'new.id', columns => '{total}');
UPDATE orders SET who = 'x' WHERE id > 1000;
UPDATE orders SET total = total + (id % 2) WHERE id BETWEEN 1001 AND 2500;
SELECT count(*), count(DISTINCT key) FROM one;
SELECT queue.detach('orders', topic => 'orders.created');
TRUNCATE one, two;

-- Jobs with the key of one that waits, in each queue by itself.
SELECT queue.attach('orders', topic => 'orders.created', events => 'update', key => 'new.id % 10', on_conflict => 'skip');
UPDATE orders SET who = 'y' WHERE id BETWEEN 1001 AND 1100;
SELECT count(*) FROM queue.pop('one', 3);
UPDATE orders SET who = 'z' WHERE id BETWEEN 1001 AND 1100;
SELECT (SELECT count(*) FROM one) AS one, (SELECT count(*) FROM two) AS two;
SELECT queue.detach('orders', topic => 'orders.created');
TRUNCATE one, two;

-- A partitioned table, by row; a table attached to a queue and to two topics at once.
CREATE TABLE parted (id int, at int) PARTITION BY RANGE (at);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE parted_2 (at int, id int);
ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES FROM (10) TO (20);
SELECT queue.attach('parted', topic => 'orders.parted', set => '{"payload.id": "coalesce(new.id, old.id)"}');
SELECT queue.attach('parted', 'one', set => '{"payload.direct": "coalesce(new.id, old.id)"}', events => 'insert');
SELECT queue.attach('parted', topic => 'nobody.listens');
INSERT INTO parted VALUES (1, 1), (2, 11);
INSERT INTO parted_2 VALUES (12, 3);
UPDATE parted SET at = 12 WHERE id = 1;
SELECT payload, topic FROM one ORDER BY payload ->> 'direct', id;
SELECT source, queue, topic FROM queue.attachments WHERE source = 'parted'::regclass ORDER BY id;
SELECT queue.detach('parted', topic => 'nobody.listens'), queue.detach('parted', 'one'), queue.detach('parted', topic => 'orders.parted');
TRUNCATE one, two;

-- ignore_own leaves out the queue whose processor makes the change, and only that.
CREATE FUNCTION work(job one) RETURNS void LANGUAGE sql AS $$ INSERT INTO topic_attach.orders VALUES (-(job.payload #>> '{row,id}')::int, 'again', 0) $$;
SELECT queue.register_processor('one', 'work(one)');
SELECT queue.attach('orders', topic => 'orders.created', events => 'insert', ignore_own => true);
INSERT INTO orders VALUES (20, 'zoe', 1);
CALL queue.run('one');
SELECT count(*) FROM one;
SELECT payload #>> '{row,id}' AS id FROM two ORDER BY id;
SELECT queue.unregister_processor('one');
SELECT queue.detach('orders', topic => 'orders.created');
TRUNCATE one, two;

-- Rights: the role that attached needs INSERT; who changes the source needs nothing.
SET ROLE regress_owner;
CREATE TABLE theirs (id int);
GRANT INSERT ON theirs TO regress_nobody;
SELECT queue.attach('theirs', topic => 'orders.theirs');
SET ROLE regress_nobody;
SELECT sqlstate, message, hint FROM test.fails('INSERT INTO topic_attach.theirs VALUES (1)');
RESET ROLE;
GRANT INSERT ON one, two TO regress_owner;
SET ROLE regress_nobody;
INSERT INTO theirs VALUES (1);
SELECT test.code($$SELECT queue.attach('topic_attach.theirs', topic => 'x')$$), test.code($$SELECT queue.detach('topic_attach.theirs', topic => 'orders.theirs')$$);
RESET ROLE;
SELECT payload FROM one;
SELECT queue.detach('theirs', topic => 'orders.theirs');
-- A superuser attaches what is another's: it runs as that one.
SELECT queue.attach('theirs', topic => 'orders.theirs', set => '{"payload.user": "current_user"}');
INSERT INTO theirs VALUES (2);
SELECT payload FROM one ORDER BY id;
DROP TABLE theirs;
SELECT count(*) FROM queue.attachments WHERE topic IS NOT NULL;

-- What is refused.
SELECT c AS command, f.sqlstate, f.message, f.hint FROM unnest(ARRAY[
    $$SELECT queue.attach('topic_attach.orders')$$,
    $$SELECT queue.attach('topic_attach.orders', 'topic_attach.one', topic => 'a')$$,
    $$SELECT queue.attach('topic_attach.orders', topic => 'orders.*')$$,
    $$SELECT queue.attach('topic_attach.orders', topic => '')$$,
    $$SELECT queue.attach('topic_attach.orders', topic => 'a', set => '{"who": "new.who"}')$$,
    $$SELECT queue.attach('topic_attach.orders', topic => 'a', set => '{"after": "ARRAY[1]"}')$$,
    $$SELECT queue.attach('topic_attach.orders', topic => 'a', set => '{"key": "new.id"}', key => 'new.id')$$,
    $$SELECT queue.attach('topic_attach.orders', topic => 'a', set => '{"payload": "''{}''", "payload.a": "1"}')$$,
    $$SELECT queue.attach('topic_attach.orders', topic => 'a', set => '{"payload": "new.total"}')$$,
    $$SELECT queue.attach('topic_attach.orders', topic => 'a', condition => 'new.total')$$,
    $$SELECT queue.attach('topic_attach.orders', topic => 'a', condition => 'true) OR (true')$$,
    $$SELECT queue.attach('topic_attach.orders', topic => 'a', key => '1; DROP TABLE topic_attach.orders')$$,
    $$SELECT queue.attach('topic_attach.orders', topic => 'a', columns => '{no}')$$,
    $$SELECT queue.attach('topic_attach.orders', topic => 'a', on_conflict => 'skip')$$,
    $$SELECT queue.detach('topic_attach.orders')$$,
    $$SELECT queue.detach('topic_attach.orders', topic => 'a')$$,
    $$SELECT queue.detach('topic_attach.orders', 'topic_attach.one', topic => 'a')$$]) c, test.fails(c) f;
SELECT queue.attach('orders', topic => 'a', events => 'insert');
SELECT (test.fails($$SELECT queue.attach('topic_attach.orders', topic => 'a')$$)).*;
CREATE TRIGGER by_hand AFTER INSERT ON one FOR EACH ROW EXECUTE FUNCTION queue.publish_attached('1');
SELECT sqlstate, message FROM test.fails($$SELECT queue.enqueue('topic_attach.one')$$);
SET client_min_messages = warning;
DROP SCHEMA topic_attach CASCADE;
SELECT count(*) FROM queue.attachments WHERE topic IS NOT NULL;
