-- A queue that serves daily work, attached to a table that is re-synced meanwhile.
SELECT queue.create_queue('daily', 'sent timestamptz, n int');
CREATE TABLE started_daily (sent timestamptz, started timestamptz, beside boolean);
CREATE TABLE is_beside AS SELECT false AS beside;
CREATE FUNCTION note_daily(job daily) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF job.sent IS NOT NULL THEN
        INSERT INTO started_daily SELECT job.sent, clock_timestamp(), beside FROM is_beside;
    END IF;
END $$;
SELECT queue.register_processor('daily', 'note_daily(daily)');

CREATE TABLE synced (n int PRIMARY KEY);
INSERT INTO synced SELECT generate_series(1, 1000000);
SELECT queue.attach('synced', 'daily', set => '{"n": "new.n"}');
VACUUM ANALYZE synced;
