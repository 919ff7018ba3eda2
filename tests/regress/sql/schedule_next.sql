-- next_runs: when a schedule runs, over the changes of the clocks in both directions.
SET timezone = 'UTC';
SELECT * FROM queue.next_runs('*/15 * * * *', after => '2025-01-01 10:07 UTC');
SELECT * FROM queue.next_runs('*/20 * * * * *', after => '2025-01-01 10:07:20 UTC', count => 3);
SELECT * FROM queue.next_runs('30 9 * * MON-FRI', 'europe/berlin', '2025-01-03 12:00 UTC', 2);
SELECT * FROM queue.next_runs('0 0 L * *', 'UTC', '2024-01-31 12:00 UTC', 3);
SELECT * FROM queue.next_runs('@monthly', 'Asia/Kolkata', '2025-01-31 12:00 UTC', 2);
SELECT * FROM queue.next_runs('0 0 29 2 *', after => '2097-01-01 UTC', count => 2);
SELECT count(*) = 5 AS from_now_on, min(r) > now() AS later FROM queue.next_runs('* * * * *') r;
SELECT count(*) FROM queue.next_runs('* * * * *', count => 1000);

-- As the clock on the wall shows them.
CREATE FUNCTION pg_temp.shown(cron text, zone text, after timestamptz, count int DEFAULT 4) RETURNS text LANGUAGE sql SET timezone = 'UTC' AS $$
    SELECT string_agg(to_char(r AT TIME ZONE zone, 'DD HH24:MI') || to_char((r AT TIME ZONE zone) - (r AT TIME ZONE 'UTC'), ' HH24:MI'), ', ' ORDER BY r)
    FROM queue.next_runs(cron, zone, after, count) r
$$;
-- 02:00 is followed by 03:00 of summer time; on Lord Howe Island 02:00 by 02:30.
SELECT cron, zone, pg_temp.shown(cron, zone, after) FROM (VALUES
    ('30 2 * * *', 'Europe/Berlin', '2025-03-29 12:00 UTC'::timestamptz),
    ('*/15 2 * * *', 'Europe/Berlin', '2025-03-29 12:00 UTC'),
    ('0 2,3 * * *', 'Europe/Berlin', '2025-03-29 12:00 UTC'),
    ('*/30 * * * *', 'Europe/Berlin', '2025-03-30 00:10 UTC'),
    ('0 */2 * * *', 'Europe/Berlin', '2025-03-29 22:30 UTC'),
    ('30 2 * * *', 'America/New_York', '2025-03-08 12:00 UTC'),
    ('*/30 * * * *', 'America/New_York', '2025-03-09 06:10 UTC'),
    ('15 2 * * *', 'Australia/Lord_Howe', '2025-10-04 12:00 UTC'),
    ('*/15 * * * *', 'Australia/Lord_Howe', '2025-10-04 15:10 UTC'),
    ('30 2 * * *', 'UTC', '2025-03-29 12:00 UTC')) v (cron, zone, after);
-- 03:00 is followed by 02:00 of winter time; on Lord Howe Island 02:00 by 01:30.
SELECT cron, zone, pg_temp.shown(cron, zone, after) FROM (VALUES
    ('30 2 * * *', 'Europe/Berlin', '2025-10-25 12:00 UTC'::timestamptz),
    ('*/30 1-3 * * *', 'Europe/Berlin', '2025-10-25 23:40 UTC'),
    ('*/30 * * * *', 'Europe/Berlin', '2025-10-25 23:40 UTC'),
    ('0 */2 * * *', 'Europe/Berlin', '2025-10-25 21:30 UTC'),
    ('30 1 * * *', 'America/New_York', '2025-11-01 12:00 UTC'),
    ('*/30 * * * *', 'America/New_York', '2025-11-02 04:40 UTC'),
    ('45 1 * * *', 'Australia/Lord_Howe', '2025-04-05 12:00 UTC'),
    ('*/15 * * * *', 'Australia/Lord_Howe', '2025-04-05 14:40 UTC'),
    ('30 2 * * *', 'UTC', '2025-10-25 12:00 UTC')) v (cron, zone, after);
-- Postgres' own time zones agree: no minute of the year 2025 is lost or comes twice.
SELECT zone, count(*), min(r) = '2025-01-01 UTC' AS first, max(r) - min(r) = interval '365 days' - interval '30 min' AS last,
       count(*) FILTER (WHERE extract(minute FROM r AT TIME ZONE zone) NOT IN (0, 30)) AS odd
FROM (VALUES ('Europe/Berlin'), ('America/New_York'), ('Australia/Lord_Howe')) z (zone), generate_series('2025-01-01 UTC'::timestamptz, '2025-12-31 UTC', '10 days') d,
     LATERAL (SELECT r FROM queue.next_runs('*/30 * * * *', zone, d - interval '1 s', 480) r WHERE r < least(d + interval '10 days', '2026-01-01 UTC')) n
GROUP BY zone ORDER BY zone;
