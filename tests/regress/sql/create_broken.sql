-- What an admin's DDL can break about a queue: the overview says it, and how to mend it.
CREATE SCHEMA create_broken;
SET search_path = create_broken;
\pset format unaligned
\pset tuples_only on
CREATE VIEW problems AS SELECT queue, ready, problem FROM queue.overview WHERE queue::text !~ '\.' ORDER BY queue::text;
-- A column that every queue has is gone, or another: nothing can be done with its jobs, which stay. The other queues go on.
SELECT queue.create_queue('whole'), queue.create_queue('dropped', 'n int'), queue.create_queue('retyped'), queue.create_queue('nameless'), queue.create_queue('counterless');
SELECT queue.enqueue(q) FROM unnest('{whole,dropped,retyped,nameless,counterless}'::regclass[]) q;
ALTER TABLE dropped DROP COLUMN topic;
ALTER TABLE retyped ALTER COLUMN enqueued_at TYPE date;
ALTER TABLE nameless RENAME COLUMN payload TO content;
ALTER TABLE counterless ALTER COLUMN id DROP IDENTITY;
TABLE problems;
SELECT q, f.* FROM unnest('{dropped,retyped,nameless,counterless}'::regclass[]) q, test.fails(format($$SELECT queue.pop('%s')$$, q)) f;
SELECT queue, id FROM queue.errors WHERE queue::text !~ '\.';
-- As it was: all is well again.
ALTER TABLE dropped ADD COLUMN topic text;
ALTER TABLE retyped ALTER COLUMN enqueued_at TYPE timestamptz;
ALTER TABLE nameless RENAME COLUMN content TO payload;
ALTER TABLE counterless ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (START 2);
TABLE problems;
SELECT (queue.pop(q)).id FROM unnest('{whole,dropped,retyped,nameless,counterless}'::regclass[]) q;

-- An index is gone: the problem says which, with the statement that makes it again.
SELECT queue.create_queue('indexed');
INSERT INTO indexed (group_key) VALUES ('g'), ('g');
CREATE VIEW problem AS SELECT problem FROM queue.overview WHERE queue = 'indexed'::regclass;
TABLE problem;
DROP INDEX indexed_blocked_group_key_id_idx, indexed_failed_group_key_idx;
SELECT count(*) FROM queue.pop('indexed');
TABLE problem;
SELECT substr(problem, strpos(problem, ': ') + 2) FROM problem \gexec
TABLE problem;
SELECT count(*) FROM queue.pop('indexed');
SELECT count(*) FROM queue.pop('indexed');
-- Each of them, and all together, as they were.
CREATE VIEW indexes AS SELECT indrelid::regclass AS partition, pg_get_indexdef(indexrelid) AS definition, indisreplident
    FROM pg_index WHERE indrelid::regclass::text ~ '^indexed_';
CREATE TABLE indexes_before AS TABLE indexes;
SELECT count(*) FROM indexes_before;
ALTER TABLE indexed_scheduled DROP CONSTRAINT indexed_scheduled_pkey;
ALTER TABLE indexed_blocked DROP CONSTRAINT indexed_blocked_pkey;
ALTER TABLE indexed_running DROP CONSTRAINT indexed_running_pkey;
ALTER TABLE indexed_failed DROP CONSTRAINT indexed_failed_pkey;
ALTER TABLE indexed_done DROP CONSTRAINT indexed_done_pkey;
SELECT format('DROP INDEX %s', indexrelid::regclass) FROM pg_index WHERE indrelid::regclass::text ~ '^indexed_' ORDER BY 1 \gexec
SELECT regexp_split_to_table(problem, '[;:] ') AS problem FROM problem;
SELECT queue.enqueue('indexed');
SELECT count(*) FROM queue.pop('indexed');
SELECT substr(problem, strpos(problem, ': ') + 2) FROM problem \gexec
TABLE problem;
SELECT partition, definition, indisreplident FROM indexes EXCEPT TABLE indexes_before;
SELECT count(*) FROM indexes;
-- One that is not valid is none.
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'indexed_running_key_idx'::regclass;
TABLE problem;
SELECT substr(problem, strpos(problem, ': ') + 2) FROM problem \gexec
TABLE problem;
-- One made with parameters of its own will do; how names are quoted says nothing.
DROP INDEX indexed_running_lease_until_idx;
CREATE INDEX ON indexed_running (lease_until) WITH (fillfactor = 50);
SET quote_all_identifiers = on;
ALTER TABLE indexed ADD COLUMN n int;
TABLE problem;
INSERT INTO indexed (group_key) VALUES ('quoted');
SELECT group_key FROM queue.pop('indexed');
RESET quote_all_identifiers;
-- The partitions are others.
ALTER TABLE indexed DETACH PARTITION indexed_done;
TABLE problem;
INSERT INTO indexed (group_key) VALUES ('g');
TABLE problem;
SELECT count(*) FROM queue.pop('indexed');
ALTER TABLE indexed ATTACH PARTITION indexed_done FOR VALUES IN ('done');
TABLE problem;
SELECT count(*) FROM queue.pop('indexed');
