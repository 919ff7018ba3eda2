-- What every job has, whatever the queue's own columns are.
CREATE TYPE queue.job AS (
    id           bigint,
    queue        regclass,
    priority     integer,
    run_at       timestamptz,
    attempt      integer,
    max_attempts integer,
    key          text,
    group_key    text,
    payload      jsonb,
    enqueued_at  timestamptz,
    lease_until  timestamptz,
    correlation_id text,
    topic        text
);
COMMENT ON TYPE queue.job IS 'A job as dequeue and pop return it: the header common to all queues, with the queue''s own typed columns folded into payload';
COMMENT ON COLUMN queue.job.id IS 'Number of the job, unique within its queue';
COMMENT ON COLUMN queue.job.queue IS 'The queue (table) the job is on';
COMMENT ON COLUMN queue.job.priority IS '0 to 9; lower runs first';
COMMENT ON COLUMN queue.job.run_at IS 'Not to be started before this time; null: at once';
COMMENT ON COLUMN queue.job.attempt IS 'The attempt this is, counted from 1; hand it back to ack, nack, snooze and extend_lease';
COMMENT ON COLUMN queue.job.max_attempts IS 'After so many failed attempts the job becomes an error row';
COMMENT ON COLUMN queue.job.key IS 'What the job is about, in the application''s words';
COMMENT ON COLUMN queue.job.group_key IS 'Jobs of a group run one at a time, in the order of their ids; null: in none';
COMMENT ON COLUMN queue.job.payload IS 'The job''s content, typed columns included';
COMMENT ON COLUMN queue.job.enqueued_at IS 'Start of the transaction that enqueued the job';
COMMENT ON COLUMN queue.job.lease_until IS 'The job returns to the queue if it is not acked by then; null for pop';
COMMENT ON COLUMN queue.job.correlation_id IS 'Of the request that the job belongs to; null: none was given';
COMMENT ON COLUMN queue.job.topic IS 'The topic it was published to; null: it was not';
