SELECT queue.create_queue('deep', 'recipient text NOT NULL, subject text');
SELECT queue.create_queue('beside', 'recipient text NOT NULL, subject text');

-- 100,000 leased and 100,000 scheduled ones, of none of which the time comes.
CALL fill('beside', 100000);
SELECT count(*) FROM queue.dequeue('beside', 100000, '1 day');
INSERT INTO beside (recipient, subject, run_at)
SELECT 'someone' || i || '@example.org', 'Your order number ' || i, now() + interval '1 day' FROM generate_series(1, 100000) i;

CREATE PROCEDURE refill_beside() LANGUAGE plpgsql AS $$
BEGIN
    TRUNCATE beside_ready;
    INSERT INTO beside (recipient, subject)
    SELECT 'someone' || i || '@example.org', 'Your order number ' || i FROM generate_series(1, 10000) i;
END $$;

-- Jobs a second, each hundred in a transaction of its own; the first ones, which meet an empty cache, do not count.
CREATE PROCEDURE claim_rate(queue regclass, INOUT rate float8) LANGUAGE plpgsql AS $$
DECLARE
    began timestamptz;
BEGIN
    FOR i IN 1..95 LOOP
        IF i = 15 THEN
            began := clock_timestamp();
        END IF;
        IF (SELECT count(*) FROM queue.pop(queue, 100)) <> 100 THEN
            RAISE 'too few jobs';
        END IF;
        COMMIT;
    END LOOP;
    rate := 8100 / extract(epoch FROM clock_timestamp() - began);
END $$;
