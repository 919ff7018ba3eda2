-- What is counted of those that a processor of a queue with a rate runs: no job that did not start.
CREATE SCHEMA limits_rate_run;
SET search_path = limits_rate_run;

-- A batch whose commit fails is run one by one, but for those that the failed one holds back.
SELECT queue.create_queue('c', 'n int', rate_limit => 100, rate_interval => '1 hour', max_attempts => 1);
CREATE TABLE checked (n int CONSTRAINT even UNIQUE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO checked VALUES (3);
CREATE FUNCTION work(j c[]) RETURNS void LANGUAGE sql AS 'INSERT INTO limits_rate_run.checked SELECT n FROM unnest($1)';
SELECT queue.register_processor('c', 'work(c[])');
INSERT INTO c (n) VALUES (1);
CALL queue.run('c');
SELECT sum(starts) FROM queue.rates WHERE queue = 'c'::regclass;
-- Two in a batch, and then the one that fails.
INSERT INTO c (n, group_key) VALUES (3, 'g'), (4, 'g');
CALL queue.run('c');
SELECT n, state FROM c ORDER BY n;
SELECT sum(starts) FROM queue.rates WHERE queue = 'c'::regclass;

-- A batch is not larger than what is begun of it.
SELECT queue.create_queue('w', 'n int', rate_limit => 1000, rate_interval => '1 hour');
CREATE FUNCTION work(j w) RETURNS void LANGUAGE sql AS '';
SELECT queue.register_processor('w', 'work(w)', batch_size => 200, load_balanced => false);
INSERT INTO w (n) SELECT generate_series(1, 300);
CALL queue.run('w');
SELECT count(*) FROM w;
SELECT sum(starts) FROM queue.rates WHERE queue = 'w'::regclass;

-- Those over the rate of their key are moved out of the way together.
SELECT queue.create_queue('k', 'n int', rate_limit_per_key => 1, rate_interval => '1 hour');
CREATE FUNCTION work(j k) RETURNS void LANGUAGE sql AS '';
SELECT queue.register_processor('k', 'work(k)');
INSERT INTO k (n, key) SELECT n, 'a' FROM generate_series(1, 200) n;
INSERT INTO k (n, key) VALUES (201, 'b');
CALL queue.run('k');
SELECT count(*), min(n), max(n), count(DISTINCT xmin::text) AS transactions FROM k WHERE state = 'blocked';
SELECT queue.drop_queue('c', true), queue.drop_queue('w', true), queue.drop_queue('k', true);
DROP SCHEMA limits_rate_run CASCADE;
