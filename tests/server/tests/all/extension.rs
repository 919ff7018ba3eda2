//! CREATE EXTENSION and DROP EXTENSION beside running workers, rolled back too.

use crate::fixture::{done, processed, put, until_done};
use queue_ext_server_tests::{Server, Sql, until};

/// The poll is an hour away: only being told can be what makes it start.
const NO_POLL: &[(&str, &str)] = &[("queue_ext.poll_interval", "1h")];

#[test]
fn a_new_extension_is_noticed_at_once() {
    let server = Server::start(NO_POLL);
    let mut admin = server.connect("postgres");
    // Existing data first, the extension later.
    admin.run("CREATE DATABASE shop");
    let mut db = server.connect("shop");
    db.run("CREATE TABLE orders (id int);\nINSERT INTO orders SELECT generate_series(1, 100)");
    db.run("CREATE EXTENSION queue_ext");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 10);
    until_done(&mut db, "q", 10);
}

#[test]
fn created_with_everything_in_one_transaction() {
    let server = Server::start(NO_POLL);
    let mut admin = server.connect("postgres");
    admin.run("CREATE DATABASE shop");
    let mut db = server.connect("shop");
    db.run("BEGIN;\nCREATE EXTENSION queue_ext");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 10);
    db.run("COMMIT");
    until_done(&mut db, "q", 10);
}

#[test]
fn created_and_rolled_back_disturbs_nobody() {
    let server = Server::start(NO_POLL);
    let mut admin = server.connect("postgres");
    admin.run("CREATE DATABASE shop");
    let mut db = server.connect("shop");
    db.run("BEGIN;\nCREATE EXTENSION queue_ext;\nROLLBACK");
    db.run("CREATE EXTENSION queue_ext");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 10);
    until_done(&mut db, "q", 10);
}

#[test]
fn dropped_under_load_and_rolled_back() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 5000);
    until("work goes on", || done(&mut db, "q") > 0);
    db.run("BEGIN;\nDROP EXTENSION queue_ext;\nROLLBACK");
    put(&mut db, "q", 5001, 6000);
    until_done(&mut db, "q", 6000);
}

#[test]
fn dropped_under_load_leaves_the_tables_and_no_worker() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 20000);
    until("work goes on", || done(&mut db, "q") > 0);
    db.run("DROP EXTENSION queue_ext");
    until("the workers of the database are gone", || {
        db.one::<bool>("SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'shop' AND backend_type LIKE 'queue_ext%'")
    });
    // What was done and what is left are together all there was, each once.
    let audit: bool = db.one("SELECT count(*) = 20000 AND count(DISTINCT n) = 20000 FROM (SELECT n FROM done UNION ALL SELECT n FROM q) s");
    assert!(audit);
    db.run("INSERT INTO q (n) VALUES (0)");
    // And a new beginning.
    db.run("CREATE EXTENSION queue_ext");
    processed(&mut db, "r", "", "");
    put(&mut db, "r", 1, 10);
    until_done(&mut db, "r", 10);
}

#[test]
fn an_open_transaction_that_drops_it_holds_up_no_other_database() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    let mut other = server.app("other");
    processed(&mut db, "q", "", "");
    processed(&mut other, "q", "", "");
    db.run("BEGIN;\nDROP EXTENSION queue_ext");
    put(&mut other, "q", 1, 100);
    until_done(&mut other, "q", 100);
    db.run("ROLLBACK");
    put(&mut db, "q", 1, 100);
    until_done(&mut db, "q", 100);
}

#[test]
fn a_queue_dropped_under_load() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    processed(&mut db, "r", "", "");
    for round in 1..=5 {
        put(&mut db, "q", 1, 2000);
        put(&mut db, "r", round * 100, round * 100 + 99);
        until("work goes on", || done(&mut db, "q") > 0);
        // The function depends on the table's row type, so it goes first, or with it.
        db.run(if round % 2 == 0 {
            "DROP TABLE q CASCADE"
        } else {
            "DROP FUNCTION work(q);\nSELECT queue.drop_queue('q', true)"
        });
        until_done(&mut db, "r", i64::from(round) * 100);
        db.run("DELETE FROM done WHERE queue = 'q'");
        processed(&mut db, "q", "", "");
    }
    put(&mut db, "q", 1, 10);
    until_done(&mut db, "q", 10);
}
