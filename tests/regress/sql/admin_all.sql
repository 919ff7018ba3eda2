-- What an admin does to many jobs at once, or to one: cancel_all, reprioritize, run_now.
CREATE SCHEMA admin_all;
SET search_path = admin_all;
SELECT queue.create_queue('q', 'n int', max_attempts => 2, backoff => '1 h');
CREATE PROCEDURE fill() LANGUAGE sql AS $$
    TRUNCATE admin_all.q RESTART IDENTITY;
    INSERT INTO admin_all.q (n, priority) SELECT i, i % 3 FROM generate_series(1, 6) i;
    INSERT INTO admin_all.q (n, run_at) SELECT i, now() + interval '1 h' FROM generate_series(7, 8) i;
$$;
CALL fill();
-- cancel_all: waiting and leased ones.
SELECT count(*) FROM queue.dequeue('q', 2);
SELECT id, n, state, priority FROM q ORDER BY id;
SELECT queue.cancel_all('q', 'n IN (3, 4, 7)');
SELECT n, state, attempt FROM q ORDER BY id;
SELECT queue.cancel_all('q', 'n = 100'), queue.cancel_all('q', NULL), queue.cancel_all('q');
SELECT state, count(*) FROM q GROUP BY 1;
SELECT DISTINCT sqlstate, message FROM queue.errors WHERE queue = 'q'::regclass;
-- reprioritize.
CALL fill();
SELECT queue.reprioritize('q', 5, 0), queue.reprioritize('q', 8, 9);
SELECT id, state, priority FROM q WHERE id IN (5, 8) ORDER BY id;
SELECT n FROM queue.pop_as(NULL::q, 2);
SELECT queue.reprioritize('q', 3, 1) AS popped;
SELECT queue.reprioritize_all('q', 2, 'n IN (1, 4, 5, 6)');
SELECT n, state, priority FROM q ORDER BY priority, id;
SELECT queue.reprioritize_all('q', 2), queue.reprioritize_all('q', 2);
SELECT n, state, priority FROM q ORDER BY id;
SELECT count(*) FROM queue.dequeue('q', 1);
SELECT queue.reprioritize('q', 1, 3) AS leased, queue.reprioritize_all('q', 3, 'n < 3') AS those_that_wait;
SELECT n, state, priority FROM q ORDER BY id;
SELECT n FROM queue.dequeue_as(NULL::q, 10);
-- run_now: jobs for later, and retries.
CALL fill();
SELECT count(queue.nack('q', id, attempt)) FROM queue.dequeue('q', 2);
SELECT n, state, attempt, run_at > now() AS later FROM q WHERE state = 'scheduled' ORDER BY id;
SELECT queue.run_now('q', 7), queue.run_now('q', 1) AS ready_already;
SELECT n, state, attempt, run_at FROM q WHERE id = 7;
SELECT queue.run_now_all('q', 'attempt > 1'), queue.run_now_all('q'), queue.run_now_all('q') AS none_left;
SELECT n, state, attempt, run_at FROM q ORDER BY id;
SELECT n FROM queue.pop_as(NULL::q, 10);
-- Many: in batches, each job once, whatever its priority was or becomes.
SELECT queue.create_queue('many', 'n int', max_attempts => 1);
INSERT INTO many (n, priority) SELECT i, i % 10 FROM generate_series(1, 15000) i;
SELECT queue.reprioritize_all('many', 4, 'n <= 12000');
SELECT priority, count(*) FROM many GROUP BY 1 ORDER BY 1;
SELECT queue.reprioritize_all('many', 5);
SELECT queue.cancel_all('many', 'n <= 2500');
SELECT queue.cancel_all('many');
SELECT queue.resubmit_all('many', 'n > 2500'), queue.resubmit_all('many');
SELECT state, count(*), count(DISTINCT id) FROM many GROUP BY 1;
SELECT count(*) FROM queue.pop('many', 20000);
-- A transaction that is rolled back has done nothing.
CALL fill();
BEGIN;
SELECT queue.cancel_all('q'), queue.resubmit_all('q');
ROLLBACK;
SELECT state, count(*), max(attempt) FROM q GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM queue.pop('q', 20);
-- What they refuse.
SELECT t.* FROM (VALUES ('cancel_all(%s)'), ('reprioritize(%s, 1, 1)'), ('reprioritize_all(%s, 1)'), ('run_now(%s, 1)'), ('run_now_all(%s)'), ('move(%s, 1, ''many'')'), ('move_all(%s, ''many'')')) v (call),
    LATERAL test.tries('SELECT queue.' || format(call, '''pg_class'''), 'SELECT queue.' || format(call, 'NULL')) t;
SELECT * FROM test.tries(
    $$SELECT queue.reprioritize('q', 1, 10)$$, $$SELECT queue.reprioritize('q', 1, -1)$$, $$SELECT queue.reprioritize('q', 1, NULL)$$,
    $$SELECT queue.reprioritize('q', NULL, 1)$$, $$SELECT queue.reprioritize('q', 12345, 1)$$, $$SELECT queue.reprioritize_all('q', NULL)$$,
    $$SELECT queue.reprioritize_all('q', 10)$$, $$SELECT queue.run_now('q', NULL)$$, $$SELECT queue.run_now('q', 12345)$$);
-- Conditions that are none: more than one, not boolean, about nothing that there is.
SELECT t.sqlstate, t.message, t.hint FROM (VALUES ('cancel_all(''q'', %L)'), ('reprioritize_all(''q'', 1, %L)'), ('run_now_all(''q'', %L)'), ('move_all(''q'', ''many'', %L)')) v (call),
    (VALUES ('true; DELETE FROM admin_all.q'), ('n'), ('nosuch = 1'), ('true) OR (true'), ('true -- '), ('count(*) > 1'), ('')) c (condition),
    LATERAL test.fails('SELECT queue.' || format(call, condition)) t;
-- They run under a search_path of their own, with the owner's rights.
CREATE FUNCTION seven() RETURNS int LANGUAGE sql AS 'SELECT 7';
SELECT test.code($$SELECT queue.cancel_all('q', 'n = seven()')$$), queue.cancel_all('q', 'n = admin_all.seven()'), queue.cancel_all('q', 'q.n = 7');
-- Only the owner.
GRANT USAGE ON SCHEMA admin_all TO PUBLIC;
GRANT ALL ON q, many TO regress_taker;
SET ROLE regress_taker;
SELECT t.sqlstate, t.message FROM test.tries(
    $$SELECT queue.cancel_all('admin_all.q')$$, $$SELECT queue.reprioritize('admin_all.q', 1, 1)$$, $$SELECT queue.reprioritize_all('admin_all.q', 1)$$,
    $$SELECT queue.run_now('admin_all.q', 1)$$, $$SELECT queue.run_now_all('admin_all.q')$$, $$SELECT queue.move('admin_all.q', 1, 'admin_all.many')$$,
    $$SELECT queue.move_all('admin_all.q', 'admin_all.many')$$) t;
RESET ROLE;
