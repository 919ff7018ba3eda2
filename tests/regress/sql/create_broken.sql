-- What an admin's DDL can break about a queue: the overview says it, and how to mend it.
CREATE SCHEMA create_broken;
SET search_path = create_broken;
\pset format unaligned
\pset tuples_only on
CREATE VIEW problems AS SELECT queue, ready, problem FROM queue.overview WHERE queue::text !~ '\.' ORDER BY queue::text;
-- A column that every queue has is gone, or another: nothing can be done with its jobs, which stay. The other queues go on.
SELECT queue.create_queue('whole'), queue.create_queue('dropped', 'n int'), queue.create_queue('retyped'), queue.create_queue('nameless'), queue.create_queue('counterless');
SELECT queue.enqueue(q) FROM unnest('{whole,dropped,retyped,nameless,counterless}'::regclass[]) q;
ALTER TABLE dropped DROP COLUMN result;
ALTER TABLE retyped ALTER COLUMN attempt TYPE bigint;
ALTER TABLE nameless RENAME COLUMN payload TO content;
ALTER TABLE counterless ALTER COLUMN id DROP IDENTITY;
TABLE problems;
SELECT q, f.* FROM unnest('{dropped,retyped,nameless,counterless}'::regclass[]) q, test.fails(format($$SELECT queue.pop('%s')$$, q)) f;
SELECT queue, id FROM queue.errors WHERE queue::text !~ '\.';
-- As it was: all is well again.
ALTER TABLE dropped ADD COLUMN result jsonb;
ALTER TABLE retyped ALTER COLUMN attempt TYPE int;
ALTER TABLE nameless RENAME COLUMN content TO payload;
ALTER TABLE counterless ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (START 2);
TABLE problems;
SELECT (queue.pop(q)).id FROM unnest('{whole,dropped,retyped,nameless,counterless}'::regclass[]) q;
