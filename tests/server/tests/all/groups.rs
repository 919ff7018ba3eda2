//! Groups with several workers and clients at a time, and when these are killed.

use crate::fixture::{beside_clients, crash_twice_at_work};
use postgres::Client;
use queue_ext_server_tests::{Server, Sql, until, until_count};
use std::sync::atomic::{AtomicBool, Ordering};

/// A queue whose runs are logged, each with its beginning and end. Numbers that `fails` is true for fail in
/// their first attempt.
fn logged(db: &mut Client, options: &str, fails: &str, parallelism: u32) {
    db.run(&format!(
        "CREATE TABLE runs (n int, g text, by_client boolean, started timestamptz, ended timestamptz);
         SELECT queue.create_queue('q', 'n int', backoff => '20 ms'{options});
         CREATE FUNCTION work(job q) RETURNS void LANGUAGE plpgsql AS $$
         DECLARE started timestamptz := clock_timestamp(); BEGIN
             IF job.attempt = 1 AND ({fails}) THEN RAISE 'not yet'; END IF; INSERT INTO runs
             VALUES (job.n, job.group_key, false, started, clock_timestamp()); END $$;
         SELECT queue.register_processor('q', 'work(q)', batch_size => 7, parallelism => {parallelism}, load_balanced => false)"
    ));
}

fn put(db: &mut Client, from: i32, to: i32, groups: i32) {
    db.run(&format!(
        "INSERT INTO q (n, group_key, priority)
         SELECT n, 'g' || n % {groups}, n % 3 FROM generate_series({from}, {to}) n"
    ));
}

fn until_run(db: &mut Client, count: i64) {
    until_count("jobs that have run", count, || db.one("SELECT count(*) FROM runs"));
    assert_eq!(db.one::<i64>("SELECT count(DISTINCT n) FROM runs"), count);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM runs"), count);
    until("the queue is empty", || db.one::<i64>("SELECT count(*) FROM q") == 0);
}

/// Runs of a group that began before the one before them had ended.
fn overlaps(db: &mut Client) -> i64 {
    db.one(
        "SELECT count(*) FROM (SELECT started < lag(ended) OVER (PARTITION BY g ORDER BY started) AS bad FROM runs) r
         WHERE bad",
    )
}

/// Runs of a group that overtook one before them.
fn overtakings(db: &mut Client) -> i64 {
    db.one(
        "SELECT count(*) FROM (SELECT n < lag(n) OVER (PARTITION BY g ORDER BY started) AS bad FROM runs) r WHERE bad",
    )
}

/// Takes jobs until told to stop, some of which it gives back as failed.
fn client(mut db: Client, stop: &AtomicBool) {
    let mut calls = 0;
    while !stop.load(Ordering::SeqCst) {
        calls += 1;
        let rows = db
            .query(
                "SELECT id, attempt, (payload ->> 'n')::int, group_key, clock_timestamp()::text
                 FROM queue.dequeue('q', 3)",
                &[],
            )
            .expect("dequeue");
        let taken: String = db.one("SELECT clock_timestamp()::text");
        for row in rows {
            let (id, attempt, n): (i64, i32, i32) = (row.get(0), row.get(1), row.get(2));
            let group: String = row.get(3);
            if attempt == 1 && calls % 5 == 0 {
                assert!(db.one::<bool>(&format!("SELECT queue.nack('q', {id}, {attempt}, 'no', '10 ms')")));
                continue;
            }
            db.batch_execute(&format!(
                "BEGIN; INSERT INTO runs VALUES ({n}, '{group}', true, '{taken}', clock_timestamp());
                 SELECT queue.ack('q', {id}, {attempt}); COMMIT"
            ))
            .expect("ack");
        }
    }
}

#[test]
fn jobs_of_a_group_run_one_at_a_time_in_order() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    logged(&mut db, "", "job.n % 11 = 0", 4);
    for part in 0..10 {
        put(&mut db, part * 300 + 1, part * 300 + 300, 20);
    }
    until_run(&mut db, 3000);
    assert_eq!((overlaps(&mut db), overtakings(&mut db)), (0, 0));
}

