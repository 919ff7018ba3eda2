-- resubmit, resubmit_all, purge, cancel.
CREATE SCHEMA process_mend;
SET search_path = process_mend;
CREATE TABLE broken (yes boolean);
CREATE TABLE done (who text, attempt int);
INSERT INTO broken VALUES (true);
SELECT queue.create_queue('q', 'who text', max_attempts => 2, backoff => '0');
CREATE FUNCTION work(job q) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT yes FROM process_mend.broken) THEN
        RAISE EXCEPTION 'broken';
    END IF;
    INSERT INTO process_mend.done VALUES (job.who, job.attempt);
END $$;
SELECT queue.register_processor('q', 'work(q)');
INSERT INTO q (who) SELECT 'w' || i FROM generate_series(1, 5) i;
SELECT min(id) - 1 AS zero FROM q \gset
-- With no backoff the retries are due at once: one run uses up the attempts.
CALL queue.run('q');
SELECT state, who, attempt, max_attempts, jsonb_array_length(errors) AS errors FROM q ORDER BY id;

-- resubmit: back among the ready, with as many further attempts as a new job has, its history kept.
SELECT queue.resubmit('q', :zero + 1);
SELECT queue.resubmit('q', :zero + 1) AS again;
SELECT state, attempt, max_attempts - attempt AS left, finished_at, run_at, jsonb_array_length(errors) AS errors FROM q WHERE id = :zero + 1;
CALL queue.run('q');
SELECT state, attempt, jsonb_array_length(errors) AS errors FROM q WHERE id = :zero + 1;
SELECT queue.resubmit('q', :zero + 1);
UPDATE broken SET yes = false;
CALL queue.run('q');
TABLE done;
SELECT count(*) FROM q WHERE id = :zero + 1;
SELECT queue.resubmit('q', :zero + 1) AS gone;
-- resubmit_all, with a condition over the queue's columns and without.
SELECT queue.resubmit_all('q', $$who IN ('w2', 'nobody') AND attempt > 1$$);
SELECT queue.resubmit_all('q', 'false');
SELECT queue.resubmit_all('q', 'NULL');
SELECT state, who FROM q ORDER BY id;
SELECT queue.resubmit_all('q');
SELECT queue.resubmit_all('q');
CALL queue.run('q');
SELECT who FROM done ORDER BY who;
SELECT count(*) FROM q;
-- A condition that is none.
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.resubmit_all('q', 'true; DELETE FROM process_mend.q')$$);
SELECT test.code($$SELECT queue.resubmit_all('q', 'true) OR (true')$$);
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.resubmit_all('q', 'who')$$);
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.resubmit_all('q', 'nosuch = 1')$$);
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.resubmit_all('q', '')$$);

-- cancel: a waiting or leased job becomes an error row at once, and is not tried again.
INSERT INTO q (who) VALUES ('ready'), ('leased'), ('kept');
SELECT queue.enqueue('q', '{"who": "scheduled"}', delay => '1 h') IS NOT NULL AS ok;
CREATE FUNCTION id_of(name text) RETURNS bigint LANGUAGE sql AS 'SELECT id FROM process_mend.q WHERE who = name';
UPDATE q SET priority = 0 WHERE who = 'leased';
SELECT payload FROM queue.dequeue('q');
SELECT queue.cancel('q', id_of('ready')), queue.cancel('q', id_of('leased')), queue.cancel('q', id_of('scheduled'));
SELECT queue.cancel('q', id_of('ready')) AS twice, queue.ack('q', id_of('leased'), 1) AS late_ack;
SELECT state, who, attempt, lease_until FROM q ORDER BY id;
SELECT sqlstate, message, job ->> 'who' AS who FROM queue.errors WHERE queue = 'q'::regclass ORDER BY id;
CALL queue.run('q');
SELECT state, who FROM q ORDER BY id;
SELECT queue.resubmit('q', id_of('scheduled'));
CALL queue.run('q');
SELECT who FROM done WHERE who NOT LIKE 'w%' ORDER BY who;
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.cancel('q', 123456789)$$);
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.resubmit('q', 123456789)$$);
BEGIN;
SELECT queue.cancel('q', queue.enqueue('q', '{"who": "rolled back"}'));
ROLLBACK;
SELECT count(*) FROM q WHERE who = 'rolled back';

-- purge: the states named, and no other.
TRUNCATE q;
INSERT INTO q (who) SELECT 'ready ' || i FROM generate_series(1, 10) i;
SELECT count(queue.enqueue('q', delay => '1 h')) FROM generate_series(1, 3);
SELECT count(*) FROM queue.dequeue('q', 2);
SELECT count(queue.cancel('q', id)) FROM (SELECT id FROM q WHERE state = 'ready' ORDER BY id LIMIT 2) s;
SELECT state, count(*) FROM q GROUP BY 1 ORDER BY 1;
SELECT queue.purge('q', '{scheduled}');
SELECT state, count(*) FROM q GROUP BY 1 ORDER BY 1;
SELECT queue.purge('q', '{}');
SELECT queue.purge('q');
SELECT queue.purge('q');
SELECT state, count(*) FROM q GROUP BY 1 ORDER BY 1;
SELECT queue.purge('q', '{failed,done}');
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.purge('q', '{running}')$$);
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.purge('q', '{ready,lost}')$$);
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.purge('q', '{ready,NULL}')$$);
SELECT state, count(*) FROM q GROUP BY 1 ORDER BY 1;
