-- max_running_per_key for jobs in groups: the end of a job brings those of its key back at once, and in the
-- order of their groups.
CREATE SCHEMA limits_groups;
SET search_path = limits_groups;
SELECT queue.create_queue('g', 'n int', max_running_per_key => 1);
CREATE VIEW jobs AS SELECT n, key, group_key, state FROM g ORDER BY n;
INSERT INTO g (n, key, group_key) VALUES
    (1, 'a', 'x'), (2, 'a', 'y'), (3, 'b', 'y'), (4, 'a', 'z'), (5, 'a', NULL);
SELECT n FROM queue.dequeue_as(NULL::g, 10) ORDER BY n;
TABLE jobs;
-- One for one: the first of them in no group, or the first of its group.
SELECT queue.ack('g', id, attempt) FROM g WHERE n = 1;
TABLE jobs;
SELECT n FROM queue.dequeue_as(NULL::g, 10) ORDER BY n;
SELECT queue.ack('g', id, attempt) FROM g WHERE state = 'running';
TABLE jobs;
-- One that is tried again later gives its place back, too.
SELECT n FROM queue.dequeue_as(NULL::g, 10) ORDER BY n;
SELECT queue.nack('g', id, attempt, 'no', '1 day') FROM g WHERE state = 'running';
TABLE jobs;
TRUNCATE g;

-- One that waits behind others in its group does not use up the place.
INSERT INTO g (n, key, group_key) VALUES (1, 'a', NULL), (2, 'c', 'x'), (3, 'a', 'x'), (4, 'a', 'y');
SELECT n FROM queue.dequeue_as(NULL::g, 10) ORDER BY n;
SELECT n FROM queue.dequeue_as(NULL::g, 10) ORDER BY n;
TABLE jobs;
SELECT queue.ack('g', id, attempt) FROM g WHERE n = 1;
TABLE jobs;
TRUNCATE g;

-- Nor does one whose group waits for another key: it stays.
INSERT INTO g (n, key, group_key) VALUES (1, 'a', NULL), (2, 'c', NULL), (3, 'c', 'x'), (4, 'a', 'x'), (5, 'a', 'y');
SELECT n FROM queue.dequeue_as(NULL::g, 10) ORDER BY n;
TABLE jobs;
SELECT queue.ack('g', id, attempt) FROM g WHERE n = 1;
TABLE jobs;
TRUNCATE g;

-- In a group that a failure holds back, it stays.
INSERT INTO g (n, key, group_key) VALUES (1, 'a', NULL), (2, 'c', 'x'), (3, 'a', 'x');
SELECT n FROM queue.dequeue_as(NULL::g, 10) ORDER BY n;
SELECT queue.nack('g', id, attempt, 'no', '1 day') FROM g WHERE n = 2;
SELECT n FROM queue.dequeue_as(NULL::g, 10) ORDER BY n;
SELECT queue.ack('g', id, attempt) FROM g WHERE n = 1;
TABLE jobs;
SELECT queue.run_now('g', id) FROM g WHERE n = 2;
SELECT n FROM queue.pop_as(NULL::g, 10);
TRUNCATE g;

-- One of a group at a time, also in a call that looks again since some were over the limit of their key.
INSERT INTO g (n, key, group_key) VALUES (1, NULL, 'g'), (2, NULL, 'g'), (3, NULL, 'g'), (4, 'a', NULL), (5, 'a', NULL), (6, 'a', 'h');
SELECT n FROM queue.dequeue_as(NULL::g, 10) ORDER BY n;
TABLE jobs;
TRUNCATE g;
-- Those behind one that is over the limit of its key wait with it, and nobody else.
INSERT INTO g (n, key) VALUES (1, 'a');
SELECT n FROM queue.dequeue_as(NULL::g, 1);
INSERT INTO g (n, key, group_key) VALUES (2, 'a', 'y'), (3, 'b', 'y'), (4, 'c', NULL), (5, 'd', 'z');
SELECT n FROM queue.dequeue_as(NULL::g, 1);
TABLE jobs;
INSERT INTO g (n, key, group_key) VALUES (6, 'e', 'y');
SELECT n FROM queue.dequeue_as(NULL::g, 1);
TABLE jobs;
SELECT queue.ack('g', id, attempt) FROM g WHERE n = 1;
SELECT n FROM queue.pop_as(NULL::g, 10);
-- The others of its group come one after the other: the end of each makes the next one ready.
SELECT n FROM queue.pop_as(NULL::g, 10);
SELECT queue.drop_queue('g', true);
DROP SCHEMA limits_groups CASCADE;
