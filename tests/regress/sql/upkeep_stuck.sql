-- A row that cannot be moved when its time has come costs itself alone, is named once, and is left alone for a while.
CREATE SCHEMA upkeep_stuck;
SET search_path = upkeep_stuck;
SELECT queue.create_queue('q', 'n int', max_attempts => 2);
CREATE FUNCTION due() RETURNS void LANGUAGE sql AS
    $$ UPDATE upkeep_stuck.q SET run_at = now() - interval '1 h' + n * interval '1 s' WHERE state = 'scheduled' AND n <> ALL ('{13,14,40}') $$;
CREATE SEQUENCE tries;
INSERT INTO q (n, run_at) SELECT i, now() + interval '1 h' FROM generate_series(1, 60) i;
UPDATE q SET run_at = now() - interval '1 h' + n * interval '1 s';
-- It has been there all along: the row breaks the rule only when it moves.
ALTER TABLE q ADD CONSTRAINT rule CHECK (n NOT IN (13, 14, 40) OR nextval('tries') < 0) NOT VALID;
SELECT count(*), array_agg(payload ->> 'n') && '{13,14,40}' AS bad FROM queue.dequeue('q', 100);
SELECT state, n, attempt FROM q WHERE state <> 'running' ORDER BY n;
-- Others that become due later are not hidden behind it, and nobody tries it, or says so, again and again.
SELECT last_value AS tries FROM tries \gset
INSERT INTO q (n, run_at) SELECT i, now() + interval '1 h' FROM generate_series(61, 70) i;
SELECT due();
SELECT count(*) FROM queue.dequeue('q', 100);
SELECT count(*) FROM queue.dequeue('q', 100);
SELECT count(*) FROM queue.pop('q', 100);
SELECT last_value = :tries AS left_alone FROM tries;
-- Nor does it keep a processor from its work.
CREATE FUNCTION work(job q) RETURNS void LANGUAGE sql AS '';
SELECT queue.register_processor('q', 'work(q)');
INSERT INTO q (n, run_at) VALUES (71, now() + interval '1 h');
SELECT due();
CALL queue.run('q');
SELECT n, state FROM q WHERE state <> 'running' ORDER BY n;
-- Once the rule is gone, it is the next.
ALTER TABLE q DROP CONSTRAINT rule;
SELECT n, attempt FROM queue.pop_as(NULL::q, 100);
SELECT queue.unregister_processor('q');

-- The same for leases that ran out, on their way back and on their way to the error rows.
SELECT queue.create_queue('lent', 'n int', max_attempts => 2);
INSERT INTO lent (n) SELECT generate_series(1, 40);
INSERT INTO lent (n, max_attempts) SELECT i, 1 FROM generate_series(41, 50) i;
SELECT count(*) FROM queue.dequeue('lent', 50, '1 microsecond');
ALTER TABLE lent ADD CONSTRAINT rule CHECK (n NOT IN (7, 47)) NOT VALID;
SELECT count(*) FROM queue.dequeue('lent', 100);
SELECT state, count(*), min(n), max(n) FROM lent GROUP BY 1 ORDER BY 1;
SELECT n, state, attempt FROM lent WHERE n IN (7, 47) ORDER BY n;
-- Its holder may still ack it: nobody else has had it.
SELECT queue.ack('lent', id, attempt) FROM lent WHERE n = 7;

-- And for finished jobs that are not to be kept any longer.
SELECT queue.create_queue('kept', 'n int', keep_done => '1 day');
INSERT INTO kept (n) SELECT generate_series(1, 20);
SELECT count(*) FROM (SELECT queue.ack('kept', id, attempt) FROM queue.dequeue('kept', 20)) s;
UPDATE kept SET finished_at = now() - interval '2 days';
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF old.n = 5 THEN RAISE EXCEPTION 'not this one'; END IF; RETURN old; END $$;
CREATE TRIGGER keep BEFORE DELETE ON kept FOR EACH ROW EXECUTE FUNCTION keep();
SELECT count(*) FROM queue.dequeue('kept');
SELECT n, state FROM kept;

-- However many they are: all others move.
SELECT queue.create_queue('many', 'n int');
INSERT INTO many (n, run_at) SELECT i, now() + interval '1 h' FROM generate_series(1, 3000) i;
UPDATE many SET run_at = now() - interval '1 s';
ALTER TABLE many ADD CONSTRAINT rule CHECK (n > 1200) NOT VALID;
SET client_min_messages = error;
CREATE FUNCTION work(job many) RETURNS void LANGUAGE sql AS '';
SELECT queue.register_processor('many', 'work(many)');
CALL queue.run('many');
RESET client_min_messages;
SELECT state, count(*), max(n) FROM many GROUP BY 1;
SELECT queue.unregister_processor('many');
