-- What the extension remembers about queues. Not for direct use: the functions guard it and the
-- views show it. What is to last is carried by pg_dump; regclass and regrole dump as names.
CREATE TABLE queue.queues (
    queue          regclass PRIMARY KEY,
    max_attempts   integer  NOT NULL CHECK (max_attempts BETWEEN 1 AND 10000),
    backoff        interval NOT NULL CHECK (backoff >= interval '0'),
    backoff_factor float8   NOT NULL CHECK (backoff_factor >= 1),
    backoff_max    interval NOT NULL CHECK (backoff_max >= interval '0'),
    lease          interval NOT NULL CHECK (lease > interval '0'),
    keep_done      interval          CHECK (keep_done >= interval '0'),
    paused         boolean  NOT NULL DEFAULT false,
    keep_failed    interval          CHECK (keep_failed >= interval '0'),
    on_conflict    text              CHECK (on_conflict IN ('skip', 'replace', 'debounce', 'merge', 'error')),
    on_group_failure    text     NOT NULL DEFAULT 'block' CHECK (on_group_failure IN ('block', 'continue')),
    max_running         integer  CHECK (max_running > 0),
    max_running_per_key integer  CHECK (max_running_per_key > 0),
    rate_limit          integer  CHECK (rate_limit > 0),
    rate_limit_per_key  integer  CHECK (rate_limit_per_key > 0),
    rate_interval       interval NOT NULL DEFAULT '1 s' CHECK (rate_interval > interval '0')
);
COMMENT ON TABLE queue.queues IS 'One row for each queue, with its options';
COMMENT ON COLUMN queue.queues.queue IS 'The queue''s table';
COMMENT ON COLUMN queue.queues.max_attempts IS 'Attempts before a job becomes an error row';
COMMENT ON COLUMN queue.queues.backoff IS 'Wait after the first failed attempt';
COMMENT ON COLUMN queue.queues.backoff_factor IS 'Each further wait is so many times the one before';
COMMENT ON COLUMN queue.queues.backoff_max IS 'No wait is longer than this';
COMMENT ON COLUMN queue.queues.lease IS 'How long dequeue lends a job by default';
COMMENT ON COLUMN queue.queues.keep_done IS 'How long finished jobs and their results are kept; null: not at all';
COMMENT ON COLUMN queue.queues.keep_failed IS 'How long error rows are kept; null: until somebody deals with them';
COMMENT ON COLUMN queue.queues.on_conflict IS 'What happens to a job whose key another waiting job has; null: nothing, keys are only stored';
COMMENT ON COLUMN queue.queues.on_group_failure IS 'block: a failed job holds back the others of its group until it is resubmitted or removed; continue: it lets them pass';
COMMENT ON COLUMN queue.queues.max_running IS 'Most jobs of the queue that run at the same time, of those that started under a limit or are leased; null: no limit';
COMMENT ON COLUMN queue.queues.max_running_per_key IS 'Most jobs with the same key that run at the same time, of those that started under such a limit or are leased; null: no limit';
COMMENT ON COLUMN queue.queues.rate_limit IS 'Most jobs of the queue that start within rate_interval; null: no limit';
COMMENT ON COLUMN queue.queues.rate_limit_per_key IS 'Most jobs with the same key that start within rate_interval; null: no limit';
COMMENT ON COLUMN queue.queues.rate_interval IS 'The interval of rate_limit and rate_limit_per_key: no interval of this length has more starts';
COMMENT ON COLUMN queue.queues.paused IS 'Nothing is handed out while true; enqueueing goes on';

