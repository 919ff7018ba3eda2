-- then_queue: what a processor returns becomes jobs of the next queue, in the same transaction.
CREATE SCHEMA pipeline_feed;
SET search_path = pipeline_feed;
SELECT queue.create_queue('first', 'n int', keep_done => '1 day', max_attempts => 1);
SELECT queue.create_queue('plain');
SELECT queue.create_queue('typed', 'n int CHECK (n <> 13), who text DEFAULT ''nobody''');
CREATE TYPE person AS (who text, n int, other numeric);

CREATE FUNCTION f_jsonb(job first) RETURNS jsonb LANGUAGE sql AS $$SELECT CASE WHEN job.n > 0 THEN jsonb_build_object('n', job.n * 10, 'more', true) END$$;
CREATE FUNCTION f_json_null(job first) RETURNS jsonb LANGUAGE sql AS $$SELECT 'null'::jsonb$$;
CREATE FUNCTION f_text(job first) RETURNS text LANGUAGE sql AS $$SELECT 'te"xt ' || job.n$$;
CREATE FUNCTION f_array(job first) RETURNS int[] LANGUAGE sql AS $$SELECT ARRAY[job.n, NULL]$$;
CREATE FUNCTION f_person(job first) RETURNS person LANGUAGE sql AS $$SELECT CASE WHEN job.n > 0 THEN ('ann', job.n, 1.5)::pipeline_feed.person END$$;
CREATE FUNCTION f_out(job first, OUT n int, OUT who text) LANGUAGE sql AS $$SELECT job.n + 1, 'out'$$;
CREATE FUNCTION f_out_one(job first, OUT n int) LANGUAGE sql AS $$SELECT job.n + 2$$;
CREATE FUNCTION f_set(job first) RETURNS SETOF jsonb LANGUAGE sql AS $$SELECT CASE WHEN i <> 2 THEN jsonb_build_object('n', job.n * 10 + i) END FROM generate_series(1, job.n) i$$;
CREATE FUNCTION f_table(job first) RETURNS TABLE (n int, who text) LANGUAGE plpgsql AS $$BEGIN RETURN QUERY SELECT i, 'row ' || i FROM generate_series(1, job.n) i; END$$;
CREATE FUNCTION f_table_one(job first) RETURNS TABLE (n int) LANGUAGE sql AS $$SELECT generate_series(1, job.n)$$;
CREATE FUNCTION f_row(job first) RETURNS SETOF int LANGUAGE sql AS $$SELECT generate_series(1, job.n)$$;

CREATE PROCEDURE try(processor text, next text, numbers int[]) LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM pipeline_feed.first;
    DELETE FROM pipeline_feed.plain;
    DELETE FROM pipeline_feed.typed;
    PERFORM queue.register_processor('pipeline_feed.first', processor::regprocedure, replace => true, then_queue => next);
    INSERT INTO pipeline_feed.first (n) SELECT unnest(numbers);
END $$;
CREATE VIEW came AS SELECT n, who, payload FROM typed UNION ALL SELECT NULL, NULL, payload FROM plain;

-- Any type; null is dropped, and the job is done.
CALL try('f_jsonb(first)', 'typed', '{1,0,2}');
CALL queue.run('first');
SELECT state, n, result FROM first ORDER BY id;
SELECT * FROM came;
CALL try('f_jsonb(first)', 'plain', '{1}');
CALL queue.run('first');
SELECT * FROM came;
CALL try('f_json_null(first)', 'plain', '{1}');
CALL queue.run('first');
SELECT count(*) FROM came;
CALL try('f_text(first)', 'plain', '{1}');
CALL queue.run('first');
SELECT * FROM came;
CALL try('f_array(first)', 'plain', '{7}');
CALL queue.run('first');
SELECT * FROM came;
-- Named columns feed the columns of the next queue.
CALL try('f_person(first)', 'typed', '{3,0}');
CALL queue.run('first');
SELECT * FROM came;
SELECT n, result FROM first ORDER BY id;
CALL try('f_out(first)', 'typed', '{3}');
CALL queue.run('first');
SELECT * FROM came;
CALL try('f_out_one(first)', 'typed', '{3}');
CALL queue.run('first');
SELECT * FROM came;
-- A set fans out; the result kept is the list.
CALL try('f_set(first)', 'typed', '{3,0,1}');
CALL queue.run('first');
SELECT * FROM came;
SELECT state, n, result FROM first ORDER BY id;
CALL try('f_table(first)', 'typed', '{2}');
CALL queue.run('first');
SELECT * FROM came;
CALL try('f_table_one(first)', 'typed', '{2}');
CALL queue.run('first');
SELECT * FROM came;
CALL try('f_row(first)', 'plain', '{2}');
CALL queue.run('first');
SELECT * FROM came;

