//! A job that cannot be moved when its time has come: the workers leave it alone, and say so once.

use crate::fixture::{in_state, numbers, processed, put, until_done};
use postgres::Client;
use queue_ext_server_tests::{Server, Sql, until, until_some, within};
use std::time::Duration;

#[test]
fn a_job_that_cannot_be_moved_hides_none_and_is_not_tried_again_and_again() {
    let server = Server::start(&[("queue_ext.poll_interval", "1h")]);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    // It cannot become due before the rule is there.
    db.run(
        "CREATE SEQUENCE tries;
         BEGIN;
         SELECT queue.enqueue('q', '{\"n\": 13}', delay => '200 ms');
         ALTER TABLE q ADD CONSTRAINT rule CHECK (n <> 13 OR nextval('tries') < 0) NOT VALID;
         COMMIT",
    );
    server.until_logged("cannot move job 1 out of state scheduled", 0);
    // Each of these is a reason to look at what is due.
    for n in 14..=43 {
        db.run(&format!("SELECT queue.enqueue('q', '{{\"n\": {n}}}', delay => '20 ms')"));
        until_done(&mut db, "q", n - 13);
    }
    assert_eq!(in_state(&mut db, "q", "scheduled"), 1);
    assert_eq!(server.log().matches("cannot move job").count(), 1);
    // Each of the four workers there may be finds it out for itself, in six tries.
    let tries: i64 = db.one("SELECT last_value FROM tries");
    assert!(tries <= 24, "tried {tries} times");
    // The remedy needs no patience.
    db.run("ALTER TABLE q DROP CONSTRAINT rule");
    db.run("SELECT queue.enqueue('q', '{\"n\": 44}', delay => '20 ms')");
    until_done(&mut db, "q", 32);
}

#[test]
fn a_job_whose_move_fails_at_commit_is_not_tried_in_a_tight_loop() {
    let server = Server::start(&[("queue_ext.poll_interval", "1h")]);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    processed(&mut db, "other", "", "");
    db.run(
        "CREATE SEQUENCE tries;
         CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN PERFORM nextval('public.tries'); RAISE EXCEPTION 'not at commit'; END $$;
         BEGIN;
         SELECT queue.enqueue('q', '{\"n\": 13}', delay => '200 ms');
         CREATE CONSTRAINT TRIGGER refuse AFTER DELETE ON q DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
         COMMIT",
    );
    server.until_logged("not at commit", 0);
    for n in 1..=40 {
        db.run(&format!("SELECT queue.enqueue('other', '{{\"n\": {n}}}', delay => '20 ms')"));
        until_done(&mut db, "other", n);
    }
    // 40 rounds take seconds; retried every 50 ms, it would have been tried far more often.
    let tries: i64 = db.one("SELECT last_value FROM tries");
    assert!(tries <= 10, "tried {tries} times");
}

/// A session that ends in the middle of its look at what is due leaves it to the others.
#[test]
fn a_worker_terminated_while_it_looks_loses_no_due_time() {
    let server = Server::start(&[("queue_ext.poll_interval", "1h")]);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    // There is a worker, which need not be asked twice.
    db.run("SELECT queue.enqueue('q', '{\"n\": 0}')");
    until_done(&mut db, "q", 1);
    let mut locker = server.connect("shop");
    // What is due first is locked, long before it is due: the look begins, and takes no job.
    db.run(
        "SELECT queue.enqueue('q', '{\"n\": 1}', delay => '2 s'), queue.enqueue('q', '{\"n\": 2}', delay => '5 s')",
    );
    locker.run("BEGIN; SELECT FROM q WHERE n = 1 FOR UPDATE; LOCK TABLE queue.done_keys");
    let waiting = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'queue_ext worker' AND wait_event_type = 'Lock'";
    let pid = until_some("a worker waits for the lock", || db.all::<i32>(waiting).first().copied());
    db.run(&format!("SELECT pg_terminate_backend({pid})"));
    until("it has ended", || {
        !db.one::<bool>(&format!("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid})"))
    });
    locker.run("COMMIT");
    // The scheduler's own look at all queues comes after a minute.
    let done = within(Duration::from_secs(30), || (in_state(&mut db, "q", "scheduled") == 0).then_some(()));
    assert!(done.is_some(), "their time was lost");
}

