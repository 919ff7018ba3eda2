-- resync, where the other tests do not go.
CREATE SCHEMA resync_more;
SET search_path = resync_more;
SET client_min_messages = warning;
-- Rows whose keys jobs wait for already, on a queue whose rows are put by statements: as an insert would.
CREATE TABLE source (id int PRIMARY KEY, name text);
INSERT INTO source SELECT n, 'new' FROM generate_series(1, 5) n;
SELECT queue.create_queue('q', 'n int, name text');
CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER of_the_users BEFORE INSERT ON q FOR EACH ROW EXECUTE FUNCTION pass();
SELECT queue.attach('source', 'q', key => 'new.id', on_conflict => 'skip', set => '{"n": "new.id", "name": "new.name"}');
SELECT queue.enqueue('q', '{"n": 2, "name": "old"}', key => '2', on_conflict => 'skip') > 0 AS put;
CALL queue.resync('source', 'q', batch_size => 2);
SELECT key, n, name FROM q ORDER BY n, id;
CALL queue.resync('source', 'q', batch_size => 3);
SELECT count(*) FROM q;
SELECT queue.detach('source', 'q');
SELECT queue.attach('source', 'q', key => 'new.id', on_conflict => 'replace', set => '{"n": "new.id", "name": "new.name"}');
CALL queue.resync('source', 'q', batch_size => 2);
SELECT key, n, name, priority FROM q ORDER BY n, id;
-- A change that goes into a job of the resync does not wait as long as that would have.
UPDATE source SET name = 'changed' WHERE id = 3;
SELECT key, name, priority FROM q WHERE n = 3;
SELECT queue.drop_queue('q', true);
-- Interrupted, and gone on with by a session that writes dates in another order: the position is that of the row.
CREATE TABLE days (day date PRIMARY KEY);
INSERT INTO days SELECT date '2000-02-01' + n FROM generate_series(0, 20) n;
SELECT queue.create_queue('d', 'day date');
SELECT queue.attach('days', 'd', set => '{"day": "new.day"}');
ALTER TABLE d ADD CONSTRAINT rule CHECK (day <> '2000-02-08');
SET datestyle = 'SQL, DMY';
\set VERBOSITY sqlstate
CALL queue.resync('days', 'd', batch_size => 2);
\set VERBOSITY default
ALTER TABLE d DROP CONSTRAINT rule;
SET datestyle = 'ISO, MDY';
SELECT rows_done, position FROM queue.resyncs WHERE finished IS NULL;
CALL queue.resync('days', 'd', batch_size => 2);
SELECT count(*), count(DISTINCT day), min(day), max(day) FROM d;
SELECT queue.drop_queue('d', true);
DROP SCHEMA resync_more CASCADE;