-- What the next queue refuses fails this job and no other, and nothing of it stays.
CREATE TABLE effects (n int);
CREATE FUNCTION f_set_to_13(job first) RETURNS SETOF person LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pipeline_feed.effects VALUES (job.n);
    RETURN QUERY SELECT 'bob', i, 0.0 FROM generate_series(job.n, job.n + 1) i;
END $$;
CALL try('f_set_to_13(first)', 'typed', '{1,12,3,13,5}');
CALL queue.run('first');
SELECT state, n, result, errors -> -1 ->> 'sqlstate' AS sqlstate, errors -> -1 ->> 'message' AS message FROM first ORDER BY id;
SELECT n FROM came;
TABLE effects;
CALL try('f_text(first)', 'typed', '{1}');
CALL queue.run('first');
SELECT state, errors -> -1 ->> 'message' AS message FROM first;

-- Batches: an element for each job; as many as there are; a set; one for all.
CREATE FUNCTION b_array(jobs first[]) RETURNS int[] LANGUAGE sql AS 'SELECT array_agg(nullif(j.n, 2) * 10) FROM unnest(jobs) j';
CREATE FUNCTION b_more(jobs first[]) RETURNS person[] LANGUAGE sql AS $$SELECT array_agg(('x', i, NULL)::pipeline_feed.person) FROM generate_series(1, 1 + cardinality(jobs)) i$$;
CREATE FUNCTION b_set(jobs first[]) RETURNS SETOF jsonb LANGUAGE sql AS $$SELECT jsonb_build_object('n', j.n) FROM unnest(jobs) j WHERE j.n <> 2$$;
CREATE FUNCTION b_one(jobs first[]) RETURNS jsonb LANGUAGE sql AS $$SELECT jsonb_build_object('n', sum(j.n)) FROM unnest(jobs) j$$;
CREATE FUNCTION b_null(jobs first[]) RETURNS int[] LANGUAGE sql AS 'SELECT NULL::int[]';
CALL try('b_array(first[])', 'plain', '{1,2,3}');
CALL queue.run('first');
SELECT n, result FROM first ORDER BY id;
SELECT payload FROM plain ORDER BY id;
CALL try('b_more(first[])', 'typed', '{1,2}');
CALL queue.run('first');
SELECT n, result FROM first ORDER BY id;
SELECT * FROM came;
CALL try('b_set(first[])', 'typed', '{1,2,3}');
CALL queue.run('first');
SELECT n, result FROM first ORDER BY id;
SELECT * FROM came;
CALL try('b_one(first[])', 'typed', '{1,2,3}');
CALL queue.run('first');
SELECT n, result FROM first ORDER BY id;
SELECT * FROM came;
CALL try('b_null(first[])', 'typed', '{1,2}');
CALL queue.run('first');
SELECT n, state, result FROM first ORDER BY id;
SELECT count(*) FROM came;
-- Of a batch, too, only the job fails whose successor is refused.
CREATE FUNCTION b_each(jobs first[]) RETURNS SETOF jsonb LANGUAGE sql AS $$SELECT jsonb_build_object('n', j.n) FROM unnest(jobs) j$$;
CALL try('b_each(first[])', 'typed', '{11,12,13,14}');
CALL queue.run('first');
SELECT n, state FROM first ORDER BY id;
SELECT n FROM came;

-- The request travels with it: through three stages, fanned out.
SELECT queue.create_queue('last', 'n int');
CREATE FUNCTION f_typed(job typed) RETURNS jsonb LANGUAGE sql AS $$SELECT jsonb_build_object('n', job.n)$$;
SELECT queue.register_processor('typed', 'f_typed(typed)', then_queue => 'last');
CALL try('f_set(first)', 'typed', '{}');
INSERT INTO first (n, correlation_id) VALUES (3, 'request'), (1, NULL);
SELECT max(id) AS root FROM first \gset
CALL queue.run();
SELECT n, replace(correlation_id, :'root', '<id>') AS correlation_id FROM last ORDER BY id;
SELECT queue, state FROM queue.trace('pipeline_feed.first:' || :root) ORDER BY queue::text COLLATE "C";
CALL try('b_each(first[])', 'plain', '{}');
INSERT INTO first (n, correlation_id) VALUES (3, 'request a'), (1, 'request b');
CALL queue.run('first');
SELECT payload, correlation_id FROM plain ORDER BY id;

-- What the function sets, its role above all, does not last until its successors are put.
CREATE FUNCTION f_settings(job first) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    SET ROLE regress_nobody;
    SET search_path = nowhere;
    RETURN '{}';
END $$;
CALL try('f_settings(first)', 'plain', '{1,2}');
CALL queue.run('first');
SELECT n, state FROM first ORDER BY id;
SELECT count(*) FROM plain;
SELECT current_user, current_setting('search_path');
