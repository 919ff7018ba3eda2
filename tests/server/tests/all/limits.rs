//! Limits with several workers and clients at a time, and when workers are killed.

use crate::fixture::{beside_clients, crash_twice_at_work};
use postgres::Client;
use queue_ext_server_tests::{Server, Sql, until, until_count};
use std::sync::atomic::{AtomicBool, Ordering};

/// A queue whose runs are logged, each with its beginning and end.
fn logged(db: &mut Client, options: &str) {
    db.run(&format!(
        "CREATE TABLE runs (n int, k text, by_client boolean, started timestamptz, ended timestamptz);
         SELECT queue.create_queue('q', 'n int', backoff => '20 ms', {options});
         CREATE FUNCTION work(job q) RETURNS void LANGUAGE plpgsql AS $$
         DECLARE started timestamptz := clock_timestamp(); BEGIN
             PERFORM pg_sleep(0.002); IF job.attempt = 1 AND job.n % 17 = 0 THEN RAISE 'not yet'; END IF; INSERT INTO runs
             VALUES (job.n, job.key, false, started, clock_timestamp()); END $$;
         SELECT queue.register_processor('q', 'work(q)', batch_size => 4, parallelism => 4, load_balanced => false)"
    ));
}

fn put(db: &mut Client, count: i32, keys: i32) {
    db.run(&format!("INSERT INTO q (n, key) SELECT n, 'k' || n % {keys} FROM generate_series(1, {count}) n"));
}

fn until_run(db: &mut Client, count: i64) {
    until_count("jobs that have run", count, || db.one("SELECT count(*) FROM runs"));
    assert_eq!(db.one::<i64>("SELECT count(DISTINCT n) FROM runs"), count);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM runs"), count);
    until("the queue is empty", || db.one::<i64>("SELECT count(*) FROM q") == 0);
}

/// The most that ran at the same time, of all (`'all'`), or of a key (`k`).
fn most_at_once(db: &mut Client, of: &str) -> i64 {
    db.one(&format!(
        "SELECT max(running) FROM (
             SELECT sum(step) OVER (PARTITION BY part ORDER BY at, step) AS running FROM (
                 SELECT {of} AS part, started AS at, 1 AS step FROM runs
                 UNION ALL SELECT {of}, ended, -1 FROM runs) s) r"
    ))
}

/// Takes jobs until told to stop, some of which it gives back as failed.
fn client(mut db: Client, stop: &AtomicBool) {
    let mut calls = 0;
    while !stop.load(Ordering::SeqCst) {
        calls += 1;
        let call = "SELECT id, attempt, (payload ->> 'n')::int, key FROM queue.dequeue('q', 3)";
        let rows = db.query(call, &[]).expect("dequeue");
        let taken: String = db.one("SELECT clock_timestamp()::text");
        for row in rows {
            let (id, attempt, n): (i64, i32, i32) = (row.get(0), row.get(1), row.get(2));
            let key: String = row.get(3);
            if attempt == 1 && calls % 5 == 0 {
                assert!(db.one::<bool>(&format!("SELECT queue.nack('q', {id}, {attempt}, 'no', '10 ms')")));
                continue;
            }
            db.batch_execute(&format!(
                "BEGIN; INSERT INTO runs VALUES ({n}, '{key}', true, '{taken}', clock_timestamp());
                 SELECT queue.ack('q', {id}, {attempt}); COMMIT"
            ))
            .expect("ack");
        }
    }
}

/// Four workers and three clients.
fn run_with_clients(server: &Server, db: &mut Client, count: i32, keys: i32) {
    beside_clients(server, 3, client, || {
        put(db, count, keys);
        until_run(db, i64::from(count));
    });
}

#[test]
fn never_more_of_a_queue_than_it_allows() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    logged(&mut db, "max_running => 3");
    run_with_clients(&server, &mut db, 1000, 10);
    let most = most_at_once(&mut db, "'all'");
    assert!(most <= 3, "{most} ran at the same time");
}

#[test]
fn never_more_of_a_key_than_the_queue_allows() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    logged(&mut db, "max_running_per_key => 2");
    run_with_clients(&server, &mut db, 1000, 4);
    let most = most_at_once(&mut db, "k");
    assert!(most <= 2, "{most} of a key ran at the same time");
    assert!(most_at_once(&mut db, "'all'") > 2, "other keys wait, too");
}

#[test]
fn one_of_a_key_at_a_time_without_preload() {
    let server = Server::start_without_preload(&[]);
    let mut db = server.app("shop");
    logged(&mut db, "max_running => 3, max_running_per_key => 1");
    db.run("SELECT queue.start_workers()");
    run_with_clients(&server, &mut db, 300, 3);
    assert_eq!(most_at_once(&mut db, "k"), 1);
    assert!(most_at_once(&mut db, "'all'") <= 3);
}

