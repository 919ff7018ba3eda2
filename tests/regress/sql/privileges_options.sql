-- What a queue was told is shown to whoever may select from it, in the terms in which it was told.
CREATE SCHEMA privileges_options;
GRANT USAGE, CREATE ON SCHEMA privileges_options TO PUBLIC;
SET search_path = privileges_options;
\pset null null
\x on
SET ROLE regress_owner;
SELECT queue.create_queue('plain');
SELECT queue.create_queue('given', 'n int', max_attempts => 3, backoff => '2 s', backoff_factor => 1.5, backoff_max => '3 min', lease => '4 s',
    keep_done => '5 h', keep_failed => '6 days', on_conflict => 'merge', on_group_failure => 'continue', max_running => 7,
    max_running_per_key => 8, rate_limit => 9, rate_limit_per_key => 10, rate_interval => '11 s');
SELECT * FROM queue.queue_options WHERE queue = 'given'::regclass;
-- Each option of create_queue has its column here, and nothing given is the default.
SELECT array_agg(name ORDER BY name) FILTER (WHERE NOT EXISTS (SELECT FROM pg_attribute a
    WHERE attrelid = 'queue.queue_options'::regclass AND attname = name)) AS missing
FROM unnest((SELECT proargnames FROM pg_proc WHERE oid = 'queue.alter_queue'::regproc)) name;
SELECT * FROM queue.queue_options WHERE queue = 'plain'::regclass;
-- Taken back, it is as if it had not been given.
SELECT queue.alter_queue('given', on_conflict => 'none', keep_done => '0', keep_failed => '0', max_running => 0, rate_limit => 0);
SELECT on_conflict, keep_done, keep_failed, max_running, max_running_per_key, rate_limit FROM queue.queue_options WHERE queue = 'given'::regclass;

-- Processors.
CREATE FUNCTION one(j given) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION "All of"(j plain[]) RETURNS void LANGUAGE sql AS '';
SELECT queue.register_processor('given', 'one(given)', batch_size => 12, parallelism => 13, load_balanced => false, timeout => '14 s', then_queue => 'plain');
SELECT queue.register_processor('plain', '"All of"(plain[])');
SELECT * FROM queue.registered_processors WHERE queue IN ('given'::regclass, 'plain') ORDER BY queue::text;
SELECT array_agg(name ORDER BY name) FILTER (WHERE NOT EXISTS (SELECT FROM pg_attribute a
    WHERE attrelid = 'queue.registered_processors'::regclass AND attname = name)) AS missing
FROM unnest((SELECT proargnames FROM pg_proc WHERE oid = 'queue.register_processor'::regproc)) name WHERE name <> 'replace';
-- What is shown can be registered again; a rename is followed.
ALTER FUNCTION one RENAME TO "One";
SELECT queue.register_processor(queue, processor, batch_size, parallelism, load_balanced, timeout, true, then_queue)
FROM (SELECT queue, processor::regprocedure, batch_size, parallelism, load_balanced, timeout, then_queue FROM queue.registered_processors
      WHERE queue IN ('given'::regclass, 'plain') OFFSET 0) p;
SELECT queue, processor FROM queue.registered_processors WHERE queue IN ('given'::regclass, 'plain') ORDER BY queue::text;

-- Attachments: all that was given, and made again from it.
CREATE TABLE source (id int PRIMARY KEY, total numeric);
SELECT queue.create_queue('fed', 'n int');
SELECT queue.create_queue('bare');
SELECT queue.attach('source', 'fed', 'insert,update', '{"n": "new.id", "payload.was": "old.total"}', 'new.total > 0', 'new.id', 2, '1 day 2 h',
    '{total}', true, 'row', 'skip');
SELECT queue.attach('source', 'bare');
SELECT queue.attach('source', topic => 'a.b', events => 'delete', level => 'statement');
SELECT * FROM queue.attached_tables WHERE source = 'source'::regclass ORDER BY queue::text;
SELECT array_agg(name ORDER BY name) FILTER (WHERE NOT EXISTS (SELECT FROM pg_attribute a
    WHERE attrelid = 'queue.attached_tables'::regclass AND attname = name)) AS missing
