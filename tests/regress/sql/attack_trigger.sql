-- The trigger functions of queues are open to all, and may be put on any table: what they read there has to be what it is in
-- a queue. A number read as a text is an address: whoever may make a temporary table could make the server crash, and
-- read its memory.
\set VERBOSITY terse
SET ROLE regress_nobody;
CREATE TEMPORARY TABLE no_queue (id bigint, state text, priority smallint, attempt int, max_attempts int, key bigint,
    group_key bigint, correlation_id bigint, run_at bigint, after bigint, after_failure bigint, once bigint,
    lease_until bigint, errors bigint, result bigint, finished_at bigint) PARTITION BY LIST (state);
CREATE TEMPORARY TABLE no_queue_ready PARTITION OF no_queue FOR VALUES IN ('ready');
CREATE TRIGGER queue_ext_check AFTER INSERT OR UPDATE ON no_queue_ready FOR EACH ROW EXECUTE FUNCTION queue.check_ready();
INSERT INTO no_queue (state, priority, attempt, group_key) VALUES ('ready', 5, 1, 4702111234474983745);
INSERT INTO no_queue (state, priority, attempt, correlation_id) VALUES ('ready', 5, 1, 4702111234474983745);
INSERT INTO no_queue (state, priority, attempt, after_failure) VALUES ('ready', 5, 1, 4702111234474983745);
INSERT INTO no_queue (state, priority, attempt, key) VALUES ('ready', 5, 1, 4702111234474983745);
INSERT INTO no_queue (state, priority, attempt, after) VALUES ('ready', 5, 1, 4702111234474983745);
DROP TRIGGER queue_ext_check ON no_queue_ready;
CREATE TRIGGER queue_ext_check BEFORE INSERT OR UPDATE OR DELETE ON no_queue_ready
    FOR EACH ROW EXECUTE FUNCTION queue.check_moved();
CREATE TRIGGER queue_ext_wake BEFORE UPDATE OR DELETE ON no_queue FOR EACH STATEMENT EXECUTE FUNCTION queue.before_change();
INSERT INTO no_queue (state, priority, attempt, key) VALUES ('ready', 5, 1, 4702111234474983745);
UPDATE no_queue SET after_failure = 1;
CREATE TRIGGER odd AFTER INSERT ON no_queue_ready FOR EACH ROW EXECUTE FUNCTION queue.enqueue_attached('1');
CREATE TRIGGER odd_topic AFTER INSERT ON no_queue_ready FOR EACH ROW EXECUTE FUNCTION queue.publish_attached('1');
INSERT INTO no_queue (state) VALUES ('ready');
DROP TABLE no_queue;
RESET ROLE;
