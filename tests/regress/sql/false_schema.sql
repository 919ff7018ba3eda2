-- A database without the extension, in which somebody has made what looks like it: an INSERT there is an ordinary one.
\set VERBOSITY terse
SELECT current_database() AS here \gset
CREATE DATABASE regress_without;
\c regress_without
CREATE SCHEMA queue;
CREATE VIEW queue.queues AS SELECT 0::regclass AS queue;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TABLE looks_so (id bigint GENERATED ALWAYS AS IDENTITY, state text DEFAULT 'ready', attempt int DEFAULT 1,
    key text, group_key text, lease_until timestamptz, errors jsonb, result jsonb, finished_at timestamptz,
    once interval, after bigint[], after_failure text, keep_result bool) PARTITION BY LIST (state);
CREATE TABLE looks_so_ready PARTITION OF looks_so FOR VALUES IN ('ready');
CREATE TRIGGER queue_ext_wake AFTER INSERT ON looks_so FOR EACH STATEMENT EXECUTE FUNCTION nothing();
INSERT INTO looks_so DEFAULT VALUES;
DROP VIEW queue.queues;
-- Columns of other types than those of the extension.
CREATE TABLE queue.queues (queue bigint, backoff bigint, on_conflict bigint, max_attempts text);
INSERT INTO queue.queues VALUES ('looks_so'::regclass::oid, 1, 1, 'x');
INSERT INTO looks_so DEFAULT VALUES;
DROP TABLE queue.queues;
CREATE TABLE queue.queues (queue regclass, backoff bigint, on_conflict bigint, max_attempts text);
INSERT INTO queue.queues VALUES ('looks_so', 1, 1, 'x');
INSERT INTO looks_so DEFAULT VALUES;
SELECT id, state FROM looks_so ORDER BY id;
\c :here
DROP DATABASE regress_without;
