-- Text goes through Rust, whose strings are UTF-8.
DO $$
BEGIN
    IF pg_catalog.getdatabaseencoding() <> 'UTF8' THEN
        RAISE EXCEPTION 'queue_ext needs a database with encoding UTF8, not %', pg_catalog.getdatabaseencoding()
            USING ERRCODE = 'feature_not_supported';
    END IF;
END $$;

-- The schema that holds everything of this extension. User queues live elsewhere: they are the
-- user's tables and never members of the extension, so that pg_dump carries their rows.
CREATE SCHEMA queue;
COMMENT ON SCHEMA queue IS 'queue_ext: job queues inside this database';
