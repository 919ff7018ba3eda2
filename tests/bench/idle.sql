-- A queue that nobody looks after, and the same with a worker that is at work, and with a session that waits. None of
-- them takes anything off: what is compared is what a commit costs, not what somebody does with it.
SELECT queue.create_queue('quiet', 'n int'), queue.create_queue('worked', 'n int'), queue.create_queue('awaited', 'n int');
SELECT queue.pause('awaited');
CREATE FUNCTION hold(job worked) RETURNS void LANGUAGE sql AS 'SELECT pg_catalog.pg_advisory_xact_lock_shared(7)';
SELECT queue.register_processor('worked', 'hold(worked)', batch_size => 1, load_balanced => false);
CREATE TABLE numbers (n int);

SELECT queue.create_queue('idle_pings', 'sent timestamptz, last_commit timestamptz');
CREATE TABLE started_idle (id bigint, sent timestamptz, last_commit timestamptz, started timestamptz);
CREATE FUNCTION note_idle(job idle_pings) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO started_idle VALUES (job.id, job.sent, job.last_commit, clock_timestamp());
END $$;
SELECT queue.register_processor('idle_pings', 'note_idle(idle_pings)');

CREATE TABLE bound_pings (LIKE idle_pings INCLUDING DEFAULTS INCLUDING IDENTITY);
ALTER TABLE bound_pings ALTER state SET DEFAULT 'ready', ALTER priority SET DEFAULT 5, ALTER attempt SET DEFAULT 1;
CREATE UNIQUE INDEX bound_pings_next ON bound_pings (priority, id);
CREATE TABLE started_bound (LIKE started_idle);
CREATE FUNCTION note_bound(job bound_pings) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO started_bound VALUES (job.id, job.sent, job.last_commit, clock_timestamp());
END $$;

-- Queues with nothing on them.
CREATE PROCEDURE make_idle(n int) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..n LOOP
        PERFORM queue.create_queue('idle_' || i);
        EXECUTE format('CREATE FUNCTION noop(job idle_%s) RETURNS void LANGUAGE sql AS ''SELECT''', i);
        EXECUTE format('SELECT queue.register_processor(''idle_%1$s'', ''noop(idle_%1$s)'')', i);
    END LOOP;
END $$;
