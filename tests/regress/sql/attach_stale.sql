-- A column that an attachment names was renamed, dropped or changed: the next change fails, and says whose fault it is and what to do.
CREATE SCHEMA attach_stale;
SET search_path = attach_stale;
\set SHOW_CONTEXT never
SELECT queue.create_queue('q', 'n int, note text');
CREATE TABLE "the source" (id int PRIMARY KEY, total numeric, note text, old_note text);
CREATE TABLE other (id int PRIMARY KEY);
SELECT queue.attach('"the source"', 'q', set => '{"n": "new.id", "note": "new.note"}', condition => 'coalesce(new.total, old.total) > 0', key => 'new.id',
                    columns => '{total}', on_conflict => 'skip');
SELECT queue.attach('other', topic => 'a.b', set => '{"payload.id": "new.id"}');
SELECT queue.subscribe('a.b', 'q');
-- As soon as it is planned again, in a session that has used it and in one that has not. By a column that columns names:
INSERT INTO "the source" VALUES (1, 1, 'x');
ALTER TABLE "the source" RENAME total TO sum;
INSERT INTO "the source" VALUES (2, 2, 'x');
UPDATE "the source" SET sum = 2;
DELETE FROM "the source";
-- of many rows;
INSERT INTO "the source" SELECT i, i, 'x' FROM generate_series(10, 30) i;
\c -
SET search_path = attach_stale;
\set SHOW_CONTEXT never
INSERT INTO "the source" VALUES (2, 2, 'x');
ALTER TABLE "the source" RENAME sum TO total;
INSERT INTO "the source" VALUES (3, 3, 'x');
-- that an expression names, with a hint of Postgres' own;
ALTER TABLE "the source" DROP note;
INSERT INTO "the source" VALUES (4, 4, 'x');
-- by its type;
ALTER TABLE "the source" ADD note date;
INSERT INTO "the source" VALUES (4, 4, 'x', '2030-01-01');
ALTER TABLE "the source" ALTER note TYPE text, ALTER id TYPE text;
INSERT INTO "the source" VALUES ('5', 5, 'x', 'y');
ALTER TABLE "the source" ALTER id TYPE int USING id::int;
INSERT INTO "the source" VALUES (6, 6, 'x', 'y');
-- and of the queue.
ALTER TABLE q RENAME note TO remark;
INSERT INTO "the source" VALUES (7, 7, 'x', 'y');
-- To a topic.
ALTER TABLE other RENAME id TO nr;
INSERT INTO other VALUES (1);
-- By row.
SELECT queue.detach('"the source"', 'q');
SELECT queue.attach('"the source"', 'q', set => '{"n": "new.id", "remark": "new.note"}', level => 'row');
INSERT INTO "the source" VALUES (7, 7, 'x', 'y');
ALTER TABLE "the source" RENAME note TO words;
INSERT INTO "the source" VALUES (8, 8, 'x', 'y');
-- What it says is what helps.
SELECT queue.detach(source, queue) FROM queue.attached_tables WHERE source = '"the source"'::regclass;
SELECT queue.attach('attach_stale."the source"', 'attach_stale.q', set => '{"n": "new.id", "remark": "new.words"}');
INSERT INTO "the source" VALUES (8, 8, 'x', 'y');
SELECT n, remark FROM q ORDER BY id;
-- Nothing of the kind is said of an error that comes from the values, or from a trigger of one's own.
ALTER TABLE q ADD CONSTRAINT small CHECK (n < 10);
SELECT * FROM test.fails($$INSERT INTO attach_stale."the source" VALUES (10, 6, 'x', 'y')$$);
SELECT queue.detach('"the source"', 'q');
CREATE TRIGGER own AFTER INSERT ON "the source" FOR EACH ROW EXECUTE FUNCTION queue.enqueue_from_trigger('q', 'key=new.nosuch');
INSERT INTO "the source" VALUES (11, 6, 'x', 'y');
SET client_min_messages = warning;
DROP SCHEMA attach_stale CASCADE;
