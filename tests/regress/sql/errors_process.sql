-- Bad input to register_processor, unregister_processor, run, and what mends and tells.
CREATE SCHEMA errors_process;
GRANT USAGE, CREATE ON SCHEMA errors_process TO regress_owner, regress_nologin;
SET search_path = errors_process;
\pset format unaligned
\pset tuples_only on
CREATE TABLE "no queue" (i int);
SELECT queue.create_queue('q', 'who text');
SELECT queue.create_queue('other');
CREATE FUNCTION good(job q) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION good(jobs q[]) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION nothing() RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION of_other(job other) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION of_partition(job q_ready) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION of_json(job jsonb) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION of_header(job queue.job) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION of_anything(job anyelement) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION of_record(job record) RETURNS void LANGUAGE plpgsql AS 'BEGIN END';
CREATE FUNCTION two(job q, other int) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION variadic_jobs(VARIADIC jobs q[]) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION out_argument(job q, OUT a int, OUT b int) LANGUAGE sql AS 'SELECT 1, 2';
CREATE FUNCTION many_rows(job q) RETURNS SETOF int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION some_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE PROCEDURE a_procedure(job q) LANGUAGE sql AS '';
CREATE FUNCTION state_func(a int, b q) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE an_aggregate(q) (SFUNC = state_func, STYPE = int);

-- The queue, the function, its arguments.
SELECT t.* FROM (VALUES ('''"no queue"'', ''good(q)'''), ('''q_ready'', ''good(q)'''), ('''nosuch'', ''good(q)'''), ('NULL, ''good(q)'''), ('0, ''good(q)'''),
    ('''q'', NULL'), ('''q'', ''nosuch(q)'''), ('''q'', ''good'''), ('''q'', ''good(q'''), ('''q'', ''good()'''), ('''q'', 0'), ('''q'', ''nothing()'''), ('''q'', ''of_other(other)'''),
    ('''other'', ''good(q)'''), ('''q'', ''of_partition(q_ready)'''), ('''q'', ''of_json(jsonb)'''), ('''q'', ''of_header(queue.job)'''), ('''q'', ''of_anything(anyelement)'''), ('''q'', ''of_record(record)'''),
    ('''q'', ''two(q,int)'''), ('''q'', ''some_trigger()'''), ('''q'', ''a_procedure(q)'''), ('''q'', ''an_aggregate(q)'''), ('''q'', ''many_rows(q)'''),
    ('''q'', ''good(q)'', batch_size => 0'), ('''q'', ''good(q)'', batch_size => -1'), ('''q'', ''good(q)'', batch_size => 10001'), ('''q'', ''good(q)'', batch_size => NULL'),
    ('''q'', ''good(q)'', parallelism => 0'), ('''q'', ''good(q)'', parallelism => -1'), ('''q'', ''good(q)'', parallelism => 65'),
    ('''q'', ''good(q)'', timeout => ''0'''), ('''q'', ''good(q)'', timeout => ''-1 s'''), ('''q'', ''good(q)'', load_balanced => NULL')) v (arguments),
    LATERAL test.tries(format('SELECT queue.register_processor(%s)', arguments)) t;
SELECT count(*) FROM queue.processors WHERE queue IN ('q'::regclass, 'other'::regclass);
-- Twice, unless told to replace; none to remove.
SELECT queue.register_processor('q', 'good(q)');
SELECT * FROM test.tries($$SELECT queue.register_processor('q', 'good(q)')$$, $$SELECT queue.register_processor('q', 'good(q[])', batch_size => 7)$$,
                         $$SELECT queue.unregister_processor('other')$$, $$SELECT queue.unregister_processor('"no queue"')$$, $$SELECT queue.unregister_processor(NULL)$$);
SELECT processor, shape, batch_size FROM queue.processors WHERE queue = 'q'::regclass;
SELECT queue.register_processor('q', 'good(q[])', batch_size => 7, replace => true);
SELECT processor, shape, batch_size FROM queue.processors WHERE queue = 'q'::regclass;
SELECT queue.unregister_processor('q');
SELECT queue.register_processor('q', 'variadic_jobs(q[])');
SELECT queue.register_processor('q', 'out_argument(q)', replace => true);

-- A function that the registering role may not run; a role that may not log in.
SET ROLE regress_owner;
SELECT queue.create_queue('theirs');
RESET ROLE;
CREATE FUNCTION forbidden(job theirs) RETURNS void LANGUAGE sql AS '';
REVOKE ALL ON FUNCTION forbidden FROM PUBLIC;
SET ROLE regress_owner;
SELECT * FROM test.fails($$SELECT queue.register_processor('errors_process.theirs', 'errors_process.forbidden(errors_process.theirs)')$$);
RESET ROLE;
SET ROLE regress_nologin;
SELECT queue.create_queue('nologins');
CREATE FUNCTION works(job nologins) RETURNS void LANGUAGE sql AS '';
SELECT * FROM test.fails($$SELECT queue.register_processor('errors_process.nologins', 'errors_process.works(errors_process.nologins)')$$);
RESET ROLE;
SELECT count(*) FROM queue.processors WHERE queue IN ('theirs'::regclass, 'nologins'::regclass);

-- run.
CALL queue.run('"no queue"');
\echo :LAST_ERROR_SQLSTATE
CALL queue.run('other');
\echo :LAST_ERROR_SQLSTATE
CALL queue.run('q', -1);
\echo :LAST_ERROR_SQLSTATE
BEGIN;
CALL queue.run('q');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
SELECT * FROM test.fails($$CALL queue.run('errors_process.q')$$);
SET SESSION AUTHORIZATION regress_owner;
CALL queue.run('errors_process.q');
\echo :LAST_ERROR_SQLSTATE
RESET SESSION AUTHORIZATION;
SET ROLE regress_owner;
CALL queue.run('errors_process.q');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;

-- status, result, resubmit, resubmit_all, cancel.
SELECT t.* FROM (VALUES ('status(%s, 1)'), ('result(%s, 1)'), ('resubmit(%s, 1)'), ('resubmit_all(%s)'), ('cancel(%s, 1)')) v (call),
    (VALUES ('''"no queue"'''), ('''q_ready'''), ('''nosuch'''), ('NULL'), ('0')) a (argument), LATERAL test.tries('SELECT queue.' || format(call, argument)) t;
SELECT t.* FROM (VALUES ('status(''q'', %s)'), ('result(''q'', %s)'), ('resubmit(''q'', %s)'), ('cancel(''q'', %s)')) v (call),
    (VALUES ('1000'), ('0'), ('-1'), ('NULL')) a (argument), LATERAL test.tries('SELECT queue.' || format(call, argument)) t;
SELECT count(*) FROM q;
