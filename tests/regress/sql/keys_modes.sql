-- What a job does whose key another waiting job has: each mode, and what it leaves.
CREATE SCHEMA keys_modes;
SET search_path = keys_modes;
SELECT queue.create_queue('q', 'n int, note text');

-- Without on_conflict keys are only stored.
SELECT queue.enqueue('q', '{"n": 1}', key => 'a'), queue.enqueue('q', '{"n": 2}', key => 'a');
SELECT count(*) FROM queue.keys WHERE queue = 'q'::regclass;
SELECT queue.purge('q');

-- skip: the waiting one stands for both.
SELECT queue.enqueue('q', '{"n": 1, "x": 1}', key => 'a', on_conflict => 'skip') AS first \gset
SELECT queue.enqueue('q', '{"n": 2, "x": 2}', key => 'a', on_conflict => 'skip') = :first AS same;
SELECT queue.enqueue('q', '{"n": 3}', key => 'b', on_conflict => 'skip') = :first AS same;
SELECT state, priority, key, n, payload FROM q ORDER BY id;
-- What would not be accepted alone is not accepted here either.
SELECT queue.enqueue('q', '{"n": "x"}', key => 'a', on_conflict => 'skip');
SELECT queue.enqueue('q', '[1]', key => 'a', on_conflict => 'skip');
SELECT queue.enqueue('q', '{}', key => 'a', on_conflict => 'skip', max_attempts => 0);

-- replace: new payload and columns, same id and place.
SELECT queue.enqueue('q', '{"n": 4, "y": 1}', key => 'a', on_conflict => 'replace', priority => 1, delay => '1 hour',
                     correlation_id => 'c') = :first AS same;
SELECT state, priority, run_at IS NULL AS now, key, n, note, payload, correlation_id FROM q ORDER BY id;

-- merge: payload || new payload, and the columns that are not null.
SELECT queue.enqueue('q', '{"note": "n", "z": 1}', key => 'a', on_conflict => 'merge') = :first AS same;
SELECT queue.enqueue('q', '{"y": 2}', key => 'a', on_conflict => 'merge') = :first AS same;
SELECT key, n, note, payload FROM q ORDER BY id;

-- A merged payload is not larger than another may be.
SELECT queue.create_queue('big');
SET queue_ext.max_payload = '1kB';
SELECT queue.enqueue('big', jsonb_build_object('a', repeat('x', 600)), key => 'a', on_conflict => 'merge') > 0;
SELECT queue.enqueue('big', jsonb_build_object('b', repeat('x', 600)), key => 'a', on_conflict => 'merge') > 0;
SELECT queue.enqueue('big', jsonb_build_object('a', 1), key => 'a', on_conflict => 'merge') > 0;
SELECT payload FROM big;
RESET queue_ext.max_payload;
SELECT queue.drop_queue('big');

-- debounce: new payload and time.
SELECT queue.enqueue('q', '{"n": 5}', key => 'a', on_conflict => 'debounce', run_at => '2100-01-01') = :first AS same;
SELECT state, run_at = '2100-01-01' AS later, priority, n, note, payload FROM q WHERE key = 'a';
SELECT queue.enqueue('q', '{"n": 6}', key => 'a', on_conflict => 'debounce', run_at => '2200-01-01') = :first AS same;
SELECT state, run_at = '2200-01-01' AS later, n FROM q WHERE key = 'a';
-- The others find it there, and leave its time.
SELECT queue.enqueue('q', '{"n": 7}', key => 'a', on_conflict => 'replace') = :first AS same;
SELECT queue.enqueue('q', '{"n": 8}', key => 'a', on_conflict => 'skip') = :first AS same;
SELECT state, run_at = '2200-01-01' AS later, n FROM q WHERE key = 'a';
SELECT queue.enqueue('q', '{"n": 9}', key => 'a', on_conflict => 'debounce') = :first AS same;
SELECT state, run_at IS NULL AS now, n FROM q WHERE key = 'a';

-- error
DO $$ BEGIN
    PERFORM queue.enqueue('q', '{"n": 1}', key => 'a', on_conflict => 'error');
EXCEPTION WHEN unique_violation THEN
    RAISE NOTICE '% %', SQLSTATE, regexp_replace(SQLERRM, 'job \d+', 'job #');
END $$;
SELECT queue.enqueue('q', '{"n": 1}', key => 'c', on_conflict => 'error') > :first AS new;
SELECT count(*) FROM q;

-- The queue's option, and an argument instead of it.
SELECT queue.alter_queue('q', on_conflict => 'skip');
SELECT queue.enqueue('q', '{"n": 10}', key => 'a') = :first AS same;
SELECT queue.enqueue('q', '{"n": 11}', key => 'a', on_conflict => 'replace') = :first AS same;
SELECT n FROM q WHERE key = 'a';
SELECT queue.enqueue('q', '{"n": 12}') > :first AS without_key;
SELECT queue.alter_queue('q', on_conflict => 'none');
SELECT queue.enqueue('q', '{"n": 13}', key => 'a') > :first AS only_stored;

