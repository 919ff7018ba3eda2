-- Input that each feature refuses before anything is written, where its own tests do not show it: names over their
-- size by every function, conditions of every function that takes one.
CREATE SCHEMA bad_input;
SET search_path = bad_input;
SELECT queue.create_queue('q', 'n int', max_attempts => 1);
SELECT queue.subscribe('bad.input', 'q');
CREATE TABLE source (id int PRIMARY KEY, total int, name text);
INSERT INTO q (n) VALUES (1);
SELECT queue.cancel('q', 1);

-- 1000 bytes are the most, also where a letter is two.
SELECT sqlstate, message, hint FROM unnest(ARRAY['key', 'group_key', 'correlation_id']) name,
    unnest(ARRAY['enqueue(''q''', 'enqueue_many(''q'', ''{"{}"}''', 'publish(''bad.input''']) call,
    test.fails(format('SELECT queue.%s, %s => repeat(''ä'', 501))', call, name));
SELECT sqlstate, message, hint FROM unnest(ARRAY['key', 'group_key']) name,
    test.fails(format('SELECT queue.schedule(''s'', ''@daily'', ''q'', %s => repeat(''ä'', 501))', name));
SELECT queue.attach('source', 'q', set => '{"n": "new.id", "group_key": "new.name"}');
SELECT sqlstate, message FROM test.fails($$INSERT INTO source VALUES (1, 1, repeat('x', 1001))$$);
SELECT queue.detach('source', 'q');
SELECT queue.attach('source', topic => 'bad.input', set => '{"payload.n": "new.id", "key": "new.name"}');
SELECT sqlstate, message FROM test.fails($$INSERT INTO source VALUES (1, 1, repeat('x', 1001))$$);
SELECT queue.detach('source', topic => 'bad.input');

-- Not one boolean expression: another type, a second statement, the end of a parenthesis, half a comment, nothing.
SELECT condition, call, test.code(format('SELECT queue.' || call, condition)) FROM unnest(ARRAY[
    'resubmit_all(''q'', %L)', 'attach(''source'', ''q'', condition => %L)', 'attach(''source'', topic => ''t'', condition => %L)']) call,
    unnest(ARRAY['1', '''x''::text', 'true; DROP TABLE bad_input.source', 'true) OR (true', '/* true', '', 'SELECT true', 'true UNION SELECT true']) condition;

-- Whatever there is that it could be asked of: here nothing.
SELECT queue.create_queue('empty');
SELECT sqlstate, message FROM test.fails($$SELECT queue.cancel_all('empty', 'nosuch = 1')$$);
SELECT queue.drop_queue('empty');

-- Nothing was written.
SELECT id, state, n FROM q;
SELECT count(*) FROM source;
SELECT count(*) FROM queue.attachments WHERE source = 'source'::regclass;
SELECT count(*) FROM queue.timetable WHERE queue = 'q'::regclass;
SELECT queue.drop_queue('q', true);
SET client_min_messages = warning;
DROP SCHEMA bad_input CASCADE;
