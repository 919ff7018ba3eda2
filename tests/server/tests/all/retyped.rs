//! A column of a queue gets another type while workers live that have run its jobs: what functions in PL/pgSQL have
//! planned in them does not fit any more, and would fail the jobs.

use crate::fixture::{processed, put, until_done};
use queue_ext_server_tests::{Server, Sql};

/// Each job has one attempt only: none may fail.
fn goes_on(server: &Server) {
    let mut db = server.app("shop");
    processed(&mut db, "q", ", max_attempts => 1", "");
    db.run("SELECT queue.start_workers()");
    put(&mut db, "q", 1, 20);
    until_done(&mut db, "q", 20);
    db.run("ALTER TABLE q ALTER n TYPE bigint");
    put(&mut db, "q", 21, 40);
    until_done(&mut db, "q", 40);
    db.run("ALTER TABLE q ALTER n TYPE numeric");
    put(&mut db, "q", 41, 60);
    until_done(&mut db, "q", 60);
}

#[test]
fn workers_are_replaced() {
    goes_on(&Server::start(&[]));
}

#[test]
fn without_preload_too() {
    goes_on(&Server::start_without_preload(&[("queue_ext.poll_interval", "1s")]));
}
