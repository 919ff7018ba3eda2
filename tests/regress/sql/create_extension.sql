-- CREATE EXTENSION and DROP EXTENSION, rolled back and not, in a database of their own.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE DATABASE regress_extension ENCODING 'UTF8' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C';
\c regress_extension
SET client_min_messages = warning;
CREATE VIEW remains AS
    SELECT 'function' AS what, proname::text AS name FROM pg_proc WHERE pronamespace = to_regnamespace('queue')
    UNION ALL SELECT 'schema', nspname FROM pg_namespace WHERE nspname = 'queue'
    UNION ALL SELECT 'event trigger', evtname FROM pg_event_trigger
    UNION ALL SELECT 'trigger', tgname FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT 'library function', proname FROM pg_proc WHERE probin LIKE '%queue_ext%'
    UNION ALL SELECT 'broken dependency', classid::regclass::text FROM pg_depend
              WHERE refclassid = 'pg_extension'::regclass AND NOT EXISTS (SELECT FROM pg_extension WHERE oid = refobjid);

-- Rolled back: as if never created.
BEGIN;
CREATE EXTENSION queue_ext;
SELECT queue.create_queue('q');
SELECT queue.enqueue('q') AS id \gset
ROLLBACK;
SELECT * FROM remains;

CREATE EXTENSION queue_ext;
SELECT queue.stop_workers() IS NOT NULL AS stopped;
SELECT extversion FROM pg_extension WHERE extname = 'queue_ext';
CREATE TABLE source (id int PRIMARY KEY);
SELECT queue.create_queue('mail', 'recipient text');
SELECT queue.attach('source', 'mail', set => '{"recipient": "new.id::text"}', events => 'insert');
CREATE FUNCTION send(job mail) RETURNS void LANGUAGE sql AS '';
SELECT queue.register_processor('mail', 'send(mail)');
INSERT INTO source VALUES (1);
SELECT queue.enqueue('mail', '{"recipient": "x"}', delay => '1 h') AS id \gset

-- Rolled back: everything works on, in this session with its cached plans and in a new one.
BEGIN;
DROP EXTENSION queue_ext;
SELECT count(*) FROM mail;
ROLLBACK;
INSERT INTO source VALUES (2);
SELECT queue.enqueue('mail', '{"recipient": "y"}') > :id AS enqueued;
\c
SELECT state, recipient FROM mail ORDER BY state COLLATE "C", id;
CALL queue.run('mail');
SELECT state, recipient FROM mail ORDER BY id;

-- Dropped without CASCADE: the queue tables stay, as plain tables with their rows; the attached
-- table works on as if nothing had ever been attached.
SET client_min_messages = warning;
DROP EXTENSION queue_ext;
SELECT * FROM remains;
INSERT INTO source VALUES (3);
UPDATE source SET id = id + 10;
INSERT INTO mail (recipient) VALUES ('still a table');
SELECT state, recipient FROM mail ORDER BY id;
SELECT count(*) FROM source;

-- Created again: the old tables are no queues, and are in nobody's way.
CREATE EXTENSION queue_ext;
SELECT queue.enqueue('mail');
\echo :LAST_ERROR_SQLSTATE
SELECT queue.create_queue('mail');
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM queue.overview;
DROP TABLE mail CASCADE;
SELECT queue.create_queue('mail');
SELECT queue.enqueue('mail') AS id \gset
SELECT count(*) FROM queue.pop('mail');

-- Dropped and created in one transaction.
BEGIN;
DROP EXTENSION queue_ext;
CREATE EXTENSION queue_ext;
SELECT queue.create_queue('other');
SELECT queue.enqueue('other') AS id \gset
COMMIT;
SELECT count(*) FROM queue.pop('other');

-- Whoever may not create extensions is refused.
SET ROLE regress_nobody;
DROP EXTENSION queue_ext;
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
DROP EXTENSION queue_ext CASCADE;
CREATE EXTENSION queue_ext SCHEMA public;
\echo :LAST_ERROR_SQLSTATE
\c postgres
DROP DATABASE regress_extension;
