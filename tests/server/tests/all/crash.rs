//! The server crashes: every committed job is still there, and takes effect once.

use crate::fixture::{done, processed, put, until_done};
use queue_ext_server_tests::{Server, Sql, until, until_count, until_some};

#[test]
fn restarted_with_mode_immediate_in_the_middle_of_work() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    for round in 0..3 {
        // Enough that the work is in full swing when the server goes down.
        put(&mut db, "q", 1 + round * 30000, (round + 1) * 30000);
        let before = done(&mut db, "q");
        until("work goes on", || done(&mut db, "q") > before);
        server.stop_immediately();
        server.start_again();
        db = server.reconnect("shop");
    }
    until_count("jobs that are done", 90000, || {
        // One that ran alone, marked, just when its server went down looks like the culprit.
        db.run("SELECT queue.resubmit_all('q')");
        done(&mut db, "q")
    });
    until_done(&mut db, "q", 90000);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM q"), 0);
}

#[test]
fn a_worker_killed_with_sigkill_restarts_the_server_and_the_work() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 20000);
    until("work goes on", || done(&mut db, "q") > 0);
    let pid = until_some("a worker is there", || {
        db.all::<i32>("SELECT pid FROM queue.activity WHERE queue = 'q'::regclass").first().copied()
    });
    server.crash_by_killing(pid);
    let mut db = server.reconnect("shop");
    until_done(&mut db, "q", 20000);
}

#[test]
fn leases_and_scheduled_jobs_survive() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    crate::fixture::numbers(&mut db, "q", "");
    put(&mut db, "q", 1, 3);
    let leased: i64 = db.one("SELECT id FROM queue.dequeue('q', 1, '1 day')");
    let later: i64 = db.one("SELECT queue.enqueue('q', '{\"n\": 4}', delay => '1 day')");
    db.run("SELECT queue.pause('q')");
    // Not committed, so not there afterwards.
    let mut open = server.connect("shop");
    open.run("BEGIN;\nSELECT queue.enqueue('q', '{\"n\": 5}')");
    server.stop_immediately();
    server.start_again();
    let mut db = server.reconnect("shop");
    let states: String = db.one("SELECT string_agg(state || n, ' ' ORDER BY n) FROM q");
    assert_eq!(states, "running1 ready2 ready3 scheduled4");
    assert!(db.one::<bool>(&format!("SELECT queue.ack('q', {leased}, 1)")));
    assert_eq!(db.one::<i64>("SELECT count(*) FROM queue.pop('q', 10)"), 0, "still paused");
    db.run("SELECT queue.resume('q')");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM queue.pop('q', 10)"), 2);
    assert_eq!(db.one::<String>(&format!("SELECT queue.status('q', {later})")), "scheduled");
}

#[test]
fn a_scheduler_or_launcher_that_is_ended_comes_back() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 10);
    until_done(&mut db, "q", 10);
    let pids = "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'queue_ext%' ORDER BY pid";
    for round in 2..=4 {
        let before: Vec<i32> = db.all(pids);
        db.run("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type LIKE 'queue_ext%'");
        until("they are ended", || !db.all::<i32>(pids).iter().any(|pid| before.contains(pid)));
        put(&mut db, "q", round * 10, round * 10 + 9);
        until_done(&mut db, "q", i64::from(round) * 10);
    }
}

#[test]
fn what_runs_alone_after_a_crash_does_not_run_before_its_time() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    db.run("SELECT queue.pause('q')");
    // Without triggers nothing puts it among the scheduled ones.
    let mut admin = server.connect_as("postgres", "shop");
    admin.run("SET session_replication_role = replica");
    admin.run("INSERT INTO q (n, run_at) VALUES (1, now() + interval '1 hour')");
    put(&mut db, "q", 2, 2);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM q WHERE state = 'ready'"), 2);
    server.stop_immediately();
    server.start_again();
    let mut db = server.reconnect("shop");
    db.run("SELECT queue.resume('q')");
    until_done(&mut db, "q", 1);
    let states: String = db.one("SELECT string_agg(state || n, ' ') FROM q");
    assert_eq!(states, "scheduled1");
}
