-- Bad input to dequeue, pop, ack, ack_many, nack, snooze and extend_lease.
CREATE SCHEMA errors_take;
SET search_path = errors_take;
\pset format unaligned
\pset tuples_only on
CREATE TABLE "no queue" (i int);
CREATE TYPE row_type AS (a int);
SELECT queue.create_queue('q');
SELECT queue.create_queue('other');
SELECT count(queue.enqueue('q')) FROM generate_series(1, 3);
SELECT count(queue.enqueue('other')) FROM generate_series(1, 5);
SELECT id, attempt FROM queue.dequeue('q', 1, '1 day') \gset
SELECT max(id) AS others FROM other \gset
CREATE VIEW jobs AS SELECT state, attempt, lease_until > now() + '23 h' AS leased, run_at, errors, count(*) FROM q GROUP BY 1, 2, 3, 4, 5;
TABLE jobs;

-- No queue.
SELECT t.* FROM (VALUES ('dequeue(%s)'), ('pop(%s)'), ('ack(%s, 1, 1)'), ('ack_many(%s, ''{1}'', ''{1}'')'), ('nack(%s, 1, 1)'),
                        ('snooze(%s, 1, 1, ''1 s'')'), ('extend_lease(%s, 1, 1)')) v (call),
    (VALUES ('''"no queue"'''), ('''q_ready'''), ('''pg_class'''), ('''nosuch'''), ('0'), ('NULL')) a (argument),
    LATERAL test.tries('SELECT queue.' || format(call, argument)) t;
SELECT t.* FROM (VALUES ('dequeue_as(%s)'), ('pop_as(%s)')) v (call),
    (VALUES ('NULL::"no queue"'), ('NULL::row_type'), ('NULL::int'), ('NULL'), ('NULL::q_ready'), ('''q''::regclass')) a (argument),
    LATERAL test.tries('SELECT queue.' || format(call, argument)) t;
-- How many, how long.
SELECT t.* FROM (VALUES ('dequeue(''q'', %s)'), ('pop(''q'', %s)'), ('dequeue_as(NULL::q, %s)'), ('pop_as(NULL::q, %s)')) v (call),
    (VALUES ('0'), ('-1'), ('NULL'), ('100000000')) a (argument), LATERAL test.tries('SELECT queue.' || format(call, argument)) t
    WHERE argument <> '100000000';
SELECT * FROM test.tries(
    $$SELECT queue.dequeue('q', 1, '0')$$, $$SELECT queue.dequeue('q', 1, '-1 s')$$, $$SELECT queue.dequeue_as(NULL::q, 1, '-1 s')$$,
    $$SELECT queue.dequeue('q', 1, '200000000 days')$$, $$SELECT queue.dequeue('q', 1, 'soon')$$);

-- ids and attempts: of another queue, never issued, null.
SELECT t.* FROM (VALUES ('ack(''q'', %s)'), ('nack(''q'', %s)'), ('snooze(''q'', %s, delay => ''1 s'')'), ('extend_lease(''q'', %s)')) v (call),
    (VALUES (:'others' || ', 1'), ('0, 1'), ('-1, 1'), ('9223372036854775807, 1'), ('NULL, 1'), (:'id' || ', NULL')) a (arguments),
    LATERAL test.tries('SELECT queue.' || format(call, arguments)) t;
SELECT t.* FROM (VALUES ('ack(''q'', %s)'), ('nack(''q'', %s)'), ('snooze(''q'', %s, delay => ''1 s'')'), ('extend_lease(''q'', %s)')) v (call),
    (VALUES ('2'), ('0'), ('-1')) a (attempt), LATERAL test.tries('SELECT queue.' || format(call, :'id' || ', ' || attempt)) t;
SELECT queue.ack('q', :id, 2), queue.nack('q', :id, 0), queue.snooze('q', :id, -1, '1 s'), queue.extend_lease('q', :id, 2147483647);
-- Arrays.
SELECT * FROM test.tries(
    format($$SELECT queue.ack_many('q', '{%s}', '{1,1}')$$, :id),
    format($$SELECT queue.ack_many('q', '{%s,%s}', '{1}')$$, :id, :id),
    $$SELECT queue.ack_many('q', '{1}', '{}')$$,
    $$SELECT queue.ack_many('q', '{1', '{1}')$$,
    $$SELECT queue.ack_many('q', '{one}', '{1}')$$,
    $$SELECT queue.ack_many('q', '1', '1')$$,
    $$SELECT queue.ack_many('q', NULL, '{1}')$$,
    $$SELECT queue.ack_many('q', '{1}', NULL)$$,
    $$SELECT queue.ack_many('q', '{NULL}', '{1}')$$,
    $$SELECT queue.ack_many('q', '{1}', '{NULL}')$$,
    $$SELECT queue.ack_many('q', '{{1,2},{3,4}}', '{{1,1},{1,1}}')$$,
    format($$SELECT queue.ack_many('q', '{%s,%s}', '{1,1}')$$, :id, :others),
    format($$SELECT queue.ack_many('q', '{%s,0}', '{1,1}')$$, :id));
-- The rest of the arguments.
SELECT * FROM test.tries(
    format($$SELECT queue.nack('q', %s, 1, 'e', '-1 s')$$, :id),
    format($$SELECT queue.nack('q', %s, 1, 'e', '200000000 days')$$, :id),
    format($$SELECT queue.snooze('q', %s, 1, '-1 s')$$, :id),
    format($$SELECT queue.snooze('q', %s, 1, NULL)$$, :id),
    format($$SELECT queue.extend_lease('q', %s, 1, '-1 s')$$, :id),
    format($$SELECT queue.extend_lease('q', %s, 1, '0')$$, :id));
-- All of that left the job leased as it was, and the others ready.
TABLE jobs;
SELECT state, count(*) FROM other GROUP BY 1;
-- In a read-only transaction, and from a STABLE function.
BEGIN READ ONLY;
SELECT sqlstate, message FROM test.fails($$SELECT queue.dequeue('q')$$);
SELECT sqlstate, message FROM test.fails($$SELECT queue.pop('q')$$);
SELECT sqlstate, message FROM test.fails(format($$SELECT queue.ack('q', %s, 1)$$, :id));
ROLLBACK;
TABLE jobs;
