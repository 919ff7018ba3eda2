-- The log is written beside the queue, and so without WAL.
CREATE UNLOGGED TABLE started_hand (sent timestamptz, started timestamptz);
CREATE UNLOGGED TABLE started_ours (sent timestamptz, started timestamptz);

SELECT queue.create_queue('steady', 'sent timestamptz');
CREATE FUNCTION note(job steady) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.started_ours VALUES (job.sent, clock_timestamp());
END $$;

CREATE TABLE hand_steady (LIKE hand INCLUDING ALL);
ALTER TABLE hand_steady ALTER recipient DROP NOT NULL, ADD sent timestamptz;

-- Looks again after a millisecond where it found nothing.
CREATE PROCEDURE consume_by_hand(seconds int) LANGUAGE plpgsql AS $$
DECLARE
    until_then timestamptz := clock_timestamp() + make_interval(secs => seconds);
BEGIN
    WHILE clock_timestamp() < until_then LOOP
        WITH taken AS (
            DELETE FROM hand_steady h USING (SELECT ctid FROM hand_steady WHERE state = 'ready' ORDER BY priority, id
                FOR UPDATE SKIP LOCKED LIMIT 100) next WHERE h.ctid = next.ctid RETURNING h.sent)
        INSERT INTO started_hand SELECT sent, clock_timestamp() FROM taken;
        IF FOUND THEN
            COMMIT;
        ELSE
            COMMIT;
            PERFORM pg_sleep(0.001);
        END IF;
    END LOOP;
END $$;

-- Of a run of so many seconds, which begins with the first job that was sent: jobs started a second and median
-- milliseconds from sent to started, in the first and in the last window.
CREATE FUNCTION compare_ends(log regclass, seconds int, wide int,
    OUT first_rate float8, OUT last_rate float8, OUT first_median float8, OUT last_median float8) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format($q$
        WITH run AS (SELECT min(sent) AS began FROM %1$s),
        timed AS (SELECT extract(epoch FROM started - began)::float8 AS at, 1000 * extract(epoch FROM started - sent)::float8 AS ms FROM %1$s, run)
        SELECT count(*) FILTER (WHERE at < %3$s)::float8 / %3$s, count(*) FILTER (WHERE at >= %2$s - %3$s AND at < %2$s)::float8 / %3$s,
               percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE at < %3$s),
               percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE at >= %2$s - %3$s AND at < %2$s)
        FROM timed$q$, log, seconds, wide) INTO first_rate, last_rate, first_median, last_median;
END $$;

CREATE FUNCTION by_minute(log regclass) RETURNS TABLE (minute int, jobs bigint, median numeric) LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format($q$
        SELECT floor(extract(epoch FROM started - (SELECT min(sent) FROM %1$s)) / 60)::int + 1, count(*),
               (1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM started - sent)))::numeric
        FROM %1$s GROUP BY 1 ORDER BY 1$q$, log);
END $$;
