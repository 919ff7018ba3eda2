-- The queue of queue_ext, and beside it the one by hand: the same columns in one table, one partial index.
CREATE EXTENSION queue_ext;
SELECT queue.create_queue('mail', 'recipient text NOT NULL, subject text');

CREATE TABLE hand (
    id bigint GENERATED ALWAYS AS IDENTITY, state text NOT NULL DEFAULT 'ready',
    priority int NOT NULL DEFAULT 5, run_at timestamptz, attempt int NOT NULL DEFAULT 0, max_attempts int,
    key text, group_key text, payload jsonb NOT NULL DEFAULT '{}',
    enqueued_at timestamptz NOT NULL DEFAULT now(), lease_until timestamptz,
    recipient text NOT NULL, subject text);
CREATE INDEX hand_ready ON hand (priority, id) WHERE state = 'ready';

-- A lease ends by id, which needs an index on it.
CREATE TABLE hand_leased (LIKE hand INCLUDING ALL);
ALTER TABLE hand_leased ADD PRIMARY KEY (id);

-- n waiting jobs in either, of so many priorities, after the same vacuum.
CREATE PROCEDURE fill(queue regclass, n int, priorities int DEFAULT 1) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('TRUNCATE %s', queue);
    EXECUTE format('INSERT INTO %s (recipient, subject, priority)
                    SELECT ''someone'' || i || ''@example.org'', ''Your order number '' || i, (5 + i %% %s) %% 10
                    FROM generate_series(1, %s) i', queue, priorities, n);
END $$;

-- What a worker runs to do nothing.
CREATE FUNCTION noop(job mail) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION noop_many(jobs mail[]) RETURNS void LANGUAGE sql AS 'SELECT';

-- Gives back one over the seconds that a worker takes. The job that goes last is looked at by its place: anything else
-- would read over all that is done already, beside the worker.
CREATE PROCEDURE drain_by_worker(INOUT rate float8) LANGUAGE plpgsql AS $$
DECLARE
    last tid := (SELECT ctid FROM mail WHERE state = 'ready' ORDER BY priority DESC, id DESC LIMIT 1);
    began timestamptz := clock_timestamp();
BEGIN
    PERFORM queue.resume('mail');
    COMMIT;
    WHILE EXISTS (SELECT FROM mail WHERE state = 'ready' AND ctid = last) LOOP
        IF clock_timestamp() > began + interval '30 s' THEN
            RAISE 'not drained: %', (SELECT o FROM queue.overview o WHERE o.queue = 'mail'::regclass);
        END IF;
        COMMIT;
        PERFORM pg_sleep(0.002);
    END LOOP;
    rate := 1 / extract(epoch FROM clock_timestamp() - began);
    COMMIT;
    IF EXISTS (SELECT FROM mail) THEN
        RAISE 'not all of it is done';
    END IF;
END $$;
