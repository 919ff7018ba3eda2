-- Bad input to enqueue and enqueue_many: a clear error, and nothing written.
CREATE SCHEMA errors_put;
SET search_path = errors_put;
\pset format unaligned
\pset tuples_only on
CREATE TABLE "no queue" (i int);
SELECT queue.create_queue('q', 'n int CHECK (n > 0), who text NOT NULL DEFAULT ''x'', d date');
ALTER TABLE q ADD CONSTRAINT shape CHECK (NOT payload ? 'forbidden');

SELECT t.* FROM (VALUES ('enqueue(%s)'), ('enqueue_many(%s, ''{"{}"}'')')) v (call),
    (VALUES ('''"no queue"'''), ('''pg_class'''), ('''q_ready'''), ('''nosuch'''), ('''no queue'''), ('0'), ('NULL')) a (argument),
    LATERAL test.tries('SELECT queue.' || format(call, argument)) t;
SELECT t.* FROM (VALUES ('priority => 10'), ('priority => -1'), ('priority => 2147483647'), ('delay => ''-1 s'''), ('delay => ''-1 month 40 days'''),
    ('run_at => now() + ''1 h'', delay => ''1 h'''), ('max_attempts => 0'), ('max_attempts => -3'), ('max_attempts => 10001'), ('key => '''''),
    ('delay => ''200000000 days'''), ('key => repeat(''k'', 3000)')) v (o),
    LATERAL test.tries(format('SELECT queue.enqueue(''q'', ''{}'', %s)', o), format('SELECT queue.enqueue_many(''q'', ''{"{}","{}"}'', %s)', o)) t
    WHERE o NOT LIKE 'key%';
SELECT test.code(format('SELECT queue.enqueue(''q'', ''{}'', key => %L)', k)) FROM (VALUES (''), (repeat('k', 3000)), (repeat('ж', 100000))) v (k);
DELETE FROM q;
-- Payloads.
SELECT * FROM test.tries(
    $$SELECT queue.enqueue('q', NULL)$$,
    $$SELECT queue.enqueue('q', 'not json')$$,
    $$SELECT queue.enqueue('q', '{"n": 0}')$$,
    $$SELECT queue.enqueue('q', '{"n": "one"}')$$,
    $$SELECT queue.enqueue('q', '{"n": {"deep": 1}}')$$,
    $$SELECT queue.enqueue('q', '{"n": 99999999999}')$$,
    $$SELECT queue.enqueue('q', '{"d": "2030-02-30"}')$$,
    $$SELECT queue.enqueue('q', '{"who": null}')$$,
    $$SELECT queue.enqueue('q', '{"forbidden": 1}')$$,
    $$SELECT queue.enqueue_many('q', NULL)$$,
    $$SELECT queue.enqueue_many('q', '{"{\"n\": 1}","{\"n\": 0}"}')$$,
    $$SELECT queue.enqueue_many('q', '{"{\"n\": 1}",NULL}')$$,
    $$SELECT queue.enqueue_many('q', '{"{\"n\": 1}"')$$,
    $$SELECT queue.enqueue_many('q', '{"{\"n\": 1"}')$$,
    $$SELECT queue.enqueue_many('q', '[1, 2]')$$,
    $$SELECT queue.enqueue_many('q', '{{"{}","{}"},{"{}","{}"}}')$$);
-- 100 MB: refused by queue_ext.max_payload, on its way in by enqueue; what fits its limit passes.
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.enqueue('q', jsonb_build_object('x', repeat('x', 100 * 1024 * 1024)))$$);
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.enqueue_many('q', ARRAY['{}'::jsonb, jsonb_build_object('x', repeat('x', 100 * 1024 * 1024))])$$);
SELECT count(*) FROM q;
SELECT test.code($$SELECT queue.enqueue('q', jsonb_build_object('x', repeat('x', 100 * 1024)))$$);
SELECT length(payload ->> 'x') FROM queue.pop('q');
-- Ambiguous or wrong types of arguments are resolved by Postgres, never guessed.
SELECT sqlstate, message FROM test.fails($$SELECT queue.enqueue('q', 5)$$);
SELECT sqlstate, message FROM test.fails($$SELECT queue.enqueue('q', '{}', 'high')$$);
SELECT sqlstate, message FROM test.fails($$SELECT queue.enqueue('q', '{}', nosuch => 1)$$);
SELECT sqlstate, message FROM test.fails($$SELECT queue.enqueue()$$);
-- A queue dropped by its owner in the same session, with plans cached.
SELECT queue.create_queue('short');
SELECT queue.enqueue('short') IS NOT NULL, queue.enqueue('short') IS NOT NULL;
DROP TABLE short;
SELECT sqlstate, message FROM test.fails($$SELECT queue.enqueue('short')$$);
SELECT queue.create_queue('short', 'a int');
SELECT queue.enqueue('short', '{"a": 1}') IS NOT NULL;
SELECT a, payload FROM short;
SELECT count(*) FROM q;
SELECT count(*) FROM "no queue";
