-- create_queue and alter_queue: what they make and which options they keep.
CREATE SCHEMA create_options;
SET search_path = create_options;

SELECT queue.create_queue('plain');
SELECT attname, format_type(atttypid, atttypmod), attnotnull, attidentity <> '' AS identity,
       pg_get_expr(adbin, adrelid) AS "default"
FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid = 'plain'::regclass AND attnum > 0 ORDER BY attnum;
SELECT relid, isleaf, pg_get_expr(relpartbound, oid)
FROM pg_partition_tree('plain') JOIN pg_class ON oid = relid ORDER BY relid::text COLLATE "C";
SELECT max_attempts, backoff, backoff_factor, backoff_max, lease, keep_done, paused
FROM queue.queues WHERE queue = 'plain'::regclass;

-- Columns of its own, with defaults, checks, references and generated values.
CREATE TABLE customer (id int PRIMARY KEY);
SELECT queue.create_queue('typed', $$
    recipient text NOT NULL, subject text DEFAULT 'none',
    amount numeric(10,2) CHECK (amount > 0), customer int REFERENCES customer,
    tags text[] DEFAULT '{}', tax numeric GENERATED ALWAYS AS (amount * 0.2) STORED,
    "Odd ""column" int
$$);
SELECT attname, format_type(atttypid, atttypmod), attnotnull, attgenerated <> '' AS generated,
       pg_get_expr(adbin, adrelid) AS "default"
FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE attrelid = 'typed'::regclass AND attnum > 20 ORDER BY attnum;
SELECT count(*) = 6 AS six_partitions FROM pg_inherits WHERE inhparent = 'typed'::regclass;

-- Every option.
SELECT queue.create_queue('tuned', max_attempts => 3, backoff => '2 s', backoff_factor => 1.5,
                          backoff_max => '5 min', lease => '10 min', keep_done => '7 days');
SELECT max_attempts, backoff, backoff_factor, backoff_max, lease, keep_done, paused
FROM queue.queues WHERE queue = 'tuned'::regclass;

-- alter_queue changes what it names and nothing else.
SELECT queue.alter_queue('tuned', max_attempts => 9);
SELECT queue.alter_queue('tuned', backoff => '0', backoff_factor => 1, lease => '1 h');
SELECT max_attempts, backoff, backoff_factor, backoff_max, lease, keep_done
FROM queue.queues WHERE queue = 'tuned'::regclass;
SELECT queue.alter_queue('tuned', backoff_max => '3 h', keep_done => '1 day');
SELECT backoff_max, keep_done FROM queue.queues WHERE queue = 'tuned'::regclass;
SELECT queue.alter_queue('tuned');
SELECT backoff_max, keep_done FROM queue.queues WHERE queue = 'tuned'::regclass;
-- keep_done => '0' stops keeping finished jobs.
SELECT queue.alter_queue('tuned', keep_done => '0');
SELECT queue.enqueue('tuned') AS id \gset
SELECT queue.ack('tuned', id, attempt) FROM queue.dequeue('tuned');
SELECT count(*) AS kept FROM tuned;

-- The lease option is what dequeue lends by default; max_attempts is what a job gets.
SELECT queue.enqueue('tuned') > :id AS enqueued;
SELECT lease_until - statement_timestamp() BETWEEN '59 min' AND '61 min' AS an_hour, max_attempts FROM queue.dequeue('tuned');

-- The table is the caller's, like any that the caller makes, and so is each partition.
CREATE SCHEMA create_owned AUTHORIZATION regress_owner;
SET ROLE regress_owner;
SELECT queue.create_queue('create_owned.mine');
RESET ROLE;
SELECT relname, relowner::regrole FROM pg_class
WHERE relnamespace = 'create_owned'::regnamespace AND relkind IN ('r', 'p') ORDER BY relname COLLATE "C";
-- Nothing of a queue is a member of the extension.
SELECT count(*) FROM pg_depend
WHERE classid = 'pg_class'::regclass AND objid = 'plain'::regclass AND deptype = 'e';
