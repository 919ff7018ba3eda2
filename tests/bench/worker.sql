-- Each procedure gives back one over the seconds it took.
CREATE FUNCTION noop(job mail) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION noop_many(jobs mail[]) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION noop_hand(job hand) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION noop_many_hand(jobs hand[]) RETURNS void LANGUAGE sql AS 'SELECT';

CREATE FUNCTION pop_by_hand() RETURNS SETOF hand LANGUAGE sql AS $$
    DELETE FROM hand h USING (SELECT ctid FROM hand WHERE state = 'ready' ORDER BY priority, id
        FOR UPDATE SKIP LOCKED LIMIT 100) next WHERE h.ctid = next.ctid RETURNING h.*
$$;

CREATE PROCEDURE work_by_hand(INOUT rate float8) LANGUAGE plpgsql AS $$
DECLARE
    began timestamptz := clock_timestamp();
BEGIN
    LOOP
        PERFORM noop_hand(job) FROM pop_by_hand() job;
        EXIT WHEN NOT FOUND;
        COMMIT;
    END LOOP;
    rate := 1 / extract(epoch FROM clock_timestamp() - began);
END $$;

CREATE PROCEDURE work_many_by_hand(INOUT rate float8) LANGUAGE plpgsql AS $$
DECLARE
    began timestamptz := clock_timestamp();
    jobs hand[];
BEGIN
    LOOP
        SELECT array_agg(job) INTO jobs FROM pop_by_hand() job;
        EXIT WHEN jobs IS NULL;
        PERFORM noop_many_hand(jobs);
        COMMIT;
    END LOOP;
    rate := 1 / extract(epoch FROM clock_timestamp() - began);
END $$;

CREATE PROCEDURE drain_by_worker(INOUT rate float8) LANGUAGE plpgsql AS $$
DECLARE
    began timestamptz := clock_timestamp();
BEGIN
    PERFORM queue.resume('mail');
    COMMIT;
    WHILE EXISTS (SELECT FROM mail) LOOP
        IF clock_timestamp() > began + interval '30 s' THEN
            RAISE 'not drained: %', (SELECT o FROM queue.overview o WHERE o.queue = 'mail'::regclass);
        END IF;
        COMMIT;
        PERFORM pg_sleep(0.005);
    END LOOP;
    rate := 1 / extract(epoch FROM clock_timestamp() - began);
END $$;
