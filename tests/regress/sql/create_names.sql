-- Any name that a table may have, a queue may have.
CREATE SCHEMA create_names;
SET search_path = create_names;
\pset format unaligned

CREATE FUNCTION round_trip(queue regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    popped queue.job;
    leased queue.job;
BEGIN
    PERFORM queue.enqueue(queue, '{"a": 1}');
    SELECT * INTO popped FROM queue.pop(queue);
    PERFORM queue.enqueue(queue, '{"a": 2}', delay => '1 h');
    EXECUTE format('INSERT INTO %s (payload) VALUES (''{"a": 3}'')', queue);
    SELECT * INTO leased FROM queue.dequeue(queue);
    RETURN concat_ws(' ', popped.queue, popped.payload, leased.payload,
                     queue.ack(queue, leased.id, leased.attempt),
                     queue.purge(queue), 'purged');
END $$;
COMMENT ON FUNCTION round_trip IS 'Every way in and out of a queue once';

-- Names are read as SQL reads them: folded unless quoted.
SELECT queue.create_queue('Folded');
SELECT queue.create_queue('"Not Folded"');
SELECT queue.create_queue('"with ""quotes"" and ''apostrophes''"');
SELECT queue.create_queue('"select"');
SELECT queue.create_queue('"dot.in.name"');
SELECT queue.create_queue('"%s %I $1 \"');
SELECT queue.create_queue('почта');
SELECT queue.create_queue('"邮件 📬"');
CREATE SCHEMA "Names; of "" schemas";
SELECT queue.create_queue('"Names; of "" schemas"."q"');

-- 63 bytes, twice with the same beginning, and 63 bytes of many-byte characters: the partitions'
-- names do not fit and are cut, never in the middle of a character.
SELECT queue.create_queue(repeat('n', 62) || 'a');
SELECT queue.create_queue(repeat('n', 62) || 'b');
SELECT queue.create_queue(repeat('я', 31) || 'x');
SELECT count(*), max(octet_length(relname)) FROM pg_class JOIN pg_inherits ON inhrelid = oid
WHERE relnamespace = 'create_names'::regnamespace AND relname ~ '^(nnn|яяя)';

SELECT round_trip(queue) FROM queue.queues
WHERE queue IN (SELECT oid FROM pg_class WHERE relnamespace IN ('create_names'::regnamespace, '"Names; of "" schemas"'::regnamespace))
ORDER BY queue::text COLLATE "C";

-- A name that another's partition has is no obstacle the other way round either.
CREATE TABLE taken_ready (i int);
SELECT queue.create_queue('taken');
SELECT round_trip('taken');
-- Partitions have the names that one expects when nothing is in the way.
SELECT queue.create_queue('orders');
SELECT relid FROM pg_partition_tree('orders') ORDER BY relid::text COLLATE "C";

-- A typed queue of an odd name with odd columns, through every typed way.
SELECT queue.create_queue('"Typed ""Q"""', '"Sel""ect" text, "order" int DEFAULT 7, "ё" date');
SELECT queue.enqueue('"Typed ""Q"""', '{"Sel\"ect": "x", "ё": "2030-01-01", "rest": true}') IS NOT NULL AS enqueued;
SELECT "Sel""ect", "order", "ё", payload FROM queue.dequeue_as(NULL::"Typed ""Q""");
INSERT INTO "Typed ""Q""" ("Sel""ect") VALUES ('y');
SELECT payload FROM queue.pop('"Typed ""Q"""');
CREATE FUNCTION "Odd ""Function"(job "Typed ""Q""") RETURNS void LANGUAGE sql AS '';
SELECT queue.register_processor('"Typed ""Q"""', '"Odd ""Function"("Typed ""Q""")');
SELECT queue.enqueue('"Typed ""Q"""') IS NOT NULL AS enqueued;
CALL queue.run('"Typed ""Q"""');
SELECT state, count(*) FROM "Typed ""Q""" GROUP BY 1 ORDER BY 1;
