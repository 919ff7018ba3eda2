-- pgbench_history has no key, so its rows are compared as a bag: what stands n times in one must stand n times in the other.
SELECT * FROM (SELECT count(*) AS history_rows, sum(delta) AS history_sum FROM pgbench_history) h,
              (SELECT count(*) AS processed_rows, sum(delta) AS processed_sum, count(DISTINCT job) AS jobs FROM processed) p,
              (SELECT sum(bookings) AS bookings, sum(balance) AS statement_sum FROM statement) s;

CREATE TEMP VIEW proof AS SELECT
    (SELECT count(*) FROM (SELECT tid, bid, aid, delta, mtime FROM pgbench_history
                           EXCEPT ALL SELECT tid, bid, aid, delta, mtime FROM processed) m) AS missing,
    (SELECT count(*) FROM (SELECT tid, bid, aid, delta, mtime FROM processed
                           EXCEPT ALL SELECT tid, bid, aid, delta, mtime FROM pgbench_history) m) AS too_many,
    (SELECT count(*) - count(DISTINCT job) FROM processed) AS run_twice,
    (SELECT count(*) - (SELECT sum(bookings) FROM statement) FROM pgbench_history) AS not_on_statements,
    (SELECT count(*) FROM history_work) AS left_on_queue,
    (SELECT count(*) FROM pgbench_history) AS history_rows;
SELECT * FROM proof;

SELECT CASE WHEN history_rows > 0 AND (missing, too_many, run_twice, not_on_statements, left_on_queue) = (0, 0, 0, 0, 0)
            THEN 'proved' ELSE 'NOT PROVED' END AS exactly_once FROM proof;