-- Of the two priorities the waiting job has the more urgent one, whatever state it waits in; with skip it keeps its own.
SELECT queue.create_queue('urgency', 'n int');
SELECT queue.enqueue('urgency', '{"n": 1}', key => mode, priority => 9, on_conflict => mode) > 0 AS low FROM unnest('{skip,replace,debounce,merge}'::text[]) mode;
SELECT queue.enqueue('urgency', '{"n": 1}', key => 'later', priority => 9, delay => '1 h', on_conflict => 'merge') > 0 AS low;
SELECT id AS one FROM urgency WHERE key = 'skip' \gset
SELECT queue.enqueue('urgency', '{"n": 1}', key => 'blocked', priority => 9, after => ARRAY[:one], on_conflict => 'replace') > 0 AS low;
-- Claims have gone past them at the priority that they are to have.
SELECT count(queue.enqueue('urgency')) FROM generate_series(1, 3);
SELECT n, priority FROM queue.pop_as(NULL::urgency);
SELECT n, priority FROM queue.pop_as(NULL::urgency);
SELECT n, priority FROM queue.pop_as(NULL::urgency);
SELECT queue.enqueue('urgency', '{"n": 0}', priority => 6) > 0 AS ok;
SELECT queue.enqueue('urgency', '{"n": 2}', key => mode, on_conflict => mode) > 0 AS usual FROM unnest('{skip,replace,debounce,merge}'::text[]) mode;
SELECT queue.enqueue('urgency', '{"n": 2}', key => 'later', priority => 3, on_conflict => 'merge') > 0 AS usual;
SELECT queue.enqueue('urgency', '{"n": 2}', key => 'blocked', priority => 4, on_conflict => 'replace') > 0 AS usual;
SELECT key, state, priority, n FROM urgency ORDER BY id;
SELECT queue.enqueue('urgency', '{"n": 3}', key => key, priority => 8, on_conflict => 'merge') = id AS same FROM urgency WHERE key <> 'skip' ORDER BY id;
SELECT key, state, priority, n FROM urgency ORDER BY id;
SELECT key, priority FROM queue.pop('urgency', 10);
SELECT queue.drop_queue('urgency', force => true);

-- Keys are of a queue.
SELECT queue.create_queue('q2', on_conflict => 'skip');
SELECT queue.enqueue('q2', key => 'a'), queue.enqueue('q2', key => 'a'), queue.enqueue('q2', key => 'b');
SELECT queue.drop_queue('q2');
SELECT queue.purge('q') > 0 AS purged;

-- A job that has started does not count: the new one is another. One that waits for its retry does.
SELECT queue.enqueue('q', '{"n": 1}', key => 'a', on_conflict => 'skip') AS first \gset
SELECT n FROM queue.dequeue_as(NULL::q);
SELECT queue.enqueue('q', '{"n": 2}', key => 'a', on_conflict => 'skip') AS second \gset
SELECT :second > :first AS other, queue.enqueue('q', '{"n": 3}', key => 'a', on_conflict => 'skip') = :second AS same;
SELECT queue.ack('q', :first, 1);
SELECT queue.enqueue('q', '{"n": 3}', key => 'a', on_conflict => 'replace') = :second AS same;
SELECT id = :second AS second, n FROM queue.dequeue_as(NULL::q);
SELECT queue.nack('q', :second, 1, 'no', delay => '1 hour');
SELECT queue.enqueue('q', '{"n": 4}', key => 'a', on_conflict => 'replace') = :second AS same;
SELECT state, attempt, n, errors -> 0 ->> 'message' AS error FROM q;
SELECT queue.enqueue('q', '{"n": 5}', key => 'a', on_conflict => 'debounce') = :second AS same;
SELECT state, attempt, run_at IS NULL AS now, n FROM q;
-- One that was popped is done.
SELECT n FROM queue.pop_as(NULL::q);
SELECT queue.enqueue('q', '{"n": 6}', key => 'a', on_conflict => 'skip') > :second AS other;
-- So is one that was cancelled, purged or deleted.
SELECT queue.cancel('q', max(id)) FROM q;
SELECT queue.enqueue('q', '{"n": 7}', key => 'a', on_conflict => 'error') > :second AS other;
SELECT queue.purge('q');
SELECT queue.enqueue('q', '{"n": 8}', key => 'a', on_conflict => 'error') > :second AS other;
DELETE FROM q WHERE n = 8;
SELECT queue.enqueue('q', '{"n": 9}', key => 'a', on_conflict => 'error') > :second AS other;
-- One that is resubmitted waits again.
SELECT queue.cancel('q', max(id)) FROM q;
SELECT max(id) AS third FROM q \gset
SELECT queue.resubmit('q', :third), queue.enqueue('q', '{"n": 10}', key => 'a', on_conflict => 'skip') = :third AS same;

-- In one transaction, and undone with it.
BEGIN;
SELECT queue.enqueue('q', '{"n": 11}', key => 'b', on_conflict => 'replace') AS fourth \gset
SELECT queue.enqueue('q', '{"n": 12}', key => 'b', on_conflict => 'replace') = :fourth AS same;
SAVEPOINT s;
SELECT queue.enqueue('q', '{"n": 13}', key => 'b', on_conflict => 'replace') = :fourth AS same;
SELECT n FROM q WHERE key = 'b';
ROLLBACK TO s;
SELECT n FROM q WHERE key = 'b';
ROLLBACK;
SELECT count(*) FROM q WHERE key = 'b';
-- What is popped in the transaction that enqueued it is done, too.
BEGIN;
SELECT queue.enqueue('q', '{"n": 14}', key => 'b', priority => 0, on_conflict => 'skip') AS fifth \gset
SELECT n FROM queue.pop_as(NULL::q);
SELECT queue.enqueue('q', '{"n": 15}', key => 'b', on_conflict => 'skip') > :fifth AS other;
COMMIT;
SELECT n, key FROM q ORDER BY id;

SELECT queue.drop_queue('q', true);
SELECT count(*) FROM queue.keys WHERE queue NOT IN (SELECT oid FROM pg_class);
