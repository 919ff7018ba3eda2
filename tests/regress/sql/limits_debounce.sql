-- A job that waits because of its key or group is put off meanwhile: it waits for its time, too.
CREATE SCHEMA limits_debounce;
SET search_path = limits_debounce;
CREATE FUNCTION jobs(queue regclass) RETURNS TABLE (n int, state text, early boolean) LANGUAGE plpgsql AS
    $$ BEGIN RETURN QUERY EXECUTE format('SELECT n, state, run_at > now() FROM %s ORDER BY n', queue); END $$;

SELECT queue.create_queue('q', 'n int', max_running_per_key => 1);
SELECT queue.enqueue('q', '{"n": 1}', key => 'a', on_conflict => 'debounce');
SELECT n FROM queue.dequeue_as(NULL::q, 1);
SELECT queue.enqueue('q', '{"n": 2}', key => 'a', on_conflict => 'debounce');
SELECT n FROM queue.dequeue_as(NULL::q, 1);
SELECT queue.enqueue('q', '{"n": 3}', key => 'a', on_conflict => 'debounce', delay => '1 hour');
SELECT * FROM jobs('q');
-- The end of the first brings it back, by itself
SELECT queue.ack('q', 1, 1);
SELECT * FROM jobs('q');
SELECT n FROM queue.dequeue_as(NULL::q, 10);
UPDATE q SET run_at = now() WHERE state = 'scheduled';
SELECT n FROM queue.dequeue_as(NULL::q, 10);
-- or the end of the limit.
SELECT queue.enqueue('q', '{"n": 4}', key => 'a', on_conflict => 'debounce');
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT queue.enqueue('q', '{"n": 5}', key => 'a', on_conflict => 'debounce', delay => '1 hour');
SELECT * FROM jobs('q');
SELECT queue.alter_queue('q', max_running_per_key => 0);
SELECT n FROM queue.dequeue_as(NULL::q, 10);
SELECT * FROM jobs('q');

-- In a group: the next one does not wait for it.
SELECT queue.create_queue('g', 'n int', on_conflict => 'debounce');
INSERT INTO g (n, group_key, key) SELECT n, 'x', 'key ' || n FROM generate_series(1, 400) n;
SELECT n FROM queue.dequeue_as(NULL::g, 1);
SELECT n FROM queue.dequeue_as(NULL::g, 1);
SELECT queue.enqueue('g', '{"n": 2}', key => 'key 2', delay => '1 hour');
SELECT * FROM jobs('g') LIMIT 3;
SELECT queue.ack('g', 1, 1);
SELECT * FROM jobs('g') LIMIT 2;
SELECT n FROM queue.dequeue_as(NULL::g, 1);
SELECT * FROM jobs('g') LIMIT 3;
SELECT queue.drop_queue('q', true), queue.drop_queue('g', true);
DROP SCHEMA limits_debounce CASCADE;
