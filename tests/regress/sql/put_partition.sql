-- Which queue a partition belongs to is asked anew when that changes.
CREATE SCHEMA put_partition;
SET search_path = put_partition;
SELECT queue.create_queue('one', 'n int');
CREATE FUNCTION partition(queue regclass, state text) RETURNS regclass LANGUAGE sql AS $$
    SELECT i.inhrelid::regclass FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = $1 AND pg_get_expr(c.relpartbound, c.oid) LIKE format('%%%L%%', $2)
$$;
SELECT partition('one', 'ready') AS ready \gset
-- Known in this session from here on.
INSERT INTO one (n, run_at) VALUES (1, '2100-01-01');
SELECT n, state FROM one;
-- Taken out it is a table like any other: a row for later stays where it is put, and no row of the queue moves instead.
ALTER TABLE one DETACH PARTITION :ready;
TRUNCATE :ready;
CREATE TABLE another PARTITION OF one FOR VALUES IN ('ready');
INSERT INTO one (n) VALUES (2);
INSERT INTO :ready (id, n, run_at) VALUES (100, 3, '2100-01-01');
SELECT n, state FROM :ready;
SELECT n, state FROM one ORDER BY n;
-- In a session that never knew it otherwise, too.
\c -
SET search_path = put_partition;
INSERT INTO :ready (id, n, run_at) VALUES (101, 4, '2100-01-01');
SELECT n, state FROM :ready ORDER BY n;
-- Back where it was.
DROP TABLE another;
DELETE FROM :ready;
ALTER TABLE one ATTACH PARTITION :ready FOR VALUES IN ('ready');
INSERT INTO one (n, run_at) VALUES (5, '2100-01-01');
SELECT n, state FROM one ORDER BY n;
