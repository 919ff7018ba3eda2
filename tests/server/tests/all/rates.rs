//! Rate limits with several workers and clients at a time, and when workers are killed. Each start is written
//! into the server's log, so that those of failed, killed and rolled back runs count, too. It says between which
//! times it was: the log may take its time, and so may a client until it looks at the clock.

use crate::fixture::beside_clients;
use postgres::Client;
use queue_ext_server_tests::{Server, Sql, until, until_count, until_some};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A queue whose jobs take up to some milliseconds; every eleventh fails at first.
fn rated(db: &mut Client, options: &str, processor: &str) {
    db.batch_execute(&format!(
        "CREATE TABLE ran (n int, by_client boolean);
         SELECT queue.create_queue('q', 'n int', backoff => '1 ms', lease => '5 s', max_attempts => 100, {options});
         CREATE FUNCTION tell(key text, first timestamptz, last timestamptz) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
             RAISE LOG 'started|%|%|%|', key, (extract(epoch FROM first) * 1000000)::bigint, (extract(epoch FROM last) * 1000000)::bigint;
         END $$;
         CREATE FUNCTION work(job q) RETURNS void LANGUAGE plpgsql AS $$ DECLARE at timestamptz := clock_timestamp(); BEGIN
             PERFORM public.tell(job.key, now(), at);
             PERFORM pg_sleep(0.003 * (job.n % 4));
             IF job.attempt = 1 AND job.n % 11 = 0 THEN RAISE 'not yet'; END IF;
             INSERT INTO ran VALUES (job.n, false); END $$;
         CREATE FUNCTION work(jobs q[]) RETURNS void LANGUAGE plpgsql AS $$
         DECLARE at timestamptz := clock_timestamp(); job q; BEGIN
             FOREACH job IN ARRAY jobs LOOP
                 PERFORM public.tell(job.key, now(), at);
             END LOOP;
             FOREACH job IN ARRAY jobs LOOP
                 IF job.attempt = 1 AND job.n % 11 = 0 THEN RAISE 'not yet'; END IF;
                 INSERT INTO ran VALUES (job.n, false);
             END LOOP; END $$;
         SELECT queue.register_processor('q', '{processor}', batch_size => 20, parallelism => 4, load_balanced => false)"
    ))
    .expect("a rated queue");
}

fn put(db: &mut Client, count: i32, keys: i32) {
    db.run(&format!("INSERT INTO q (n, key) SELECT n, 'k' || n % {keys} FROM generate_series(1, {count}) n"));
}

/// Takes jobs until told to stop, by dequeue and by pop, and tells the log when it had them.
fn client(mut db: Client, stop: &AtomicBool) {
    for turn in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let done = if turn % 3 == 0 {
            "INSERT INTO ran SELECT n, true FROM (SELECT n, tell(key, statement_timestamp(), clock_timestamp()) FROM queue.pop_as(NULL::q, 2)) p"
        } else {
            "INSERT INTO ran SELECT n, true FROM (
                 SELECT n, id, attempt, tell(key, statement_timestamp(), clock_timestamp()) FROM queue.dequeue_as(NULL::q, 3)) d
             WHERE queue.ack('q', id, attempt)"
        };
        if db.execute(done, &[]).is_err() {
            return;
        }
        let _ = db.batch_execute("CALL queue.wait('q', '50 ms')");
    }
}

/// Some time from the first to the last of these, in microseconds.
type Start = (i64, i64);

/// By key.
fn starts(server: &Server) -> BTreeMap<String, Vec<Start>> {
    let mut starts: BTreeMap<String, Vec<Start>> = BTreeMap::new();
    for line in server.log().lines().filter(|line| line.contains("started|")) {
        let parts: Vec<&str> = line.split('|').collect();
        // A line that a crash has cut off.
        if let [_, key, first, last, _] = parts[..]
            && let (Ok(first), Ok(last)) = (first.parse(), last.parse())
        {
            starts.entry(key.to_owned()).or_default().push((first, last));
        }
    }
    starts
}

/// The most that started for certain within such an interval.
fn most_within(starts: Vec<Start>, interval_ms: i64) -> usize {
    let within = |from: i64| {
        starts.iter().filter(|(first, last)| *first >= from && *last < from + interval_ms * 1000).count()
    };
    starts.iter().map(|(first, _)| within(*first)).max().unwrap_or(0)
}

fn most_of_all(server: &Server, interval_ms: i64) -> usize {
    most_within(starts(server).into_values().flatten().collect(), interval_ms)
}

fn most_of_a_key(server: &Server, interval_ms: i64) -> usize {
    starts(server).into_values().map(|starts| most_within(starts, interval_ms)).max().unwrap_or(0)
}

fn until_run(db: &mut Client, count: i64) {
    until_count("jobs that have run", count, || db.one("SELECT count(*) FROM ran"));
    assert_eq!(db.one::<i64>("SELECT count(DISTINCT n) FROM ran"), count);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM ran"), count);
}

/// Two clients beside the workers.
fn run_with_clients(server: &Server, db: &mut Client, count: i32, keys: i32) {
    beside_clients(server, 2, client, || {
        put(db, count, keys);
        until_run(db, i64::from(count));
    });
}

