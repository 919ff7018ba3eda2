//! A job that kills its server process does not kill it for ever: it becomes an error row.

use crate::fixture::{in_state, put, until_done};
use queue_ext_server_tests::{Server, Sql, until_some};

/// The job of number 13 kills the process that runs it with SIGKILL, which crashes the whole server.
const KILLER: &str = "
    CREATE TABLE done (queue text, n int);
    SELECT queue.create_queue('q', 'n int', max_attempts => 5);
    CREATE FUNCTION work(job q) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN IF job.n = 13 THEN EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'kill -9 ' || pg_backend_pid()); PERFORM pg_sleep(60); END IF; INSERT INTO public.done VALUES ('q', job.n); END $$;
    SELECT queue.create_queue('innocent', 'n int');
    CREATE FUNCTION work(job innocent) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.done VALUES ('innocent', job.n) $$;
    SELECT queue.register_processor('innocent', 'work(innocent)')";

#[test]
fn the_culprit_becomes_an_error_row_and_the_others_are_done() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    db.run(KILLER);
    put(&mut db, "q", 1, 30);
    put(&mut db, "innocent", 1, 30);
    // This starts the crashes; whether the reply still arrives is a matter of chance.
    let _ = db.batch_execute("SELECT queue.register_processor('q', 'work(q)')");
    let row = until_some("the culprit is an error row and all others are done", || {
        // The server crashes meanwhile, again and again: any of this may fail.
        let mut db = server.try_connect("postgres", "shop").ok()?;
        let row = db
            .query_one(
                "SELECT (SELECT count(*) FROM done WHERE queue = 'q'), (SELECT count(DISTINCT n) FROM done WHERE queue = 'q'),
                        (SELECT count(*) FROM done WHERE queue = 'innocent'), (SELECT count(DISTINCT n) FROM done WHERE queue = 'innocent'),
                        (SELECT count(*) FROM q WHERE state = 'failed' AND n = 13)",
                &[],
            )
            .ok()?;
        let counts: Vec<i64> = (0..5).map(|i| row.get(i)).collect();
        (counts[4] == 1 && counts[0] >= 29 && counts[2] >= 30).then_some(counts)
    });
    assert_eq!(row, [29, 29, 30, 30, 1]);
    let mut db = server.reconnect("shop");
    let crashes = server.log().matches("reinitializing").count();
    assert!(crashes <= 6, "{crashes} crashes for one bad job");
    let told: bool =
        db.one("SELECT sqlstate IS NOT NULL AND message <> '' FROM queue.errors WHERE queue = 'q'::regclass");
    assert!(told);
    // Life goes on, at the usual pace.
    put(&mut db, "q", 100, 199);
    until_done(&mut db, "q", 129);
    assert_eq!(server.log().matches("reinitializing").count(), crashes);
}

#[test]
fn queues_that_wait_for_a_job_that_runs_alone_say_so() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    db.run(
        "CREATE ROLE reader LOGIN;
         CREATE TABLE done (queue text, n int);
         SELECT queue.create_queue('endless', 'n int');
         SELECT queue.create_queue('waits', 'n int');
         CREATE FUNCTION work(job endless) RETURNS void LANGUAGE sql AS 'SELECT pg_catalog.pg_advisory_xact_lock(1)';
         CREATE FUNCTION work(job waits) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.done VALUES ('waits', job.n) $$;
         SELECT queue.register_processor('endless', 'work(endless)'), queue.register_processor('waits', 'work(waits)');
         GRANT SELECT ON waits TO reader",
    );
    server.stop_immediately();
    server.start_again();
    let mut db = server.reconnect("shop");
    db.run("SELECT pg_advisory_lock(1)");
    put(&mut db, "endless", 1, 3);
    crate::fixture::busy_worker(&mut db, "endless");
    put(&mut db, "waits", 1, 3);
    let problem = "SELECT problem FROM queue.overview WHERE queue = 'waits'::regclass";
    let says = |db: &mut postgres::Client, text: &str| {
        until_some(&format!("the view says {text:?}"), || {
            db.one::<Option<String>>(problem).filter(|problem| problem == text)
        })
    };
    says(&mut db, "waiting for job 1 of queue \"endless\", which runs alone after a crash");
    // Nothing of a queue that the reader may not see.
    let mut reader = server.connect_as("reader", "shop");
    says(&mut reader, "waiting for a job of another queue, which runs alone after a crash");
    let of_endless: Option<String> =
        db.one("SELECT problem FROM queue.overview WHERE queue = 'endless'::regclass");
    assert_eq!(of_endless, None);
    db.run("SELECT pg_advisory_unlock(1)");
    until_some("both queues go on", || {
        (in_state(&mut db, "waits", "ready") + in_state(&mut db, "endless", "ready") == 0).then_some(())
    });
    assert_eq!(db.one::<Option<String>>(problem), None);
}
