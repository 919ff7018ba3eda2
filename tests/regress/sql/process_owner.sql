-- A registered function that was made again, as by a restore, runs only if it is of somebody whose code its role runs anyway.
-- Where it does not, what is said is true.
CREATE SCHEMA process_owner;
GRANT USAGE, CREATE ON SCHEMA process_owner TO PUBLIC;
SET search_path = process_owner;
\set VERBOSITY default
SET SESSION AUTHORIZATION regress_owner;
SELECT queue.create_queue('q');
CREATE FUNCTION work(j q) RETURNS int LANGUAGE sql AS 'SELECT 1';
SELECT queue.register_processor('q', 'work(q)');
SELECT queue.enqueue('q') > 0 AS ok;
DROP FUNCTION work;
SELECT problem FROM queue.overview WHERE queue = 'q'::regclass;
CALL queue.run('q');
-- Made again by somebody else, who is not trusted.
SET SESSION AUTHORIZATION regress_writer;
CREATE FUNCTION work(j process_owner.q) RETURNS int LANGUAGE sql AS 'SELECT 2';
SET SESSION AUTHORIZATION regress_owner;
SELECT processor, role, problem FROM queue.overview WHERE queue = 'q'::regclass;
CALL queue.run('q');
SELECT state FROM q;
-- A function of the name for another argument is not it.
RESET SESSION AUTHORIZATION;
ALTER FUNCTION work(q) RENAME TO elsewhere;
SET SESSION AUTHORIZATION regress_writer;
CREATE FUNCTION work(j text) RETURNS int LANGUAGE sql AS 'SELECT 2';
SET SESSION AUTHORIZATION regress_owner;
SELECT processor, problem FROM queue.overview WHERE queue = 'q'::regclass;
RESET SESSION AUTHORIZATION;
ALTER FUNCTION elsewhere(q) RENAME TO work;
-- The remedy, either of the two.
BEGIN;
ALTER FUNCTION work(q) OWNER TO regress_owner;
SELECT processor, problem ~ 'function' AS problem FROM queue.overview WHERE queue = 'q'::regclass;
ROLLBACK;
SET SESSION AUTHORIZATION regress_owner;
SELECT queue.register_processor('q', 'work(q)', replace => true);
SELECT processor, problem ~ 'function' AS problem FROM queue.overview WHERE queue = 'q'::regclass;
-- Once registered it runs whoever owns it.
CALL queue.run('q');
SELECT count(*) FROM q;
-- Made again with a set as result.
RESET SESSION AUTHORIZATION;
DROP FUNCTION work(text), work(q);
SET SESSION AUTHORIZATION regress_owner;
CREATE FUNCTION work(j q) RETURNS SETOF int LANGUAGE sql AS 'SELECT 1';
SELECT processor, problem FROM queue.overview WHERE queue = 'q'::regclass;
CALL queue.run('q');
-- The role itself is gone.
RESET SESSION AUTHORIZATION;
CREATE ROLE regress_gone LOGIN SUPERUSER;
DROP FUNCTION work(q);
CREATE FUNCTION work(j q) RETURNS int LANGUAGE sql AS 'SELECT 1';
SET SESSION AUTHORIZATION regress_gone;
SELECT queue.register_processor('q', 'work(q)', replace => true);
RESET SESSION AUTHORIZATION;
DROP ROLE regress_gone;
SELECT processor, problem FROM queue.overview WHERE queue = 'q'::regclass;
SET client_min_messages = warning;
DROP SCHEMA process_owner CASCADE;
