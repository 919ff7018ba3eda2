-- A deferred constraint that refuses a row costs that row alone, not all that upkeep moves with it.
CREATE SCHEMA upkeep_deferred;
SET search_path = upkeep_deferred;
\pset format unaligned
\pset tuples_only on
CREATE TABLE customer (id int PRIMARY KEY);
INSERT INTO customer SELECT generate_series(1, 40);
SELECT queue.create_queue('q', 'customer int CONSTRAINT known REFERENCES customer DEFERRABLE INITIALLY DEFERRED');
INSERT INTO q (customer, run_at) SELECT i, '2100-01-01' FROM generate_series(1, 40) i;
-- Their customers are gone when their time comes: who removed them looked away.
SET session_replication_role = replica;
DELETE FROM customer WHERE id IN (7, 8, 33);
RESET session_replication_role;
UPDATE q SET run_at = now() - interval '1 s' WHERE customer NOT IN (7, 8, 33);
SET session_replication_role = replica;
UPDATE q SET run_at = now() - interval '1 s' WHERE customer IN (7, 8, 33);
RESET session_replication_role;
SELECT count(*) FROM queue.dequeue('q', 100);
SELECT state, count(*), array_agg(customer) FILTER (WHERE state <> 'running') FROM q GROUP BY 1 ORDER BY 1;
-- The constraint is deferred as before.
BEGIN;
INSERT INTO q (customer) VALUES (100);
INSERT INTO customer VALUES (100);
COMMIT;
SELECT count(*) FROM queue.pop('q');
-- In a block, too.
INSERT INTO q (customer, run_at) SELECT i, '2100-01-01' FROM generate_series(1, 3) i;
UPDATE q SET run_at = now() - interval '1 s' WHERE customer < 4 AND state = 'scheduled';
SET session_replication_role = replica;
DELETE FROM customer WHERE id = 2;
RESET session_replication_role;
BEGIN;
SELECT count(*) FROM queue.pop('q', 100);
COMMIT;
SELECT state, customer FROM q WHERE state <> 'running' ORDER BY 2;
-- What the transaction itself has left to be checked is no fault of the rows: they move, and it fails at its end.
INSERT INTO q (customer, run_at) VALUES (1, '2100-01-01');
UPDATE q SET run_at = now() - interval '1 s' WHERE customer = 1 AND state = 'scheduled';
BEGIN;
INSERT INTO q (customer) VALUES (102);
SELECT count(*) FROM (SELECT queue.dequeue('q', 100) UNION ALL SELECT queue.dequeue('q', 100)) twice;
COMMIT;
SELECT state, customer FROM q WHERE state <> 'running' ORDER BY 2;
-- When the customers are back, the rows are the next that are tried.
INSERT INTO customer VALUES (2), (7), (8), (33);
ALTER TABLE q ADD COLUMN n int;
SELECT payload ->> 'customer' FROM queue.dequeue('q', 100);

-- A deferred trigger on what is removed. It runs as who takes, and what it did when it was tried out is undone.
SELECT queue.create_queue('kept', 'n int', keep_done => '1 day');
INSERT INTO kept (n) SELECT generate_series(1, 20);
SELECT count(*) FROM (SELECT queue.ack('kept', id, attempt) FROM queue.dequeue('kept', 20)) s;
UPDATE kept SET finished_at = now() - interval '2 days';
CREATE TABLE seen (n int, who text);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF old.n IN (5, 6) THEN RAISE EXCEPTION 'not %', old.n; END IF;
    INSERT INTO upkeep_deferred.seen VALUES (old.n, current_user);
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER DELETE ON kept DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT count(*) FROM queue.dequeue('kept');
SELECT n, state FROM kept ORDER BY n;
SELECT count(*), count(DISTINCT n), min(who), max(who) FROM seen;
