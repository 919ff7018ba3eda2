//! What keys, groups, limits, schedules, subscriptions and `after` know is in tables: a promoted standby goes on
//! with it, and so does a restored dump.

use postgres::Client;
use queue_ext_server_tests::{Server, Sql, until};

/// Each in the middle of something.
fn fill(db: &mut Client) {
    db.run(
        "SELECT queue.create_queue('grouped', 'n int', max_running_per_key => 1);
         INSERT INTO grouped (n, key, group_key) VALUES (1, NULL, 'g'), (2, NULL, 'g'), (3, NULL, 'g'), (4, 'k', NULL), (5, 'k', NULL), (6, 'k', 'h');
         SELECT queue.dequeue('grouped', 10, '1 day');
         SELECT queue.create_queue('keyed', 'n int', on_conflict => 'skip');
         SELECT queue.enqueue('keyed', '{\"n\": 1}', key => 'done', once => '1 day');
         SELECT queue.pop('keyed');
         SELECT queue.enqueue('keyed', '{\"n\": 2}', key => 'waits');
         SELECT queue.create_queue('chain', 'n int');
         SELECT queue.enqueue('chain', '{\"n\": 1}');
         SELECT queue.enqueue('chain', '{\"n\": 2}', after => '{1}');
         SELECT queue.enqueue('chain', '{\"n\": 3}', after => '{1}', priority => 9);
         SELECT queue.create_queue('heard');
         SELECT queue.subscribe('orders.#', 'heard');
         SELECT queue.schedule('yearly', '0 0 1 1 *', 'heard', '{\"tick\": true}', 'Europe/Berlin')",
    );
}

/// All that must be the same afterwards.
fn picture(db: &mut Client) -> Vec<String> {
    let tables = [
        "queue.keys",
        "queue.done_keys",
        "queue.timetable",
        "queue.subscriptions",
        "queue.queues",
        "grouped",
        "chain",
    ];
    tables
        .iter()
        .flat_map(|table| db.all::<String>(&format!("SELECT t::text FROM {table} t ORDER BY 1")))
        .collect()
}

fn next(db: &mut Client, queue: &str) -> Vec<i32> {
    let mut jobs: Vec<i32> = db.all(&format!("SELECT n FROM queue.dequeue_as(NULL::{queue}, 10, '1 day')"));
    jobs.sort_unstable();
    jobs
}

fn ack(db: &mut Client, queue: &str, n: i32) {
    assert!(db.one::<bool>(&format!("SELECT queue.ack('{queue}', id, attempt) FROM {queue} WHERE n = {n}")));
}

fn goes_on(db: &mut Client) {
    // The leases stand, and hold the others back.
    assert_eq!(db.all::<i32>("SELECT n FROM grouped WHERE state = 'running' ORDER BY n"), [1, 4]);
    assert!(next(db, "grouped").is_empty());
    ack(db, "grouped", 1);
    assert_eq!(next(db, "grouped"), [2]);
    ack(db, "grouped", 4);
    assert_eq!(next(db, "grouped"), [5]);
    ack(db, "grouped", 2);
    ack(db, "grouped", 5);
    until("the last ones come", || {
        next(db, "grouped");
        db.all::<i32>("SELECT n FROM grouped WHERE state = 'running' ORDER BY n") == [3, 6]
    });
    // What was done once is not done again; what waits stands for both.
    db.run("SELECT queue.enqueue('keyed', '{\"n\": 3}', key => 'done', once => '1 day')");
    assert_eq!(db.one::<i64>("SELECT queue.enqueue('keyed', '{\"n\": 4}', key => 'waits')"), 2);
    assert_eq!(next(db, "keyed"), [2]);
    // Who waits for others is let go when they are done.
    assert_eq!(next(db, "chain"), [1]);
    ack(db, "chain", 1);
    until("those that waited are let go", || {
        next(db, "chain");
        db.all::<i32>("SELECT n FROM chain WHERE state = 'running' ORDER BY n") == [2, 3]
    });
    assert_eq!(db.one::<i64>("SELECT queue.publish('orders.created')"), 1);
    assert_eq!(db.one::<String>("SELECT topic FROM heard"), "orders.created");
    let due = "SELECT next_run > now() AND queue::text = 'heard' FROM queue.schedules WHERE name = 'yearly'";
    assert!(db.one::<bool>(due));
    db.run("SELECT queue.unschedule('yearly')");
}

#[test]
fn by_a_standby_that_is_promoted() {
    let primary = Server::start(&[("synchronous_commit", "on")]);
    let mut db = primary.app("shop");
    // Both what a base backup has, and what comes by streaming.
    db.run("SELECT queue.create_queue('before', 'n int')");
    let standby = Server::standby_of(&primary);
    fill(&mut db);
    let before = picture(&mut db);
    let position: String = db.one("SELECT pg_current_wal_lsn()::text");
    let mut there = standby.reconnect("shop");
    until("the standby has it all", || {
        there.one::<bool>(&format!("SELECT pg_last_wal_replay_lsn() >= '{position}'"))
    });
    primary.stop_immediately();
    standby.promote();
    until("the standby is a primary", || !there.one::<bool>("SELECT pg_is_in_recovery()"));
    assert_eq!(picture(&mut there), before);
    goes_on(&mut there);
}

#[test]
fn by_a_dump() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    fill(&mut db);
    let before = picture(&mut db);
    let file = server.dir().join("dump").display().to_string();
    server.program("pg_dump", &["--format", "custom", "--file", &file, "shop"]);
    server.connect("postgres").run("CREATE DATABASE restored");
    server.program("pg_restore", &["--exit-on-error", "-d", "restored", &file]);
    let mut copy = server.connect("restored");
    assert_eq!(picture(&mut copy), before);
    goes_on(&mut copy);
    // The original is none the wiser.
    goes_on(&mut db);
}
