-- attach: whose rights count, and loops.
CREATE SCHEMA attach_rights;
GRANT USAGE, CREATE ON SCHEMA attach_rights TO regress_owner;
GRANT USAGE ON SCHEMA attach_rights TO regress_nobody, regress_writer;
SET search_path = attach_rights;

-- The application needs no privilege on the queue, nor for what the expressions use.
SET ROLE regress_owner;
CREATE TABLE orders (id int PRIMARY KEY, who text);
CREATE TABLE secret (v text);
INSERT INTO secret VALUES ('the owner''s');
SELECT queue.create_queue('q', 'who text, secret text');
SELECT queue.attach('orders', 'q', set => '{"who": "current_user", "secret": "(SELECT v FROM attach_rights.secret)"}', condition => 'coalesce(new.id, old.id) > 0');
GRANT INSERT, UPDATE, DELETE, SELECT ON orders TO regress_nobody;
SET ROLE regress_nobody;
INSERT INTO orders VALUES (1, 'nobody');
UPDATE orders SET id = 2;
DELETE FROM orders;
SELECT test.code('TABLE attach_rights.q'), test.code('SELECT queue.enqueue(''attach_rights.q'')');
RESET ROLE;
SELECT who, secret FROM q;
-- Nor can it make the expressions mean something else by its search path.
CREATE SCHEMA attach_evil;
GRANT USAGE, CREATE ON SCHEMA attach_evil TO regress_nobody;
SET ROLE regress_nobody;
CREATE TABLE attach_evil.trap (what text);
CREATE FUNCTION attach_evil.trip(int, int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN INSERT INTO attach_evil.trap VALUES (current_user); RETURN true; END $$;
CREATE OPERATOR attach_evil.> (LEFTARG = int, RIGHTARG = int, FUNCTION = attach_evil.trip);
CREATE FUNCTION attach_evil.coalesce(int, int) RETURNS int LANGUAGE sql AS 'SELECT 1';
SET search_path = attach_evil, pg_catalog, attach_rights;
INSERT INTO attach_rights.orders VALUES (3, 'evil');
TABLE attach_evil.trap;
RESET ROLE;
SET search_path = attach_rights;
SELECT count(*) FROM q;

-- What the role that attached may not do, the trigger may not do for anyone.
TRUNCATE q;
REVOKE ALL ON secret FROM regress_owner;
ALTER TABLE secret OWNER TO postgres;
SET ROLE regress_nobody;
SELECT sqlstate, message FROM test.fails('INSERT INTO attach_rights.orders VALUES (4)');
RESET ROLE;
SELECT count(*) FROM q;

-- Only the owner of both may attach; the owner of either may detach.
SELECT queue.detach('orders', 'q');
CREATE TABLE theirs (id int);
SET ROLE regress_owner;
SELECT sqlstate, message FROM test.fails($$SELECT queue.attach('attach_rights.theirs', 'attach_rights.q')$$);
RESET ROLE;
SELECT queue.create_queue('mine');
SET ROLE regress_owner;
SELECT sqlstate, message FROM test.fails($$SELECT queue.attach('attach_rights.orders', 'attach_rights.mine')$$);
RESET ROLE;
SELECT queue.attach('orders', 'mine', 'insert');
SET ROLE regress_nobody;
SELECT sqlstate FROM test.fails($$SELECT queue.detach('attach_rights.orders', 'attach_rights.mine')$$);
SET ROLE regress_owner;
SELECT queue.detach('orders', 'mine');
RESET ROLE;
SELECT queue.attach('theirs', 'q', 'insert');
SET ROLE regress_owner;
SELECT queue.detach('theirs', 'q');
RESET ROLE;

-- ignore_own: what the queue's own processor changes does not enqueue again; everything else does.
CREATE TABLE counter (id int PRIMARY KEY, n int NOT NULL);
SELECT queue.create_queue('own');
CREATE FUNCTION touch(job own) RETURNS void LANGUAGE sql AS
    'UPDATE attach_rights.counter SET n = n + 1 WHERE id = (job.payload #>> ''{row,id}'')::int';
SELECT queue.register_processor('own', 'touch(own)');
SELECT queue.attach('counter', 'own', 'insert,update', ignore_own => true);
INSERT INTO counter VALUES (1, 0), (2, 0);
CALL queue.run('own');
SELECT count(*) FROM own;
TABLE counter;
UPDATE counter SET n = 10 WHERE id = 1;
SELECT count(*) FROM own;
CALL queue.run('own');
SELECT * FROM counter ORDER BY id;
-- Another queue's processor is not its own; row level likewise.
SELECT queue.create_queue('other');
CREATE FUNCTION touch_all(jobs other[]) RETURNS void LANGUAGE sql AS 'UPDATE attach_rights.counter SET n = 100';
SELECT queue.register_processor('other', 'touch_all(other[])');
SELECT queue.detach('counter', 'own');
SELECT queue.attach('counter', 'own', 'update', ignore_own => true, level => 'row');
SELECT queue.enqueue('other') IS NOT NULL AS enqueued;
CALL queue.run('other');
SELECT count(*) FROM own;
CALL queue.run('own');
SELECT count(*) FROM own;
-- Without it, a loop would go on: max_jobs bounds it.
SELECT queue.detach('counter', 'own');
SELECT queue.attach('counter', 'own', 'update');
UPDATE counter SET n = 0 WHERE id = 1;
CALL queue.run('own', 5);
SELECT * FROM counter ORDER BY id;
SELECT count(*) FROM own;
SELECT queue.detach('counter', 'own');
SELECT queue.purge('own');
