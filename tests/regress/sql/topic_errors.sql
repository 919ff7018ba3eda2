-- Topics: what is refused, and who may what.
CREATE SCHEMA topic_errors;
GRANT USAGE, CREATE ON SCHEMA topic_errors TO regress_owner;
GRANT USAGE ON SCHEMA topic_errors TO PUBLIC;
SET search_path = topic_errors;
SELECT queue.create_queue('q');
CREATE TABLE plain (id int);

SELECT left(t, 10) AS topic, sqlstate, right(message, 80) AS message, hint FROM unnest(ARRAY['', '.', 'a.', '.a', 'a..b', 'a b', 'a.%', 'orders.*', '#', repeat('a', 256)]) t,
    test.fails(format('SELECT queue.publish(%L)', t)) f;
SELECT left(t, 10) AS pattern, sqlstate, right(message, 80) AS message, hint FROM unnest(ARRAY['', 'a..*', 'a b', 'orders*', 'a.#b', '**', 'a.(b|c)', repeat('a.', 200) || '#']) t,
    test.fails(format('SELECT queue.subscribe(%L, %L)', t, 'topic_errors.q')) f;
SELECT (test.fails(c)).* FROM unnest(ARRAY[
    $$SELECT queue.publish(NULL)$$,
    $$SELECT queue.publish('a', NULL)$$,
    $$SELECT queue.publish('a', priority => 10)$$,
    $$SELECT queue.publish('a', run_at => now(), delay => '1 s')$$,
    $$SELECT queue.publish('a', once => '1 s')$$,
    $$SELECT queue.publish('a', on_conflict => 'sometimes', key => 'k')$$,
    $$SELECT queue.publish('a', correlation_id => repeat('c', 1001))$$,
    $$SELECT queue.subscribe(NULL, 'topic_errors.q')$$,
    $$SELECT queue.subscribe('a', NULL)$$,
    $$SELECT queue.subscribe('a', 'topic_errors.plain')$$,
    $$SELECT queue.unsubscribe('a', 'topic_errors.q')$$,
    $$SELECT queue.unsubscribe('a', 'topic_errors.plain')$$]) c;
SELECT queue.subscribe('a', 'q');
SELECT (test.fails($$SELECT queue.subscribe('a', 'topic_errors.q')$$)).*;
SELECT (test.fails($$SELECT queue.unsubscribe('*', 'topic_errors.q')$$)).*;
-- Both are one wrong input: nothing was written.
SELECT count(*) FROM q;

-- subscribe is granted by superusers, and even then for one's own queues only.
SET ROLE regress_owner;
SELECT queue.create_queue('theirs');
SELECT (test.fails($$SELECT queue.subscribe('a', 'topic_errors.theirs')$$)).*;
RESET ROLE;
GRANT EXECUTE ON FUNCTION queue.subscribe TO regress_owner;
SET ROLE regress_owner;
SELECT queue.subscribe('b', 'theirs');
SELECT (test.fails($$SELECT queue.subscribe('b', 'topic_errors.q')$$)).*;
SELECT (test.fails($$SELECT queue.unsubscribe('a', 'topic_errors.q')$$)).*;
-- The view shows what one may select; the table is nobody's.
TABLE queue.topics;
SELECT test.code('TABLE queue.subscriptions'), test.code($$INSERT INTO queue.subscriptions VALUES ('#', 'topic_errors.theirs')$$);
SET ROLE regress_nobody;
TABLE queue.topics;
CREATE FUNCTION pg_temp.peep(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$;
SELECT * FROM queue.topics WHERE pg_temp.peep(pattern);

-- publish is open; it needs INSERT on each queue, and says which one refuses. Nothing is written to the others.
SELECT queue.publish('nobody.listens');
SELECT (test.fails($$SELECT queue.publish('a')$$)).*;
RESET ROLE;
SELECT queue.subscribe('b', 'q');
GRANT INSERT ON q TO regress_writer;
SET ROLE regress_writer;
SELECT queue.publish('a');
SELECT (test.fails($$SELECT queue.publish('b')$$)).*;
SELECT test.code('SELECT count(*) FROM topic_errors.q');
RESET ROLE;
SELECT count(*) FROM q;
SET ROLE regress_owner;
GRANT INSERT ON theirs TO regress_writer;
SET ROLE regress_writer;
SELECT queue.publish('b');
RESET ROLE;
SELECT queue.pause('q');
SELECT queue.publish('a');
-- Read-only: an ordinary error, unless there is nothing to write.
BEGIN READ ONLY;
SELECT queue.publish('nobody.listens');
SELECT queue.publish('a');
ROLLBACK;
REVOKE EXECUTE ON FUNCTION queue.subscribe FROM regress_owner;
DROP SCHEMA topic_errors CASCADE;
TABLE queue.subscriptions;
