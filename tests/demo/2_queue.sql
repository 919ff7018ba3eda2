-- A queue is a table. Its own columns are typed like any table's.
SELECT queue.create_queue('history_work', 'tid int, bid int, aid int, delta int, mtime timestamp');

-- Each row inserted into pgbench_history puts a job on the queue, in the same transaction.
SELECT queue.attach('pgbench_history', 'history_work', events => 'insert',
    set => '{"tid": "new.tid", "bid": "new.bid", "aid": "new.aid", "delta": "new.delta", "mtime": "new.mtime"}');

-- What the jobs do: an audit row each, and a running statement for each account.
CREATE TABLE processed (job bigint, tid int, bid int, aid int, delta int, mtime timestamp, at timestamptz DEFAULT clock_timestamp());
CREATE TABLE statement (aid int PRIMARY KEY, bookings int NOT NULL, balance bigint NOT NULL);

CREATE FUNCTION book(job history_work) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO processed VALUES (job.id, job.tid, job.bid, job.aid, job.delta, job.mtime);
    INSERT INTO statement AS s VALUES (job.aid, 1, job.delta)
        ON CONFLICT (aid) DO UPDATE SET bookings = s.bookings + 1, balance = s.balance + excluded.balance;
END $$;

SELECT queue.register_processor('history_work', 'book(history_work)', parallelism => 2);
