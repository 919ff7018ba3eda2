-- A job that an operation on many cannot be done with is left where it is, and named; the others are done.
CREATE SCHEMA admin_bad_row;
SET search_path = admin_bad_row;
\pset format unaligned
\pset tuples_only on
-- Error rows on the last attempt that can be counted, which whoever may UPDATE can make.
SELECT queue.create_queue('tried', 'n int', max_attempts => 1);
INSERT INTO tried (n) SELECT generate_series(1, 2500);
SELECT count(queue.nack('tried', id, attempt, 'no')) FROM queue.dequeue('tried', 2500);
UPDATE tried SET attempt = 2147483647 WHERE n IN (1, 2, 700, 1000, 1001, 2500);
SELECT queue.resubmit_all('tried');
SELECT state, count(*), array_agg(n) FILTER (WHERE state = 'failed') AS n FROM tried GROUP BY 1 ORDER BY 1;
-- By its id it is an error.
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.resubmit('tried', 700)$$);
-- Rows that violate a constraint as soon as they are written anew.
SELECT queue.create_queue('q', 'n int');
INSERT INTO q (n, run_at) SELECT i, CASE WHEN i > 2000 THEN timestamptz '2100-01-01' END FROM generate_series(1, 4000) i;
ALTER TABLE q ADD CONSTRAINT rule CHECK (n NOT IN (3, 1500, 3000)) NOT VALID;
SELECT queue.reprioritize_all('q', 1);
SELECT state, priority, count(*), min(n), max(n) FROM q GROUP BY 1, 2 ORDER BY 1, 2;
SELECT queue.run_now_all('q', 'n >= 2500');
SELECT state, priority, count(*), min(n), max(n) FROM q GROUP BY 1, 2 ORDER BY 1, 2;
SELECT queue.cancel_all('q', 'n < 10 OR n > 2400');
SELECT state, priority, count(*), min(n), max(n) FROM q GROUP BY 1, 2 ORDER BY 1, 2;
-- A queue that refuses some of what is moved to it: by a constraint, because of its columns, or of a key that is taken.
SELECT queue.create_queue('source'), queue.create_queue('target', 'n int CHECK (n <> 5)', on_conflict => 'error');
SELECT count(queue.enqueue('source', CASE i WHEN 9 THEN '"no object"' ELSE jsonb_build_object('n', i) END, key => 'k' || CASE i WHEN 7 THEN 6 ELSE i END))
    FROM generate_series(1, 20) i;
SELECT queue.move_all('source', 'target');
SELECT id, payload, key FROM source ORDER BY id;
SELECT array_agg(n ORDER BY n) FROM target;
-- Keys coalesce as ever, with a row that is passed over as well: no entry is left of what was tried out.
SELECT queue.create_queue('keyed'), queue.create_queue('coalescing', 'n int CHECK (n <> 4)', on_conflict => 'skip');
INSERT INTO keyed (payload, key) SELECT jsonb_build_object('n', i), 'k' || i % 5 FROM generate_series(1, 12) i;
SELECT queue.move_all('keyed', 'coalescing');
SELECT payload, key FROM keyed;
SELECT n, key FROM coalescing ORDER BY n;
SELECT count(*), count(c.id) AS of_jobs FROM queue.keys k LEFT JOIN coalescing c ON c.id = k.id WHERE k.queue = 'coalescing'::regclass;
SELECT count(*) FROM (SELECT queue.enqueue('coalescing', '{"n": 9}', key => 'k' || i % 5) AS id FROM generate_series(0, 4) i) e JOIN coalescing USING (id);
SELECT count(*) FROM coalescing;
-- In a transaction that goes on: all of it, or none.
BEGIN;
SELECT queue.cancel_all('source');
ROLLBACK;
SELECT state, count(*) FROM source GROUP BY 1;
-- What comes from no job is an error as ever: the condition's own, and when none can be moved.
SELECT sqlstate, message FROM test.fails($$SELECT queue.move_all('source', 'target', '1 / (id - 7) > 5')$$);
SELECT count(queue.enqueue('source', '5')) FROM generate_series(1, 200);
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.move_all('source', 'target')$$);
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN new; END $$;
CREATE TRIGGER slow BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION slow();
SET statement_timeout = '100 ms';
SELECT queue.move_all('source', 'target');
RESET statement_timeout;
SELECT state, count(*) FROM source GROUP BY 1;
SELECT queue.drop_queue('target', true);
