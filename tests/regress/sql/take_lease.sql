-- nack, snooze, extend_lease, and leases that run out. Nothing here waits: a lease of a microsecond is over
-- when the next statement starts, and what is for later is made due by hand.
CREATE SCHEMA take_lease;
SET search_path = take_lease;
SELECT queue.create_queue('q', 'who text', max_attempts => 3, backoff => '100 s', backoff_factor => 3, backoff_max => '10 min');
CREATE FUNCTION due() RETURNS void LANGUAGE sql AS $$ UPDATE take_lease.q SET run_at = now() - interval '1 ms' WHERE state = 'scheduled' $$;

-- nack: again after the backoff, which grows and is shortened by up to a tenth at random.
SELECT queue.enqueue('q', '{"who": "nacked"}') AS id \gset
SELECT attempt FROM queue.dequeue('q');
SELECT queue.nack('q', :id, 1, 'first failure');
SELECT state, attempt, run_at - clock_timestamp() BETWEEN '80 s' AND '100 s' AS backed_off, lease_until FROM q;
SELECT count(*) FROM queue.dequeue('q');
SELECT queue.nack('q', :id, 1, 'stale');
SELECT due();
SELECT id = :id AS same, attempt, max_attempts FROM queue.dequeue('q');
SELECT queue.ack('q', :id, 1) AS stale_ack, queue.nack('q', :id, 2) AS nacked;
SELECT state, attempt, run_at - clock_timestamp() BETWEEN '260 s' AND '300 s' AS backed_off FROM q;
SELECT due();
-- The last attempt: an error row, with what each attempt said.
SELECT attempt FROM queue.dequeue('q');
SELECT queue.nack('q', :id, 3, 'the last');
SELECT state, attempt, lease_until, finished_at IS NOT NULL AS finished FROM q;
SELECT e ->> 'attempt' AS attempt, e ->> 'message' AS message, e ->> 'sqlstate' AS sqlstate, e ? 'failed_at' AS stamped
FROM q, jsonb_array_elements(errors) WITH ORDINALITY j (e, n) ORDER BY n;
SELECT queue, id = :id AS same, attempt, sqlstate, message, detail, hint, context, failed_at <= now() AS stamped, job ->> 'who' AS who FROM queue.errors WHERE queue = 'q'::regclass;
SELECT queue.nack('q', :id, 3) AS nack, queue.ack('q', :id, 3) AS ack, queue.snooze('q', :id, 3, '1 s') AS snooze, queue.extend_lease('q', :id, 3) AS extend;
-- A delay of one's own, which may be none.
TRUNCATE q;
SELECT queue.enqueue('q', '{"who": "delay"}') AS id \gset
SELECT count(*) FROM queue.dequeue('q');
SELECT queue.nack('q', :id, 1, delay => '1 day');
SELECT state, run_at - clock_timestamp() BETWEEN '23 h' AND '1 day' AS a_day FROM q;
SELECT due();
SELECT count(*) FROM queue.dequeue('q');
SELECT queue.nack('q', :id, 2, 'at once', '0');
SELECT attempt FROM queue.dequeue('q');
-- The backoff is never longer than backoff_max; the job's own max_attempts is what counts.
TRUNCATE q;
SELECT queue.alter_queue('q', backoff_factor => 1000);
SELECT queue.enqueue('q', '{"who": "max"}', max_attempts => 9) AS id \gset
SELECT attempt FROM queue.dequeue('q');
SELECT queue.nack('q', :id, 1);
SELECT due();
SELECT attempt FROM queue.dequeue('q');
SELECT queue.nack('q', :id, 2);
SELECT run_at - clock_timestamp() BETWEEN '8 min' AND '10 min' AS at_most FROM q;

-- snooze: later, and no failure; the old attempt is fenced off.
TRUNCATE q;
SELECT queue.enqueue('q', '{"who": "snoozed"}') AS id \gset
SELECT attempt, max_attempts FROM queue.dequeue('q');
SELECT queue.snooze('q', :id, 1, '1 h');
SELECT state, attempt, max_attempts, run_at - clock_timestamp() BETWEEN '59 min' AND '1 h' AS an_hour, errors FROM q;
SELECT queue.ack('q', :id, 1) AS stale_ack, queue.snooze('q', :id, 1, '1 s') AS stale_snooze;
SELECT due();
SELECT attempt, max_attempts FROM queue.dequeue('q');
SELECT queue.snooze('q', :id, 2, '0');
SELECT attempt, max_attempts FROM queue.dequeue('q');

