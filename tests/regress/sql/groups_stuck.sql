-- Why nothing runs: an error row holds its group back.
CREATE SCHEMA groups_stuck;
SET search_path = groups_stuck;
SELECT queue.create_queue('q', 'n int');
CREATE VIEW problem AS SELECT ready, blocked, failed, problem FROM queue.overview WHERE queue = 'groups_stuck.q'::regclass;
CREATE FUNCTION put(g text, jobs int DEFAULT 2) RETURNS void LANGUAGE sql
    AS $$ INSERT INTO groups_stuck.q (group_key) SELECT g FROM generate_series(1, jobs) $$;
-- Fails the first job of a group.
CREATE FUNCTION break(g text) RETURNS boolean LANGUAGE sql
    AS $$ SELECT queue.cancel('groups_stuck.q', (SELECT min(id) FROM groups_stuck.q WHERE group_key = g)) $$;

-- A group with an error row and nothing behind it, and one with jobs and no error row, are no problem.
SELECT put('alone', 1), put('fine');
SELECT break('alone');
SELECT * FROM problem;
SELECT put('customer 7');
SELECT break('customer 7');
SELECT * FROM problem;
-- Those behind it may have been moved out of the way.
INSERT INTO q (group_key) SELECT 'customer 7' FROM generate_series(1, 1500);
SELECT count(*) FROM queue.dequeue('q', 10);
SELECT count(*) FROM queue.dequeue('q', 10);
SELECT blocked > 990 AS there, problem FROM problem;
SELECT queue.ack('q', id, attempt) FROM q WHERE state = 'running';
-- What is worse is said first.
SELECT queue.pause('q');
SELECT problem FROM problem;
SELECT queue.resume('q');
-- Several of them; a job that waits for others by their ids does not wait for its group.
SELECT put(''), put('customer 7' || chr(1)), put(repeat('long ', 100));
SELECT break(''), break('customer 7' || chr(1)), break(repeat('long ', 100));
SELECT problem FROM problem;
DELETE FROM q WHERE group_key IN ('', 'customer 7' || chr(1), 'customer 7');
SELECT problem FROM problem;
-- Dealt with.
SELECT queue.resubmit('q', id) FROM q WHERE group_key LIKE 'long%' AND state = 'failed';
SELECT problem FROM problem;
SELECT put('after', 1), break('after');
SELECT queue.enqueue('q', '{"n": 1}', group_key => 'after', after => (SELECT array_agg(id) FROM q WHERE group_key LIKE 'long%')) IS NOT NULL;
SELECT problem FROM problem;
-- continue: nothing is held back.
SELECT put('customer 8');
SELECT break('customer 8');
SELECT problem FROM problem;
SELECT queue.alter_queue('q', on_group_failure => 'continue');
SELECT problem FROM problem;
SELECT queue.alter_queue('q', on_group_failure => 'block');
-- However many groups there are, the look is a short one.
TRUNCATE q;
INSERT INTO q (group_key) SELECT 'g' || g FROM generate_series(1000, 1999) g, generate_series(1, 2);
SELECT count(queue.cancel('q', id)) FROM (SELECT min(id) AS id FROM q GROUP BY group_key) f;
SELECT problem FROM problem;
-- Groups with error rows, groups with jobs, and one of both.
TRUNCATE q;
INSERT INTO q (group_key) SELECT 'g' || g FROM generate_series(1000, 1999) g;
SELECT count(queue.cancel('q', id)) FROM q WHERE group_key <= 'g1500';
SELECT problem FROM problem;
INSERT INTO q (group_key) VALUES ('g1300');
SELECT problem LIKE 'group "g1300" is held back by failed job %' AS found FROM problem;
-- Not for whoever may not see the rows.
GRANT USAGE ON SCHEMA groups_stuck TO regress_reader;
GRANT SELECT ON q TO regress_reader;
ALTER TABLE q ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION as_reader() RETURNS SETOF text LANGUAGE sql SET role = regress_reader
    AS $$ SELECT o.problem FROM queue.overview o WHERE o.queue = 'groups_stuck.q'::regclass $$;
SELECT as_reader();
ALTER TABLE q DISABLE ROW LEVEL SECURITY;
SELECT as_reader() LIKE 'group "g1300"%' AS said;
-- A queue without groups.
SELECT queue.create_queue('plain', 'n int');
INSERT INTO plain (n) VALUES (1), (2);
SELECT queue.cancel('plain', 1);
SELECT problem FROM queue.overview WHERE queue = 'groups_stuck.plain'::regclass;
DROP VIEW problem;
SELECT queue.drop_queue('q', true), queue.drop_queue('plain', true);
SET client_min_messages = warning;
DROP SCHEMA groups_stuck CASCADE;
