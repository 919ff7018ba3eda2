-- Views show only queues that their reader may select from; the tables behind them are nobody's.
CREATE SCHEMA privileges_views;
GRANT USAGE ON SCHEMA privileges_views TO PUBLIC;
SET search_path = privileges_views;
SELECT queue.create_queue('readable', max_attempts => 1);
SELECT queue.create_queue('hidden', max_attempts => 1);
SELECT queue.create_queue('writable', max_attempts => 1);
GRANT SELECT ON readable TO regress_reader;
GRANT INSERT, DELETE, UPDATE ON writable TO regress_reader;
SELECT count(queue.cancel(q, queue.enqueue(q, '{"secret": true}'))) FROM (VALUES ('readable'::regclass), ('hidden'), ('writable')) v (q);

SET ROLE regress_reader;
SELECT queue, failed FROM queue.overview WHERE queue::text LIKE 'privileges_views.%' OR queue::text IN ('readable', 'hidden', 'writable') ORDER BY queue::text;
SELECT queue, count(*) FROM queue.errors WHERE queue::text IN ('readable', 'hidden', 'writable') GROUP BY 1;
SELECT count(*) FROM queue.activity;
SELECT relname, test.code('TABLE queue.' || relname) FROM pg_class WHERE relnamespace = 'queue'::regnamespace AND relkind IN ('r', 'v', 'S') ORDER BY relname COLLATE "C";
SET ROLE regress_nobody;
SELECT count(*) FROM queue.overview WHERE queue::text IN ('readable', 'hidden', 'writable');
SELECT count(*) FROM queue.errors WHERE queue::text IN ('readable', 'hidden', 'writable');
RESET ROLE;
-- Nothing in the schema is writable by anyone.
SELECT relname, acl.privilege_type FROM pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner))) acl
WHERE relnamespace = 'queue'::regnamespace AND relkind IN ('r', 'v', 'S') AND acl.grantee <> relowner ORDER BY 1, 2;
-- What PUBLIC may call, and that nothing else of the extension is SECURITY DEFINER without a fixed search path.
SELECT string_agg(proname, ' ' ORDER BY proname COLLATE "C") AS not_public FROM pg_proc
WHERE pronamespace = 'queue'::regnamespace AND NOT has_function_privilege('regress_nobody', oid, 'EXECUTE');
SELECT proname FROM pg_proc WHERE pronamespace = 'queue'::regnamespace AND prosecdef
AND NOT coalesce(proconfig::text LIKE '%search_path=pg_catalog, pg_temp%', false);
-- No role is made by the extension.
SELECT rolname FROM pg_roles WHERE rolname LIKE '%queue%';

-- Row security: each sees, takes and acks only the rows its policies show, and puts only what they allow.
SELECT queue.create_queue('shared', 'tenant text');
GRANT SELECT, INSERT, DELETE, UPDATE ON shared TO regress_taker, regress_reader;
ALTER TABLE shared ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON shared USING (tenant = current_user) WITH CHECK (tenant = current_user);
INSERT INTO shared (tenant) VALUES ('regress_taker'), ('regress_reader'), ('regress_reader'), ('regress_nobody');
SELECT queue.enqueue('shared', '{"tenant": "regress_reader"}', delay => '1 h') IS NOT NULL AS ok;
SET ROLE regress_taker;
SELECT tenant FROM privileges_views.shared;
SELECT payload FROM queue.dequeue('privileges_views.shared', 10);
SELECT payload FROM queue.pop('privileges_views.shared', 10);
SELECT tenant FROM queue.pop_as(NULL::privileges_views.shared, 10);
SELECT sqlstate, message FROM test.fails($$SELECT queue.enqueue('privileges_views.shared', '{"tenant": "regress_reader"}')$$);
SELECT queue.enqueue('privileges_views.shared', '{"tenant": "regress_taker"}') IS NOT NULL AS ok;
SELECT payload FROM queue.pop('privileges_views.shared', 10);
SET ROLE regress_reader;
SELECT id AS theirs FROM queue.dequeue('privileges_views.shared', 1) \gset
SET ROLE regress_taker;
SELECT queue.extend_lease('privileges_views.shared', :theirs, 1, '1 day') AS extend, queue.status('privileges_views.shared', :theirs), queue.result('privileges_views.shared', :theirs);
BEGIN;
SELECT count(*) AS ack_many FROM queue.ack_many('privileges_views.shared', ARRAY[:theirs], '{1}');
ROLLBACK;
BEGIN;
SELECT queue.ack('privileges_views.shared', :theirs, 1);
ROLLBACK;
BEGIN;
SELECT queue.nack('privileges_views.shared', :theirs, 1);
ROLLBACK;
BEGIN;
SELECT queue.snooze('privileges_views.shared', :theirs, 1, '1 h');
ROLLBACK;
SELECT ready, running, scheduled FROM queue.overview WHERE queue = 'privileges_views.shared'::regclass;
RESET ROLE;
SELECT state, tenant, attempt FROM shared ORDER BY id;
SET ROLE regress_reader;
SELECT queue.ack('privileges_views.shared', :theirs, 1);
RESET ROLE;
-- An expired lease of another's is not handed over either.
SET ROLE regress_reader;
SELECT count(*) FROM queue.dequeue('privileges_views.shared', 1, '1 microsecond');
SET ROLE regress_taker;
SELECT count(*) FROM queue.dequeue('privileges_views.shared', 10);
SET ROLE regress_reader;
SELECT tenant, attempt FROM queue.dequeue_as(NULL::privileges_views.shared, 10);
RESET ROLE;
-- Where row security applies to the reader the views show no rows and no counts: policies would have to
-- run with the reader's rights, and so would whatever else the owner put on the table.
SELECT count(queue.cancel('shared', id)) FROM shared;
SELECT count(*) FROM queue.errors WHERE queue = 'shared'::regclass;
SET ROLE regress_taker;
SELECT count(*) FROM queue.errors WHERE queue = 'privileges_views.shared'::regclass;
RESET ROLE;
