-- attach: tables of every kind.
CREATE SCHEMA attach_sources;
SET search_path = attach_sources;
SELECT queue.create_queue('q', 'n int');
CREATE FUNCTION drain(OUT payload jsonb) RETURNS SETOF jsonb LANGUAGE sql AS $$
    SELECT payload FROM queue.pop('attach_sources.q', 10000)
$$;

-- Partitioned, two levels deep: rows through the parent, into a partition itself, moved between
-- partitions, and into partitions made or attached later.
CREATE TABLE part (id int, region text, v int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE part_eu PARTITION OF part FOR VALUES IN ('eu') PARTITION BY RANGE (id);
CREATE TABLE part_eu_1 PARTITION OF part_eu FOR VALUES FROM (0) TO (100);
CREATE TABLE part_us PARTITION OF part FOR VALUES IN ('us');
SELECT queue.attach('part', 'q', set => '{"n": "coalesce(new.id, old.id)", "payload.r": "new.region"}');
INSERT INTO part VALUES (1, 'eu', 0), (2, 'us', 0);
SELECT payload FROM drain();
INSERT INTO part_us VALUES (3, 'us', 0);
INSERT INTO part_eu_1 VALUES (4, 'eu', 0);
SELECT payload FROM drain();
UPDATE part SET v = 1 WHERE id = 3;
DELETE FROM part WHERE id = 4;
SELECT payload FROM drain();
CREATE TABLE part_asia PARTITION OF part FOR VALUES IN ('asia');
CREATE TABLE part_rest (region text, v int, id int NOT NULL, extra_gone int);
ALTER TABLE part_rest DROP COLUMN extra_gone;
ALTER TABLE part_rest ALTER region SET NOT NULL;
ALTER TABLE part ATTACH PARTITION part_rest DEFAULT;
INSERT INTO part VALUES (5, 'asia', 0), (6, 'other', 0);
SELECT payload FROM drain() ORDER BY 1;
-- A row that moves to another partition: Postgres makes it a delete and an insert for row triggers; the job must not be lost.
UPDATE part SET region = 'us' WHERE id = 1;
SELECT count(*) > 0 AS enqueued, bool_and((payload ->> 'n')::int = 1) AS about_it FROM drain();
SELECT queue.detach('part', 'q');
INSERT INTO part VALUES (7, 'us', 0);
INSERT INTO part_us VALUES (8, 'us', 0);
SELECT count(*) FROM drain();
SELECT count(*) FROM pg_trigger WHERE tgrelid IN (SELECT relid FROM pg_partition_tree('part')) AND NOT tgisinternal;
SELECT queue.attach('part', 'q', 'insert', level => 'row', condition => 'new.v > 0');
INSERT INTO part VALUES (9, 'eu', 0), (10, 'eu', 1);
INSERT INTO part_rest (id, region, v) VALUES (11, 'rest', 1);
SELECT payload -> 'key' AS key, payload -> 'row' AS row FROM drain();
SELECT queue.detach('part', 'q');
-- A partition of its own accord.
SELECT queue.attach('part_us', 'q', 'insert');
INSERT INTO part VALUES (12, 'us', 0), (13, 'eu', 0);
SELECT payload -> 'key' AS key FROM drain();

-- An inheritance parent: its own rows.
CREATE TABLE parent (id int);
CREATE TABLE child () INHERITS (parent);
SELECT queue.attach('parent', 'q', 'insert');
INSERT INTO parent VALUES (1);
SELECT payload -> 'row' AS row FROM drain();

-- Generated columns, dropped columns before and between, identity, defaults, quoted names.
CREATE TABLE "Odd ""Source" (gone1 int, id int GENERATED ALWAYS AS IDENTITY, gone2 text, "Mixed ""Case" text,
    a int DEFAULT 3, twice int GENERATED ALWAYS AS (a * 2) STORED, "new" text, "row" int, PRIMARY KEY (id));
ALTER TABLE "Odd ""Source" DROP COLUMN gone1;
ALTER TABLE "Odd ""Source" DROP COLUMN gone2;
SELECT queue.attach('"Odd ""Source"', 'q');
INSERT INTO "Odd ""Source" ("Mixed ""Case", "new", "row") VALUES ('x', 'y', 1);
UPDATE "Odd ""Source" SET a = 4;
DELETE FROM "Odd ""Source";
SELECT payload FROM drain();
SELECT queue.detach('"Odd ""Source"', 'q');
SELECT queue.attach('"Odd ""Source"', 'q', set => '{"n": "new.twice", "payload.x\"y": "new.\"Mixed \"\"Case\"", "payload.new": "new.\"new\""}',
                    columns => ARRAY['Mixed "Case', 'twice'], condition => 'new.a > 0', events => 'insert,update');
INSERT INTO "Odd ""Source" ("Mixed ""Case", "new") VALUES ('x', 'y');
UPDATE "Odd ""Source" SET "row" = 2;
UPDATE "Odd ""Source" SET a = 5;
SELECT payload FROM drain();
-- A column that the attachment uses, renamed or dropped: the next change says what is wrong, or it follows.
ALTER TABLE "Odd ""Source" DROP COLUMN "row";
ALTER TABLE "Odd ""Source" ADD COLUMN late int DEFAULT 1;
INSERT INTO "Odd ""Source" ("Mixed ""Case", "new") VALUES ('after', 'drop');
SELECT payload FROM drain();

-- A queue whose own columns have odd names; a queue in another schema; a source that is itself a queue.
CREATE SCHEMA "attach Else";
SELECT queue.create_queue('"attach Else"."Q 2"', '"Re""cipient" text, "select" int');
CREATE TABLE plain (id int PRIMARY KEY, t text);
SELECT queue.attach('plain', '"attach Else"."Q 2"', 'insert', set => '{"Re\"cipient": "new.t", "select": "new.id"}');
INSERT INTO plain VALUES (1, 'quo"ted');
SELECT "Re""cipient", "select", payload FROM queue.pop_as(NULL::"attach Else"."Q 2");
SELECT queue.attach('"attach Else"."Q 2"', 'q', 'insert', set => '{"n": "new.\"select\""}', level => 'row');
INSERT INTO plain VALUES (2, 'chained');
SELECT payload FROM drain();

-- Values of every kind survive in the default payload.
CREATE TYPE mood AS ENUM ('ok', 'sad');
CREATE TYPE pair AS (a int, b text);
CREATE TABLE kinds (id bigint PRIMARY KEY, m mood, p pair, arr int[], j jsonb, b bytea, n numeric, r int4range, t text, d date);
SELECT queue.attach('kinds', 'q', 'insert');
INSERT INTO kinds VALUES (9007199254740993, 'sad', '(1,"x y")', '{{1,2},{3,4}}', '{"k": [null]}', '\xff00', 12345678901234567890.123456789, '[1,5)', E'line\nбreak"\\', '2030-01-01');
SELECT payload -> 'row' AS row FROM drain();
-- A wide value, stored out of line.
INSERT INTO kinds (id, t) SELECT 2, string_agg(md5(i::text), '') FROM generate_series(1, 10000) i;
SELECT payload #>> '{row,t}' = (SELECT t FROM kinds WHERE id = 2) AS same, length(payload #>> '{row,t}') FROM drain();
