-- A queue may be a source, but what it feeds must not come back to it.
CREATE SCHEMA attach_circle;
SET search_path = attach_circle;
SELECT queue.create_queue('a', 'n int');
SELECT queue.create_queue('b', 'n int');
SELECT queue.create_queue('c', 'n int');
SELECT queue.create_queue('d', 'n int');
CREATE FUNCTION on_queues() RETURNS TABLE (queue text, jobs bigint) LANGUAGE sql AS $$
    SELECT tableoid::regclass::text, count(*) FROM (SELECT tableoid FROM a UNION ALL SELECT tableoid FROM b UNION ALL
        SELECT tableoid FROM c UNION ALL SELECT tableoid FROM d) AS jobs GROUP BY 1 ORDER BY 1
$$;

-- Itself, two, three.
SELECT * FROM test.fails($$SELECT queue.attach('a', 'a')$$);
SELECT queue.attach('a', 'b', 'insert', set => '{"n": "new.n + 1"}');
SELECT * FROM test.fails($$SELECT queue.attach('b', 'a')$$);
SELECT queue.attach('b', 'c', 'insert', set => '{"n": "new.n + 1"}');
SELECT sqlstate, message FROM test.fails($$SELECT queue.attach('c', 'a', 'insert', set => '{"n": "1"}')$$);
SELECT sqlstate, message FROM test.fails($$SELECT queue.attach('c', 'b')$$);
-- What leads on is fine, also twice to the same queue, and what leads in.
SELECT queue.attach('a', 'c', 'insert', set => '{"n": "new.n + 10"}');
CREATE TABLE plain (n int);
SELECT queue.attach('plain', 'a', set => '{"n": "new.n"}');
INSERT INTO plain VALUES (1);
SELECT * FROM on_queues();
SELECT n FROM c ORDER BY n;
-- Nothing was attached that was refused.
SELECT source, queue FROM queue.attachments WHERE source::text IN ('a', 'b', 'c') ORDER BY id;
-- It is made the other way round when the first is detached.
SELECT queue.detach('a', 'b'), queue.detach('a', 'c');
SELECT queue.attach('c', 'a', 'insert', set => '{"n": "new.n + 1"}');
SELECT sqlstate, message FROM test.fails($$SELECT queue.attach('a', 'b')$$);
SELECT queue.detach('c', 'a'), queue.detach('b', 'c');

-- The partitions that jobs are put into are the queue, too. Those they come to by failing, say, are not.
SELECT p, (test.fails(format('SELECT queue.attach(%L, %L)', p, 'a'))).* FROM unnest(ARRAY['a_ready', 'a_scheduled', 'a_blocked']) p;
SELECT test.code($$SELECT queue.attach('a_failed', 'a', 'insert', set => '{"n": "new.n"}')$$);
SELECT queue.attach('a_ready', 'b', 'insert', set => '{"n": "new.n + 1"}');
SELECT sqlstate, message FROM test.fails($$SELECT queue.attach('b', 'a')$$);
SELECT queue.detach('a_ready', 'b');

-- By way of a topic: attached last, subscribed last.
SELECT queue.subscribe('own.*', 'a'), queue.subscribe('other', 'b');
SELECT * FROM test.fails($$SELECT queue.attach('a', topic => 'own.jobs')$$);
SELECT queue.attach('a', topic => 'other', events => 'insert');
SELECT sqlstate, message FROM test.fails($$SELECT queue.attach('b', topic => 'own.jobs')$$);
SELECT sqlstate, message FROM test.fails($$SELECT queue.attach('b', 'a')$$);
SELECT * FROM test.fails($$SELECT queue.subscribe('other', 'a')$$);
SELECT sqlstate, message FROM test.fails($$SELECT queue.subscribe('#', 'a')$$);
SELECT queue.attach('b', topic => 'further', events => 'insert'), queue.subscribe('further', 'c');
SELECT sqlstate, message FROM test.fails($$SELECT queue.subscribe('*', 'a')$$);
SELECT sqlstate, message FROM test.fails($$SELECT queue.subscribe('further', 'a')$$);
SELECT queue.subscribe('further', 'd');
DELETE FROM plain;
INSERT INTO plain VALUES (1);
SELECT queue.enqueue('a') IS NOT NULL;
SELECT * FROM on_queues();
SELECT queue.unsubscribe('own.*', 'a'), queue.unsubscribe('other', 'b'), queue.unsubscribe('further', 'c'), queue.unsubscribe('further', 'd');
SELECT queue.detach('a', topic => 'other'), queue.detach('b', topic => 'further');
