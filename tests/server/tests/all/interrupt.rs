//! timeout, cancel, pg_cancel_backend, pg_terminate_backend, pause: what interrupts a worker.

use crate::fixture::{busy_worker, done, numbers, processed, put, until_done, until_in_state};
use postgres::Client;
use queue_ext_server_tests::{Server, Sql, until};

/// Jobs over 1000 wait for an advisory lock of their number, which the test holds.
fn waiting(db: &mut Client, registration: &str) {
    numbers(db, "q", ", max_attempts => 1");
    db.run(
        "CREATE FUNCTION waits(job q) RETURNS void LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO public.done VALUES ('q', job.n); IF job.n > 1000 THEN PERFORM pg_advisory_xact_lock(job.n); END IF; END $$",
    );
    db.run(&format!("SELECT queue.register_processor('q', 'waits(q)'{registration})"));
}

fn hold(server: &Server, number: i32) -> Client {
    let mut holder = server.connect("shop");
    holder.run(&format!("SELECT pg_advisory_lock({number})"));
    holder
}

fn failed(db: &mut Client) -> Vec<String> {
    until_in_state(db, "q", "failed", 1);
    db.all("SELECT sqlstate FROM queue.errors WHERE queue = 'q'::regclass")
}

#[test]
fn a_job_that_runs_too_long_is_an_error_row() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    waiting(&mut db, ", timeout => '2 s'");
    let _holder = hold(&server, 2000);
    db.run("INSERT INTO q (n) VALUES (1), (2000), (2)");
    until_done(&mut db, "q", 2);
    assert_eq!(failed(&mut db), ["57014"]);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM done WHERE n = 2000"), 0, "what it did is undone");
}

#[test]
fn cancel_interrupts_the_running_job_and_no_other() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    waiting(&mut db, "");
    let _holder = hold(&server, 2000);
    db.run("INSERT INTO q (n) VALUES (1), (2000), (2)");
    busy_worker(&mut db, "q");
    let id: i64 = db.one("SELECT min(id) + 1 FROM q");
    until("the job in the middle is the one that runs", || {
        db.one::<bool>(&format!("SELECT EXISTS (SELECT FROM queue.activity WHERE job_id = {id})"))
    });
    assert!(db.one::<bool>(&format!("SELECT queue.cancel('q', {id})")));
    until_done(&mut db, "q", 2);
    assert_eq!(failed(&mut db), ["57014"]);
    assert_eq!(db.one::<String>(&format!("SELECT queue.status('q', {id})")), "failed");
    // Resubmitted, and not held up any more, it runs as if it had never been cancelled.
    drop(_holder);
    assert!(db.one::<bool>(&format!("SELECT queue.resubmit('q', {id})")));
    until_done(&mut db, "q", 3);
}

#[test]
fn cancel_of_a_job_that_would_be_retried_is_final() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    waiting(&mut db, "");
    db.run("SELECT queue.alter_queue('q', max_attempts => 10, backoff => '0')");
    let _holder = hold(&server, 2000);
    let id: i64 = db.one("SELECT queue.enqueue('q', '{\"n\": 2000}')");
    busy_worker(&mut db, "q");
    assert!(db.one::<bool>(&format!("SELECT queue.cancel('q', {id})")));
    assert_eq!(failed(&mut db), ["57014"]);
    put(&mut db, "q", 1, 5);
    until_done(&mut db, "q", 5);
    assert_eq!(db.one::<String>(&format!("SELECT queue.status('q', {id})")), "failed");
}

#[test]
fn pg_cancel_backend_fails_the_job_and_the_worker_goes_on() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    waiting(&mut db, "");
    let _holder = hold(&server, 2000);
    db.run("INSERT INTO q (n) VALUES (2000)");
    let pid = busy_worker(&mut db, "q");
    db.run(&format!("SELECT pg_cancel_backend({pid})"));
    assert_eq!(failed(&mut db), ["57014"]);
    put(&mut db, "q", 1, 3);
    until_done(&mut db, "q", 3);
    assert_eq!(db.one::<i32>("SELECT DISTINCT pid FROM done"), pid, "the same worker");
}

#[test]
fn pg_terminate_backend_loses_no_job() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    waiting(&mut db, "");
    let holder = hold(&server, 2000);
    db.run("INSERT INTO q (n) VALUES (1), (2000), (2)");
    let pid = busy_worker(&mut db, "q");
    db.run(&format!("SELECT pg_terminate_backend({pid})"));
    until("that worker is gone", || {
        db.one::<bool>(&format!("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {pid})"))
    });
    drop(holder);
    until_done(&mut db, "q", 3);
}

#[test]
fn pause_lets_what_runs_finish_and_starts_nothing() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    waiting(&mut db, ", batch_size => 1, load_balanced => false");
    let holder = hold(&server, 2000);
    db.run("INSERT INTO q (n) VALUES (2000)");
    busy_worker(&mut db, "q");
    db.run("SELECT queue.pause('q')");
    put(&mut db, "q", 1, 3);
    drop(holder);
    until_done(&mut db, "q", 1);
    until("nothing runs", || {
        db.one::<bool>("SELECT count(*) = 0 FROM queue.activity WHERE queue = 'q'::regclass")
    });
    assert!(db.one::<bool>(
        "SELECT problem IS NOT NULL AND paused FROM queue.overview WHERE queue = 'q'::regclass"
    ));
    assert_eq!(done(&mut db, "q"), 1);
    db.run("SELECT queue.resume('q')");
    until_done(&mut db, "q", 4);
}

#[test]
fn unregister_finishes_the_batch_under_way_and_starts_no_other() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    waiting(&mut db, ", batch_size => 1, load_balanced => false");
    let holder = hold(&server, 2000);
    db.run("INSERT INTO q (n) VALUES (2000)");
    busy_worker(&mut db, "q");
    db.run("SELECT queue.unregister_processor('q')");
    put(&mut db, "q", 1, 3);
    drop(holder);
    until_done(&mut db, "q", 1);
    processed(&mut db, "other", "", "");
    put(&mut db, "other", 1, 3);
    until_done(&mut db, "other", 3);
    assert_eq!(crate::fixture::in_state(&mut db, "q", "ready"), 3);
    db.run("SELECT queue.register_processor('q', 'waits(q)')");
    until_done(&mut db, "q", 4);
}

#[test]
fn a_fast_shutdown_does_not_wait_for_a_long_job() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    waiting(&mut db, "");
    let holder = hold(&server, 2000);
    db.run("INSERT INTO q (n) VALUES (2000)");
    busy_worker(&mut db, "q");
    // The holder lives on until the server is down.
    server.stop_fast();
    drop(holder);
    server.start_again();
    let mut db = server.reconnect("shop");
    until_done(&mut db, "q", 1);
}