-- extend_lease: so long after now.
SELECT queue.extend_lease('q', :id, 3, '3 h'), queue.extend_lease('q', :id, 2, '9 h');
SELECT lease_until - clock_timestamp() BETWEEN '2 h 59 min' AND '3 h' AS three_hours FROM q;
SELECT queue.extend_lease('q', :id, 3);
SELECT lease_until - clock_timestamp() BETWEEN '20 s' AND '30 s' AS the_queues_own FROM q;

-- A lease that runs out returns the job, one attempt further; the late ack is stale.
TRUNCATE q;
SELECT queue.enqueue('q', '{"who": "expired"}') AS id \gset
SELECT attempt FROM queue.dequeue('q', 1, '1 microsecond');
SELECT attempt FROM queue.dequeue('q', 1, '1 h');
SELECT queue.ack('q', :id, 1) AS stale, queue.extend_lease('q', :id, 1) AS too_late, queue.nack('q', :id, 1) AS nack, queue.status('q', :id);
SELECT queue.ack('q', :id, 2);
-- So it does for pop, and for a worker; and it counts: after the last attempt it is an error row that says so.
SELECT queue.enqueue('q', '{"who": "popped"}') AS id \gset
SELECT count(*) FROM queue.dequeue('q', 1, '1 microsecond');
SELECT attempt FROM queue.pop('q');
SELECT queue.enqueue('q', '{"who": "lost"}', max_attempts => 2) AS id \gset
SELECT attempt FROM queue.dequeue('q', 1, '1 microsecond');
SELECT attempt FROM queue.dequeue('q', 1, '1 microsecond');
SELECT attempt FROM queue.dequeue('q', 1);
SELECT state, attempt, lease_until, jsonb_array_length(errors) AS errors FROM q;
SELECT attempt, sqlstate, message, hint FROM queue.errors WHERE queue = 'q'::regclass;
-- An expired lease that nobody has noticed yet may still be acked: nobody else has had the job.
SELECT queue.enqueue('q', '{"who": "just in time"}') AS id \gset
SELECT count(*) FROM queue.dequeue('q', 1, '1 microsecond');
SELECT queue.ack('q', :id, 1) OR queue.status('q', :id) = 'ready' AS acked_or_returned;
-- The job keeps its place: priority and id.
TRUNCATE q;
SELECT count(queue.enqueue('q', jsonb_build_object('who', i))) FROM generate_series(1, 3) i;
SELECT count(*) FROM queue.dequeue('q', 1, '1 microsecond');
SELECT payload, attempt FROM queue.dequeue('q', 3);

-- A snoozed job has one attempt more, whatever the queue allows; it can be changed as any other.
SELECT queue.create_queue('sn', 'n int', max_attempts => 10000);
INSERT INTO sn (n) VALUES (1);
SELECT queue.snooze('sn', id, attempt, '1 hour') FROM queue.dequeue('sn');
SELECT queue.run_now('sn', id) FROM sn;
UPDATE sn SET priority = 3;
SELECT state, priority, attempt, max_attempts FROM sn;
UPDATE sn SET max_attempts = 10002;
UPDATE sn SET max_attempts = 0;
SELECT queue.drop_queue('sn', true);

-- What a trigger of the user's raises arrives as it was raised.
\set VERBOSITY terse
SELECT queue.create_queue('refusing', 'n int');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'it stays' USING ERRCODE = 'U0003', CONSTRAINT = 'rule'; END $$;
INSERT INTO refusing (n) VALUES (1), (2);
SELECT count(*) FROM queue.dequeue('refusing', 2);
CREATE TRIGGER refuse BEFORE DELETE ON refusing FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT queue.ack('refusing', 1, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT queue.ack_many('refusing', '{1,2}', '{1,1}');
\echo :LAST_ERROR_SQLSTATE
SELECT queue.nack('refusing', 1, 1);
\echo :LAST_ERROR_SQLSTATE
SELECT queue.snooze('refusing', 1, 1, '1 s');
\echo :LAST_ERROR_SQLSTATE
SELECT queue.drop_queue('refusing', true);
DROP FUNCTION refuse;