#[test]
fn no_interval_has_more_starts_of_a_queue_than_its_rate() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    rated(&mut db, "rate_limit => 20, rate_interval => '700 ms'", "work(q)");
    run_with_clients(&server, &mut db, 150, 3);
    let most = most_of_all(&server, 700);
    assert!(most <= 20, "{most} started within the interval");
    assert!(db.one::<bool>("SELECT count(DISTINCT by_client) = 2 FROM ran"), "somebody had nothing to do");
}

#[test]
fn no_interval_has_more_starts_of_a_batch_processor() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    rated(&mut db, "rate_limit => 30, rate_interval => '700 ms', rate_limit_per_key => 25", "work(q[])");
    run_with_clients(&server, &mut db, 200, 2);
    assert!(most_of_all(&server, 700) <= 30);
    assert!(most_of_a_key(&server, 700) <= 25);
}

#[test]
fn no_interval_has_more_starts_of_a_key_without_preload() {
    let server = Server::start_without_preload(&[]);
    let mut db = server.app("shop");
    rated(&mut db, "rate_limit_per_key => 6, rate_interval => '500 ms'", "work(q)");
    db.run("SELECT queue.start_workers()");
    run_with_clients(&server, &mut db, 90, 4);
    let most = most_of_a_key(&server, 500);
    assert!(most <= 6, "{most} of a key started within the interval");
    assert!(most_of_all(&server, 500) > 6, "other keys wait, too");
}

#[test]
fn a_killed_worker_leaves_its_starts_behind() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    // So long that the server is up again before they are forgotten.
    rated(&mut db, "rate_limit => 12, rate_interval => '8 s'", "work(q)");
    put(&mut db, 30, 2);
    for _ in 0..2 {
        let before = most_of_all(&server, i64::MAX / 4000);
        until("a job starts", || most_of_all(&server, i64::MAX / 4000) > before);
        let pid = until_some("a worker is there", || {
            db.all::<i32>("SELECT pid FROM pg_stat_activity WHERE backend_type = 'queue_ext worker'")
                .first()
                .copied()
        });
        server.crash_by_killing(pid);
        db = server.reconnect("shop");
    }
    until("all jobs have run", || {
        db.run("SELECT queue.resubmit_all('q')");
        db.one::<i64>("SELECT count(*) FROM ran") == 30
    });
    let most = most_of_all(&server, 8000);
    assert!(most <= 12, "{most} started within the interval");
}

/// After a crash jobs are run one by one, each with room of its own.
#[test]
fn after_a_crash_the_rate_of_a_key_is_kept_and_all_run() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    rated(&mut db, "rate_limit_per_key => 1, rate_interval => '200 ms'", "work(q)");
    put(&mut db, 20, 3);
    until("a job has run", || db.one::<i64>("SELECT count(*) FROM ran") > 0);
    let pid: i32 = db.one("SELECT pid FROM pg_stat_activity WHERE backend_type = 'queue_ext worker' LIMIT 1");
    server.crash_by_killing(pid);
    until_run(&mut server.reconnect("shop"), 20);
    let most = most_of_a_key(&server, 200);
    assert!(most <= 1, "{most} of a key started within the interval");
}

/// Nothing else happens, and nobody looks unasked.
#[test]
fn workers_and_waiting_clients_are_woken_when_there_is_room() {
    let server = Server::start(&[("queue_ext.poll_interval", "60s")]);
    let mut db = server.app("shop");
    rated(&mut db, "rate_limit => 2, rate_interval => '300 ms', rate_limit_per_key => 1", "work(q)");
    put(&mut db, 8, 2);
    until_run(&mut db, 8);
    assert!(most_of_all(&server, 300) <= 2 && most_of_a_key(&server, 300) <= 1);

    // Without a processor, and of a key.
    db.run(
        "SELECT queue.create_queue('lent', rate_limit_per_key => 1, rate_interval => '300 ms');
         SELECT queue.enqueue_many('lent', ARRAY['1', '2', '3']::jsonb[], key => 'k')",
    );
    let mut taken = 0;
    until("three were taken", || {
        db.run("CALL queue.wait('lent', '20 s')");
        taken += db.all::<i64>("SELECT id FROM queue.pop('lent', 10)").len();
        taken == 3
    });
}

/// Clients that write down their starts at the same moment, with the same stamp.
#[test]
fn every_start_is_written_down() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    db.run("SELECT queue.create_queue('q', rate_limit => 1000000, rate_limit_per_key => 1000000, rate_interval => '1 hour')");
    db.run("SELECT queue.enqueue_many('q', array_fill('1'::jsonb, ARRAY[4000]), key => 'k')");
    thread::scope(|scope| {
        for _ in 0..4 {
            let mut other = server.connect("shop");
            scope.spawn(move || while !other.all::<i64>("SELECT id FROM queue.pop('q', 1)").is_empty() {});
        }
    });
    let mut written =
        |what: &str| db.one::<i64>(&format!("SELECT sum(starts) FROM queue.rates WHERE {what}"));
    assert_eq!((written("of_key"), written("NOT of_key")), (4000, 4000));
}
