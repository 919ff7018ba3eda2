//! Leases and times that come to their end while nobody calls: the scheduler does what is due.

use crate::fixture::{in_state, numbers, processed, put, until_done, until_in_state};
use queue_ext_server_tests::{Server, Sql};

#[test]
fn an_expired_lease_is_returned_by_the_scheduler() {
    let server = Server::start(&[("queue_ext.poll_interval", "1s")]);
    let mut db = server.app("shop");
    // No processor, and nobody dequeues: only the scheduler is there to notice.
    numbers(&mut db, "q", ", max_attempts => 2");
    put(&mut db, "q", 1, 2);
    let id: i64 = db.one("SELECT id FROM queue.dequeue('q', 1, '50 ms')");
    until_in_state(&mut db, "q", "ready", 2);
    assert_eq!(db.one::<i32>(&format!("SELECT attempt FROM q WHERE id = {id}")), 2);
    assert!(!db.one::<bool>(&format!("SELECT queue.ack('q', {id}, 1)")), "the old attempt is stale");
    // The second loss is the last attempt's.
    assert_eq!(db.one::<i64>("SELECT id FROM queue.dequeue('q', 1, '50 ms')"), id);
    until_in_state(&mut db, "q", "failed", 1);
    assert!(!db.one::<bool>(&format!("SELECT queue.ack('q', {id}, 2)")));
}

#[test]
fn a_lease_that_is_extended_is_not_returned() {
    let server = Server::start(&[("queue_ext.poll_interval", "1s")]);
    let mut db = server.app("shop");
    numbers(&mut db, "q", "");
    put(&mut db, "q", 1, 2);
    let kept: i64 = db.one("SELECT id FROM queue.dequeue('q', 1, '1 min')");
    assert!(db.one::<bool>(&format!("SELECT queue.extend_lease('q', {kept}, 1, '1 day')")));
    let lost: i64 = db.one("SELECT id FROM queue.dequeue('q', 1, '50 ms')");
    // When the scheduler has been by for the one, the other is still leased.
    until_in_state(&mut db, "q", "ready", 1);
    assert_eq!(db.one::<String>(&format!("SELECT queue.status('q', {lost})")), "ready");
    assert!(db.one::<bool>(&format!("SELECT queue.ack('q', {kept}, 1)")));
}

#[test]
fn an_expired_lease_goes_to_the_worker() {
    let server = Server::start(&[("queue_ext.poll_interval", "1s")]);
    let mut db = server.app("shop");
    numbers(&mut db, "q", "");
    put(&mut db, "q", 1, 1);
    db.run("SELECT queue.dequeue('q', 1, '100 ms')");
    db.run("SELECT queue.register_processor('q', 'work(q)')");
    until_done(&mut db, "q", 1);
}

#[test]
fn scheduled_jobs_start_when_they_are_due_and_not_before() {
    // The poll is far away: the head of what is scheduled sets the timer.
    let server = Server::start(&[("queue_ext.poll_interval", "1h")]);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    db.run("ALTER TABLE done ADD COLUMN at timestamptz DEFAULT clock_timestamp()");
    db.run("CREATE TABLE wanted (n int, run_at timestamptz)");
    db.run(
        "WITH w AS (INSERT INTO wanted SELECT i, clock_timestamp() + i * interval '70 ms' FROM generate_series(1, 20) i RETURNING *)
         INSERT INTO q (n, run_at) SELECT n, run_at FROM w ORDER BY n DESC",
    );
    db.run("SELECT queue.enqueue('q', '{\"n\": 21}', delay => '1 day')");
    until_done(&mut db, "q", 20);
    assert_eq!(
        db.one::<i64>("SELECT count(*) FROM done JOIN wanted USING (n) WHERE at < run_at"),
        0,
        "started too early"
    );
    assert_eq!(in_state(&mut db, "q", "scheduled"), 1);
}

#[test]
fn done_jobs_are_pruned_and_others_are_not() {
    let server = Server::start(&[("queue_ext.poll_interval", "1s")]);
    let mut db = server.app("shop");
    processed(&mut db, "short", ", keep_done => '100 ms'", "");
    processed(&mut db, "long", ", keep_done => '1 day'", "");
    put(&mut db, "short", 1, 10);
    put(&mut db, "long", 1, 10);
    until_done(&mut db, "short", 10);
    until_done(&mut db, "long", 10);
    until_in_state(&mut db, "short", "done", 0);
    assert_eq!(in_state(&mut db, "long", "done"), 10);
}
