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

-- n waiting jobs in either, after the same vacuum.
CREATE PROCEDURE fill(queue regclass, n int) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('TRUNCATE %s', queue);
    EXECUTE format('INSERT INTO %s (recipient, subject)
                    SELECT ''someone'' || i || ''@example.org'', ''Your order number '' || i FROM generate_series(1, %s) i', queue, n);
END $$;
