-- resync: a job for every row of an attached source.
CREATE SCHEMA resync_rows;
SET search_path = resync_rows;
-- A busy machine takes long enough for notices of progress: see tests/server.
SET client_min_messages = warning;
SELECT queue.create_queue('q', 'who text');
CREATE TABLE source (id int PRIMARY KEY, who text);
INSERT INTO source SELECT n, 'w' || n FROM generate_series(1, 2500) n;
ANALYZE source;
-- The job is that of an insert, but for priority and operation.
SELECT queue.attach('source', 'q', events => 'update,delete');
CALL queue.resync('source', 'q');
SELECT count(*), count(DISTINCT payload #> '{key,id}'), min(priority), max(priority) FROM q;
SELECT state, priority, key, who, payload FROM q ORDER BY id LIMIT 1;
SELECT source, queue, phase, pid, rows_total, rows_done, enqueued, started <= last_commit AS in_order FROM queue.progress;
-- Again: all of them once more, in batches of a size that does not divide them, at another priority.
TRUNCATE q;
CALL queue.resync('source', 'q', priority => 2, batch_size => 70);
SELECT count(*), count(DISTINCT payload #> '{key,id}'), min(priority) FROM q;
SELECT phase, rows_total, rows_done, enqueued FROM queue.progress;
TRUNCATE q;
CALL queue.resync('source', 'q', 'new.id % 100 = 0 AND old.id IS NULL', batch_size => 2500);
SELECT count(*), min((payload #>> '{key,id}')::int), max((payload #>> '{key,id}')::int) FROM q;
SELECT rows_done, enqueued FROM queue.progress;
-- An expression that would end a comment or close a parenthesis is one expression all the same.
TRUNCATE q;
CALL queue.resync('source', 'q', E'new.id = 1 -- the first\n');
SELECT count(*) FROM q;
SELECT queue.detach('source', 'q');
TABLE queue.progress;

-- set, condition, key and delay of the attachment hold.
TRUNCATE q;
SELECT queue.attach('source', 'q', set => '{"who": "upper(new.who)", "payload.n": "new.id", "priority": "1"}', condition => 'new.id > 2490 OR new.id <= 2', key => 'new.id', delay => '1 hour');
CALL queue.resync('source', 'q', 'new.id <> 2', batch_size => 2);
SELECT state, priority, key, who, payload, run_at = enqueued_at + interval '1 hour' AS in_time FROM q ORDER BY id;
SELECT queue.detach('source', 'q');
TRUNCATE q;
SELECT queue.attach('source', 'q', set => '{"run_at": "CASE WHEN new.id = 1 THEN now() + interval ''1 day'' END", "who": "new.who"}');
CALL queue.resync('source', 'q', 'new.id < 3');
SELECT state, who FROM q ORDER BY who;
SELECT queue.detach('source', 'q');
TRUNCATE q;
DROP TABLE source;

-- Keys of several columns and types; quoted names; rows in no order.
CREATE TABLE "Odd ""one" ("a B" text, at timestamptz, f float8, c "char", b bpchar, i interval, n serial, PRIMARY KEY ("a B", at, f, c, b, i));
INSERT INTO "Odd ""one" SELECT chr(97 + x % 3) || CASE WHEN x % 5 = 0 THEN ' "{,}\' ELSE '' END, timestamptz '2000-01-01 UTC' + (x % 7) * interval '1.000001 s', 1.0 / (1 + x % 11), chr(65 + x % 2)::"char",
    'b' || (x % 2), (x % 13) * interval '-1 day 1 s' FROM generate_series(1, 3000) x ON CONFLICT DO NOTHING;
SELECT count(*) AS rows FROM "Odd ""one" \gset
SELECT queue.attach('"Odd ""one"', 'q', set => '{"who": "new.n"}');
SET datestyle = 'SQL, DMY';
SET extra_float_digits = -15;
SET intervalstyle = 'sql_standard';
CALL queue.resync('"Odd ""one"', 'q', batch_size => 130) \g /dev/null
SELECT count(*) = :rows AS all, count(DISTINCT who) = :rows AS once FROM q;
RESET datestyle;
RESET extra_float_digits;
RESET intervalstyle;
DROP TABLE "Odd ""one";
TRUNCATE q;

-- Without a primary key, or with one of a type of one's own: by place. Sparse, dense and empty blocks.
CREATE TYPE colour AS ENUM ('green', 'red');
CREATE TABLE heap (id int, filler text);
INSERT INTO heap SELECT n, repeat('x', 100) FROM generate_series(1, 20000) n;
DELETE FROM heap WHERE id BETWEEN 3000 AND 15000 OR id % 7 = 0;
SELECT count(*) AS rows FROM heap \gset
SELECT queue.attach('heap', 'q', set => '{"who": "new.id"}');
CALL queue.resync('heap', 'q', batch_size => 500);
SELECT count(*) = :rows AS all, count(DISTINCT who) = :rows AS once FROM q;
DELETE FROM heap WHERE id NOT BETWEEN 2900 AND 15100;
TRUNCATE q;
CALL queue.resync('heap', 'q', 'new.id > 15000', batch_size => 1);
SELECT count(*), count(DISTINCT who) FROM q;
TRUNCATE q;
TRUNCATE heap;
CALL queue.resync('heap', 'q');
ALTER TABLE heap ADD c colour PRIMARY KEY;
INSERT INTO heap VALUES (1, '', 'red'), (2, '', 'green');
CALL queue.resync('heap', 'q', batch_size => 1);
SELECT who FROM q ORDER BY who;
TRUNCATE q;
DROP TABLE heap;

-- Partitions of partitions, one with other columns; children; what is not attached itself.
CREATE TABLE parted (id int, at int) PARTITION BY RANGE (at);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10) PARTITION BY LIST (id);
CREATE TABLE parted_1_1 PARTITION OF parted_1 FOR VALUES IN (1);
CREATE TABLE parted_1_2 PARTITION OF parted_1 FOR VALUES IN (2, 3);
CREATE TABLE parted_2 (more text, at int, id int);
ALTER TABLE parted_2 DROP more;
ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES FROM (10) TO (20);
INSERT INTO parted VALUES (1, 1), (2, 2), (3, 3), (4, 11), (5, 12);
SELECT queue.attach('parted', 'q');
CALL queue.resync('parted', 'q', batch_size => 2);
SELECT payload FROM q ORDER BY payload #> '{row,id}';
TRUNCATE q;
DROP TABLE parted;
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (extra text DEFAULT 'e') INHERITS (parent);
INSERT INTO parent VALUES (1);
INSERT INTO child VALUES (2), (1);
SELECT queue.attach('parent', 'q', set => '{"who": "new.id"}');
CALL queue.resync('parent', 'q');
SELECT who FROM q ORDER BY id;
TRUNCATE q;
DROP TABLE parent CASCADE;
CREATE FOREIGN DATA WRAPPER nothing;
CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
CREATE TABLE parted (id int) PARTITION BY LIST (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE FOREIGN TABLE parted_2 PARTITION OF parted FOR VALUES IN (2) SERVER nowhere;
INSERT INTO parted VALUES (1);
SELECT queue.attach('parted', 'q');
CALL queue.resync('parted', 'q');
DROP TABLE parted;
DROP FOREIGN DATA WRAPPER nothing CASCADE;
TRUNCATE q;

-- A queue that statements are needed for: the same jobs.
CREATE TABLE source (id int PRIMARY KEY);
INSERT INTO source SELECT generate_series(1, 10);
CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER of_the_users BEFORE INSERT ON q_ready FOR EACH ROW EXECUTE FUNCTION pass();
SELECT queue.attach('source', 'q', set => '{"who": "new.id"}');
CALL queue.resync('source', 'q', batch_size => 4);
SELECT count(*), min(priority) FROM q;
SELECT rows_done, enqueued FROM queue.progress;
DROP TRIGGER of_the_users ON q_ready;
TRUNCATE q;

\set VERBOSITY terse
-- Interrupted by a row whose job cannot be made: what was committed stays, and it goes on there.
ALTER TABLE q ADD CONSTRAINT small CHECK (who::int <> 6);
CALL queue.resync('source', 'q', batch_size => 2);
SELECT count(*) FROM q;
SELECT phase, pid, rows_done, enqueued FROM queue.progress;
CALL queue.resync('source', 'q', batch_size => 2);
CALL queue.resync('source', 'q', 'new.id > 0', batch_size => 2);
ALTER TABLE q DROP CONSTRAINT small;
DELETE FROM source WHERE id = 5;
CALL queue.resync('source', 'q', batch_size => 3);
SELECT who, count(*) FROM q GROUP BY who ORDER BY who::int;
SELECT phase, rows_total, rows_done, enqueued FROM queue.progress;
-- Interrupted, and begun anew.
ALTER TABLE q ADD CONSTRAINT small CHECK (who::int <> 6) NOT VALID;
CALL queue.resync('source', 'q', 'new.id > 0', batch_size => 2);
ALTER TABLE q DROP CONSTRAINT small;
TRUNCATE q;
CALL queue.resync('source', 'q', restart => true);
SELECT count(*) FROM q;
-- Interrupted by place: goes on there, unless the table was rewritten.
CREATE TABLE heap (id int);
INSERT INTO heap SELECT generate_series(1, 10);
SELECT queue.detach('source', 'q');
SELECT queue.attach('heap', 'q', set => '{"who": "new.id"}');
ALTER TABLE q ADD CONSTRAINT small CHECK (who::int <> 6) NOT VALID;
TRUNCATE q;
CALL queue.resync('heap', 'q', batch_size => 2);
SELECT ordered_by ~ '^place in file \d+$' AS by_place, position FROM queue.resyncs;
CALL queue.resync('heap', 'q', batch_size => 2);
SELECT count(*) FROM q;
ALTER TABLE q DROP CONSTRAINT small;
DELETE FROM heap WHERE id = 1;
VACUUM FULL heap;
CALL queue.resync('heap', 'q');
SELECT who, count(*) FROM q GROUP BY who ORDER BY who::int;
SELECT queue.drop_queue('q', force => true);
TABLE queue.progress;
-- What is left of those that were detached goes with the next.
SELECT queue.create_queue('q');
SELECT queue.attach('heap', 'q');
CALL queue.resync('heap', 'q');
SELECT count(*) FROM queue.resyncs;
SELECT queue.drop_queue('q', force => true);
-- One of a thing.
CREATE TABLE single AS SELECT 1 AS id;
SELECT queue.create_queue('q');
SELECT queue.attach('single', 'q', set => '{"payload.id": "new.id"}');
SET client_min_messages = notice;
CALL queue.resync('single', 'q');
RESET client_min_messages;
SELECT queue.drop_queue('q', force => true);
