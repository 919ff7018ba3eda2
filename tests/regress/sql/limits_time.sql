-- Times beyond the end of timestamptz: refused, or the last there is.
CREATE SCHEMA limits_time;
SET search_path = limits_time;
SET timezone = 'UTC';
\pset format unaligned
\pset tuples_only on
SELECT queue.create_queue('q', 'n int');
CREATE TABLE source (n int);
CREATE FUNCTION work(job q) RETURNS void LANGUAGE sql AS '';
INSERT INTO q (n) VALUES (1);
SELECT id, attempt FROM queue.dequeue('q') \gset
-- Each argument that is a length of time, too long by a little and by much.
SELECT t.* FROM (VALUES ('100001 years'), ('178000000 years'), ('106751991 days 10 hours'), ('2147483647 days')) v (long),
    LATERAL test.tries(
        format($$SELECT queue.enqueue('q', delay => %L)$$, long),
        format($$SELECT queue.enqueue_many('q', '{"{}"}', delay => %L)$$, long),
        format($$SELECT queue.nack('q', %s, %s, delay => %L)$$, :id, :attempt, long),
        format($$SELECT queue.snooze('q', %s, %s, %L)$$, :id, :attempt, long),
        format($$SELECT queue.extend_lease('q', %s, %s, %L)$$, :id, :attempt, long),
        format($$SELECT queue.dequeue('q', lease => %L)$$, long),
        format($$SELECT queue.dequeue_as(NULL::q, lease => %L)$$, long),
        format($$SELECT queue.attach('source', 'q', delay => %L)$$, long),
        format($$SELECT queue.create_queue('no', backoff => %L)$$, long),
        format($$SELECT queue.create_queue('no', backoff_max => %L)$$, long),
        format($$SELECT queue.create_queue('no', lease => %L)$$, long),
        format($$SELECT queue.create_queue('no', keep_done => %L)$$, long),
        format($$SELECT queue.alter_queue('q', backoff => %L)$$, long),
        format($$SELECT queue.alter_queue('q', backoff_max => %L)$$, long),
        format($$SELECT queue.alter_queue('q', lease => %L)$$, long),
        format($$SELECT queue.alter_queue('q', keep_done => %L)$$, long),
        format($$SELECT queue.register_processor('q', 'work(q)', timeout => %L)$$, long)) t
WHERE long LIKE '100001%' OR sqlstate <> '22023' OR message !~ '^(delay|lease|backoff|backoff_max|keep_done|timeout) must be at most';
-- A hand-written trigger finds out when it first fires.
CREATE TRIGGER by_hand AFTER INSERT ON source FOR EACH ROW EXECUTE FUNCTION queue.enqueue_from_trigger('limits_time.q', 'delay=178000000 years');
SELECT sqlstate, message FROM test.fails('INSERT INTO source VALUES (1)');
DROP TRIGGER by_hand ON source;
-- The longest that are taken.
SELECT queue.attach('source', 'q', 'insert', set => '{"n": "new.n"}', delay => '100000 years');
INSERT INTO source VALUES (2);
SELECT queue.enqueue('q', '{"n": 3}', delay => '100000 years') IS NOT NULL;
SELECT queue.extend_lease('q', :id, :attempt, '100000 years'), queue.alter_queue('q', backoff => '100000 years', backoff_max => '100000 years', lease => '100000 years', keep_done => '100000 years');
SELECT n, state, coalesce(run_at, lease_until) > '90000-01-01' AS far FROM q ORDER BY n;
SELECT queue.snooze('q', :id, :attempt, '100000 years');
SELECT queue.enqueue('q', '{"n": 4}') IS NOT NULL;
SELECT count(*) FROM queue.dequeue('q', 9);
SELECT queue.nack('q', id, attempt), queue.status('q', id) FROM q WHERE n = 4;
SELECT n, state, run_at > '10000-01-01' AS far, lease_until FROM q ORDER BY n;
-- An option that got past the functions ends at the end of time.
UPDATE queue.queues SET lease = '178000000 years', backoff = '178000000 years', backoff_max = '178000000 years', keep_done = '178000000 years' WHERE queue = 'q'::regclass;
SELECT queue.alter_queue('q', max_attempts => 3);
INSERT INTO q (n, priority) VALUES (5, 0);
SELECT (payload ->> 'n'), lease_until FROM queue.dequeue('q');
SELECT queue.nack('q', id, attempt) FROM q WHERE n = 5;
SELECT n, state, extract(year FROM run_at) FROM q WHERE n = 5;
INSERT INTO q (n, priority) VALUES (6, 0);
SELECT queue.ack('q', id, attempt) FROM queue.dequeue('q');
SELECT count(*) FROM queue.dequeue('q');
SELECT n, state FROM q WHERE n = 6;

-- Infinity is a time: for never, or for at once.
SELECT queue.create_queue('never', 'n int');
SELECT queue.enqueue('never', '{"n": 1}', run_at => 'infinity') AS id \gset
INSERT INTO never (n, run_at) VALUES (2, 'infinity'), (3, '-infinity');
SELECT n, state, run_at FROM never ORDER BY n;
SELECT n, state, run_at FROM queue.dequeue_as(NULL::never, 9);
SELECT queue.cancel('never', :id), queue.resubmit('never', :id);
SELECT n, state, run_at FROM never ORDER BY n;
