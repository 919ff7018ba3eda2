//! Without shared_preload_libraries: CALL queue.run does the work, and workers can be started by hand.

use crate::fixture::{done, processed, put, until_done, until_in_state};
use queue_ext_server_tests::{Server, Sql, until};

const NONE_LEFT: &str = "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'queue_ext%'";

#[test]
fn nothing_runs_by_itself_and_the_view_says_why() {
    let server = Server::start_without_preload(&[]);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 10);
    assert!(db.one::<bool>(
        "SELECT problem IS NOT NULL AND ready = 10 FROM queue.overview WHERE queue = 'q'::regclass"
    ));
    assert!(db.one::<bool>(NONE_LEFT));
    db.run("CALL queue.run('q')");
    until_done(&mut db, "q", 10);
}

#[test]
fn start_workers_and_stop_workers() {
    let server = Server::start_without_preload(&[("queue_ext.poll_interval", "1s")]);
    let mut db = server.app("shop");
    processed(&mut db, "q", ", max_attempts => 2, backoff => '10 ms'", "");
    put(&mut db, "q", 1, 100);
    put(&mut db, "q", -3, -1);
    assert!(db.one::<bool>("SELECT queue.start_workers()"));
    until_done(&mut db, "q", 100);
    until_in_state(&mut db, "q", "failed", 3);
    assert!(!db.one::<bool>("SELECT queue.start_workers()"), "they run already");
    put(&mut db, "q", 101, 200);
    until_done(&mut db, "q", 200);
    assert!(db.one::<bool>("SELECT queue.stop_workers()"));
    until("they are gone", || db.one::<bool>(NONE_LEFT));
    assert!(!db.one::<bool>("SELECT queue.stop_workers()"), "none ran");
    put(&mut db, "q", 201, 210);
    assert_eq!(done(&mut db, "q"), 200);
    assert!(db.one::<bool>("SELECT queue.start_workers()"));
    until_done(&mut db, "q", 210);
}

#[test]
fn workers_of_two_databases() {
    let server = Server::start_without_preload(&[("queue_ext.poll_interval", "1s")]);
    let mut one = server.app("one");
    let mut two = server.app("two");
    for db in [&mut one, &mut two] {
        processed(db, "q", "", "");
        put(db, "q", 1, 10);
        db.run("SELECT queue.start_workers()");
    }
    until_done(&mut one, "q", 10);
    until_done(&mut two, "q", 10);
    one.run("SELECT queue.stop_workers()");
    put(&mut two, "q", 11, 20);
    until_done(&mut two, "q", 20);
}

#[test]
fn dropping_the_extension_ends_them() {
    let server = Server::start_without_preload(&[("queue_ext.poll_interval", "1s")]);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 10);
    db.run("SELECT queue.start_workers()");
    until_done(&mut db, "q", 10);
    db.run("DROP EXTENSION queue_ext");
    until("they are gone", || db.one::<bool>(NONE_LEFT));
    drop(db);
    server.connect("postgres").run("DROP DATABASE shop");
}

#[test]
fn no_free_slot_is_an_error() {
    let server = Server::start_without_preload(&[
        ("max_worker_processes", "1"),
        ("max_logical_replication_workers", "1"),
    ]);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    assert_eq!(db.code("SELECT queue.start_workers()"), "53000");
}

#[test]
fn with_preload_they_stay_stopped_until_started() {
    let server = Server::start(&[("queue_ext.poll_interval", "1s")]);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 10);
    until_done(&mut db, "q", 10);
    assert!(db.one::<bool>("SELECT queue.stop_workers()"));
    let ours =
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'queue_ext%' AND datname = 'shop'";
    until("they are gone", || db.one::<bool>(ours));
    // Another database comes and works meanwhile, so the launcher has been at work.
    let mut other = server.app("other");
    processed(&mut other, "q", "", "");
    put(&mut db, "q", 11, 20);
    put(&mut other, "q", 1, 10);
    until_done(&mut other, "q", 10);
    assert_eq!(done(&mut db, "q"), 10);
    assert!(db.one::<bool>("SELECT queue.start_workers()"));
    until_done(&mut db, "q", 20);
    // A restart starts them too.
    db.run("SELECT queue.stop_workers()");
    put(&mut db, "q", 21, 30);
    drop(db);
    server.stop_fast();
    server.start_again();
    until_done(&mut server.reconnect("shop"), "q", 30);
}
