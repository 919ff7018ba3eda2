-- Attempts beyond the end of integer: refused, so that each number stays that of one attempt.
CREATE SCHEMA limits_attempt;
SET search_path = limits_attempt;
\pset format unaligned
\pset tuples_only on
-- The last attempt there is.
SELECT queue.create_queue('tried', 'n int');
INSERT INTO tried (n) SELECT generate_series(1, 5);
SELECT count(*) FROM queue.dequeue('tried', 5);
UPDATE tried SET attempt = 2147483647, max_attempts = 2147483647 WHERE n <> 4;
UPDATE tried SET attempt = 2147483646, max_attempts = 2147483647 WHERE n = 4;
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.snooze('tried', 1, 2147483647, '1 h')$$);
SELECT queue.ack('tried', 1, 2147483647), queue.extend_lease('tried', 2, 2147483647, '1 microsecond'), queue.nack('tried', 3, 2147483647, 'no'), queue.snooze('tried', 4, 2147483646, '1 h');
SELECT count(*) FROM queue.dequeue('tried');
SELECT n, state, attempt, max_attempts FROM tried ORDER BY n;
SELECT sqlstate, message, hint FROM test.fails($$SELECT queue.resubmit('tried', 3)$$);
SELECT queue.resubmit_all('tried');
UPDATE tried SET attempt = 2147483646 WHERE n = 3;
SELECT queue.resubmit('tried', 3);
SELECT n, state, attempt, max_attempts FROM tried WHERE n = 3;
-- Below the first one, too.
SELECT queue.create_queue('below', 'n int', backoff => '1 h');
INSERT INTO below (n, attempt) VALUES (1, -2147483648);
SELECT queue.nack('below', id, attempt) FROM queue.dequeue('below');
SELECT state, attempt, run_at - clock_timestamp() BETWEEN '50 min' AND '1 h' AS backed_off FROM below;
