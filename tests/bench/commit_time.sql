-- A session's pings each carry the commit time of the one before (commit_time.c).
CREATE FUNCTION committed_before() RETURNS timestamptz LANGUAGE c AS :'library', 'committed_before';
