-- Every object of the extension says what it is: anything listed here has no COMMENT.
CREATE FUNCTION pg_temp.undocumented() RETURNS TABLE (kind text, name text) LANGUAGE sql AS $$
    SELECT 'extension', extname::text FROM pg_extension WHERE extname = 'queue_ext' AND obj_description(oid, 'pg_extension') IS NULL
    UNION ALL SELECT 'schema', nspname FROM pg_namespace WHERE nspname = 'queue' AND obj_description(oid, 'pg_namespace') IS NULL
    UNION ALL SELECT 'function', oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'queue'::regnamespace AND obj_description(oid, 'pg_proc') IS NULL
    UNION ALL SELECT 'relation', oid::regclass::text FROM pg_class
              WHERE relnamespace = 'queue'::regnamespace AND relkind IN ('r', 'v', 'm', 'p', 'f') AND obj_description(oid, 'pg_class') IS NULL
    UNION ALL SELECT 'column', attrelid::regclass || '.' || attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
              WHERE relnamespace = 'queue'::regnamespace AND relkind IN ('r', 'v', 'm', 'p', 'f', 'c') AND attnum > 0 AND NOT attisdropped AND col_description(attrelid, attnum) IS NULL
    UNION ALL SELECT 'type', t.oid::regtype::text FROM pg_type t LEFT JOIN pg_class c ON c.oid = typrelid
              WHERE typnamespace = 'queue'::regnamespace AND typcategory <> 'A' AND (c.oid IS NULL OR relkind = 'c') AND obj_description(t.oid, 'pg_type') IS NULL
    UNION ALL SELECT 'event trigger', evtname FROM pg_event_trigger WHERE evtname LIKE 'queue_ext%' AND obj_description(oid, 'pg_event_trigger') IS NULL
$$;
SELECT * FROM pg_temp.undocumented() ORDER BY 1, 2;
-- The list can tell: without its comment an object is on it.
BEGIN;
COMMENT ON FUNCTION queue.enqueue IS NULL;
COMMENT ON COLUMN queue.overview.ready IS NULL;
COMMENT ON TYPE queue.job IS NULL;
SELECT kind, left(name, 20) AS name FROM pg_temp.undocumented() ORDER BY 1, 2;
ROLLBACK;
-- A comment on a function says its errors or its rights where there are any to speak of.
SELECT count(*) > 30 AS functions, min(length(obj_description(oid, 'pg_proc'))) > 20 AS sentences FROM pg_proc WHERE pronamespace = 'queue'::regnamespace;
-- Every member of the extension is in its schema, but for the event trigger.
SELECT pg_describe_object(classid, objid, 0) FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'queue_ext') AND deptype = 'e'
AND (pg_identify_object(classid, objid, 0)).schema IS DISTINCT FROM 'queue' ORDER BY 1;
-- Every setting explains itself, and is under queue_ext. (The first call loads the library, and with it its settings.)
SELECT count(*) = 0 AS loaded FROM queue.activity;
SELECT name FROM pg_settings WHERE name LIKE '%queue\_ext%' AND (name NOT LIKE 'queue\_ext.%' OR coalesce(short_desc, '') = '');
SELECT count(*) > 3 AS settings FROM pg_settings WHERE name LIKE 'queue\_ext.%';
