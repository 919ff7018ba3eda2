//! What a commit tells the workers. The poll is an hour away, so only the wake-up can be what starts a job.

use crate::fixture::{done, numbers, processed, put, until_done};
use queue_ext_server_tests::{Server, Sql, until, within};
use std::time::Duration;

const NO_POLL: &[(&str, &str)] = &[("queue_ext.poll_interval", "1h")];

#[test]
fn every_way_in_wakes_a_sleeping_worker() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    db.run(
        "CREATE TABLE source (n int);
         SELECT queue.attach('source', 'q', 'insert', set => '{\"n\": \"new.n\"}');
         CREATE TABLE by_hand (n int);
         CREATE TRIGGER enqueue AFTER INSERT ON by_hand FOR EACH ROW EXECUTE FUNCTION queue.enqueue_from_trigger('q', 'set={\"n\": \"new.n\"}')",
    );
    let ways = [
        "SELECT queue.enqueue('q', '{\"n\": 1}')",
        "INSERT INTO q (n) VALUES (2)",
        "SELECT queue.enqueue_many('q', '{\"{\\\"n\\\": 3}\"}')",
        "INSERT INTO source VALUES (4)",
        "INSERT INTO by_hand VALUES (5)",
        "COPY q (n) FROM PROGRAM 'echo 6'",
        "DO $$BEGIN PERFORM queue.enqueue('q', '{\"n\": 7}'); EXCEPTION WHEN division_by_zero THEN NULL; END$$",
        "SELECT queue.enqueue('q', '{\"n\": 8}', delay => '10 ms')",
        "INSERT INTO q (n, run_at) VALUES (9, clock_timestamp() + '10 ms')",
    ];
    for (before, way) in ways.iter().enumerate() {
        db.run(way);
        until_done(&mut db, "q", before as i64 + 1);
    }
}

#[test]
fn what_gives_jobs_back_wakes_too() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    processed(&mut db, "q", ", max_attempts => 1", "");
    // resume
    db.run("SELECT queue.pause('q')");
    put(&mut db, "q", 1, 1);
    db.run("SELECT queue.resume('q')");
    until_done(&mut db, "q", 1);
    // resubmit
    put(&mut db, "q", -1, -1);
    crate::fixture::until_in_state(&mut db, "q", "failed", 1);
    db.run("UPDATE q SET n = 2");
    db.run("SELECT queue.resubmit_all('q')");
    until_done(&mut db, "q", 2);
    // nack, and the rollback of a pop: the jobs are taken by hand, while the processor is away.
    db.run("SELECT queue.unregister_processor('q')");
    put(&mut db, "q", 3, 4);
    db.run("SELECT queue.alter_queue('q', max_attempts => 5)");
    db.run("UPDATE q SET max_attempts = 5");
    let id: i64 = db.one("SELECT id FROM queue.dequeue('q')");
    let mut popper = server.connect("shop");
    popper.run("BEGIN;\nSELECT queue.pop('q')");
    db.run("SELECT queue.register_processor('q', 'work(q)')");
    popper.run("ROLLBACK");
    until_done(&mut db, "q", 3);
    assert!(db.one::<bool>(&format!("SELECT queue.nack('q', {id}, 1, delay => '0')")));
    until_done(&mut db, "q", 4);
}

#[test]
fn a_schedule_is_known_without_a_look() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 1);
    until_done(&mut db, "q", 1);
    db.run("SELECT queue.schedule('s', '* * * * * *', 'q', '{\"n\": 2}')");
    until("ticks come", || done(&mut db, "q") >= 3);
}

#[test]
fn a_rollback_wakes_nobody_and_leaves_nothing() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    db.run("BEGIN;\nSELECT queue.enqueue('q', '{\"n\": 1}');\nROLLBACK");
    db.run("BEGIN;\nSAVEPOINT s;\nSELECT queue.enqueue('q', '{\"n\": 2}');\nROLLBACK TO s;\nSELECT queue.enqueue('q', '{\"n\": 3}');\nCOMMIT");
    until_done(&mut db, "q", 1);
    assert_eq!(db.one::<i32>("SELECT n FROM done"), 3);
}

#[test]
fn a_prepared_transaction_is_found_by_the_poll() {
    let server = Server::start(&[("queue_ext.poll_interval", "1s")]);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    db.run("BEGIN;\nSELECT queue.enqueue('q', '{\"n\": 1}');\nPREPARE TRANSACTION 'later'");
    assert_eq!(done(&mut db, "q"), 0);
    db.run("COMMIT PREPARED 'later'");
    until_done(&mut db, "q", 1);
}

#[test]
fn a_change_in_a_prepared_transaction_is_found_by_the_poll() {
    let server = Server::start(&[("queue_ext.poll_interval", "1s")]);
    let mut db = server.app("shop");
    numbers(&mut db, "q", "");
    put(&mut db, "q", 1, 1);
    db.run("BEGIN;\nSELECT queue.register_processor('q', 'work(q)');\nPREPARE TRANSACTION 'later'");
    db.run("COMMIT PREPARED 'later'");
    until_done(&mut db, "q", 1);
    db.run("SELECT queue.pause('q')");
    put(&mut db, "q", 2, 2);
    db.run("BEGIN;\nSELECT queue.resume('q');\nPREPARE TRANSACTION 'later'");
    db.run("COMMIT PREPARED 'later'");
    until_done(&mut db, "q", 2);
}

/// A job for later is seen, too, by the poll that sees that a prepared transaction has ended.
#[test]
fn a_scheduled_job_of_a_prepared_transaction_starts_at_its_time() {
    let server = Server::start(&[("queue_ext.poll_interval", "1s")]);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    db.run("SELECT queue.enqueue('q', '{\"n\": 0}')");
    until_done(&mut db, "q", 1);
    for (n, restart) in [(1, false), (2, true)] {
        db.run("BEGIN");
        db.run(&format!("SELECT queue.enqueue('q', '{{\"n\": {n}}}', delay => '1 s')"));
        db.run("PREPARE TRANSACTION 'later'");
        if restart {
            server.stop_fast();
            server.start_again();
            db = server.reconnect("shop");
        }
        db.run("COMMIT PREPARED 'later'");
        // The look at all queues, whatever has happened, comes after a minute.
        let in_time = within(Duration::from_secs(30), || (done(&mut db, "q") == n + 1).then_some(()));
        assert!(in_time.is_some(), "it waited for the look at all queues");
    }
}
