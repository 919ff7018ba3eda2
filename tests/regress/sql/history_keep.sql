-- keep_failed: error rows expire only if asked; bounded steps, as for keep_done.
CREATE SCHEMA history_keep;
SET search_path = history_keep;
SELECT queue.create_queue('q', 'n int', max_attempts => 1, keep_done => '1 day');
INSERT INTO q (n) SELECT generate_series(1, 6);
SELECT count(queue.nack('q', id, attempt)) FROM queue.dequeue('q', 4);
SELECT count(queue.ack('q', id, attempt)) FROM queue.dequeue('q', 2);
UPDATE q SET finished_at = now() - interval '2 days' WHERE n IN (1, 2, 3, 5);
-- Not asked: done ones go, error rows stay.
SELECT count(*) FROM queue.dequeue('q');
SELECT n, state FROM q ORDER BY n;
SELECT queue.alter_queue('q', keep_failed => '1 day');
SELECT count(*) FROM queue.dequeue('q');
SELECT n, state FROM q ORDER BY n;
-- Taken back: those that are left stay for ever.
SELECT queue.alter_queue('q', keep_failed => '0');
UPDATE q SET finished_at = now() - interval '2 days' WHERE n = 4;
SELECT count(*) FROM queue.dequeue('q');
SELECT n, state FROM q ORDER BY n;
-- A resubmitted job is no error row.
SELECT queue.resubmit('q', id) FROM q WHERE n = 4;
SELECT queue.alter_queue('q', keep_failed => '1 microsecond');
SELECT payload FROM queue.dequeue('q');
SELECT n, state FROM q ORDER BY n;
-- One that cannot be removed costs itself alone.
SELECT queue.create_queue('stuck', 'n int', max_attempts => 1, keep_failed => '1 day');
INSERT INTO stuck (n) SELECT generate_series(1, 20);
SELECT count(queue.nack('stuck', id, attempt)) FROM queue.dequeue('stuck', 20);
UPDATE stuck SET finished_at = now() - interval '2 days';
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF old.n = 5 THEN RAISE EXCEPTION 'not this one'; END IF; RETURN old; END $$;
CREATE TRIGGER keep BEFORE DELETE ON stuck FOR EACH ROW EXECUTE FUNCTION keep();
SET client_min_messages = error;
SELECT count(*) FROM queue.dequeue('stuck');
SELECT n, state FROM stuck;
RESET client_min_messages;
-- However many they are.
SELECT queue.create_queue('many', max_attempts => 1, keep_failed => '1 day');
INSERT INTO many SELECT FROM generate_series(1, 2500);
SELECT queue.cancel_all('many');
UPDATE many SET finished_at = now() - interval '2 days';
CREATE FUNCTION work(job many) RETURNS void LANGUAGE sql AS '';
SELECT queue.register_processor('many', 'work(many)');
CALL queue.run('many');
SELECT count(*) FROM many;
SELECT queue.unregister_processor('many');
