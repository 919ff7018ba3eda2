SELECT (SELECT count(*) FROM processed),
       format('ready %s  scheduled %s  failed %s  workers %s: %s',
              lpad(o.ready::text, 5), lpad(o.scheduled::text, 4), lpad(o.failed::text, 4), o.workers,
              coalesce(a.doing, coalesce(o.problem, 'idle')))
FROM queue.overview o,
     (SELECT string_agg(format('pid %s %s', pid, CASE WHEN batch > 0 THEN format('%s a batch of %s', state, batch) ELSE state END), ', ')
      FROM queue.activity) a(doing)
WHERE o.queue = 'history_work'::regclass;
