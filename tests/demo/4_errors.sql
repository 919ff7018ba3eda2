SELECT state, count(*) FROM history_work GROUP BY 1;

SELECT id, attempt, sqlstate, message, job ->> 'tid' AS tid, job ->> 'delta' AS delta FROM queue.errors ORDER BY id LIMIT 5;

-- One of them in full, and the time of each of its attempts.
SELECT message, detail, context FROM queue.errors ORDER BY id LIMIT 1 \gx
SELECT e.id, a.attempt, a.failed_at, a.sqlstate
    FROM (SELECT * FROM queue.errors ORDER BY id LIMIT 1) e,
         jsonb_to_recordset(e.job -> 'errors') AS a(attempt int, failed_at timestamptz, sqlstate text);
