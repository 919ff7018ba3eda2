-- pop and pop_as; wait.
CREATE SCHEMA take_pop;
SET search_path = take_pop;
SELECT queue.create_queue('q', 'who text, n int', keep_done => '1 day');
INSERT INTO q (who, n, priority) SELECT 'w' || i, i, 5 - i % 2 FROM generate_series(1, 6) i;

SELECT queue, priority, attempt, payload, lease_until FROM queue.pop('q');
SELECT payload FROM queue.pop('q', 2);
SELECT state, who, n, attempt FROM queue.pop_as(NULL::q);
SELECT who FROM queue.pop_as(queue => NULL::q, max_jobs => 10);
SELECT count(*) FROM queue.pop('q');
SELECT count(*) FROM q;

-- The caller's rollback puts it back at once, to the same place, a savepoint's too.
INSERT INTO q (who) VALUES ('a'), ('b');
BEGIN;
SELECT payload FROM queue.pop('q');
SAVEPOINT s;
SELECT payload FROM queue.pop('q');
SELECT count(*) FROM q;
ROLLBACK TO s;
SELECT payload FROM queue.pop('q');
ROLLBACK;
SELECT payload, attempt FROM queue.pop('q', 2);
-- An error has the same effect.
INSERT INTO q (who) VALUES ('c');
SELECT 1 / 0 FROM queue.pop('q');
SELECT payload FROM queue.pop('q');
-- A WHERE or LIMIT outside the call does not undo the taking: all that was asked for is gone.
INSERT INTO q (who) VALUES ('d'), ('e'), ('f');
SELECT who FROM queue.pop_as(NULL::q, 2) LIMIT 1;
SELECT count(*) FROM q;
TRUNCATE q;
-- In a function, a loop, a CTE, a join, INSERT … SELECT.
INSERT INTO q (who) SELECT 'loop ' || i FROM generate_series(1, 5) i;
CREATE TABLE taken (who text);
DO $$
DECLARE
    job take_pop.q;
BEGIN
    LOOP
        SELECT * INTO job FROM queue.pop_as(NULL::take_pop.q);
        EXIT WHEN NOT FOUND;
        INSERT INTO take_pop.taken VALUES (job.who);
    END LOOP;
END $$;
SELECT count(*), count(DISTINCT who) FROM taken;
INSERT INTO q (who) SELECT 'cte ' || i FROM generate_series(1, 3) i;
WITH p AS (SELECT * FROM queue.pop_as(NULL::q, 2)) INSERT INTO taken SELECT who FROM p RETURNING who;
SELECT who FROM taken JOIN queue.pop_as(NULL::q, 5) p USING (who);
-- As many as there are, many thousands too, all of them once.
INSERT INTO q (n) SELECT i FROM generate_series(1, 20000) i;
SELECT count(*), count(DISTINCT n), min(n), max(n) FROM queue.pop_as(NULL::q, 15000);
SELECT count(*), count(DISTINCT n), min(n), max(n) FROM queue.pop_as(NULL::q, 15000);
SELECT count(*) FROM q;
-- A cursor; a scheduled job that is due is popped, another is not.
INSERT INTO q (who, run_at) VALUES ('due', now() - interval '1 min'), ('not due', now() + interval '1 h');
SELECT queue.enqueue('q', '{"who": "soon"}', delay => '1 microsecond') IS NOT NULL AS ok;
BEGIN;
DECLARE c CURSOR FOR SELECT who FROM queue.pop_as(NULL::q, 10);
FETCH ALL c;
COMMIT;
SELECT who FROM q;
-- Popped jobs are done by the caller's own lights: they are not kept.
SELECT state, count(*) FROM q GROUP BY 1;
-- ack, nack and the rest do not know a popped job.
INSERT INTO q (who) VALUES ('popped');
SELECT id FROM queue.pop('q') \gset
SELECT queue.ack('q', :id, 1), queue.nack('q', :id, 1), queue.status('q', :id);

-- wait: at once when there is something, after the timeout when not; the timeout is no error.
INSERT INTO q (who) VALUES ('there');
CALL queue.wait('q', '1 h');
TRUNCATE q;
CALL queue.wait('q', '10 ms');
CALL queue.wait('q', timeout => '0');
SELECT queue.pause('q');
INSERT INTO q (who) VALUES ('there, but paused');
CALL queue.wait('q', '1 ms');
SELECT queue.resume('q');
-- A lease that ran out, and a scheduled job that is due, count as something.
SELECT count(*) FROM queue.dequeue('q', 1, '1 microsecond');
CALL queue.wait('q', '1 h');
TRUNCATE q;
SELECT queue.enqueue('q', delay => '1 microsecond') IS NOT NULL AS ok;
CALL queue.wait('q', '1 h');
-- Not inside a transaction block, a function or a DO block within one.
BEGIN;
CALL queue.wait('q', '1 ms');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT sqlstate, message, hint FROM test.fails($$CALL queue.wait('take_pop.q', '1 ms')$$);
CALL queue.wait('q', '-1 s');
\echo :LAST_ERROR_SQLSTATE
CALL queue.wait('taken', '1 s');
\echo :LAST_ERROR_SQLSTATE
CALL queue.wait(NULL, '1 s');
\echo :LAST_ERROR_SQLSTATE
CALL queue.wait('q', NULL);
\echo :LAST_ERROR_SQLSTATE
