-- A failing head of a group blocks it, or lets it pass.
CREATE SCHEMA groups_failure;
SET search_path = groups_failure;
CREATE FUNCTION put(queue regclass, n int, g text) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN EXECUTE format('INSERT INTO %s (n, group_key) VALUES ($1, $2)', queue) USING n, g; END $$;
CREATE FUNCTION due(queue regclass) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN EXECUTE format('UPDATE %s SET run_at = now() - interval ''1 s'' WHERE state = ''scheduled''', queue); END $$;

-- block, the default.
SELECT queue.create_queue('b', 'n int', max_attempts => 2, backoff => '1 day', backoff_max => '1 day');
SELECT put('b', 1, 'a'), put('b', 2, 'a'), put('b', 3, 'x');
SELECT n FROM queue.dequeue_as(NULL::b, 10);
SELECT queue.ack('b', 3, 1), queue.nack('b', 1, 1, 'no');
SELECT n FROM queue.dequeue_as(NULL::b, 10);
-- Its retry comes first.
SELECT due('b');
SELECT n, attempt FROM queue.dequeue_as(NULL::b, 10);
-- The last attempt: the error row holds the group back, until it is resubmitted and done,
SELECT queue.nack('b', 1, 2, 'no');
SELECT n FROM queue.dequeue_as(NULL::b, 10);
SELECT queue.resubmit('b', 1);
SELECT n, attempt FROM queue.dequeue_as(NULL::b, 10);
SELECT n FROM queue.dequeue_as(NULL::b, 10);
SELECT queue.ack('b', 1, 3);
SELECT n FROM queue.dequeue_as(NULL::b, 10);
SELECT queue.ack('b', 2, 1);
-- or purged,
SELECT put('b', 4, 'a'), put('b', 5, 'a'), put('b', 6, 'a');
SELECT queue.nack('b', id, attempt) FROM queue.dequeue('b', 10);
SELECT due('b');
SELECT queue.nack('b', id, attempt) FROM queue.dequeue('b', 10);
SELECT n FROM queue.dequeue_as(NULL::b, 10);
SELECT queue.purge('b', '{failed}');
SELECT n FROM queue.dequeue_as(NULL::b, 10);
-- or deleted. A cancelled job is an error row, too.
SELECT queue.cancel('b', id) FROM b WHERE n = 5;
SELECT n FROM queue.dequeue_as(NULL::b, 10);
DELETE FROM b WHERE n = 5;
SELECT n FROM queue.dequeue_as(NULL::b, 10);
-- A lease that ran out, and a snoozed job, come back first.
SELECT put('b', 7, 'a');
SELECT queue.extend_lease('b', id, 1, '1 us') FROM b WHERE n = 6;
SELECT n, attempt FROM queue.dequeue_as(NULL::b, 10);
SELECT queue.snooze('b', id, 2, '1 day') FROM b WHERE n = 6;
SELECT n FROM queue.dequeue_as(NULL::b, 10);
SELECT due('b');
SELECT n, attempt FROM queue.dequeue_as(NULL::b, 10);
SELECT queue.ack('b', id, 3) FROM b WHERE n = 6;
SELECT n FROM queue.pop_as(NULL::b, 10);

-- Many behind one that is stuck: the others go on, and all come when it is out of the way.
SELECT count(put('b', n, 'stuck')) FROM generate_series(1, 1500) n;
SELECT put('b', 2000, 'free'), put('b', 2001, NULL);
SELECT queue.cancel('b', min(id)) FROM b;
SELECT n FROM queue.dequeue_as(NULL::b, 10);
SELECT state, count(*) FROM b GROUP BY 1 ORDER BY 1;
SELECT queue.ack('b', id, 1) FROM b WHERE n >= 2000 ORDER BY n;
SELECT n FROM queue.dequeue_as(NULL::b, 10);
DELETE FROM b WHERE state = 'failed';
SELECT min(n), max(n), count(*), bool_and(n = wanted) AS in_order
FROM (SELECT n, row_number() OVER () + 1 AS wanted FROM queue.pop_as(NULL::b, 2000)) p;

-- Changed to continue, they go on at once.
SELECT put('b', 1, 'a'), put('b', 2, 'a');
SELECT queue.cancel('b', id) FROM b WHERE n = 1;
SELECT n FROM queue.dequeue_as(NULL::b, 10);
SELECT queue.alter_queue('b', on_group_failure => 'continue');
SELECT n FROM queue.dequeue_as(NULL::b, 10);
SELECT queue.ack('b', id, 1) FROM b WHERE n = 2;

