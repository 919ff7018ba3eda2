//! A failing job costs itself alone; a failing queue or processor costs no other queue.

use crate::fixture::{done, in_state, numbers, processed, put, until_done, until_in_state};
use queue_ext_server_tests::{Server, Sql, until};

#[test]
fn bad_jobs_in_a_batch_cost_themselves_alone() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    processed(&mut db, "q", ", max_attempts => 3, backoff => '10 ms'", "");
    db.run("INSERT INTO q (n) SELECT CASE WHEN i % 25 = 0 THEN -i ELSE i END FROM generate_series(1, 500) i");
    until_done(&mut db, "q", 480);
    until_in_state(&mut db, "q", "failed", 20);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM q"), 20);
    let told: bool = db.one(
        "SELECT bool_and(attempt = 3 AND sqlstate = 'P0001' AND message LIKE 'negative: -%' AND context LIKE '%function work(q)%'
                         AND jsonb_array_length(job -> 'errors') = 3) FROM queue.errors WHERE queue = 'q'::regclass",
    );
    assert!(told);
    // Repaired and resubmitted, each takes effect once.
    db.run("UPDATE q SET n = -n");
    assert_eq!(db.one::<i64>("SELECT queue.resubmit_all('q')"), 20);
    until_done(&mut db, "q", 500);
}

#[test]
fn a_deferred_constraint_that_fails_at_commit_is_the_jobs_error() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    db.run(
        "CREATE TABLE parent (id int PRIMARY KEY);
         INSERT INTO parent VALUES (1);
         CREATE TABLE done (queue text, n int, parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
         SELECT queue.create_queue('q', 'n int', max_attempts => 2, backoff => '10 ms');
         CREATE FUNCTION work(job q) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.done VALUES ('q', job.n, CASE WHEN job.n % 10 = 0 THEN 2 ELSE 1 END) $$;
         SELECT queue.register_processor('q', 'work(q)')",
    );
    put(&mut db, "q", 1, 100);
    until_done(&mut db, "q", 90);
    until_in_state(&mut db, "q", "failed", 10);
    assert_eq!(db.all::<String>("SELECT DISTINCT sqlstate FROM queue.errors"), ["23503"]);
    db.run("INSERT INTO parent VALUES (2);\nSELECT queue.resubmit_all('q')");
    until_done(&mut db, "q", 100);
}

#[test]
fn a_bad_queue_does_not_stop_another() {
    let server = Server::start(&[("queue_ext.max_workers", "2")]);
    let mut db = server.app("shop");
    for name in ["vanished", "forbidden", "failing", "good"] {
        processed(&mut db, name, ", max_attempts => 100, backoff => '10 ms'", "");
    }
    // One whose function is gone, one whose function's role may no longer run it, one that always fails.
    db.run("DROP FUNCTION work(vanished)");
    db.run("CREATE ROLE weak LOGIN");
    db.run("GRANT CREATE ON SCHEMA public TO weak");
    db.run(
        "SET SESSION AUTHORIZATION weak;
         SELECT queue.create_queue('theirs');
         CREATE FUNCTION work(job theirs) RETURNS void LANGUAGE sql AS '';
         SELECT queue.register_processor('theirs', 'work(theirs)');
         RESET SESSION AUTHORIZATION;
         ALTER FUNCTION work(theirs) OWNER TO postgres;
         REVOKE ALL ON FUNCTION work(theirs) FROM PUBLIC, weak",
    );
    for name in ["vanished", "forbidden"] {
        put(&mut db, name, 1, 10);
    }
    put(&mut db, "failing", -50, -1);
    db.run("SELECT queue.enqueue('theirs')");
    for round in 1..=5 {
        put(&mut db, "good", round * 100, round * 100 + 99);
        until_done(&mut db, "good", i64::from(round) * 100);
    }
    until("the view says what is wrong with the queue whose function is gone", || {
        db.one::<bool>("SELECT problem IS NOT NULL FROM queue.overview WHERE queue = 'vanished'::regclass")
    });
    assert_eq!(in_state(&mut db, "vanished", "ready"), 10, "its jobs wait");
    assert_eq!(
        db.one::<i64>("SELECT count(*) FROM theirs WHERE state IN ('ready', 'scheduled', 'failed')"),
        1
    );
    // The function comes back, and with it the work.
    db.run("DROP TABLE IF EXISTS nothing");
    db.run("CREATE FUNCTION work(job vanished) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.done VALUES ('vanished', job.n) $$");
    db.run("SELECT queue.register_processor('vanished', 'work(vanished)', replace => true)");
    until_done(&mut db, "vanished", 10);
}

#[test]
fn a_processor_that_ends_its_own_session_does_not_stop_the_queue() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    numbers(&mut db, "q", ", max_attempts => 2, backoff => '10 ms'");
    db.run(
        "CREATE FUNCTION suicidal(job q) RETURNS void LANGUAGE plpgsql AS $$
         BEGIN IF job.n = 5 THEN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10); END IF; INSERT INTO public.done VALUES ('q', job.n); END $$;
         SELECT queue.register_processor('q', 'suicidal(q)')",
    );
    put(&mut db, "q", 1, 20);
    until("all but the one are done", || done(&mut db, "q") >= 19);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM done WHERE n = 5"), 0);
}

#[test]
fn a_queue_table_that_cannot_be_read_for_a_while() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    processed(&mut db, "locked", "", "");
    processed(&mut db, "free", "", "");
    put(&mut db, "locked", 1, 5);
    until_done(&mut db, "locked", 5);
    let mut owner = server.connect("shop");
    owner.run("BEGIN;\nLOCK TABLE locked IN ACCESS EXCLUSIVE MODE");
    put(&mut db, "free", 1, 50);
    until_done(&mut db, "free", 50);
    owner.run("INSERT INTO locked (n) VALUES (6);\nCOMMIT");
    until_done(&mut db, "locked", 6);
}
