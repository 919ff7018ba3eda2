-- Bad input to create_queue, alter_queue, drop_queue, pause, resume and purge.
CREATE SCHEMA errors_make;
SET search_path = errors_make;
\pset format unaligned
\pset tuples_only on
CREATE TABLE "no queue" (i int);
CREATE VIEW a_view AS SELECT 1 AS i;
SELECT queue.create_queue('q');
SELECT queue.enqueue('q') AS id \gset
CREATE VIEW state_of_q AS SELECT queue, max_attempts, backoff, backoff_factor, backoff_max, lease, keep_done, paused, (SELECT count(*) FROM q) AS jobs
    FROM queue.queues WHERE queue = 'errors_make.q'::regclass;
TABLE state_of_q;

-- Names.
SELECT * FROM test.tries(
    $$SELECT queue.create_queue('q')$$,
    $$SELECT queue.create_queue('"no queue"')$$,
    $$SELECT queue.create_queue('a_view')$$,
    $$SELECT queue.create_queue('q_ready')$$,
    $$SELECT queue.create_queue(NULL)$$,
    $$SELECT queue.create_queue('')$$,
    $$SELECT queue.create_queue('""')$$,
    $$SELECT queue.create_queue('  ')$$,
    $$SELECT queue.create_queue('no queue')$$,
    $$SELECT queue.create_queue('a; DROP TABLE q')$$,
    $$SELECT queue.create_queue('"unclosed')$$,
    $$SELECT queue.create_queue('a.')$$,
    $$SELECT queue.create_queue('nosuch.q')$$,
    $$SELECT queue.create_queue('a.b.c')$$,
    $$SELECT queue.create_queue('a.b.c.d')$$,
    $$SELECT queue.create_queue(repeat('n', 64))$$,
    $$SELECT queue.create_queue(repeat('ж', 32))$$,
    $$SELECT queue.create_queue('pg_temp.q')$$,
    $$SELECT queue.create_queue('pg_catalog.q')$$,
    $$SELECT queue.create_queue('queue.q')$$);
-- Columns.
SELECT * FROM test.tries(
    $$SELECT queue.create_queue('n', 'id int')$$,
    $$SELECT queue.create_queue('n', 'a int, "state" text')$$,
    $$SELECT queue.create_queue('n', 'PAYLOAD text')$$,
    $$SELECT queue.create_queue('n', 'a int, a text')$$,
    $$SELECT queue.create_queue('n', '')$$,
    $$SELECT queue.create_queue('n', 'a')$$,
    $$SELECT queue.create_queue('n', 'a nosuchtype')$$,
    $$SELECT queue.create_queue('n', 'a int,')$$,
    $$SELECT queue.create_queue('n', 'a int); DROP TABLE "no queue"; --')$$,
    $$SELECT queue.create_queue('n', 'a int) PARTITION BY LIST (a')$$,
    $$SELECT queue.create_queue('n', 'a int DEFAULT nosuch()')$$,
    $$SELECT queue.create_queue('n', 'a int CHECK (b > 0)')$$,
    $$SELECT queue.create_queue('n', 'xmin int')$$,
    $$SELECT queue.create_queue('n', 'a int PRIMARY KEY')$$,
    $$SELECT queue.create_queue('n', 'a int UNIQUE')$$, $$SELECT queue.create_queue('n', 'a int, UNIQUE (a)')$$,
    $$SELECT queue.create_queue('n', 'a nosuchtype UNIQUE')$$, $$SELECT queue.create_queue('n', 'state text')$$);
-- Options.
SELECT t.* FROM (VALUES ('max_attempts => 0'), ('max_attempts => -1'), ('max_attempts => 10001'), ('max_attempts => NULL'),
    ('backoff => ''-1 s'''), ('backoff_factor => 0.5'), ('backoff_factor => -1'), ('backoff_factor => ''NaN'''), ('backoff_factor => ''Infinity'''),
    ('backoff_max => ''-1 h'''), ('lease => ''0'''), ('lease => ''-1 s'''), ('lease => NULL'), ('keep_done => ''-1 day''')) v (o),
    LATERAL (SELECT * FROM test.tries(format('SELECT queue.create_queue(''n'', %s)', o)) UNION ALL
             SELECT * FROM test.tries(format('SELECT queue.alter_queue(''q'', %s)', o)) WHERE o NOT LIKE '%NULL') t;
SELECT to_regclass('n') IS NULL AS nothing_made;

-- A queue that is none, in every call of this file.
SELECT t.* FROM (VALUES ('alter_queue(%s, max_attempts => 3)'), ('drop_queue(%s)'), ('drop_queue(%s, force => true)'), ('pause(%s)'), ('resume(%s)'), ('purge(%s)')) v (call),
    (VALUES ('''"no queue"'''), ('''a_view'''), ('''q_ready'''), ('''q_ready_pkey'''), ('''nosuch'''), ('0'), ('NULL')) a (argument),
    LATERAL test.tries('SELECT queue.' || format(call, argument)) t;
SELECT * FROM test.tries(
    $$SELECT queue.purge('q', NULL)$$,
    $$SELECT queue.purge('q', '{running}')$$,
    $$SELECT queue.purge('q', '{READY}')$$,
    $$SELECT queue.purge('q', '{ready')$$,
    $$SELECT queue.purge('q', '{{ready},{failed}}')$$);
-- Dropping with running jobs.
BEGIN;
SELECT count(*) FROM queue.dequeue('q');
SELECT * FROM test.tries($$SELECT queue.drop_queue('q')$$, $$SELECT queue.drop_queue('q', false)$$, $$SELECT queue.drop_queue('q', NULL)$$);
ROLLBACK;
TABLE state_of_q;
SELECT count(*) FROM pg_class WHERE relnamespace = 'errors_make'::regnamespace AND relkind IN ('r', 'p');
