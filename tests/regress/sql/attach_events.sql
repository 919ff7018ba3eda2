-- attach: which changes enqueue, and what the payload is by default.
CREATE SCHEMA attach_events;
SET search_path = attach_events;
CREATE TABLE orders (id int PRIMARY KEY, total numeric, note text);
SELECT queue.create_queue('q');
CREATE FUNCTION drain(OUT payload jsonb) RETURNS SETOF jsonb LANGUAGE sql AS $$
    SELECT payload FROM queue.pop('attach_events.q', 10000)
$$;

-- All three events by default; the payload is the operation, the table, the key and the changed row.
SELECT queue.attach('orders', 'q');
INSERT INTO orders VALUES (1, 10, 'a'), (2, 20, NULL);
UPDATE orders SET total = total + 1;
DELETE FROM orders WHERE id = 1;
SELECT payload FROM drain();
-- A statement that changes nothing enqueues nothing.
UPDATE orders SET total = 0 WHERE id = 99;
DELETE FROM orders WHERE id = 99;
SELECT count(*) FROM drain();
-- Every statement that inserts: COPY, ON CONFLICT (an insert or an update), MERGE, a CTE.
COPY orders FROM STDIN;
3	30	copied
\.
INSERT INTO orders VALUES (3, 33, 'conflict'), (4, 40, 'new') ON CONFLICT (id) DO UPDATE SET total = excluded.total;
INSERT INTO orders VALUES (4, 44, 'nothing') ON CONFLICT DO NOTHING;
MERGE INTO orders o USING (VALUES (4, 45), (5, 50)) v (id, total) ON o.id = v.id
    WHEN MATCHED THEN UPDATE SET total = v.total WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.total, 'merged');
WITH gone AS (DELETE FROM orders WHERE id = 5 RETURNING *) INSERT INTO orders SELECT 6, total, note FROM gone;
SELECT payload ->> 'operation' AS operation, payload -> 'key' AS key, payload #>> '{row,total}' AS total
FROM drain() ORDER BY payload::text COLLATE "C";
-- TRUNCATE is none of the events.
TRUNCATE orders;
SELECT count(*) FROM drain();
SELECT queue.detach('orders', 'q');
INSERT INTO orders VALUES (1, 1, 'detached');
SELECT count(*) FROM drain();
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'orders'::regclass;
SELECT count(*) FROM queue.attachments WHERE source = 'orders'::regclass;

-- Events in any mix, order and case.
TRUNCATE orders;
CREATE FUNCTION change_all() RETURNS TABLE (operation text, count bigint) LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO attach_events.orders VALUES (1, 1, 'x'), (2, 2, 'y');
    UPDATE attach_events.orders SET total = 3 WHERE id = 2;
    DELETE FROM attach_events.orders;
    RETURN QUERY SELECT payload ->> 'operation', count(*) FROM attach_events.drain() GROUP BY 1 ORDER BY 1;
END $$;
SELECT queue.attach('orders', 'q', 'insert');
SELECT * FROM change_all();
SELECT queue.detach('orders', 'q');
SELECT queue.attach('orders', 'q', 'Delete , UPDATE');
SELECT * FROM change_all();
SELECT queue.detach('orders', 'q');
SELECT queue.attach('orders', 'q', events => 'update');
SELECT * FROM change_all();
SELECT queue.detach('orders', 'q');

-- Level: by statement where Postgres allows it, so that one statement makes one bulk insert; the same jobs either way.
CREATE FUNCTION levels() RETURNS TABLE (level text, events text, transition_tables boolean) LANGUAGE sql AS $$
    SELECT DISTINCT CASE WHEN tgtype & 1 = 1 THEN 'row' ELSE 'statement' END,
           concat_ws(',', CASE WHEN tgtype & 4 <> 0 THEN 'insert' END, CASE WHEN tgtype & 16 <> 0 THEN 'update' END, CASE WHEN tgtype & 8 <> 0 THEN 'delete' END),
           tgoldtable IS NOT NULL OR tgnewtable IS NOT NULL
    FROM pg_trigger WHERE tgrelid = 'attach_events.orders'::regclass AND NOT tgisinternal ORDER BY 2
$$;
SELECT queue.attach('orders', 'q');
SELECT * FROM levels();
SELECT * FROM change_all();
SELECT queue.detach('orders', 'q');
SELECT queue.attach('orders', 'q', level => 'row');
SELECT DISTINCT level FROM levels();
SELECT * FROM change_all();
SELECT queue.detach('orders', 'q');
SELECT queue.attach('orders', 'q', 'insert,update', level => 'statement');
SELECT * FROM levels();
SELECT * FROM change_all();
INSERT INTO orders SELECT i, i, 'bulk' FROM generate_series(1, 1000) i;
SELECT count(*), count(DISTINCT payload #> '{row,id}') FROM drain();
-- An update of primary keys: the job is about the row as it is now.
UPDATE orders SET id = id + 1000 WHERE id = 7;
SELECT payload -> 'key' AS key FROM drain();

-- In the transaction of the change, and gone with it.
BEGIN;
INSERT INTO orders VALUES (5000, 1, 'rolled back');
SELECT count(*) FROM q;
ROLLBACK;
SELECT count(*) FROM drain();
BEGIN;
SAVEPOINT s;
INSERT INTO orders VALUES (5001, 1, 'rolled back');
ROLLBACK TO s;
INSERT INTO orders VALUES (5002, 1, 'kept');
COMMIT;
SELECT payload -> 'key' AS key FROM drain();

-- Two queues on one table, one queue on two tables.
SELECT queue.create_queue('second');
CREATE TABLE invoices (a int, b text, PRIMARY KEY (b, a));
CREATE TABLE keyless (a int);
SELECT queue.attach('orders', 'second', 'insert', level => 'row');
SELECT queue.attach('invoices', 'q', 'insert,delete');
SELECT queue.attach('keyless', 'q');
INSERT INTO orders VALUES (6000, 1, 'to both');
INSERT INTO invoices VALUES (1, 'x');
INSERT INTO keyless VALUES (1);
SELECT payload FROM drain();
SELECT payload FROM queue.pop('second', 10);

-- Pausing a queue stops no enqueueing; a source renamed or moved goes on; so does a queue renamed.
SELECT queue.pause('q');
INSERT INTO keyless VALUES (2);
SELECT queue.resume('q');
ALTER TABLE keyless RENAME TO "Renamed";
ALTER TABLE second RENAME TO third;
INSERT INTO "Renamed" VALUES (3);
ALTER TABLE "Renamed" ADD COLUMN b text DEFAULT 'added';
INSERT INTO "Renamed" VALUES (4);
INSERT INTO orders VALUES (6001, 1, 'to both');
SELECT payload -> 'table' AS "table", payload -> 'row' AS row FROM drain();
SELECT count(*) FROM queue.pop('third', 10);

-- A plan that was made for one row is good for many. (Else this takes minutes.)
CREATE TABLE many (id int PRIMARY KEY, n int);
INSERT INTO many SELECT generate_series(1, 40000), 0;
SELECT queue.subscribe('attach_events.changed', 'q');
SELECT queue.attach('many', 'q', 'update', condition => 'new.n <> old.n');
SELECT queue.attach('many', topic => 'attach_events.changed', events => 'update', condition => 'new.n <> old.n');
UPDATE many SET n = 1 WHERE id = 1;
SET statement_timeout = '1 min';
UPDATE many SET n = id;
RESET statement_timeout;
SELECT count(*) FROM q;
DROP TABLE many;
SELECT queue.drop_queue('q', true);
