//! The harness itself: what the other tests rely on does what they think.

use queue_ext_server_tests::{Server, Sql, until, within};
use std::time::Duration;

#[test]
fn a_server_crashes_restarts_and_is_copied() {
    let server = Server::start_without_preload(&[]);
    let mut db = server.connect("postgres");
    db.run("CREATE TABLE t (i int);\nINSERT INTO t VALUES (1)");
    assert_eq!(db.code("SELECT 1 / 0"), "22012");
    assert_eq!(db.code("SELECT 1"), "00000");
    assert_eq!(db.all::<i32>("SELECT i FROM t"), [1]);
    server.stop_immediately();
    assert!(server.try_connect("postgres", "postgres").is_err());
    server.start_again();
    let mut db = server.reconnect("postgres");
    assert_eq!(db.one::<i32>("SELECT i FROM t"), 1);
    let standby = Server::standby_of(&server);
    let mut there = standby.reconnect("postgres");
    db.run("INSERT INTO t VALUES (2)");
    until("the standby follows", || there.one::<i64>("SELECT count(*) FROM t") == 2);
    standby.promote();
    until("it is promoted", || !there.one::<bool>("SELECT pg_is_in_recovery()"));
    there.run("INSERT INTO t VALUES (3)");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM t"), 2);
}

#[test]
fn waiting_for_what_does_not_come_ends() {
    assert!(within(Duration::from_millis(30), || None::<()>).is_none());
    assert_eq!(within(Duration::ZERO, || Some(1)), Some(1));
}