#[test]
fn a_killed_worker_frees_its_room() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    logged(&mut db, "max_running => 2, max_running_per_key => 1");
    put(&mut db, 1500, 3);
    let mut db = crash_twice_at_work(&server, db);
    // A job that was running at both crashes is taken for their cause, and is an error row.
    until("all jobs have run", || {
        db.run("SELECT queue.resubmit_all('q')");
        db.one::<i64>("SELECT count(*) FROM runs") == 1500
    });
    assert_eq!(most_at_once(&mut db, "k"), 1);
    assert!(most_at_once(&mut db, "'all'") <= 2);
}

/// What else is asked of the queue, and how often, does not put off the look at keys that have room again.
#[test]
fn jobs_over_the_limit_come_back_while_the_queue_is_altered_all_the_time() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    logged(&mut db, "max_running_per_key => 1");
    // It is popped by a transaction that does not see the other one blocked.
    db.run("SELECT queue.unregister_processor('q')");
    put(&mut db, 1, 1);
    let mut first = server.connect("shop");
    first.run("BEGIN; SELECT FROM queue.pop('q', 1)");
    put(&mut db, 1, 1);
    db.run("SELECT queue.register_processor('q', 'work(q)')");
    until("the other is blocked", || db.one::<i64>("SELECT count(*) FROM q WHERE state = 'blocked'") == 1);
    first.run("COMMIT");
    until("the other has run", || {
        db.run("SELECT queue.pause('q'), queue.resume('q')");
        db.one::<i64>("SELECT count(*) FROM runs") == 1
    });
}

#[test]
fn many_short_sessions_reach_the_last_of_many_keys() {
    // Nobody but who takes jobs looks at the keys.
    let server = Server::start(&[("queue_ext.databases", "")]);
    let mut db = server.app("shop");
    db.run("SELECT queue.create_queue('q', 'n int', max_running_per_key => 1)");
    // The first of each key is leased, the second blocked: more keys than one call looks at.
    put(&mut db, 2600, 1300);
    until("all keys are busy", || {
        db.run("SELECT queue.dequeue('q', 100)");
        db.one::<i64>("SELECT count(*) FROM q WHERE state = 'ready'") == 0
    });
    assert_eq!(db.one::<i64>("SELECT count(*) FROM q WHERE state = 'blocked'"), 1300);
    // What is deleted by hand brings nothing back by itself.
    let last: String = db.one("SELECT max(key) FROM q");
    db.run(&format!("DELETE FROM q WHERE state = 'running' AND key = '{last}'"));
    until("the last key's second job is there", || {
        let mut session = server.connect("shop");
        session.all::<String>("SELECT key FROM queue.dequeue('q')") == [last.clone()]
    });
}

/// A job is put off while it waits for its key: those behind it in its group do not wait for it, and nobody looks
/// unasked.
#[test]
fn who_is_behind_a_job_that_was_put_off_is_not_forgotten() {
    let server = Server::start(&[("queue_ext.poll_interval", "1h")]);
    let mut db = server.app("shop");
    logged(&mut db, "max_running_per_key => 1, on_conflict => 'debounce'");
    db.run("SELECT queue.unregister_processor('q')");
    db.run("INSERT INTO q (n, key) VALUES (1, 'a')");
    assert_eq!(db.all::<i64>("SELECT id FROM queue.dequeue('q')"), [1]);
    db.run("INSERT INTO q (n, key, group_key) VALUES (2, 'a', 'g')");
    assert!(db.all::<i64>("SELECT id FROM queue.dequeue('q')").is_empty());
    db.run("INSERT INTO q (n, group_key) VALUES (3, 'g')");
    db.run("SELECT queue.enqueue('q', '{\"n\": 2}', key => 'a', delay => '1 day')");
    assert_eq!(db.one::<i64>("SELECT id FROM q WHERE state = 'blocked' AND run_at > now()"), 2);
    db.run("SELECT queue.register_processor('q', 'work(q)')");
    // Whoever takes this one has met the third, and left it.
    db.run("INSERT INTO q (n) VALUES (4)");
    until("the fourth has run", || db.one::<i64>("SELECT count(*) FROM runs") == 1);
    db.run("SELECT queue.ack('q', 1, 1)");
    until("the third has run", || db.all::<i32>("SELECT n FROM runs ORDER BY n") == [3, 4]);
    assert_eq!(db.one::<i64>("SELECT id FROM q WHERE state = 'scheduled'"), 2);
}
