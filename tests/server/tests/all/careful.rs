//! After a crash jobs are run one by one: also on a queue with limits, groups and jobs that wait for others,
//! where the first ready jobs are not those that may run.

use crate::fixture::{busy_worker, in_state};
use postgres::Client;
use queue_ext_server_tests::{Server, Sql, until, until_some};

/// The job 13 waits for the word, and from then on kills the process that runs it, and so the server. Jobs with
/// negative numbers fail.
const WORK: &str = "
    CREATE TABLE done (n int);
    CREATE TABLE word (is_given boolean);
    CREATE FUNCTION work(job q) RETURNS void LANGUAGE plpgsql SET search_path = public AS $$
    BEGIN
        IF job.n < 0 THEN RAISE 'negative'; END IF;
        IF job.n = 13 THEN
            WHILE NOT EXISTS (SELECT FROM word) LOOP PERFORM pg_sleep(0.01); END LOOP;
            EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'kill -9 ' || pg_backend_pid());
            PERFORM pg_sleep(60);
        END IF;
        INSERT INTO done VALUES (job.n);
    END $$";

/// Enqueues the culprit, puts what is to come before it while it runs, and gives the word. Returns when the
/// culprit is an error row.
fn crash(server: &Server, db: &mut Client, culprit: &str, before: &str) {
    db.run(culprit);
    busy_worker(db, "q");
    db.run(before);
    let _ = db.batch_execute("INSERT INTO word VALUES (true)");
    until_some("the culprit is an error row", || {
        let mut db = server.try_connect("postgres", "shop").ok()?;
        let row = db.query_one("SELECT count(*) FROM q WHERE state = 'failed' AND n = 13", &[]).ok()?;
        (row.get::<_, i64>(0) == 1).then_some(())
    });
    // One that the culprit caused, and one while it ran alone.
    assert_eq!(server.log().matches("reinitializing").count(), 2);
}

#[test]
fn the_culprit_is_found_behind_jobs_that_may_not_run() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    db.run("SELECT queue.create_queue('q', 'n int', max_attempts => 1, max_running_per_key => 1)");
    db.batch_execute(WORK).expect("the function");
    // A client has a job of the key a; the group h is held back by an error row.
    db.run("INSERT INTO q (n, key) VALUES (1, 'a');\nSELECT queue.dequeue('q', 1, '1 day')");
    db.run("SELECT queue.register_processor('q', 'work(q)', batch_size => 4)");
    db.run("INSERT INTO q (n, group_key) VALUES (-1, 'h')");
    until("the group is held back", || in_state(&mut db, "q", "failed") == 1);
    crash(
        &server,
        &mut db,
        "INSERT INTO q (n, key, group_key) VALUES (13, 'c', 'g'), (14, 'd', 'g')",
        "INSERT INTO q (priority, n, key) SELECT 0, n, 'a' FROM generate_series(100, 119) n;
         INSERT INTO q (priority, n, group_key) SELECT 0, n, 'h' FROM generate_series(200, 349) n;
         INSERT INTO q (n, key, group_key) SELECT n, 'k' || n % 5, 'l' || n % 3 FROM generate_series(20, 39) n;
         SELECT queue.enqueue('q', '{\"n\": 15}', after => ARRAY[id], after_failure => 'release') FROM q WHERE n = 13;
         SELECT queue.enqueue('q', '{\"n\": 16}', after => ARRAY[id]) FROM q WHERE n = 13;
         SELECT queue.enqueue('q', '{\"n\": 17}', after => ARRAY[id], key => 'k1') FROM q WHERE n = 39",
    );
    let mut db = server.reconnect("shop");
    // All that may run does.
    until("all others are done", || db.one::<i64>("SELECT count(*) FROM done") == 22);
    assert_eq!(
        db.one::<String>("SELECT string_agg(n::text, ' ' ORDER BY n) FROM done WHERE n < 20"),
        "15 17"
    );
    assert_eq!(db.all::<i32>("SELECT n FROM q WHERE state = 'failed' ORDER BY n"), [-1, 13, 16]);
    // What held the others back ends.
    db.run("SELECT queue.ack('q', 1, 1);\nDELETE FROM q WHERE state = 'failed'");
    until("all are done", || db.one::<i64>("SELECT count(*) FROM done") == 22 + 20 + 150 + 1);
    assert_eq!(db.one::<i64>("SELECT count(DISTINCT n) FROM done"), 193);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM q"), 0);
    assert_eq!(server.log().matches("reinitializing").count(), 2);
}

#[test]
fn a_queue_at_its_limit_stays_careful() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    db.run("SELECT queue.create_queue('q', 'n int', max_attempts => 1, max_running => 1)");
    db.batch_execute(WORK).expect("the function");
    db.run("SELECT queue.register_processor('q', 'work(q)', batch_size => 4)");
    db.run("INSERT INTO q (n) VALUES (13)");
    busy_worker(&mut db, "q");
    db.run("INSERT INTO q (n) SELECT generate_series(20, 39);\nINSERT INTO q (priority, n) VALUES (0, 12)");
    // After the crash a client is the first to have a job.
    db.run("ALTER SYSTEM SET queue_ext.max_workers = 0;\nSELECT pg_reload_conf()");
    let _ = db.batch_execute("INSERT INTO word VALUES (true)");
    server.until_logged("reinitializing", 0);
    let mut db = server.reconnect("shop");
    let leased: i64 = db.one("SELECT id FROM queue.dequeue('q', 1, '1 day')");
    db.run("ALTER SYSTEM RESET queue_ext.max_workers;\nSELECT pg_reload_conf()");
    // Statistics begin anew after a crash.
    until("a worker has tried to run a job alone, and sleeps", || {
        db.one(
            "SELECT coalesce(bool_or(state = 'idle'), false) AND (SELECT n_tup_ins > 0 FROM pg_stat_all_tables WHERE relid = 'queue.crash_marks'::regclass)
             FROM queue.activity",
        )
    });
    assert_eq!(server.log().matches("reinitializing").count(), 1);
    assert!(db.one::<bool>(&format!("SELECT queue.ack('q', {leased}, 1)")));
    until_some("the culprit is an error row, and all others are done", || {
        let mut db = server.try_connect("postgres", "shop").ok()?;
        let sql =
            "SELECT (SELECT count(*) FROM q WHERE state = 'failed' AND n = 13), (SELECT count(*) FROM done)";
        let row = db.query_one(sql, &[]).ok()?;
        (row.get::<_, i64>(0) == 1 && row.get::<_, i64>(1) == 20).then_some(())
    });
    assert_eq!(server.log().matches("reinitializing").count(), 2);
}
