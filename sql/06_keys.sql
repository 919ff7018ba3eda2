-- Keys that coalesce, and keys that were done once. Not for direct use. Without a foreign key to queue.queues: its
-- check would have all enqueuers of a queue lock one row. queue.forget_dropped removes what a dropped queue had.
CREATE TABLE queue.keys (
    queue regclass NOT NULL,
    key   text COLLATE "C" NOT NULL,
    id    bigint   NOT NULL,
    once  boolean  NOT NULL,
    PRIMARY KEY (queue, key)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE queue.keys IS 'For each key that coalesces, the newest job with it. A hint: the job may have started or be gone';
COMMENT ON COLUMN queue.keys.queue IS 'The queue';
COMMENT ON COLUMN queue.keys.key IS 'The key, at most 1000 bytes';
COMMENT ON COLUMN queue.keys.id IS 'The job';
COMMENT ON COLUMN queue.keys.once IS 'The job was enqueued with once';

CREATE TABLE queue.done_keys (
    queue      regclass    NOT NULL,
    key        text COLLATE "C" NOT NULL,
    id         bigint      NOT NULL,
    done_until timestamptz NOT NULL,
    PRIMARY KEY (queue, key)
);
CREATE INDEX ON queue.done_keys (queue, done_until);
COMMENT ON TABLE queue.done_keys IS 'Keys of jobs with once that were done';
COMMENT ON COLUMN queue.done_keys.queue IS 'The queue';
COMMENT ON COLUMN queue.done_keys.key IS 'The key';
COMMENT ON COLUMN queue.done_keys.id IS 'The job that was done';
COMMENT ON COLUMN queue.done_keys.done_until IS 'No job with this key and once is accepted until then';

SELECT pg_catalog.pg_extension_config_dump('queue.keys', '');
SELECT pg_catalog.pg_extension_config_dump('queue.done_keys', '');

CREATE FUNCTION queue.forget_key(queue regclass, key text)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'forget_key_wrapper';
COMMENT ON FUNCTION queue.forget_key IS 'Ends the time for which once refuses this key, so that it may be done again. False when it was not refused for having been done. Who: the owner of the queue.';
