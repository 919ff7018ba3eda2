SELECT state, count(*) FROM history_work GROUP BY 1;

SELECT id, attempt, sqlstate, message, job ->> 'tid' AS tid, job ->> 'delta' AS delta FROM queue.errors ORDER BY id LIMIT 5;

-- One of them in full: every attempt is there with its time.
SELECT detail, context, failed_at, jsonb_pretty(job -> 'errors') AS attempts FROM queue.errors ORDER BY id LIMIT 1 \gx
