//! When there is no worker to be had, the queue says so, and work goes on as soon as there is one.

use crate::fixture::{done, in_state, processed, put, until_done};
use queue_ext_server_tests::{Server, Sql, until};

fn problem(db: &mut postgres::Client, queue: &str) -> Option<String> {
    db.one(&format!("SELECT problem FROM queue.overview WHERE queue = '{queue}'::regclass"))
}

#[test]
fn no_worker_slot_of_the_server_is_left() {
    // One for the logical replication launcher, one for ours, one for a scheduler: none for a worker.
    let server = Server::start(&[
        ("max_worker_processes", "3"),
        ("max_logical_replication_workers", "2"),
        ("queue_ext.poll_interval", "1s"),
    ]);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 3);
    until("the view names the setting", || {
        problem(&mut db, "q").is_some_and(|text| text.contains("max_worker_processes"))
    });
    assert_eq!(done(&mut db, "q"), 0);
    // In this session it runs all the same.
    db.run("CALL queue.run('q')");
    until_done(&mut db, "q", 3);
    assert_eq!(problem(&mut db, "q"), None, "nothing waits, so nothing is wrong");
    // The same with what is due.
    db.run("SELECT queue.enqueue('q', '{\"n\": 4}', delay => '10 ms')");
    until("the view names the setting again", || {
        problem(&mut db, "q").is_some_and(|text| text.contains("max_worker_processes"))
    });
    assert_eq!(in_state(&mut db, "q", "scheduled"), 1);
    db.run("CALL queue.run('q')");
    until_done(&mut db, "q", 4);
    assert_eq!(problem(&mut db, "q"), None, "nothing is due, so nothing is wrong");
}

#[test]
fn not_even_a_scheduler_finds_a_slot() {
    let server = Server::start(&[
        ("max_worker_processes", "2"),
        ("max_logical_replication_workers", "2"),
        ("queue_ext.poll_interval", "1s"),
    ]);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 3);
    until("the view says so", || problem(&mut db, "q").is_some());
}

#[test]
fn the_limit_of_our_own_is_named_and_lifted_by_reload() {
    let server = Server::start(&[("queue_ext.max_workers", "0"), ("queue_ext.poll_interval", "1s")]);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 3);
    until("the view names the setting", || {
        problem(&mut db, "q").is_some_and(|text| text.contains("queue_ext.max_workers"))
    });
    server.configure(&[("queue_ext.max_workers", "1")]);
    server.reload();
    until_done(&mut db, "q", 3);
}

#[test]
fn other_reasons_are_named() {
    let server = Server::start(&[("queue_ext.poll_interval", "1s")]);
    let mut db = server.app("shop");
    crate::fixture::numbers(&mut db, "unregistered", "");
    put(&mut db, "unregistered", 1, 1);
    processed(&mut db, "paused", "", "");
    db.run("SELECT queue.pause('paused')");
    put(&mut db, "paused", 1, 1);
    processed(&mut db, "fine", "", "");
    put(&mut db, "fine", 1, 1);
    until_done(&mut db, "fine", 1);
    assert_eq!(problem(&mut db, "fine"), None);
    assert!(problem(&mut db, "paused").is_some());
    db.run("SELECT queue.stop_workers()");
    put(&mut db, "fine", 2, 2);
    until("stopped workers are a reason", || problem(&mut db, "fine").is_some());
    db.run("SELECT queue.start_workers()");
    until_done(&mut db, "fine", 2);
}
