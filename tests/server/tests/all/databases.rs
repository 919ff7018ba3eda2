//! Several databases at once; making and dropping databases is not held up.

use crate::fixture::{busy_worker, done, processed, put, until_done};
use postgres::Client;
use queue_ext_server_tests::{Server, Sql, until, until_some};

#[test]
fn several_databases_are_served_at_once() {
    let server = Server::start(&[("queue_ext.max_workers", "4")]);
    let names = ["one", "two", "three"];
    let mut all: Vec<_> = names.iter().map(|name| server.app(name)).collect();
    for db in &mut all {
        processed(db, "q", "", "");
    }
    for (i, db) in all.iter_mut().enumerate() {
        put(db, "q", 1, 100 * (i as i32 + 1));
    }
    for (i, db) in all.iter_mut().enumerate() {
        until_done(db, "q", 100 * (i as i64 + 1));
    }
}

#[test]
fn more_databases_than_workers_take_turns() {
    let server = Server::start(&[("queue_ext.max_workers", "2"), ("queue_ext.worker_idle_timeout", "100ms")]);
    let mut all: Vec<_> = ["one", "two", "three", "four"].iter().map(|name| server.app(name)).collect();
    for db in &mut all {
        processed(db, "q", "", "");
    }
    for round in 1..=3 {
        for db in &mut all {
            put(db, "q", round * 100, round * 100 + 9);
        }
        for db in &mut all {
            until_done(db, "q", i64::from(round) * 10);
        }
    }
}

#[test]
fn only_the_databases_named_are_served() {
    let server = Server::start(&[("queue_ext.databases", "one")]);
    let mut one = server.app("one");
    let mut two = server.app("two");
    processed(&mut one, "q", "", "");
    processed(&mut two, "q", "", "");
    put(&mut two, "q", 1, 1);
    put(&mut one, "q", 1, 1);
    until_done(&mut one, "q", 1);
    assert_eq!(done(&mut two, "q"), 0);
    assert!(two.one::<bool>("SELECT problem IS NOT NULL FROM queue.overview WHERE queue = 'q'::regclass"));
    // More worker processes would not help: it does not wait for one, and says what would.
    let refused = two.batch_execute("SELECT queue.start_workers()").unwrap_err();
    let refused = refused.as_db_error().expect("of the server");
    assert_eq!(
        (refused.code().code(), refused.message()),
        ("55000", "queue_ext.databases does not name \"two\"")
    );
    one.run("ALTER SYSTEM SET queue_ext.databases = 'one, two';\nSELECT pg_reload_conf()");
    until_done(&mut two, "q", 1);
}

#[test]
fn dropping_a_database_is_not_held_up() {
    let server = Server::start(&[]);
    let mut admin = server.connect("postgres");
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 10);
    until_done(&mut db, "q", 10);
    drop(db);
    // Without FORCE: whatever of ours is connected there lets go by itself.
    admin.run("DROP DATABASE shop");
    // A busy one, too.
    let mut db = server.app("busy");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 20000);
    until("it is busy", || done(&mut db, "q") > 0);
    drop(db);
    admin.run("DROP DATABASE busy WITH (FORCE)");
    // And one of the same name again.
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 10);
    until_done(&mut db, "q", 10);
}

#[test]
fn a_database_may_be_a_template_and_renamed() {
    let server = Server::start(&[]);
    let mut admin = server.connect("postgres");
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 10);
    until_done(&mut db, "q", 10);
    drop(db);
    admin.run("CREATE DATABASE copy TEMPLATE shop");
    let mut copy = server.connect("copy");
    put(&mut copy, "q", 11, 20);
    until_done(&mut copy, "q", 20);
    let mut db = server.connect("shop");
    put(&mut db, "q", 11, 15);
    until_done(&mut db, "q", 15);
    drop(db);
    admin.run("ALTER DATABASE shop RENAME TO store");
    let mut db = server.connect("store");
    put(&mut db, "q", 16, 20);
    until_done(&mut db, "q", 20);
}

#[test]
fn a_database_that_refuses_connections_stops_no_other() {
    let server = Server::start(&[]);
    let mut admin = server.connect("postgres");
    let mut shut = server.app("shut");
    processed(&mut shut, "q", "", "");
    drop(shut);
    admin.run("ALTER DATABASE shut ALLOW_CONNECTIONS false");
    server.stop_fast();
    server.start_again();
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 10);
    until_done(&mut db, "q", 10);
}

/// The place that a worker has made for another database's job is that job's, not its own database's next one's.
#[test]
fn a_place_that_was_made_goes_to_who_asked_for_it() {
    const ROUNDS: i32 = 10;
    let server = Server::start(&[("queue_ext.max_workers", "1"), ("queue_ext.poll_interval", "1h")]);
    let (mut one, mut two) = (server.app("one"), server.app("two"));
    let mut holder = server.connect("two");
    for db in [&mut one, &mut two] {
        db.run(
            "CREATE TABLE done (n int, at timestamptz DEFAULT clock_timestamp());
             SELECT queue.create_queue('q', 'n int');
             CREATE FUNCTION work(job q) RETURNS void LANGUAGE plpgsql SET search_path = public AS $$
             BEGIN PERFORM pg_advisory_xact_lock(1); INSERT INTO done VALUES (job.n); END $$;
             SELECT queue.register_processor('q', 'work(q)')",
        );
    }
    let mut first = 0;
    for n in 1..=ROUNDS {
        holder.run("SELECT pg_advisory_lock(1)");
        put(&mut two, "q", -n, -n);
        let worker = busy_worker(&mut two, "q");
        put(&mut one, "q", n, n);
        holder.run("SELECT pg_advisory_unlock(1)");
        until("it makes room", || {
            two.one(&format!("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {worker})"))
        });
        put(&mut two, "q", n, n);
        let at = format!("SELECT extract(epoch FROM at)::float8 FROM done WHERE n = {n}");
        let ended = |db: &mut Client| until_some("it is done", || db.all::<f64>(&at).first().copied());
        first += i32::from(ended(&mut one) < ended(&mut two));
    }
    assert!(first > ROUNDS / 2, "{first} of {ROUNDS}");
}