-- continue: the retry comes in when its time has come, still never two at a time.
SELECT queue.create_queue('c', 'n int', max_attempts => 2, backoff => '1 day', backoff_max => '1 day', on_group_failure => 'continue');
SELECT put('c', 1, 'a'), put('c', 2, 'a'), put('c', 3, 'a'), put('c', 4, 'a');
SELECT n FROM queue.dequeue_as(NULL::c, 10);
SELECT queue.nack('c', 1, 1, 'no');
SELECT n FROM queue.dequeue_as(NULL::c, 10);
SELECT due('c');
SELECT n FROM queue.dequeue_as(NULL::c, 10);
SELECT queue.ack('c', 2, 1);
SELECT n, attempt FROM queue.dequeue_as(NULL::c, 10);
SELECT queue.nack('c', 1, 2, 'no');
SELECT n FROM queue.dequeue_as(NULL::c, 10);
SELECT queue.cancel('c', 3);
SELECT n FROM queue.dequeue_as(NULL::c, 10);

-- In a processor. f(queue): what comes after a failed job of its group is not begun.
CREATE TABLE ran (n int, g text);
SELECT queue.create_queue('w', 'n int, fails boolean', max_attempts => 2, backoff => '1 day', backoff_max => '1 day');
CREATE FUNCTION work(job w) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO groups_failure.ran VALUES (job.n, job.group_key);
    IF job.fails THEN RAISE 'job % fails', job.n; END IF;
END $$;
CREATE FUNCTION work_all(jobs w[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO groups_failure.ran SELECT j.n, j.group_key FROM unnest(jobs) j;
    IF (SELECT bool_or(j.fails) FROM unnest(jobs) j) THEN RAISE 'one fails'; END IF;
END $$;
CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS $$
    TRUNCATE groups_failure.w, groups_failure.ran;
    INSERT INTO groups_failure.w (n, group_key, fails)
    SELECT n, nullif((ARRAY['', 'a', 'b'])[1 + n % 3], ''), n IN (4, 6) FROM generate_series(1, 12) n;
$$;
CREATE FUNCTION shown() RETURNS TABLE (g text, done text, waits text) LANGUAGE sql AS $$
    SELECT coalesce(g, '-'), (SELECT string_agg(n::text, ' ') FROM groups_failure.ran r WHERE r.g IS NOT DISTINCT FROM x.g),
           (SELECT string_agg(n || ':' || state, ' ' ORDER BY n) FROM groups_failure.w w WHERE w.group_key IS NOT DISTINCT FROM x.g)
    FROM (VALUES (NULL), ('a'), ('b')) x (g) ORDER BY 1
$$;
SELECT queue.register_processor('w', 'work(w)');
SELECT fill();
CALL queue.run('w');
SELECT * FROM shown();
UPDATE w SET run_at = now() - interval '1 s', fails = false WHERE state = 'scheduled';
CALL queue.run('w');
SELECT * FROM shown();
-- f(queue[]), where the failing one is found by halving.
SELECT queue.register_processor('w', 'work_all(w[])', replace => true);
SELECT fill();
CALL queue.run('w');
SELECT * FROM shown();
UPDATE w SET run_at = now() - interval '1 s', fails = false WHERE state = 'scheduled';
CALL queue.run('w');
SELECT * FROM shown();
-- continue, with both.
SELECT queue.alter_queue('w', on_group_failure => 'continue');
SELECT fill();
CALL queue.run('w');
SELECT * FROM shown();
SELECT queue.register_processor('w', 'work(w)', replace => true);
SELECT fill();
CALL queue.run('w');
SELECT * FROM shown();

-- A batch that fails when it commits is run again one by one, in order.
SELECT queue.alter_queue('w', on_group_failure => 'block');
CREATE TABLE late (n int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
INSERT INTO late VALUES (5);
CREATE OR REPLACE FUNCTION work(job w) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO groups_failure.ran VALUES (job.n, job.group_key);
    INSERT INTO groups_failure.late VALUES (job.n);
END $$;
TRUNCATE w, ran;
INSERT INTO w (n, group_key) SELECT n, 'a' FROM generate_series(1, 10) n;
CALL queue.run('w');
SELECT * FROM shown();
DELETE FROM late;
UPDATE w SET run_at = now() - interval '1 s' WHERE state = 'scheduled';
CALL queue.run('w');
SELECT * FROM shown();
SELECT queue.drop_queue('b', true), queue.drop_queue('c', true), queue.drop_queue('w', true);
DROP SCHEMA groups_failure CASCADE;
