-- Topics: one publish, a job on each subscribed queue.
CREATE TABLE queue.subscriptions (
    pattern text     NOT NULL,
    queue   regclass NOT NULL,
    PRIMARY KEY (pattern, queue)
);
CREATE INDEX subscriptions_queue ON queue.subscriptions (queue);
COMMENT ON TABLE queue.subscriptions IS 'Which queues get what is published to which topics; see the view queue.topics';
COMMENT ON COLUMN queue.subscriptions.pattern IS 'A topic, or a pattern of topics: words with dots between them, * for one word, # for any number of words';
COMMENT ON COLUMN queue.subscriptions.queue IS 'The queue that gets it';
SELECT pg_catalog.pg_extension_config_dump('queue.subscriptions', '');

CREATE FUNCTION queue.subscriptions_changed()
RETURNS trigger LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'subscriptions_changed';
COMMENT ON FUNCTION queue.subscriptions_changed IS 'Statement trigger of queue.subscriptions: when the transaction commits, every session reads it anew before it publishes';
CREATE TRIGGER subscriptions_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON queue.subscriptions
    FOR EACH STATEMENT EXECUTE FUNCTION queue.subscriptions_changed();

CREATE FUNCTION queue.subscribe(topic text, queue regclass)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'subscribe_wrapper';
COMMENT ON FUNCTION queue.subscribe IS
'From now on the queue gets a job for everything that is published to the topic. topic: or a pattern: words with dots between them, * for exactly one word, # for any number of words, none included. A queue whose patterns overlap still gets one job for each publish.
Each who publishes to such a topic needs INSERT on the queue from now on, or cannot publish: grant it before. And whoever subscribes reads what others publish. So this is not open to PUBLIC.
Errors: 22023 the pattern is malformed (an empty word, a wildcard within a word, characters other than letters, digits, _ and -, over 255 bytes), 42710 subscribed already, 42P17 what is attached to the queue publishes to the topic, 42809 not a queue, 42501. Who: the owner of the queue, if a superuser has granted him EXECUTE.';

CREATE FUNCTION queue.unsubscribe(topic text, queue regclass)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'unsubscribe_wrapper';
COMMENT ON FUNCTION queue.unsubscribe IS 'Ends a subscription, named by the topic or pattern it was made with; jobs on the queue stay. Errors: 42704 there is none like it, 42809 not a queue, 42501. Who: the owner of the queue.';

CREATE FUNCTION queue.publish(
    topic text, payload jsonb DEFAULT '{}', priority integer DEFAULT NULL,
    run_at timestamptz DEFAULT NULL, delay interval DEFAULT NULL,
    key text DEFAULT NULL, on_conflict text DEFAULT NULL, group_key text DEFAULT NULL,
    max_attempts integer DEFAULT NULL, once interval DEFAULT NULL, correlation_id text DEFAULT NULL
) RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'publish';
COMMENT ON FUNCTION queue.publish IS
'Puts a job with this payload on every queue that is subscribed to the topic, as enqueue would, and returns how many queues those are; 0 if nobody has subscribed, which is no error. All of it belongs to the caller''s transaction: each queue gets its job, or none does. A subscription counts if it was committed before this statement began (at REPEATABLE READ and above: before the transaction''s snapshot was taken). A queue that is being dropped is waited for, and passed over when it is gone.
topic: words with dots between them, such as orders.created; the jobs bear it in their column topic. The other arguments as for enqueue.
Errors: 22023 the topic is malformed or has a wildcard, 42501 no INSERT on a subscribed queue, which is named, and those of enqueue. Who: INSERT on each queue subscribed to the topic.';

CREATE FUNCTION queue.publish_attached()
RETURNS trigger LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'publish_attached';
COMMENT ON FUNCTION queue.publish_attached IS 'Trigger function that attach to a topic installs; its argument is the attachment''s id. Refuses to run on any other table.';

-- Barrier: nobody's function sees what its caller may not.
CREATE VIEW queue.topics WITH (security_barrier) AS
    SELECT s.pattern, s.queue FROM queue.subscriptions s WHERE pg_catalog.has_table_privilege(s.queue, 'SELECT');
COMMENT ON VIEW queue.topics IS 'The subscriptions of the queues that the reader may select from';
COMMENT ON COLUMN queue.topics.pattern IS 'The topic or pattern of topics';
COMMENT ON COLUMN queue.topics.queue IS 'The queue that is subscribed to it';
