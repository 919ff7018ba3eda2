-- A hostile search path: functions, operators, types and tables of the names that the extension uses,
-- in a schema searched before pg_catalog. None of them may ever be called by it.
CREATE SCHEMA privileges_path AUTHORIZATION regress_owner;
CREATE SCHEMA privileges_evil;
GRANT USAGE ON SCHEMA privileges_path, privileges_evil TO PUBLIC;

-- A trap, which says so, for each function of pg_catalog with these names, and each operator, of the same argument types.
DO $$
DECLARE
    f record;
    body constant text := 'BEGIN RAISE WARNING USING MESSAGE = %L; RETURN NULL; END';
BEGIN
    FOR f IN SELECT DISTINCT ON (proname, arguments) proname, arguments, result FROM (
                 SELECT proname, pg_catalog.pg_get_function_identity_arguments(oid) AS arguments, prorettype::regtype AS result FROM pg_proc
                 WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND NOT proretset AND provariadic = 0
                 AND proname IN ('now', 'clock_timestamp', 'statement_timestamp', 'random', 'to_jsonb', 'jsonb_typeof', 'format', 'quote_ident', 'quote_literal', 'to_regclass',
                                 'nextval', 'currval', 'pg_get_expr', 'format_type', 'has_table_privilege', 'has_function_privilege', 'row_security_active', 'row_to_json',
                                 'array_length', 'cardinality', 'array_append', 'jsonb_array_length', 'text', 'int4', 'int8', 'interval', 'timestamptz',
                                 'pg_has_role', 'current_setting', 'set_config', 'pg_sequence_last_value', 'least', 'lower', 'length', 'starts_with', 'left', 'power', 'ln')
                 AND NOT proargtypes::oid[] && ARRAY['"any"'::regtype::oid, 'internal'::regtype::oid, 'cstring'::regtype::oid]) s
    LOOP
        EXECUTE pg_catalog.format('CREATE FUNCTION privileges_evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.proname, f.arguments, f.result, pg_catalog.format(body, f.proname));
    END LOOP;
    FOR f IN SELECT oprname, oprleft::regtype AS l, oprright::regtype AS r, oprresult::regtype AS result, pg_catalog.row_number() OVER () AS n FROM pg_operator
             WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprkind = 'b' AND oprname IN ('=', '<>', '<', '>', '<=', '>=', '+', '-', '*', '||', '?', '->', '->>')
             AND oprleft IN (SELECT unnest('{int2,int4,int8,text,name,"char",oid,jsonb,timestamptz,interval,bool,float8,regclass,anyarray,numeric}'::regtype[]))
             AND oprright IN (SELECT unnest('{int2,int4,int8,text,name,"char",oid,jsonb,timestamptz,interval,bool,float8,regclass,anyarray,numeric}'::regtype[]))
    LOOP
        EXECUTE pg_catalog.format('CREATE FUNCTION privileges_evil.op_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L', f.n, f.l, f.r, f.result, pg_catalog.format(body, f.oprname || ' ' || f.l || ' ' || f.r));
        EXECUTE pg_catalog.format('CREATE OPERATOR privileges_evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = privileges_evil.op_%s)', f.oprname, f.l, f.r, f.n);
    END LOOP;
END $$;
SELECT count(*) > 100 AS many_traps FROM pg_proc WHERE pronamespace = 'privileges_evil'::regnamespace;
CREATE TABLE privileges_evil.pg_class (oid oid, relname name);
CREATE TABLE privileges_evil.queues (queue regclass);
CREATE TABLE privileges_evil.processors (queue regclass);
CREATE TABLE privileges_evil.q (id bigint);
CREATE DOMAIN privileges_evil.jsonb AS text;
CREATE DOMAIN privileges_evil.text AS varchar;
CREATE DOMAIN privileges_evil.timestamptz AS date;
CREATE DOMAIN privileges_evil.int8 AS int4;
-- The traps do catch.
SET search_path = privileges_evil, pg_catalog;
SELECT 1 = 1;
SELECT now();

-- Everything once, as the owner.
SET ROLE regress_owner;
SELECT queue.create_queue('privileges_path.q', 'who pg_catalog.text, n pg_catalog.int4 DEFAULT 4', keep_done => '1 day', max_attempts => 2, backoff => '0');
CREATE FUNCTION privileges_path.work(job privileges_path.q) RETURNS pg_catalog.int4 LANGUAGE plpgsql SET search_path = pg_catalog AS
    'BEGIN IF job.who LIKE ''bad%'' THEN RAISE EXCEPTION ''bad''; END IF; RETURN job.n; END';
CREATE TABLE privileges_path.source (id pg_catalog.int4 PRIMARY KEY, email pg_catalog.text);
SELECT queue.alter_queue('privileges_path.q', lease => '1 min');
SELECT queue.attach('privileges_path.source', 'privileges_path.q', set => '{"who": "coalesce(new.email, old.email)"}', condition => 'coalesce(new.id, old.id) > 0', key => 'new.id', columns => '{email}');
INSERT INTO privileges_path.source VALUES (1, 'a'), (2, 'b');
UPDATE privileges_path.source SET email = 'bad';
DELETE FROM privileges_path.source;
INSERT INTO privileges_path.q (who, run_at) VALUES ('insert', NULL), ('later', '2100-01-01');
SELECT queue.enqueue('privileges_path.q', '{"who": "w", "more": 1}', priority => 1, key => 'k') IS NULL;
SELECT queue.enqueue('privileges_path.q', '{"who": "w"}', delay => '1 microsecond') IS NULL;
SELECT queue.enqueue_many('privileges_path.q', '{"{\"n\": 5}","{\"who\": \"x\"}"}', delay => '1 h') IS NULL;
SELECT id IS NULL FROM queue.pop('privileges_path.q', 2);
SELECT id IS NULL FROM queue.pop_as(NULL::privileges_path.q);
SELECT id AS id1 FROM queue.dequeue('privileges_path.q', 1) \gset
SELECT id AS id2 FROM queue.dequeue_as(NULL::privileges_path.q, 1, '1 min') \gset
SELECT queue.extend_lease('privileges_path.q', :id1, 1), queue.snooze('privileges_path.q', :id1, 1, '1 s'), queue.nack('privileges_path.q', :id2, 1, 'no');
SELECT id AS id3, attempt FROM queue.dequeue('privileges_path.q', 1) \gset
SELECT queue.ack('privileges_path.q', :id3, :attempt), queue.status('privileges_path.q', :id3), queue.result('privileges_path.q', :id3);
SELECT count(*) IS NULL FROM queue.ack_many('privileges_path.q', '{1}', '{1}');
SELECT count(*) IS NULL FROM queue.dequeue('privileges_path.q', 1, '1 microsecond');
SELECT queue.register_processor('privileges_path.q', 'privileges_path.work(privileges_path.q)');
SET SESSION AUTHORIZATION regress_owner;
CALL queue.run('privileges_path.q');
RESET SESSION AUTHORIZATION;
CALL queue.wait('privileges_path.q', '1 ms');
SET ROLE regress_owner;
SELECT count(*) IS NULL FROM queue.errors;
SELECT count(*) IS NULL FROM queue.overview;
SELECT count(*) IS NULL FROM queue.activity;
SELECT queue.resubmit_all('privileges_path.q', 'pg_catalog.starts_with(who, ''b'')') IS NULL;
SELECT queue.cancel('privileges_path.q', 1), queue.resubmit('privileges_path.q', 1);
SELECT queue.pause('privileges_path.q');
SELECT queue.resume('privileges_path.q');
SELECT queue.purge('privileges_path.q', '{ready,scheduled,failed,done}') IS NULL;
SELECT queue.detach('privileges_path.source', 'privileges_path.q');
SELECT queue.unregister_processor('privileges_path.q');
DROP FUNCTION privileges_path.work;
SELECT queue.drop_queue('privileges_path.q', true);
RESET ROLE;
RESET search_path;
DROP TABLE privileges_path.source;
