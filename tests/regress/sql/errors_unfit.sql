-- An ended job that cannot be written as JSON: it is listed without what it holds, and hides no other.
\set VERBOSITY terse
SELECT queue.create_queue('unfit', 'j json', keep_done => '1 h', max_attempts => 1);
INSERT INTO unfit (j) VALUES ('1'), ('"\u0000"'), ('3'), ('4'), ('"\u0000"'), ('"\u0000"'), ('7');
SELECT queue.nack('unfit', id, attempt, 'no ' || id) FROM queue.dequeue_as(NULL::unfit, 5);
SELECT queue.ack('unfit', id, attempt) FROM queue.dequeue_as(NULL::unfit, 5);
SELECT id, message, job -> 'id' AS job, job -> 'j' AS j FROM queue.errors WHERE queue = 'unfit'::regclass;
SELECT id, state, error, job -> 'id' AS job, job -> 'j' AS j FROM queue.history('unfit') ORDER BY id;
SELECT id, job IS NULL AS unfit FROM queue.history('unfit', 'failed', max_jobs => 2) ORDER BY id;
SELECT id, job IS NULL AS unfit FROM queue.history('unfit', 'done', since => now() - interval '1 h') ORDER BY id;
SELECT count(*) FROM queue.history('unfit', key => 'none');
-- For a reader to whom policies apply, too.
ALTER TABLE unfit ENABLE ROW LEVEL SECURITY;
CREATE POLICY odd ON unfit USING (id % 2 = 0);
GRANT SELECT ON unfit TO regress_reader;
SET ROLE regress_reader;
SELECT id, job IS NULL AS unfit FROM queue.history('unfit') ORDER BY id;
RESET ROLE;
SELECT queue.drop_queue('unfit', true);
