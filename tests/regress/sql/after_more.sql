-- after, on the ways that the other tests do not take.
CREATE SCHEMA after_more;
SET search_path = after_more;
SELECT queue.create_queue('q', 'n int', max_attempts => 1);
CREATE VIEW jobs AS SELECT id, state, n, after, run_at > now() AS later FROM q ORDER BY id;
CREATE PROCEDURE fresh(jobs int) LANGUAGE sql AS $$
    TRUNCATE after_more.q RESTART IDENTITY;
    INSERT INTO after_more.q (n) SELECT generate_series(1, jobs);
$$;
-- One that is free but for its time goes among the scheduled ones at once, not when a claim meets it.
CALL fresh(3);
SELECT queue.enqueue('q', '{"n": 4}', after => '{1}', delay => '1 h');
SELECT queue.ack('q', id, attempt) FROM queue.dequeue('q', 1);
SELECT id FROM queue.dequeue('q', 1);
TABLE jobs;
-- Put among the scheduled ones by hand, as by a restore: when its time comes, it still waits for the others.
CALL fresh(2);
INSERT INTO q (n, state, run_at, after) VALUES (3, 'scheduled', now() - interval '1 s', '{2}');
SELECT id FROM queue.dequeue('q', 10);
SELECT id FROM queue.dequeue('q', 10);
TABLE jobs;
SELECT queue.ack('q', 2, 1);
SELECT id FROM queue.dequeue('q', 10);
-- More that end in one transaction than are told one by one.
CALL fresh(400);
INSERT INTO q (n, after) VALUES (401, '{400}');
SELECT count(*) FROM queue.pop('q', 400);
SELECT id FROM queue.dequeue('q', 10);
-- Of an attached table: after a row of the same statement, which nobody sees yet.
CALL fresh(1);
CREATE TABLE source (a int, b int[]);
SELECT queue.attach('source', 'q', 'insert', set => '{"n": "new.a", "after": "new.b"}');
INSERT INTO source VALUES (2, NULL), (3, '{2}'), (4, '{1,3}');
TABLE jobs;
SELECT id FROM queue.pop('q', 10);
SELECT id FROM queue.pop('q', 10);
SELECT id FROM queue.pop('q', 10);
TABLE jobs;
-- cancel_all ends jobs, too, for those that wait for them.
CALL fresh(0);
INSERT INTO q (n, run_at) VALUES (1, '2100-01-01'), (2, '2100-01-01');
INSERT INTO q (n, after, after_failure) VALUES (3, '{1}', 'release'), (4, '{2}', 'fail');
SELECT id FROM queue.dequeue('q', 10);
SELECT queue.cancel_all('q', 'n < 3');
SELECT id FROM queue.dequeue('q', 10);
SELECT id, state, n, after FROM jobs;
-- So does the move to another queue.
SELECT queue.create_queue('other');
CALL fresh(2);
INSERT INTO q (n, after) VALUES (3, '{1}'), (4, '{2}');
SELECT id FROM queue.dequeue('q', 1);
SELECT queue.move('q', 2, 'other');
SELECT id FROM queue.dequeue('q', 10);
CALL fresh(2);
INSERT INTO q (n, after) VALUES (3, '{1}'), (4, '{2}');
SELECT id FROM queue.dequeue('q', 1);
SELECT queue.move_all('q', 'other');
SELECT id FROM queue.dequeue('q', 10);
-- The head of a group that is moved away, or that has expired, holds its group back no more.
SELECT queue.create_queue('g', 'n int', max_attempts => 1, keep_failed => '1 day');
INSERT INTO g (n, group_key) VALUES (1, 'a');
SELECT queue.cancel('g', 1);
INSERT INTO g (n, group_key) SELECT n, 'a' FROM generate_series(2, 400) n;
SELECT id FROM queue.dequeue('g', 10);
SELECT state, count(*) FROM g GROUP BY 1 ORDER BY 1;
SELECT queue.move('g', 1, 'other') IS NOT NULL AS moved;
SELECT state, count(*) FROM g GROUP BY 1 ORDER BY 1;
SELECT id FROM queue.dequeue('g', 10);
SELECT queue.cancel('g', 2);
UPDATE g SET finished_at = now() - interval '2 days' WHERE state = 'failed';
SELECT id FROM queue.dequeue('g', 10);
SET client_min_messages = warning;
DROP TABLE q, g, other, source CASCADE;
DROP SCHEMA after_more CASCADE;
