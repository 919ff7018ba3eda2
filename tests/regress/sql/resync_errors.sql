-- resync: what is refused, and who may.
CREATE SCHEMA resync_errors;
GRANT USAGE, CREATE ON SCHEMA resync_errors TO regress_owner;
GRANT USAGE ON SCHEMA resync_errors TO PUBLIC;
SET search_path = resync_errors;
-- A busy machine takes long enough for notices of progress: see tests/server.
SET client_min_messages = warning;
SET ROLE regress_owner;
SELECT queue.create_queue('q');
SELECT queue.create_queue('other');
CREATE TABLE source (id int PRIMARY KEY, total numeric);
INSERT INTO source VALUES (1, 10), (2, 20);
CALL queue.resync('source', 'q');
SELECT queue.attach('source', 'q', set => '{"payload.by": "current_user", "payload.id": "new.id"}');
SELECT queue.attach('source', topic => 'a.topic');
CALL queue.resync('source', 'other');
CALL queue.resync('other', 'source');
CALL queue.resync(NULL, 'q');
CALL queue.resync('source', NULL);
CALL queue.resync('source', 'q', priority => 10);
CALL queue.resync('source', 'q', priority => NULL);
CALL queue.resync('source', 'q', batch_size => 0);
CALL queue.resync('source', 'q', batch_size => 100001);
CALL queue.resync('source', 'q', restart => NULL);
-- One boolean expression over new, and nothing else.
CALL queue.resync('source', 'q', 'new.total');
CALL queue.resync('source', 'q', 'total > 0');
CALL queue.resync('source', 'q', 'new.no > 0');
CALL queue.resync('source', 'q', 'true; DROP TABLE resync_errors.source');
CALL queue.resync('source', 'q', 'true) OR (true');
CALL queue.resync('source', 'q', 'true) RETURNING (id');
CALL queue.resync('source', 'q', 'true, true');
CALL queue.resync('source', 'q', 'true FROM pg_class');
CALL queue.resync('source', 'q', 'SELECT true');
CALL queue.resync('source', 'q', 'sum(new.id) > 1');
CALL queue.resync('source', 'q', 'generate_series(1, 2) = 1');
CALL queue.resync('source', 'q', 'new.id = $1');
CALL queue.resync('source', 'q', '');
-- It fails on a row only.
CALL queue.resync('source', 'q', '1 / (new.id - 2) IS NOT NULL');
SELECT count(*) FROM q;
SELECT phase, rows_done FROM queue.progress;
-- Not in a transaction block, nor in a function.
BEGIN;
CALL queue.resync('source', 'q');
ROLLBACK;
DO $$ BEGIN CALL queue.resync('resync_errors.source', 'resync_errors.q'); EXCEPTION WHEN OTHERS THEN RAISE WARNING '% %', sqlstate, sqlerrm; END $$;
-- After that, nothing is locked any more.
DO $$ BEGIN CALL queue.resync('resync_errors.source', 'resync_errors.q', restart => true); END $$;
SELECT payload FROM q;

-- The owner of both, and nobody else.
GRANT ALL ON q, source TO regress_nobody;
SET ROLE regress_nobody;
CALL queue.resync('source', 'q');
RESET ROLE;
ALTER TABLE source OWNER TO postgres;
SET ROLE regress_owner;
CALL queue.resync('source', 'q');
RESET ROLE;
-- What the role that attached may not any more, its jobs may not.
SET ROLE regress_nobody;
TABLE queue.resyncs;
SELECT source, queue, phase, rows_done, enqueued FROM queue.progress;
SET ROLE regress_writer;
SELECT source, queue, phase, rows_done, enqueued FROM queue.progress;
RESET ROLE;
ALTER TABLE source OWNER TO regress_owner;
-- A superuser who calls it makes the jobs that the role that attached would.
TRUNCATE q;
CALL queue.resync('source', 'q', 'current_user = ''regress_owner''');
SELECT payload FROM q ORDER BY id;
-- Detached, or attached anew: nothing to go on with.
SELECT queue.detach('source', 'q');
CALL queue.resync('source', 'q');
SELECT count(*) FROM queue.progress;
SET client_min_messages = warning;
DROP SCHEMA resync_errors CASCADE;
