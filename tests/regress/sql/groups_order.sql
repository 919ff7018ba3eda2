-- Jobs of a group run one at a time, in the order of their ids.
CREATE SCHEMA groups_order;
SET search_path = groups_order;
SELECT queue.create_queue('q', 'n int');
CREATE FUNCTION put(n int, g text, priority int = 5) RETURNS void LANGUAGE sql AS
    $$ INSERT INTO groups_order.q (n, group_key, priority) VALUES (n, g, priority) $$;
CREATE FUNCTION ack(VARIADIC jobs int[]) RETURNS bigint LANGUAGE sql AS
    $$ SELECT count(*) FROM (SELECT queue.ack('groups_order.q', id, attempt) AS done FROM groups_order.q WHERE n = ANY (jobs) ORDER BY id) a WHERE done $$;

-- dequeue hands out one of each group at a time, and all that are in none.
SELECT put(1, 'a'), put(2, 'a'), put(3, 'b'), put(4, NULL), put(5, 'a');
SELECT n, group_key FROM queue.dequeue_as(NULL::q, 10);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT ack(1);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT ack(2, 3, 4);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT ack(5);
SELECT count(*) FROM q;

-- Not two in one transaction either.
SELECT put(6, 'a'), put(7, 'a');
BEGIN;
SELECT n FROM queue.dequeue_as(NULL::q);
SELECT n FROM queue.dequeue_as(NULL::q);
ROLLBACK;
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT ack(6);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT ack(7);

-- pop hands out as many as it is asked for: the caller has them all, in order.
SELECT count(put(n, 'g' || n % 2)) FROM generate_series(1, 6) n;
SELECT n, group_key FROM queue.pop_as(NULL::q, 3);
SELECT n, group_key FROM queue.pop_as(NULL::q, 10);

-- A job of a group does not overtake those before it, however urgent it is: they go with it. Groups and
-- jobs in none are ordered by priority.
SELECT put(1, 'slow', 9), put(2, 'slow', 9), put(3, 'other', 3), put(4, NULL, 4), put(5, 'slow', 0), put(6, 'slow', 9);
SELECT n, group_key, priority FROM queue.pop_as(NULL::q, 10);
SELECT put(1, 'slow', 9), put(2, 'slow', 0), put(3, NULL, 5);
SELECT n FROM queue.dequeue_as(NULL::q, 1);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT ack(1);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT ack(2, 3);

-- Empty and long names are names; null is none.
SELECT put(1, ''), put(2, ''), put(3, repeat('x', 1000)), put(4, repeat('x', 1000)), put(5, NULL), put(6, NULL);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT ack(1, 3, 5, 6);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT ack(2, 4);

-- A job for later is passed by those that may start now.
SELECT queue.enqueue('q', '{"n": 1}', group_key => 'a', delay => '1 day') IS NOT NULL AS put, put(2, 'a');
SELECT n FROM queue.dequeue_as(NULL::q, 10);
UPDATE q SET run_at = now() - interval '1 s' WHERE n = 1;
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT ack(2);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT ack(1);

-- Many that cannot run do not stand in the way of others: they are sorted out.
SELECT count(put(n, 'a')) FROM generate_series(1, 2000) n;
SELECT put(2001, NULL);
SELECT n FROM queue.dequeue_as(NULL::q, 1);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT state, count(*) > 0 AS some FROM q GROUP BY 1 ORDER BY 1;
SELECT ack(1);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
-- A later job comes after those that were sorted out, however urgent.
SELECT put(2002, 'a', 0);
SELECT ack(2);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT ack(3, 2001);
SELECT min(n), max(n), count(*), bool_and(n = wanted) AS in_order
FROM (SELECT n, row_number() OVER () + 3 AS wanted FROM queue.pop_as(NULL::q, 1997)) p;
SELECT n FROM queue.pop_as(NULL::q, 10);

-- Two queues have nothing to do with each other, though their groups have one name.
SELECT queue.create_queue('r', 'n int');
SELECT put(1, 'a');
INSERT INTO r (n, group_key) VALUES (2, 'a');
SELECT n FROM queue.dequeue_as(NULL::q);
SELECT n FROM queue.dequeue_as(NULL::r);
SELECT ack(1);

-- What is given back is there again, in its place.
SELECT put(1, 'a'), put(2, 'a'), put(3, 'a');
BEGIN;
SELECT n FROM queue.pop_as(NULL::q, 2);
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT n FROM queue.pop_as(NULL::q, 2);
ROLLBACK TO s;
SELECT n FROM queue.pop_as(NULL::q, 1);
COMMIT;
SELECT n FROM queue.pop_as(NULL::q, 10);

-- The same where claims go through SQL.
CREATE TABLE deleted (n int);
CREATE FUNCTION note_deleted() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO groups_order.deleted VALUES (old.n); RETURN NULL; END $$;
CREATE TRIGGER note AFTER DELETE ON q FOR EACH ROW EXECUTE FUNCTION note_deleted();
SELECT put(1, 'a', 9), put(2, 'a', 0), put(3, 'b'), put(4, NULL), put(5, 'a');
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT ack(1);
SELECT n FROM queue.pop_as(NULL::q, 10);
SELECT count(put(n, 'b')) FROM generate_series(11, 1000) n;
SELECT put(1001, NULL);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT ack(3);
SELECT count(*), min(n), max(n) FROM queue.pop_as(NULL::q, 100);
DROP TRIGGER note ON q;
SELECT count(*), min(n), max(n) FROM queue.pop_as(NULL::q, 2000);
SELECT count(*) > 0 AS fired FROM deleted;
-- And at REPEATABLE READ, which sees no later than its first statement.
SELECT queue.purge('q'), ack(1001);
SELECT put(1, 'c'), put(2, 'c'), put(3, 'd');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT n FROM queue.dequeue_as(NULL::q, 10);
COMMIT;
SELECT ack(1);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT queue.drop_queue('q', true), queue.drop_queue('r', true);
DROP SCHEMA groups_order CASCADE;
