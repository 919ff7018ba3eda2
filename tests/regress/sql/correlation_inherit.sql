-- A processor's further jobs belong to the request that its own job belongs to, by whatever way it puts them.
CREATE SCHEMA correlation_inherit;
SET search_path = correlation_inherit;
CREATE TABLE told (n int);
SELECT queue.create_queue('start', 'n int', keep_done => '1 day', backoff => '0');
SELECT queue.create_queue('next', 'n int, how text', keep_done => '1 day');
SELECT queue.create_queue('from_table');
SELECT queue.attach('told', 'from_table', 'insert', set => '{"payload.n": "new.n"}');
CREATE FUNCTION work(job start) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM queue.enqueue('correlation_inherit.next', jsonb_build_object('n', job.n, 'how', 'enqueue'));
    PERFORM queue.enqueue('correlation_inherit.next', jsonb_build_object('n', job.n, 'how', 'enqueue later'), delay => '1 h');
    PERFORM queue.enqueue_many('correlation_inherit.next', ARRAY[jsonb_build_object('n', job.n, 'how', 'enqueue_many')]);
    PERFORM queue.enqueue('correlation_inherit.next', jsonb_build_object('n', job.n, 'how', 'its own'), correlation_id => 'own');
    INSERT INTO correlation_inherit.next (n, how) VALUES (job.n, 'INSERT');
    INSERT INTO correlation_inherit.next (n, how, run_at) VALUES (job.n, 'INSERT later', now() + interval '1 h');
    INSERT INTO correlation_inherit.next (n, how, correlation_id) VALUES (job.n, 'INSERT its own', 'own');
    INSERT INTO correlation_inherit.told VALUES (job.n);
    IF job.n = 3 AND job.attempt = 1 THEN
        RAISE EXCEPTION 'once';
    END IF;
END $$;
SELECT queue.register_processor('start', 'work(start)');
-- Given; not given: then the job that began it all; kept over a retry.
SELECT queue.enqueue('start', '{"n": 1}', correlation_id => 'request') AS id1 \gset
SELECT queue.enqueue('start', '{"n": 2}') AS id2 \gset
SELECT queue.enqueue('start', '{"n": 3}') AS id3 \gset
CALL queue.run('start');
SELECT n, state, correlation_id FROM start ORDER BY id;
CREATE VIEW seen AS
    SELECT n, how, state, correlation_id FROM correlation_inherit.next
    UNION ALL SELECT (payload ->> 'n')::int, 'trigger', state, correlation_id FROM correlation_inherit.from_table;
SELECT how, state, correlation_id FROM seen WHERE n = 1 ORDER BY how;
SELECT how, replace(correlation_id, :'id2', '<id>') AS correlation_id FROM seen WHERE n = 2 ORDER BY how;
SELECT how, replace(correlation_id, :'id3', '<id>') AS correlation_id FROM seen WHERE n = 3 ORDER BY how;
-- Outside of a processor nothing is inherited, also after one has run in this session.
SELECT queue.enqueue('next', '{"n": 9}') > 0 AS ok;
INSERT INTO next (n) VALUES (9);
SELECT DISTINCT correlation_id IS NULL AS none FROM next WHERE n = 9;
-- A statement of many rows, in a queue whose rows cannot be written directly.
CREATE FUNCTION noop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
SELECT queue.create_queue('slow', 'n int');
CREATE TRIGGER t BEFORE INSERT ON slow FOR EACH ROW EXECUTE FUNCTION noop();
CREATE TABLE told_slow (n int);
SELECT queue.attach('told_slow', 'slow', 'insert', set => '{"n": "new.n"}');
CREATE OR REPLACE FUNCTION work(job start) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM queue.enqueue_many('correlation_inherit.slow', ARRAY['{"n": 1}', '{"n": 2}']::jsonb[]);
    PERFORM queue.enqueue('correlation_inherit.slow', '{"n": 3}', delay => '1 h');
    INSERT INTO correlation_inherit.slow (n) SELECT generate_series(4, 6);
    INSERT INTO correlation_inherit.told_slow SELECT generate_series(7, 8);
    -- An UPDATE is not a new job.
    UPDATE correlation_inherit.next SET how = 'touched' WHERE n = 9;
END $$;
SELECT queue.enqueue('start', '{"n": 4}', correlation_id => 'slowly') > 0 AS ok;
CALL queue.run('start');
SELECT n, state, correlation_id FROM slow ORDER BY id;
SELECT DISTINCT how, correlation_id IS NULL AS none FROM next WHERE n = 9;

-- Of a batch, what all of it have in common.
SELECT queue.create_queue('batch', 'n int');
CREATE FUNCTION work(jobs batch[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM queue.enqueue('correlation_inherit.slow', jsonb_build_object('n', 100 + cardinality(jobs)));
END $$;
SELECT queue.register_processor('batch', 'work(batch[])', load_balanced => false);
TRUNCATE slow;
INSERT INTO batch (n, correlation_id) VALUES (1, 'a'), (2, 'a');
CALL queue.run('batch');
INSERT INTO batch (n, correlation_id) VALUES (1, 'a'), (2, 'b'), (3, 'a');
CALL queue.run('batch');
INSERT INTO batch (n, correlation_id) VALUES (1, 'a'), (2, 'a'), (3, NULL), (4, 'a');
CALL queue.run('batch');
INSERT INTO batch (n) VALUES (1) RETURNING id AS only \gset
CALL queue.run('batch');
SELECT n, replace(correlation_id, :'only', '<id>') AS correlation_id FROM slow ORDER BY id;
