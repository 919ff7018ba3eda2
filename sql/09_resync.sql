-- Re-sync: a job for every row of an attached table.
CREATE TABLE queue.resyncs (
    attachment  integer     PRIMARY KEY,
    condition   text,
    started     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    last_commit timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    finished    timestamptz,
    rows_total  bigint,
    rows_done   bigint      NOT NULL DEFAULT 0,
    enqueued    bigint      NOT NULL DEFAULT 0,
    leaves_done oid[]       NOT NULL DEFAULT '{}',
    leaf        oid,
    ordered_by  text,
    position    text[]
);
COMMENT ON TABLE queue.resyncs IS 'How far the latest resync of each attachment is; not dumped, because what it points to is not the same after a restore. See the view queue.progress';
COMMENT ON COLUMN queue.resyncs.attachment IS 'Which table to which queue: a number of queue.attachments, whose numbers are not used again; not a foreign key, so that what detaches or drops never waits for this row';
COMMENT ON COLUMN queue.resyncs.condition IS 'The condition it was called with';
COMMENT ON COLUMN queue.resyncs.started IS 'When it began; an interrupted one that goes on began once';
COMMENT ON COLUMN queue.resyncs.last_commit IS 'When its latest batch was committed';
COMMENT ON COLUMN queue.resyncs.finished IS 'When it came to the end; null: it has not';
COMMENT ON COLUMN queue.resyncs.rows_total IS 'Estimate of the rows to look at; null: unknown';
COMMENT ON COLUMN queue.resyncs.rows_done IS 'Rows looked at';
COMMENT ON COLUMN queue.resyncs.enqueued IS 'Jobs put on the queue';
COMMENT ON COLUMN queue.resyncs.leaves_done IS 'Tables (partitions, children) that are done';
COMMENT ON COLUMN queue.resyncs.leaf IS 'The table it is in';
COMMENT ON COLUMN queue.resyncs.ordered_by IS 'What orders the rows of that table: its primary key, or the place in a file';
COMMENT ON COLUMN queue.resyncs.position IS 'All rows of that table up to this one, in that order, are done';

CREATE PROCEDURE queue.resync(
    source regclass, queue regclass, condition text DEFAULT NULL, priority integer DEFAULT 9,
    batch_size integer DEFAULT 1000, restart boolean DEFAULT false
) LANGUAGE c AS 'MODULE_PATHNAME', 'resync';
COMMENT ON PROCEDURE queue.resync IS
'Puts a job on the queue for every row of a source that is attached to it: the first load of a queue, and its repair. The job is the one that an insert of the row would make by the options of attach (new is the row, old is all null; set, condition, key and delay hold, the events do not matter; without set the payload''s operation is RESYNC), and runs with the rights of the role that attached.
condition: a further boolean expression over new; only rows for which it is true are enqueued. priority (9, behind daily work): of these jobs. batch_size (1000, up to 100000): rows looked at in a transaction; each is committed, and no snapshot is held between two. An interrupted resync goes on where it was when it is called again with the same condition; restart: from the beginning.
Partitions and children of the source are included, foreign tables are not. A table with a primary key of built-in types is read in its order: every row that is there all the time, whatever happens to it, is met. Any other is read in the order in which it is stored, and from its beginning again if it is rewritten: there a row that is moved by an UPDATE meanwhile is met or, if its move enqueues, enqueued by the attachment''s trigger. Rows that come meanwhile are the trigger''s. A job holds the row as it was when its batch was read, and may run after a job of a later change; it never takes the place of a waiting job (on_conflict) with older content.
See queue.progress. A row whose job cannot be made ends it with that error; what was committed stays, and the next call begins there again.
Errors: 25001 inside a transaction block, 42704 not attached, 55006 it is running already, 55000 the interrupted one had another condition, 42601 and others: condition is not one boolean expression, 22023 out of range, 42809, 42501. Who: the owner of the queue and of the source.';

CREATE VIEW queue.progress WITH (security_barrier) AS
    SELECT a.source, a.queue,
           CASE WHEN r.finished IS NOT NULL THEN 'finished' WHEN l.pid IS NOT NULL THEN 'running' ELSE 'interrupted' END AS phase,
           CASE WHEN r.finished IS NULL THEN l.pid END AS pid,
           r.rows_total, r.rows_done, r.enqueued, r.started, r.last_commit
    FROM queue.resyncs r
    JOIN queue.attachments a ON a.id = r.attachment
    LEFT JOIN pg_catalog.pg_locks l
           ON l.locktype = 'advisory' AND l.classid = 1 AND l.objid::bigint = r.attachment AND l.objsubid = 8021
          AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
    WHERE pg_catalog.has_table_privilege(a.queue, 'SELECT');
COMMENT ON VIEW queue.progress IS 'The latest resync of each attached table to a queue that the reader may select from';
COMMENT ON COLUMN queue.progress.source IS 'The table';
COMMENT ON COLUMN queue.progress.queue IS 'The queue';
COMMENT ON COLUMN queue.progress.phase IS 'running, interrupted (call queue.resync again to go on) or finished';
COMMENT ON COLUMN queue.progress.pid IS 'The process that runs it, as in pg_stat_activity; null: none does';
COMMENT ON COLUMN queue.progress.rows_total IS 'Rows to look at, an estimate until it is finished; null: unknown, the table was never analyzed';
COMMENT ON COLUMN queue.progress.rows_done IS 'Rows looked at';
COMMENT ON COLUMN queue.progress.enqueued IS 'Jobs put on the queue, those included that went into one that waited';
COMMENT ON COLUMN queue.progress.started IS 'When it began';
COMMENT ON COLUMN queue.progress.last_commit IS 'When its latest batch was committed';