FROM unnest((SELECT proargnames FROM pg_proc WHERE oid = 'queue.attach'::regproc)) name;
CREATE TEMP TABLE before AS SELECT * FROM queue.attached_tables WHERE source = 'source'::regclass;
SELECT count(queue.detach(source, queue, topic)) FROM before;
SELECT count(*) AS none FROM queue.attached_tables WHERE source = 'source'::regclass;
SELECT count(queue.attach(source, queue, events, set, condition, key, priority, delay, columns, ignore_own, level, on_conflict, topic)) FROM before;
SELECT count(*) AS different FROM (SELECT * FROM queue.attached_tables WHERE source = 'source'::regclass EXCEPT SELECT * FROM before) d;
-- A partition's own trigger is the table's; one of a hierarchy is by row.
CREATE TABLE parted (id int) PARTITION BY LIST (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
SELECT queue.attach('parted', 'bare', 'update,insert');
SELECT source, queue, events, level FROM queue.attached_tables WHERE source IN ('parted'::regclass, 'parted_1'::regclass);
RESET ROLE;

-- Who sees what: whoever may select from the queue, as in queue.overview; the owner of the source sees what is attached to it.
\x off
CREATE TABLE others (id int);
SELECT queue.attach('others', 'plain', 'insert');
SELECT queue.attach('others', topic => 'c.d', events => 'insert');
ALTER TABLE others OWNER TO regress_taker;
GRANT SELECT ON plain TO regress_reader;
GRANT INSERT, UPDATE, DELETE ON plain TO regress_writer;
CREATE FUNCTION sees() RETURNS TABLE (what text, queues text) LANGUAGE sql SET search_path = privileges_options AS $$
    SELECT 'overview', string_agg(queue::text, ' ' ORDER BY queue::text) FROM queue.overview WHERE queue::text IN ('plain', 'given', 'fed', 'bare')
    UNION ALL SELECT 'options', string_agg(queue::text, ' ' ORDER BY queue::text) FROM queue.queue_options WHERE queue::text IN ('plain', 'given', 'fed', 'bare')
    UNION ALL SELECT 'processors', string_agg(queue::text, ' ' ORDER BY queue::text) FROM queue.registered_processors WHERE queue::text IN ('plain', 'given', 'fed', 'bare')
    UNION ALL SELECT 'attached', string_agg(source || '-' || coalesce(queue::text, topic), ' ' ORDER BY source::text, queue::text, topic) FROM queue.attached_tables
              WHERE source::text IN ('source', 'others', 'parted')
$$;
SET ROLE regress_owner;
SELECT * FROM sees();
SET ROLE regress_reader;
SELECT * FROM sees();
SET ROLE regress_writer;
SELECT * FROM sees();
SET ROLE regress_taker;
SELECT * FROM sees();
SET ROLE regress_nobody;
SELECT * FROM sees();
RESET ROLE;
SELECT * FROM sees();
CREATE ROLE regress_all_data;
GRANT pg_read_all_data TO regress_all_data;
SET ROLE regress_all_data;
SELECT * FROM sees();
RESET ROLE;
DROP ROLE regress_all_data;
-- Row security hides rows, not what the queue was told.
ALTER TABLE plain ENABLE ROW LEVEL SECURITY;
SET ROLE regress_reader;
SELECT * FROM sees();
-- A function of the reader's own is not shown what the reader is not.
CREATE FUNCTION pg_temp.tell(t regclass) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$
DECLARE is_ours boolean := (SELECT relnamespace = 'privileges_options'::regnamespace FROM pg_class WHERE oid = t);
BEGIN
    IF is_ours THEN RAISE NOTICE '%', t; END IF;
    RETURN is_ours;
END $$;
SELECT count(*) FROM queue.attached_tables WHERE pg_temp.tell(source);
RESET ROLE;
-- Triggers that somebody dropped by hand, and a queue that is gone.
SET client_min_messages = warning;
SELECT tgname AS trigger FROM pg_trigger WHERE tgrelid = 'parted'::regclass \gset
DROP TRIGGER :trigger ON parted;
SELECT source, queue, events, level FROM queue.attached_tables WHERE source = 'parted'::regclass;
SELECT queue.drop_queue('plain', force => true);
SELECT queue, processor, then_queue FROM queue.registered_processors WHERE queue = 'given'::regclass;
SELECT queue, topic FROM queue.attached_tables WHERE source = 'others'::regclass;
DROP SCHEMA privileges_options CASCADE;
SELECT count(*) FROM queue.attached_tables WHERE source NOT IN (SELECT oid FROM pg_class);
