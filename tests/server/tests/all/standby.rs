//! A standby has every committed job, and carries on when it is promoted.

use crate::fixture::{done, in_state, processed, put, until_done};
use queue_ext_server_tests::{Server, Sql, until};

#[test]
fn a_promoted_standby_carries_on() {
    let primary = Server::start(&[("synchronous_commit", "on")]);
    let mut db = primary.app("shop");
    processed(&mut db, "q", ", max_attempts => 1, keep_done => '1 day'", "");
    put(&mut db, "q", 1, 100);
    until_done(&mut db, "q", 100);
    let standby = Server::standby_of(&primary);
    db.run(
        "SELECT queue.create_queue('rated', rate_limit => 2, rate_interval => '1 hour');
         SELECT queue.enqueue_many('rated', ARRAY['1', '2', '3', '4']::jsonb[]);
         SELECT queue.pop('rated', 2)",
    );
    processed(&mut db, "r", "", "");
    db.run("SELECT queue.pause('q')");
    put(&mut db, "q", 101, 200);
    let leased: i64 = db.one("SELECT queue.enqueue('q', '{\"n\": 201}', delay => '1 day')");
    let position: String = db.one("SELECT pg_current_wal_lsn()::text");
    let mut there = standby.reconnect("shop");
    until("the standby has it all", || {
        there.one::<bool>(&format!("SELECT pg_last_wal_replay_lsn() >= '{position}'"))
    });
    // Reading there is possible, working is not, and its workers do not try.
    assert_eq!(in_state(&mut there, "q", "ready"), 100);
    assert_eq!(there.one::<i64>("SELECT ready FROM queue.overview WHERE queue = 'q'::regclass"), 100);
    let problem: String = there.one("SELECT problem FROM queue.overview WHERE queue = 'rated'::regclass");
    assert!(problem.starts_with("held by rate_limit"), "{problem}");
    assert_eq!(there.one::<String>(&format!("SELECT queue.status('q', {leased})")), "scheduled");
    assert_eq!(there.code("SELECT queue.enqueue('q')"), "25006");
    assert_eq!(there.code("SELECT queue.start_workers()"), "25006");
    assert_eq!(
        there.one::<Option<String>>("SELECT problem FROM queue.overview WHERE queue = 'r'::regclass"),
        None,
        "that workers run elsewhere is as it should be"
    );
    assert_eq!(done(&mut there, "q"), 100);
    primary.stop_immediately();
    standby.promote();
    // The connection lives on through the promotion.
    until("the standby is a primary", || !there.one::<bool>("SELECT pg_is_in_recovery()"));
    assert_eq!(
        there.all::<i64>("SELECT id FROM queue.pop('rated', 10)").len(),
        0,
        "what has started counts here"
    );
    there.run("SELECT queue.resume('q')");
    until_done(&mut there, "q", 200);
    put(&mut there, "q", 300, 399);
    until_done(&mut there, "q", 300);
}
