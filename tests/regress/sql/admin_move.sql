-- move: a job leaves its queue for another one.
CREATE SCHEMA admin_move AUTHORIZATION regress_owner;
SET search_path = admin_move;
SET ROLE regress_owner;
SELECT queue.create_queue('here', 'who text, n int, twice int GENERATED ALWAYS AS (n * 2) STORED', max_attempts => 1);
SELECT queue.create_queue('there', 'n bigint, extra text DEFAULT ''none''');
SELECT queue.create_queue('plain');
SELECT queue.enqueue('here', '{"who": "ann", "n": 1, "more": [1]}', priority => 2, key => 'k', group_key => 'g', max_attempts => 7, correlation_id => 'c');
SELECT queue.enqueue('here', '{"who": "bob", "n": 2}', run_at => '2100-01-01 00:00+00');
SELECT queue.enqueue('here', '{"who": "cy"}');
-- Columns by name; what does not fit is payload, and the header goes along.
SELECT queue.move('here', 1, 'there'), queue.move('here', 2, 'there');
SET timezone = 'UTC';
SELECT id, state, priority, run_at, attempt, max_attempts, key, group_key, correlation_id, n, extra, payload FROM there ORDER BY id;
SELECT id, who FROM here;
-- To a queue without columns, and from one: as enqueue does.
SELECT queue.move('here', 3, 'plain');
SELECT id, payload FROM plain;
SELECT queue.enqueue('plain', '{"n": 12, "extra": "x", "other": true}');
SELECT queue.move('plain', 2, 'there');
SELECT id, n, extra, payload FROM there WHERE id = 3;
SELECT queue.move('here', 3, 'plain') AS gone;
-- Not what a client has, and not what is done.
INSERT INTO here (who) VALUES ('leased');
SELECT id FROM queue.dequeue('here');
SELECT queue.move('here', 4, 'plain') AS leased;
SELECT queue.ack('here', 4, 1);
-- Error rows, to a dead-letter queue: with their errors, and counted anew.
INSERT INTO here (who, n) VALUES ('dead', 4), ('dead', 5), ('waiting', 6);
SELECT queue.nack('here', id, attempt, 'broken') FROM queue.dequeue('here', 2);
SELECT queue.create_queue('dead');
SELECT queue.move('here', 5, 'dead');
SELECT id, state, attempt, payload, errors -> 0 ->> 'message' AS message, jsonb_array_length(errors) AS errors FROM dead;
-- move_all: waiting ones, unless error rows are asked for.
SELECT queue.move_all('here', 'dead', 'who = ''dead''') AS waiting, queue.move_all('here', 'dead', 'who = ''dead''', '{failed}') AS failed;
SELECT state, who, n FROM here ORDER BY id;
SELECT id, state, payload FROM dead ORDER BY id;
SELECT queue.move_all('here', 'dead');
SELECT count(*) FROM here;
-- And back again.
SELECT queue.move_all('dead', 'here', 'payload ->> ''n'' <> ''6''');
SELECT state, who, n, twice, payload, attempt FROM here ORDER BY id;
-- Many, in the order in which they would have been claimed, more than a batch.
SELECT queue.create_queue('a', 'n int');
SELECT queue.create_queue('b', 'n int');
INSERT INTO a (n, priority) SELECT i, i % 2 FROM generate_series(1, 2500) i;
INSERT INTO a (n, run_at) SELECT 3000, now() + interval '1 h';
SELECT queue.move_all('a', 'b', states => '{ready}');
SELECT count(*), bool_and(n % 2 = CASE WHEN id <= 1250 THEN 0 ELSE 1 END) AS in_order FROM b;
SELECT state, count(*) FROM a GROUP BY 1;
SELECT count(*) FROM queue.pop('b', 5000);
-- What it refuses, before anything is done.
SELECT * FROM test.tries(
    $$SELECT queue.move('here', 12345, 'there')$$, $$SELECT queue.move('here', 1, 'here')$$, $$SELECT queue.move('here', 1, 'pg_class')$$,
    $$SELECT queue.move('here', 1, NULL)$$, $$SELECT queue.move('here', NULL, 'there')$$,
    $$SELECT queue.move_all('here', 'here')$$, $$SELECT queue.move_all('here', 'there', states => '{running}')$$, $$SELECT queue.move_all('here', 'there', states => '{done}')$$,
    $$SELECT queue.move_all('here', 'there', states => '{ready,NULL}')$$, $$SELECT queue.move_all('here', 'there', states => NULL)$$);
SELECT queue.enqueue('plain', '"no object"') AS id \gset
SELECT sqlstate, message FROM test.fails(format($$SELECT queue.move('plain', %s, 'there')$$, :id));
ALTER TABLE there ADD CHECK (n < 100);
INSERT INTO here (n) VALUES (101);
SELECT queue.move_all('here', 'there');
SELECT n, state FROM here ORDER BY id;
-- The owner of the one queue needs INSERT on the other.
RESET ROLE;
GRANT CREATE ON SCHEMA admin_move TO regress_writer;
GRANT USAGE ON SCHEMA admin_move TO regress_writer;
SET ROLE regress_writer;
SELECT queue.create_queue('mine', 'n int');
SELECT queue.enqueue('mine', '{"n": 1}');
SELECT sqlstate, message, hint FROM test.tries($$SELECT queue.move('admin_move.mine', 1, 'admin_move.b')$$, $$SELECT queue.move_all('admin_move.mine', 'admin_move.b')$$);
RESET ROLE;
GRANT INSERT ON b TO regress_writer;
SET ROLE regress_writer;
SELECT queue.move('admin_move.mine', 1, 'admin_move.b') IS NOT NULL AS moved;
RESET ROLE;
SELECT state, n FROM b;
