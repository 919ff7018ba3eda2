-- The end of a queue: drop_queue, DROP TABLE, DROP SCHEMA, DROP OWNED, and rollback of each.
CREATE SCHEMA create_drop;
SET search_path = create_drop;
SET client_min_messages = warning;
CREATE FUNCTION known() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT q.queue::text FROM queue.queues q JOIN pg_class c ON c.oid = q.queue
    WHERE c.relnamespace = 'create_drop'::regnamespace ORDER BY 1
$$;
CREATE FUNCTION dangling() RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM (SELECT queue FROM queue.queues UNION ALL SELECT queue FROM queue.processors
                          UNION ALL SELECT queue FROM queue.attachments UNION ALL SELECT source FROM queue.attachments) r
    WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = r.queue)
$$;
COMMENT ON FUNCTION dangling IS 'What is remembered about tables that are gone';

-- drop_queue takes the table and every job with it.
SELECT queue.create_queue('a');
SELECT queue.enqueue('a') AS id \gset
SELECT queue.drop_queue('a');
SELECT to_regclass('a') IS NULL AS gone, to_regclass('a_ready') IS NULL AS partition_gone;

-- Refused while jobs are leased; force loses them.
SELECT queue.create_queue('b');
SELECT queue.enqueue('b') AS id \gset
SELECT count(*) FROM queue.dequeue('b');
SELECT * FROM test.fails($$SELECT queue.drop_queue('b')$$);
SELECT state, count(*) FROM b GROUP BY 1;
SELECT queue.drop_queue('b', force => true);
SELECT * FROM known();

-- Refused while tables are attached; force removes their triggers.
CREATE TABLE source (id int PRIMARY KEY);
SELECT queue.create_queue('c');
SELECT queue.attach('source', 'c');
SELECT * FROM test.fails($$SELECT queue.drop_queue('c')$$);
INSERT INTO source VALUES (1);
SELECT count(*) FROM c;
SELECT queue.drop_queue('c', force => true);
INSERT INTO source VALUES (2);
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'source'::regclass AND NOT tgisinternal;

-- With a processor: what was registered goes too, the function stays.
SELECT queue.create_queue('d');
CREATE FUNCTION work(jobs d[]) RETURNS void LANGUAGE sql AS '';
SELECT queue.register_processor('d', 'work(d[])');
SELECT sqlstate, hint IS NOT NULL AS hint FROM test.fails($$SELECT queue.drop_queue('d')$$);
DROP FUNCTION work;
SELECT queue.drop_queue('d');
SELECT dangling();

-- DROP TABLE forgets the queue; a table that fed it can still be written to.
SELECT queue.create_queue('e');
SELECT queue.attach('source', 'e');
INSERT INTO source VALUES (3);
DROP TABLE e;
INSERT INTO source VALUES (4);
UPDATE source SET id = id + 10;
SELECT count(*) FROM source;
SELECT * FROM known();
SELECT dangling();
-- The name is free again, and the source may be attached to the new queue.
SELECT queue.create_queue('e');
SELECT queue.attach('source', 'e');
INSERT INTO source VALUES (5);
SELECT payload -> 'key' AS key FROM queue.pop('e', 10);
-- DROP TABLE of the source forgets the attachment, so that drop_queue needs no force.
DROP TABLE source;
SELECT dangling();
SELECT queue.drop_queue('e');

-- Rolled back, nothing happened.
SELECT queue.create_queue('f');
SELECT queue.enqueue('f', '{"n": 1}') AS id \gset
BEGIN;
SELECT queue.drop_queue('f');
ROLLBACK;
BEGIN;
DROP TABLE f;
SELECT queue.create_queue('f');
SELECT queue.enqueue('f', '{"n": 2}') > 0 AS enqueued;
ROLLBACK;
SELECT * FROM known();
SELECT payload FROM queue.pop('f');
BEGIN;
SELECT queue.create_queue('g');
SELECT queue.enqueue('g') AS id \gset
SELECT count(*) FROM queue.dequeue('g');
ROLLBACK;
SELECT to_regclass('g') IS NULL AS gone;
SELECT * FROM known();

DROP TABLE f;
-- DROP SCHEMA and DROP OWNED.
CREATE SCHEMA create_inner AUTHORIZATION regress_owner;
SET ROLE regress_owner;
SELECT queue.create_queue('create_inner.g');
SELECT queue.create_queue('create_inner.h');
RESET ROLE;
CREATE TABLE source (id int);
DROP TABLE create_inner.g;
DROP OWNED BY regress_owner;
SELECT dangling();
SELECT queue.create_queue('i');
SELECT queue.attach('source', 'i', 'insert');
DROP SCHEMA create_drop CASCADE;
SELECT count(*) FROM (SELECT queue FROM queue.queues UNION ALL SELECT queue FROM queue.attachments) r
WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = r.queue);
