-- Errors that come only at COMMIT are the job's errors like any other, and cost that job alone.
CREATE SCHEMA process_commit;
SET search_path = process_commit;
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
INSERT INTO parent VALUES (1);
SELECT queue.create_queue('q', 'id_ int, parent int', max_attempts => 2, backoff => '1 h');
CREATE FUNCTION work(job q) RETURNS void LANGUAGE sql AS 'INSERT INTO process_commit.child VALUES (job.id_, job.parent)';
SELECT queue.register_processor('q', 'work(q)');
INSERT INTO q (id_, parent) SELECT i, CASE WHEN i % 7 = 0 THEN 99 ELSE 1 END FROM generate_series(1, 20) i;
CALL queue.run('q');
SELECT count(*) FROM child;
SELECT state, id_, attempt FROM q ORDER BY id;
UPDATE q SET run_at = now() - interval '1 s';
CALL queue.run('q');
SELECT state, id_, attempt FROM q ORDER BY id;
SELECT sqlstate, message, detail, context, attempt FROM queue.errors WHERE queue = 'q'::regclass ORDER BY id;
-- Cured, it goes through.
INSERT INTO parent VALUES (99);
SELECT queue.resubmit_all('q');
CALL queue.run('q');
SELECT count(*) FROM child;
SELECT count(*) FROM q;

-- A deferred constraint trigger that raises; a deferred unique constraint between two jobs of one batch:
-- one of them may win.
CREATE TABLE strict (n int);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.n < 0 THEN
        RAISE EXCEPTION 'negative: %', new.n USING DETAIL = 'raised at commit', HINT = 'be positive', ERRCODE = 'QX002';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON strict DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TABLE once (n int UNIQUE DEFERRABLE INITIALLY DEFERRED);
SELECT queue.create_queue('s', 'n int', max_attempts => 1);
CREATE FUNCTION work(jobs s[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO process_commit.strict SELECT n FROM unnest(jobs);
    INSERT INTO process_commit.once SELECT abs(n) FROM unnest(jobs);
$$;
SELECT queue.register_processor('s', 'work(s[])');
INSERT INTO s (n) VALUES (1), (2), (-3), (4), (2), (5);
CALL queue.run('s');
SELECT count(*), count(DISTINCT n) FROM once;
SELECT array_agg(n ORDER BY n) FROM strict;
SELECT sqlstate, message, detail, hint, job ->> 'n' AS n FROM queue.errors WHERE queue = 's'::regclass ORDER BY id;
SELECT state, count(*) FROM s GROUP BY 1;
-- Every job of the batch is bad at commit.
TRUNCATE s;
INSERT INTO s (n) SELECT -i FROM generate_series(1, 50) i;
CALL queue.run('s');
SELECT state, count(*) FROM s GROUP BY 1;
SELECT count(*) FROM strict WHERE n < 0;

-- A job that sets all constraints immediate, or takes and releases locks, changes nothing for the others.
SELECT queue.create_queue('i', 'n int', max_attempts => 1);
CREATE FUNCTION work(job i) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF job.n = 2 THEN
        SET CONSTRAINTS ALL IMMEDIATE;
    END IF;
    INSERT INTO process_commit.strict VALUES (CASE WHEN job.n % 2 = 0 THEN job.n ELSE -job.n END);
END $$;
SELECT queue.register_processor('i', 'work(i)');
TRUNCATE strict;
INSERT INTO i (n) SELECT generate_series(1, 6);
CALL queue.run('i');
SELECT array_agg(n ORDER BY n) FROM strict;
SELECT sqlstate, job ->> 'n' AS n FROM queue.errors WHERE queue = 'i'::regclass ORDER BY id;
