-- The schema that holds everything of this extension. User queues live elsewhere: they are the
-- user's tables and never members of the extension, so that pg_dump carries their rows.
CREATE SCHEMA queue;
COMMENT ON SCHEMA queue IS 'queue_ext: job queues inside this database';