/// Twenty jobs whose time has come, of which nobody was told.
fn put_due(db: &mut Client) {
    db.run(
        "SET session_replication_role = replica;
         INSERT INTO q (state, n, run_at) SELECT 'scheduled', n, now() - interval '1 s' FROM generate_series(1, 20) n;
         RESET session_replication_role",
    );
}

fn pop(db: &mut Client) -> i64 {
    db.one("SELECT count(*) FROM queue.pop('q', 100)")
}

/// They are had by others at once, while the transaction goes on.
fn a_block_hides_no_due_job(server: &Server, db: &mut Client) {
    put_due(db);
    let mut client = server.connect("shop");
    client.run("BEGIN");
    let mut had: i64 = client.one("SELECT count(*) FROM queue.pop('q', 1)");
    assert!(had <= 1);
    until("all jobs that are due can be had", || {
        had += pop(db);
        had == 20
    });
    client.run("COMMIT");
}

#[test]
fn a_transaction_block_hides_no_due_job() {
    let server = Server::start(&[("queue_ext.poll_interval", "1h")]);
    let mut db = server.app("shop");
    numbers(&mut db, "q", "");
    a_block_hides_no_due_job(&server, &mut db);
    // Nor where there is nobody who looks after the queue anyway.
    db.run("CREATE ROLE owner LOGIN; GRANT CREATE ON SCHEMA public TO owner; ALTER TABLE q OWNER TO owner");
    a_block_hides_no_due_job(&server, &mut db);
}

/// Where there is no worker to do it, whoever dequeues does, also in a block.
#[test]
fn due_jobs_are_had_in_a_transaction_block_without_workers() {
    let server = Server::start(&[("queue_ext.poll_interval", "1h"), ("queue_ext.max_workers", "1")]);
    let mut db = server.app("shop");
    db.run("CREATE ROLE owner; GRANT CREATE ON SCHEMA public TO owner");
    numbers(&mut db, "q", "");
    let all_in_a_block = |db: &mut Client| {
        put_due(db);
        let mut had = 0;
        until("all jobs that are due can be had", || {
            db.run("BEGIN");
            had += pop(db);
            db.run("COMMIT");
            had == 20
        });
    };
    all_in_a_block(&mut db);
    db.run("SELECT queue.stop_workers()");
    all_in_a_block(&mut db);
    db.run("SELECT queue.start_workers()");
    // Nobody can be connected as its owner.
    db.run("ALTER TABLE q OWNER TO owner");
    all_in_a_block(&mut db);
    // All workers that there may be are at work.
    processed(&mut db, "other", "", ", parallelism => 1");
    db.run("CREATE OR REPLACE FUNCTION work(job other) RETURNS int LANGUAGE sql AS 'SELECT 1 FROM pg_sleep(3600)'");
    db.run("ALTER ROLE owner LOGIN");
    put(&mut db, "other", 1, 1);
    crate::fixture::busy_worker(&mut db, "other");
    all_in_a_block(&mut db);
}

/// The server has no place for a worker, and rollbacks ask for one again and again.
#[test]
fn due_jobs_are_had_in_a_transaction_block_where_no_worker_can_be_started() {
    let server = Server::start(&[
        ("max_worker_processes", "3"),
        ("max_logical_replication_workers", "2"),
        ("queue_ext.poll_interval", "1h"),
    ]);
    let mut db = server.app("shop");
    numbers(&mut db, "q", "");
    put_due(&mut db);
    let mut had = 0;
    until("all jobs that are due can be had", || {
        db.run("BEGIN");
        pop(&mut db);
        db.run("ROLLBACK; BEGIN");
        had += pop(&mut db);
        db.run("COMMIT");
        had == 20
    });
}

/// What a transaction has put there itself nobody else sees.
#[test]
fn a_transaction_block_sees_to_its_own_due_jobs() {
    let server = Server::start(&[("queue_ext.poll_interval", "1h")]);
    let mut db = server.app("shop");
    numbers(&mut db, "q", "");
    db.run("BEGIN; SELECT queue.enqueue('q', delay => '100 ms')");
    until("it can be had", || pop(&mut db) == 1);
    db.run("COMMIT");
}