-- What refers to a queue in this and the following tables has no foreign key: a dump does not say which of the
-- extension's tables to fill first, and pg_restore -j fills several at once. Instead, whoever writes such a row has the
-- queue's definition locked (Queue::locked), so that nobody drops it meanwhile, and queue.forget_queue deletes them.
CREATE TABLE queue.processors (
    queue         regclass PRIMARY KEY,
    processor     text     NOT NULL,
    processor_oid oid      NOT NULL,
    shape         text     NOT NULL CHECK (shape IN ('job', 'batch')),
    role          regrole  NOT NULL,
    batch_size    integer  NOT NULL CHECK (batch_size BETWEEN 1 AND 10000),
    parallelism   integer  NOT NULL CHECK (parallelism BETWEEN 1 AND 64),
    load_balanced boolean  NOT NULL,
    timeout       interval          CHECK (timeout > interval '0'),
    then_queue    regclass
);
COMMENT ON TABLE queue.processors IS 'Which function works on which queue, and how';
COMMENT ON COLUMN queue.processors.queue IS 'The queue worked on';
COMMENT ON COLUMN queue.processors.processor IS 'Qualified name of the function; text, because pg_upgrade refuses regprocedure in tables';
COMMENT ON COLUMN queue.processors.processor_oid IS 'Its oid when registered: follows a rename, never trusted without a look at the argument type';
COMMENT ON COLUMN queue.processors.shape IS 'job: f(queue) for one job; batch: f(queue[]) for a whole batch';
COMMENT ON COLUMN queue.processors.role IS 'The role that registered it; its workers are connected as this role';
COMMENT ON COLUMN queue.processors.batch_size IS 'Most jobs taken in one transaction';
COMMENT ON COLUMN queue.processors.parallelism IS 'Most workers on this queue at the same time';
COMMENT ON COLUMN queue.processors.load_balanced IS 'Batch size and parallelism follow the load within these bounds';
COMMENT ON COLUMN queue.processors.then_queue IS 'What the function returns becomes jobs of this queue; 0: of one that was dropped, so that the function does not run; null: nothing follows';
COMMENT ON COLUMN queue.processors.timeout IS 'Longest run of one job (of one call for f(queue[])); null: no limit';

CREATE TABLE queue.attachments (
    id           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source       regclass NOT NULL,
    queue        regclass,
    topic        text,
    role         regrole  NOT NULL,
    options      jsonb    NOT NULL,
    UNIQUE (source, queue),
    UNIQUE (source, topic),
    CHECK ((queue IS NULL) <> (topic IS NULL))
);
COMMENT ON TABLE queue.attachments IS 'Which tables feed which queues, or publish to which topics, by trigger';
COMMENT ON COLUMN queue.attachments.id IS 'The argument of the generated triggers, so that tables may be renamed';
COMMENT ON COLUMN queue.attachments.source IS 'The table whose changes are enqueued';
COMMENT ON COLUMN queue.attachments.queue IS 'The queue they are put on; null: published to the topic';
COMMENT ON COLUMN queue.attachments.topic IS 'The topic they are published to; null: put on the queue';
COMMENT ON COLUMN queue.attachments.role IS 'The role that attached it: expressions and the insert run with its rights, whoever changes the source';
COMMENT ON COLUMN queue.attachments.options IS 'The options of attach';

CREATE TABLE queue.crash_marks (
    queue   regclass    NOT NULL REFERENCES queue.queues ON DELETE CASCADE,
    id      bigint      NOT NULL,
    started timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (queue, id)
);
COMMENT ON TABLE queue.crash_marks IS 'A job that runs alone after a crash of the server is marked here first; one that still stands after the next crash is the culprit';
COMMENT ON COLUMN queue.crash_marks.queue IS 'The queue of the marked job';
COMMENT ON COLUMN queue.crash_marks.id IS 'The marked job';
COMMENT ON COLUMN queue.crash_marks.started IS 'When its run started';

-- What rate limits count. Without a foreign key, as queue.keys: all claimers would lock one row.
CREATE TABLE queue.rates (
    queue  regclass    NOT NULL,
    of_key boolean     NOT NULL,
    key    text COLLATE "C" NOT NULL,
    at     timestamptz NOT NULL,
    starts integer     NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
CREATE INDEX ON queue.rates (queue, of_key, key, at);
CREATE INDEX ON queue.rates (queue, at);
COMMENT ON TABLE queue.rates IS 'Jobs that have started, of queues with rate_limit or rate_limit_per_key. Several rows may add up';
COMMENT ON COLUMN queue.rates.queue IS 'The queue';
COMMENT ON COLUMN queue.rates.of_key IS 'They are those of one key; false: all of the queue';
COMMENT ON COLUMN queue.rates.key IS 'The key, at most 1000 bytes; empty for all of the queue';
COMMENT ON COLUMN queue.rates.at IS 'They had started by then, and are counted until rate_interval after it';
COMMENT ON COLUMN queue.rates.starts IS 'How many; less than none where some were given back';

SELECT pg_catalog.pg_extension_config_dump('queue.queues', '');
-- Not those of a role that is gone, with whose rights nothing runs: a dump would have its number, which elsewhere may
-- be anybody's.
SELECT pg_catalog.pg_extension_config_dump('queue.processors',
                                           'WHERE role::pg_catalog.oid IN (SELECT r.oid FROM pg_catalog.pg_roles r)');
SELECT pg_catalog.pg_extension_config_dump('queue.attachments',
                                           'WHERE role::pg_catalog.oid IN (SELECT r.oid FROM pg_catalog.pg_roles r)');
SELECT pg_catalog.pg_extension_config_dump('queue.attachments_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('queue.rates', '');