#[test]
fn one_large_group_among_others() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    logged(&mut db, "", "false", 4);
    db.run("INSERT INTO q (n, group_key) SELECT n, 'large' FROM generate_series(1, 3000) n");
    db.run("INSERT INTO q (n, group_key) SELECT n, 'g' || n FROM generate_series(3001, 4000) n");
    until_run(&mut db, 4000);
    assert_eq!((overlaps(&mut db), overtakings(&mut db)), (0, 0));
}

#[test]
fn workers_and_clients_share_groups() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    logged(&mut db, "", "job.n % 13 = 0", 3);
    beside_clients(&server, 2, client, || {
        for part in 0..10 {
            put(&mut db, part * 150 + 1, part * 150 + 150, 12);
        }
        until_run(&mut db, 1500);
    });
    assert_eq!((overlaps(&mut db), overtakings(&mut db)), (0, 0));
    assert!(db.one::<bool>("SELECT bool_or(by_client) FROM runs"));
    assert_eq!(db.one::<i64>("SELECT safety_found FROM queue.overview WHERE queue = 'q'::regclass"), 0);
}

#[test]
fn failures_let_the_others_pass_where_the_queue_says_so() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    logged(&mut db, ", on_group_failure => 'continue'", "job.n % 10 = 0", 4);
    db.run("SELECT queue.alter_queue('q', backoff => '1 s')");
    put(&mut db, 1, 1000, 5);
    until_run(&mut db, 1000);
    assert_eq!(overlaps(&mut db), 0);
    let passed: i64 =
        db.one("SELECT count(*) FROM runs a JOIN runs b ON a.g = b.g AND a.n < b.n AND a.started > b.ended");
    assert!(passed > 0, "nobody passed those that failed");
}

#[test]
fn a_failed_head_holds_its_group_until_it_is_out_of_the_way() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    logged(&mut db, ", max_attempts => 1", "job.n = 1", 4);
    db.run("INSERT INTO q (n, group_key) SELECT n, 'stuck' FROM generate_series(1, 1000) n");
    db.run("INSERT INTO q (n, group_key) SELECT n, 'g' || n % 10 FROM generate_series(1001, 2000) n");
    until("the others are done", || db.one::<i64>("SELECT count(*) FROM runs WHERE n > 1000") == 1000);
    until("the rest is put aside", || db.one::<i64>("SELECT count(*) FROM q WHERE state = 'blocked'") == 999);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM runs WHERE n <= 1000"), 0);
    let id: i64 = db.one("SELECT id FROM q WHERE state = 'failed'");
    assert!(db.one::<bool>(&format!("SELECT queue.resubmit('q', {id})")));
    until_run(&mut db, 2000);
    assert_eq!((overlaps(&mut db), overtakings(&mut db)), (0, 0));
}

#[test]
fn a_killed_worker_leaves_no_group_stuck() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    logged(&mut db, "", "false", 4);
    put(&mut db, 1, 4000, 7);
    let mut db = crash_twice_at_work(&server, db);
    // A job that was running at both crashes is taken for their cause, and holds its group as an error row.
    until("all jobs have run", || {
        db.run("SELECT queue.resubmit_all('q')");
        db.one::<i64>("SELECT count(*) FROM runs") == 4000
    });
    until_run(&mut db, 4000);
    assert_eq!((overlaps(&mut db), overtakings(&mut db)), (0, 0));
}

#[test]
fn a_client_that_is_gone_holds_its_group_until_its_lease_ends() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    logged(&mut db, ", lease => '2 s'", "false", 2);
    db.run("SELECT queue.pause('q')");
    put(&mut db, 1, 30, 3);
    db.run("SELECT queue.resume('q');\nSELECT queue.dequeue('q', 2)");
    until_run(&mut db, 30);
    assert_eq!((overlaps(&mut db), overtakings(&mut db)), (0, 0));
}

#[test]
fn without_preload() {
    let server = Server::start_without_preload(&[]);
    let mut db = server.app("shop");
    logged(&mut db, "", "job.n % 50 = 0", 3);
    put(&mut db, 1, 400, 6);
    db.run("SELECT queue.start_workers()");
    until_run(&mut db, 400);
    assert_eq!((overlaps(&mut db), overtakings(&mut db)), (0, 0));
}
