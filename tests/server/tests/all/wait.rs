//! CALL queue.wait: sleeps without a snapshot, and wakes soon after a commit.

use crate::fixture::{numbers, until_vacuumed};
use postgres::Client;
use queue_ext_server_tests::{Server, Sql, until};
use std::thread::{self, JoinHandle};

/// Waits in a session of its own, for so long that only being woken ends it within the test's deadline.
fn wait_in_thread(server: &Server, statement: &'static str) -> (i32, JoinHandle<Client>) {
    let mut client = server.connect("shop");
    let pid: i32 = client.one("SELECT pg_backend_pid()");
    let thread = thread::spawn(move || {
        client.run(statement);
        client
    });
    (pid, thread)
}

fn until_waiting(db: &mut Client, pid: i32) {
    until("it waits", || {
        db.one::<bool>(&format!("SELECT state = 'active' AND wait_event IS NOT NULL AND query LIKE 'CALL queue.wait%' FROM pg_stat_activity WHERE pid = {pid}"))
    });
}

fn holds_nothing(db: &mut Client, pid: i32) -> bool {
    db.one(&format!(
        "SELECT backend_xmin IS NULL AND backend_xid IS NULL FROM pg_stat_activity WHERE pid = {pid}"
    ))
}

fn until_returned(thread: JoinHandle<Client>) -> Client {
    until("wait returns", || thread.is_finished());
    thread.join().unwrap()
}

fn holds_no_snapshot_and_is_woken(server: &Server) {
    let mut db = server.app("shop");
    numbers(&mut db, "q", "");
    let wakers = [
        "SELECT queue.enqueue('q')",
        "INSERT INTO q (n) VALUES (1)",
        "SELECT queue.enqueue('q', delay => '10 ms')",
        "INSERT INTO q (n) SELECT generate_series(1, 100)",
    ];
    for waker in wakers {
        let (pid, waiting) = wait_in_thread(server, "CALL queue.wait('q', '1 h')");
        until_waiting(&mut db, pid);
        until("it holds no snapshot", || holds_nothing(&mut db, pid));
        db.run(waker);
        let mut client = until_returned(waiting);
        assert!(client.one::<i64>("SELECT count(*) FROM queue.pop('q', 1000)") > 0, "{waker}");
    }
    // Vacuum is not held back: the horizon moves on while it waits.
    let (pid, waiting) = wait_in_thread(server, "CALL queue.wait('q', '1 h')");
    until_waiting(&mut db, pid);
    until_vacuumed(&mut db);
    // It can be cancelled.
    db.run(&format!("SELECT pg_cancel_backend({pid})"));
    until("the wait is interrupted", || waiting.is_finished());
    assert!(waiting.join().is_err(), "with an error");
}

#[test]
fn with_preload() {
    // No poll helps it.
    holds_no_snapshot_and_is_woken(&Server::start(&[("queue_ext.poll_interval", "1h")]));
}

#[test]
fn without_preload() {
    holds_no_snapshot_and_is_woken(&Server::start_without_preload(&[]));
}

#[test]
fn several_waiters_and_a_timeout() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    numbers(&mut db, "q", "");
    let waiters: Vec<_> = (0..3).map(|_| wait_in_thread(&server, "CALL queue.wait('q', '1 h')")).collect();
    for (pid, _) in &waiters {
        until_waiting(&mut db, *pid);
    }
    db.run("INSERT INTO q (n) SELECT generate_series(1, 30)");
    for (_, waiting) in waiters {
        until_returned(waiting);
    }
    // With nothing to wait for, it ends by itself and without an error.
    db.run("SELECT queue.purge('q')");
    let (_, waiting) = wait_in_thread(&server, "CALL queue.wait('q', '50 ms')");
    until_returned(waiting);
}

#[test]
fn a_queue_dropped_under_a_waiter() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    numbers(&mut db, "q", "");
    let mut client = server.connect("shop");
    let pid: i32 = client.one("SELECT pg_backend_pid()");
    let waiting = thread::spawn(move || client.code("CALL queue.wait('q', '1 h')"));
    until_waiting(&mut db, pid);
    // The drop is not held up by the waiter, and the waiter is told.
    db.run("DROP FUNCTION work(q);\nSELECT queue.drop_queue('q')");
    until("the waiter returns", || waiting.is_finished());
    assert_ne!(waiting.join().unwrap(), "XX000", "not an internal error");
}
