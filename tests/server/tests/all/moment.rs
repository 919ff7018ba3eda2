//! Between the moment in which a commit can be seen and the one in which the others are told.

use queue_ext_server_tests::{Server, Sql, until};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

/// Makes `hold_commits` (tests/server/c) in the database. Returns the file that holds commits while it is there.
pub fn hold_commits(server: &Server, database: &str) -> PathBuf {
    let config = std::env::var("PG_CONFIG").unwrap_or_else(|_| "pg_config".into());
    let include = Command::new(config).arg("--includedir-server").output().expect("pg_config");
    let include = String::from_utf8(include.stdout).unwrap();
    let library = server.dir().join("hold_commit.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-I", include.trim(), "-o"])
        .arg(&library)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/c/hold_commit.c"))
        .status();
    assert!(built.expect("cc").success());
    server.connect_as("postgres", database).run(&format!(
        "CREATE FUNCTION hold_commits(text) RETURNS void LANGUAGE c AS '{}', 'hold_commits'",
        library.display()
    ));
    server.dir().join("hold")
}

#[test]
fn a_group_is_taken_in_order() {
    let server = Server::start(&[("max_prepared_transactions", "0")]);
    let mut db = server.app("shop");
    db.run("SELECT queue.create_queue('q', 'n int')");
    let file = hold_commits(&server, "shop");
    let mut late = server.connect("shop");
    // After something of ours has been called back: so it comes before it.
    late.run("SELECT queue.enqueue('q', '{\"n\": 0}')");
    late.run(&format!("SELECT hold_commits('{}')", file.display()));
    late.batch_execute("BEGIN; SELECT queue.enqueue('q', '{\"n\": 1}', group_key => 'g')").unwrap();
    // Which leaves 1 below the floor.
    db.run("INSERT INTO q (n) VALUES (2)");
    assert_eq!(db.all::<i32>("SELECT n FROM queue.pop_as(NULL::q, 10)"), [0, 2]);
    fs::write(&file, "").expect("a file");
    let committed = thread::spawn(move || late.batch_execute("COMMIT").unwrap());
    until("it can be seen", || db.one::<i64>("SELECT count(*) FROM q") == 1);
    db.run("INSERT INTO q (n, group_key) VALUES (3, 'g')");
    let first = db.all::<i32>("SELECT n FROM queue.pop_as(NULL::q, 1)");
    fs::remove_file(&file).expect("the file");
    committed.join().unwrap();
    assert_eq!(first, [1], "of a group the first that can be seen");
    assert_eq!(db.all::<i32>("SELECT n FROM queue.pop_as(NULL::q, 10)"), [3]);
}

/// Before, while and after the poll finds that there is no prepared transaction left.
#[test]
fn a_group_is_taken_in_order_after_a_prepared_transaction() {
    let server = Server::start(&[("max_prepared_transactions", "5"), ("queue_ext.poll_interval", "1s")]);
    let mut db = server.app("shop");
    db.run("SELECT queue.create_queue('q', 'n int')");
    for pause_ms in (0..2400).step_by(200) {
        db.batch_execute(
            "BEGIN; SELECT queue.enqueue('q', '{\"n\": 1}', group_key => 'g'); PREPARE TRANSACTION 'one'",
        )
        .unwrap();
        // Which leaves 1 below the floor.
        db.run("INSERT INTO q (n) VALUES (2)");
        assert_eq!(db.all::<i32>("SELECT n FROM queue.pop_as(NULL::q, 10)"), [2]);
        db.run("COMMIT PREPARED 'one'");
        db.run(&format!("SELECT pg_sleep(0.001 * {pause_ms})"));
        db.run("INSERT INTO q (n, group_key) VALUES (3, 'g')");
        assert_eq!(db.all::<i32>("SELECT n FROM queue.pop_as(NULL::q, 1)"), [1], "after {pause_ms} ms");
        assert_eq!(db.all::<i32>("SELECT n FROM queue.pop_as(NULL::q, 10)"), [3]);
    }
}
