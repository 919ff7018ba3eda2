-- enqueue and enqueue_many.
CREATE SCHEMA put_enqueue;
SET search_path = put_enqueue;
SELECT queue.create_queue('plain');
SELECT queue.create_queue('typed', $$
    recipient text NOT NULL, subject text DEFAULT 'none', n int, day date, flags boolean,
    tags text[], extra jsonb, amount numeric(10,2), "Odd Name" int, twice int GENERATED ALWAYS AS (n * 2) STORED
$$);

-- What comes back is the id; without anything else a job is ready, of priority 5, with an empty payload.
SELECT queue.enqueue('plain') AS id \gset
SELECT id = :id AS same_id, state, priority, run_at, attempt, max_attempts, key, group_key, payload,
       enqueued_at <= now() AS stamped, lease_until, errors, result, finished_at FROM plain;
-- Each argument.
SELECT queue.enqueue('plain', '{"a": [1, {"b": null}]}', priority => 0, key => 'k-1', max_attempts => 9) - :id AS next;
SELECT state, priority, max_attempts, key, payload FROM plain ORDER BY id OFFSET 1;

-- For later: scheduled, and not handed out before its time.
TRUNCATE plain;
SELECT queue.enqueue('plain', '{"n": 1}', run_at => '2100-01-01 00:00+00') IS NOT NULL AS ok;
SELECT queue.enqueue('plain', '{"n": 2}', delay => '1 hour') IS NOT NULL AS ok;
SELECT queue.enqueue('plain', '{"n": 3}', run_at => '1999-01-01 00:00+00') IS NOT NULL AS ok;
SELECT queue.enqueue('plain', '{"n": 4}', delay => '0') IS NOT NULL AS ok;
SELECT queue.enqueue('plain', '{"n": 5}', run_at => 'infinity') IS NOT NULL AS ok;
SELECT state, payload, CASE WHEN payload = '{"n": 2}' THEN (run_at - enqueued_at)::text ELSE (run_at AT TIME ZONE 'UTC')::text END AS run_at
FROM plain WHERE payload <> '{"n": 4}' ORDER BY id;
SELECT payload FROM queue.pop('plain', 10);
SELECT state, count(*) FROM plain GROUP BY 1;

-- Lower priority first, then in order of arrival.
TRUNCATE plain;
SELECT count(queue.enqueue('plain', jsonb_build_object('n', n), priority => p))
FROM (VALUES (1, 9), (2, 0), (3, NULL), (4, 0), (5, 5)) v (n, p);
SELECT payload, priority FROM queue.dequeue('plain', 10);

-- Fields named like the queue's own columns fill those, the rest stays payload; what is absent
-- takes the column's default, what is null is null.
SELECT queue.enqueue('typed', '{"recipient": "a@b", "n": "12", "day": "2030-02-28", "flags": true, "tags": ["x", "y z"],
    "extra": {"deep": [1]}, "amount": 12.345, "Odd Name": 3, "rest": {"k": 1}, "more": null}') IS NOT NULL AS ok;
SELECT queue.enqueue('typed', '{"recipient": "c@d", "subject": null, "tags": null, "extra": null}') IS NOT NULL AS ok;
SELECT recipient, subject, n, day, flags, tags, extra, amount, "Odd Name", twice, payload FROM typed ORDER BY id;
-- Fields named like the header's columns are payload like any other: they are no way into the header.
SELECT queue.enqueue('typed', '{"recipient": "e@f", "id": 1, "state": "done", "priority": 0, "attempt": 5, "payload": 1, "run_at": "2100-01-01"}') AS id \gset
SELECT id = :id AS its_own_id, state, priority, attempt, run_at, payload FROM typed WHERE id = :id;
-- What does not fit its column says so, and nothing is written.
SELECT sqlstate, message FROM test.fails($$SELECT queue.enqueue('typed', '{"recipient": "x", "n": "twelve"}')$$);
SELECT sqlstate, message FROM test.fails($$SELECT queue.enqueue('typed', '{"recipient": "x", "day": "2030-02-30"}')$$);
SELECT sqlstate, message FROM test.fails($$SELECT queue.enqueue('typed', '{"recipient": "x", "tags": 1}')$$);
SELECT sqlstate, message FROM test.fails($$SELECT queue.enqueue('typed', '{"recipient": "x", "twice": 1}')$$);
SELECT sqlstate, message FROM test.fails($$SELECT queue.enqueue('typed', '{"subject": "nobody"}')$$);
SELECT count(*) FROM typed;
-- Payloads that are no object stay what they are.
SELECT count(queue.enqueue('plain', p)) FROM (VALUES ('[1, 2]'::jsonb), ('"text"'), ('7'), ('null'), ('true')) v (p);
SELECT payload FROM queue.pop('plain', 10);

-- enqueue_many: one job for each, the ids in the order of the payloads.
TRUNCATE plain;
SELECT array_agg(id - first ORDER BY ord) AS ids
FROM (SELECT id, ord, min(id) OVER () AS first
      FROM queue.enqueue_many('plain', '{"{\"n\": 1}","{\"n\": 2}","{\"n\": 3}"}', priority => 2, key => 'all', max_attempts => 2)
           WITH ORDINALITY o (id, ord)) s;
SELECT payload, priority, key, max_attempts FROM plain ORDER BY id;
SELECT count(*) FROM queue.enqueue_many('plain', '{}');
SELECT count(*) FROM queue.enqueue_many('plain', '{"{\"later\": 1}","{\"later\": 2}"}', delay => '1 day');
SELECT count(*) FROM queue.enqueue_many('plain', ARRAY[]::jsonb[]);
SELECT state, count(*) FROM plain GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM queue.enqueue_many('typed', ARRAY(SELECT jsonb_build_object('recipient', 'r' || i, 'i', i) FROM generate_series(1, 5000) i));
SELECT min(id) < max(id) AS ordered, count(DISTINCT recipient), bool_and(payload ->> 'i' = substr(recipient, 2)) AS folded FROM typed WHERE recipient LIKE 'r%';
SELECT test.code($$SELECT queue.enqueue_many('typed', ARRAY['{"recipient": "a"}', NULL]::jsonb[])$$);

-- In the caller's transaction: seen by it, gone with its rollback, and with a savepoint's.
TRUNCATE plain;
BEGIN;
SELECT queue.enqueue('plain', '{"kept": true}') IS NOT NULL AS ok;
SAVEPOINT s;
SELECT queue.enqueue('plain', '{"kept": false}') IS NOT NULL AS ok;
SELECT count(*) FROM plain;
ROLLBACK TO s;
SELECT payload FROM plain;
COMMIT;
BEGIN;
SELECT queue.enqueue('plain') IS NOT NULL AS ok;
ROLLBACK;
SELECT payload FROM queue.pop('plain', 5);
-- A read-only transaction cannot.
BEGIN READ ONLY;
SELECT queue.enqueue('plain');
ROLLBACK;
\echo :LAST_ERROR_SQLSTATE
