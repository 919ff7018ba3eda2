-- In a database of its own, beside the same plain queue: every feature, on other queues, in use.
SELECT queue.create_queue('keyed', 'n int', on_conflict => 'skip'), queue.create_queue('grouped', 'n int', max_running_per_key => 1, max_running => 100),
       queue.create_queue('rated', 'n int', rate_limit => 1000, rate_limit_per_key => 10), queue.create_queue('told', 'n int', keep_done => '1 hour');
SELECT count(queue.enqueue('keyed', jsonb_build_object('n', n), key => 'k' || n)) FROM generate_series(1, 10000) n;
INSERT INTO grouped (n, key, group_key) SELECT n, 'k' || n % 100, 'g' || n % 1000 FROM generate_series(1, 10000) n;
INSERT INTO rated (n, key) SELECT n, 'k' || n % 100 FROM generate_series(1, 10000) n;
SELECT queue.enqueue('told', '{"n": 1}', after => ARRAY[queue.enqueue('told', '{"n": 0}', delay => '1 day')]);
SELECT queue.subscribe('bench.#', 'told'), queue.schedule('each minute', '* * * * *', 'told');
SELECT FROM queue.dequeue('grouped', 50, '1 day');
