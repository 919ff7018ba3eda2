-- Jobs of a group that wait for their key stay where they are until it has room: claims do not take them up again and again.
CREATE SCHEMA limits_gate;
SET search_path = limits_gate;
CREATE FUNCTION states(queue regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE found text;
BEGIN
    EXECUTE format('SELECT string_agg(state || '' '' || numbers, '', '' ORDER BY state) FROM
        (SELECT state, string_agg(n::text, '' '' ORDER BY n) AS numbers FROM %s GROUP BY state) s', queue) INTO found;
    RETURN found;
END $$;

SELECT queue.create_queue('q', 'n int', max_running_per_key => 1);
-- Versions of rows that were put aside.
CREATE TABLE put_aside (n int);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO limits_gate.put_aside VALUES (NEW.n); RETURN NEW; END $$;
CREATE TRIGGER note AFTER INSERT ON q_blocked FOR EACH ROW EXECUTE FUNCTION note();
CREATE FUNCTION moves() RETURNS text LANGUAGE sql AS $$
    WITH gone AS (DELETE FROM limits_gate.put_aside RETURNING n), c AS (SELECT n, count(*) FROM gone GROUP BY n)
    SELECT string_agg(n || CASE WHEN count > 1 THEN ' x ' || count ELSE '' END, ', ' ORDER BY n) FROM c $$;

-- The key is taken, and the group has more jobs of it than a claim takes.
INSERT INTO q (n, key, group_key) VALUES (0, 'a', NULL);
INSERT INTO q (n, key, group_key) SELECT n, 'a', 'g' FROM generate_series(1, 12) n;
SELECT n FROM queue.dequeue_as(NULL::q, 1);
SELECT n FROM queue.pop_as(NULL::q, 5);
SELECT moves(), states('q');
SELECT n FROM queue.pop_as(NULL::q, 5);
SELECT n FROM queue.dequeue_as(NULL::q, 5);
SELECT moves(), states('q');
-- Nor does a worker.
CREATE FUNCTION work(job q) RETURNS void LANGUAGE sql AS '';
SELECT queue.register_processor('q', 'work(q)', batch_size => 5);
CALL queue.run('q');
SELECT moves(), states('q');
-- The first of the group may start, the second may not: the first does.
INSERT INTO q (n, key, group_key) VALUES (21, 'a', 'h'), (22, 'a', 'h');
SELECT n FROM queue.pop_as(NULL::q, 5);
SELECT moves(), states('q');
-- The key has room again.
SELECT queue.ack('q', 1, 1);
CALL queue.run('q');
DO $$ BEGIN
    FOR i IN 1..3000 LOOP
        CALL queue.run('limits_gate.q');
        COMMIT;
        EXIT WHEN NOT EXISTS (SELECT FROM limits_gate.q);
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT states('q');
SELECT queue.drop_queue('q', true);

-- A group whose jobs are of several keys.
SELECT queue.create_queue('m', 'n int', max_running_per_key => 1);
CREATE FUNCTION work(job m) RETURNS void LANGUAGE sql AS '';
SELECT queue.register_processor('m', 'work(m)', batch_size => 5);
INSERT INTO m (n, key, group_key) VALUES (0, 'a', NULL), (1, 'b', 'g'), (2, 'a', 'g'), (3, 'b', 'g');
SELECT n FROM queue.dequeue_as(NULL::m, 1);
CALL queue.run('m');
SELECT states('m');
DROP SCHEMA limits_gate CASCADE;
