//! What a transaction changed of a queue is told when it can be known: other sessions, workers among them, go by
//! what they keep of the queue until they have been sent that it is stale, which is after the commit can be seen.
//! Here that takes as long as the test likes. The poll is an hour away, so only what is told can start a job.

use crate::fixture::{done, numbers, processed, put, until_done, until_in_state};
use crate::moment::hold_commits;
use postgres::Client;
use queue_ext_server_tests::{Server, Sql, until, within};
use std::fs;
use std::thread;
use std::time::Duration;

/// One worker, which does everything.
const SETTINGS: &[(&str, &str)] = &[("queue_ext.poll_interval", "1h"), ("queue_ext.max_workers", "1")];

/// Commits `change`, which `is_seen` by others then. `meanwhile` is done before any session has been sent what
/// it makes stale.
fn commit_slowly(
    server: &Server,
    db: &mut Client,
    change: &str,
    is_seen: &str,
    meanwhile: impl FnOnce(&mut Client),
) {
    let file = hold_commits(server, "shop");
    let mut late = server.connect("shop");
    // Before anything of ours has been called back: so it comes after it.
    late.run(&format!("SELECT hold_commits('{}')", file.display()));
    fs::write(&file, "").expect("a file");
    let change = change.to_string();
    let committed = thread::spawn(move || late.run(&change));
    let mut admin = server.connect_as("postgres", "shop");
    until("it can be seen", || admin.one(is_seen));
    meanwhile(db);
    fs::remove_file(&file).expect("the file");
    committed.join().unwrap();
}

/// The scheduler reads what is configured, and the worker has a turn at each queue that it is sent to.
fn go_round(db: &mut Client) {
    for n in 1..=3 {
        db.run(&format!("SELECT queue.alter_queue('other', max_attempts => {})", 5 + n));
        put(db, "other", n, n);
        until_done(db, "other", n.into());
    }
}

/// Jobs that are ready, one of which the worker has moved there: so it has opened the queue.
fn put_two(db: &mut Client) {
    db.run("SELECT queue.enqueue('q', '{\"n\": 1}'), queue.enqueue('q', '{\"n\": 2}', delay => '10 ms')");
    until_in_state(db, "q", "ready", 2);
}

#[test]
fn a_resumed_queue_is_worked_on() {
    let server = Server::start(SETTINGS);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    processed(&mut db, "other", "", "");
    db.run("SELECT queue.pause('q')");
    put_two(&mut db);
    let resumed = "SELECT NOT paused FROM queue.queues WHERE queue = 'q'::regclass";
    commit_slowly(&server, &mut db, "SELECT queue.resume('q')", resumed, go_round);
    until_done(&mut db, "q", 2);
}

#[test]
fn a_registered_processor_is_taken_up() {
    let server = Server::start(SETTINGS);
    let mut db = server.app("shop");
    processed(&mut db, "other", "", "");
    numbers(&mut db, "q", "");
    put_two(&mut db);
    let registered = "SELECT EXISTS (SELECT FROM queue.processors WHERE queue = 'q'::regclass)";
    commit_slowly(&server, &mut db, "SELECT queue.register_processor('q', 'work(q)')", registered, go_round);
    until_done(&mut db, "q", 2);
}

#[test]
fn a_schedule_is_kept() {
    let server = Server::start(SETTINGS);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 0, 0);
    until_done(&mut db, "q", 1);
    let schedule = "SELECT queue.schedule('s', '* * * * * *', 'q', '{\"n\": 100}')";
    let is_there = "SELECT EXISTS (SELECT FROM queue.timetable)";
    commit_slowly(&server, &mut db, schedule, is_there, |db| {
        // Moved by a worker to which the schedule's time may have come.
        db.run("SELECT queue.enqueue('q', '{\"n\": 1}', delay => '1500 ms')");
        until("it is done", || db.one("SELECT EXISTS (SELECT FROM done WHERE n = 1)"));
    });
    // The look at all queues, whatever has happened, comes after a minute.
    let in_time = within(Duration::from_secs(30), || (done(&mut db, "q") > 2).then_some(()));
    assert!(in_time.is_some(), "it waited for the look at all queues");
}
