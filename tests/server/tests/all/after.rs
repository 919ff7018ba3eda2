//! Jobs that wait for others, with real workers: none is forgotten and none runs too early, whatever ends in
//! between. And what an admin does while workers run.

use crate::fixture::{busy_worker, in_state, numbers, put, until_done, until_in_state};
use postgres::Client;
use queue_ext_server_tests::{Server, Sql, until};
use std::process::Command;
use std::thread;

/// Jobs that fail if their number is negative, and if one of those they come after has not ended.
fn dependent(db: &mut Client, registration: &str) {
    db.run(
        "CREATE TABLE ended (id bigint);
         SELECT queue.create_queue('q', 'n int, others bigint[]', max_attempts => 1);
         CREATE FUNCTION work(job q) RETURNS void LANGUAGE plpgsql SET search_path = public AS $$
         BEGIN
             IF EXISTS (SELECT FROM q WHERE id = ANY (job.others) AND state <> 'failed') THEN RAISE EXCEPTION 'too early' USING ERRCODE = 'UX001'; END IF; \
             IF job.n < 0 THEN RAISE EXCEPTION 'negative'; END IF; INSERT INTO ended VALUES (job.id); \
         END $$",
    );
    db.run(&format!("SELECT queue.register_processor('q', 'work(q)'{registration})"));
}

/// Fans: ten jobs, of which in every third one fails, one that comes after them in any case, and one only if
/// all are done.
fn fans(db: &mut Client, count: i32) {
    for fan in 0..count {
        if fan % 2 == 0 {
            db.run("BEGIN");
        }
        let bad = if fan % 3 == 0 { 4 } else { 0 };
        let ids: Vec<i64> = db.all(&format!(
            "SELECT queue.enqueue('q', jsonb_build_object('n', CASE WHEN i = {bad} THEN -1 ELSE i END))
             FROM generate_series(1, 10) i"
        ));
        let list = ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        db.run(&format!(
            "SELECT queue.enqueue('q', '{{\"n\": 1, \"others\": [{list}]}}', after => '{{{list}}}', after_failure => 'release', priority => 0);
             INSERT INTO q (n, others, after) VALUES (2, '{{{list}}}', '{{{list}}}')"
        ));
        if fan % 2 == 0 {
            db.run("COMMIT");
        }
    }
}

fn until_all_ended(db: &mut Client) {
    until("all have ended", || db.one::<i64>("SELECT count(*) FROM q WHERE state <> 'failed'") == 0);
    let early: i64 =
        db.one("SELECT count(*) FROM queue.errors WHERE queue = 'q'::regclass AND sqlstate = 'UX001'");
    assert_eq!(early, 0, "some ran too early");
    let once: bool = db.one("SELECT count(*) = count(DISTINCT id) FROM ended");
    assert!(once, "one took effect twice");
}

fn audit_fans(db: &mut Client, count: i64) {
    until_all_ended(db);
    let bad = (count + 2) / 3;
    // Of a bad fan eleven take effect, of a good one twelve.
    assert_eq!(db.one::<i64>("SELECT count(*) FROM ended"), 10 * bad + 12 * (count - bad));
    let waited = "SELECT count(*) FROM queue.errors WHERE queue = 'q'::regclass AND sqlstate = '55000'";
    assert_eq!(db.one::<i64>(waited), bad);
}

#[test]
fn those_that_come_after_ten() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    dependent(&mut db, ", parallelism => 4");
    fans(&mut db, 60);
    audit_fans(&mut db, 60);
}

#[test]
fn those_that_come_after_ten_without_preload() {
    let server = Server::start_without_preload(&[]);
    let mut db = server.app("shop");
    dependent(&mut db, ", parallelism => 2");
    db.run("SELECT queue.start_workers()");
    fans(&mut db, 12);
    audit_fans(&mut db, 12);
}

#[test]
fn killed_in_between() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    dependent(&mut db, ", parallelism => 4");
    fans(&mut db, 60);
    until("work goes on", || db.one::<i64>("SELECT count(*) FROM ended") > 0);
    let crashes = server.log().matches("reinitializing").count();
    let pid = busy_or_any_worker(&mut db);
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    server.until_logged("reinitializing", crashes);
    let mut db = server.reconnect("shop");
    until("work goes on again", || {
        db.one::<i64>("SELECT count(*) FROM ended") > 100 || in_state(&mut db, "q", "blocked") == 0
    });
    server.stop_immediately();
    server.start_again();
    let mut db = server.reconnect("shop");
    until_all_ended(&mut db);
    // One that ran alone, marked, just when the server went down looks like the culprit.
    let culprits =
        "SELECT count(*) FROM queue.errors WHERE queue = 'q'::regclass AND sqlstate IN ('57P01', '57P02')";
    assert!(db.one::<i64>(culprits) <= 1);
    assert_eq!(db.one::<i64>("SELECT (SELECT count(*) FROM ended) + (SELECT count(*) FROM q)"), 12 * 60);
    // The last of each fan has taken effect if none of the ten it comes after has failed.
    let wrong =
        "SELECT count(*) FROM generate_series(0, 59) AS fan, LATERAL (SELECT fan * 12 + 12 AS last) AS l
                 WHERE EXISTS (SELECT FROM ended WHERE id = last)
                       = EXISTS (SELECT FROM q WHERE id BETWEEN last - 11 AND last - 2)
                   AND last NOT IN (SELECT id FROM queue.errors WHERE sqlstate IN ('57P01', '57P02'))";
    assert_eq!(db.one::<i64>(wrong), 0);
}

fn busy_or_any_worker(db: &mut Client) -> i32 {
    queue_ext_server_tests::until_some("a worker is there", || {
        db.all::<i32>("SELECT pid FROM queue.activity WHERE pid IS NOT NULL").first().copied()
    })
}

#[test]
fn many_clients_and_many_that_wait_for_each_other() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    dependent(&mut db, ", parallelism => 4");
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let mut db = server.connect("shop");
            thread::spawn(move || {
                for round in 0..150 {
                    let end = if round % 7 == 3 { "ROLLBACK" } else { "COMMIT" };
                    db.run("BEGIN");
                    for job in 0..4 {
                        let n = if (thread + round + job) % 11 == 0 { -1 } else { 1 };
                        db.run(&format!(
                            "WITH o AS (SELECT coalesce(array_agg(id), '{{}}') AS ids FROM (
                                 SELECT id FROM q ORDER BY id DESC LIMIT 2 OFFSET {job}) s)
                             INSERT INTO q (n, others, after, after_failure) SELECT {n}, ids, ids, 'release' FROM o"
                        ));
                    }
                    db.run(end);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    until_all_ended(&mut db);
}

#[test]
fn cancel_all_reaches_what_runs_and_what_a_worker_has_claimed() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    numbers(&mut db, "q", ", max_attempts => 10, backoff => '0'");
    db.run(
        "CREATE FUNCTION waits(job q) RETURNS void LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO public.done VALUES ('q', job.n); IF job.n > 1000 THEN PERFORM pg_advisory_xact_lock(1); END IF; END $$;
         SELECT queue.register_processor('q', 'waits(q)', parallelism => 2, load_balanced => false, batch_size => 10)",
    );
    let mut holder = server.connect("shop");
    holder.run("SELECT pg_advisory_lock(1)");
    put(&mut db, "q", 1001, 1040);
    busy_worker(&mut db, "q");
    let later: i64 = db.one("SELECT queue.enqueue('q', '{\"n\": 1100}', delay => '1 day')");
    db.run("SELECT queue.pause('q')");
    put(&mut db, "q", 1, 3);
    assert_eq!(db.one::<i64>("SELECT queue.cancel_all('q', 'n > 1000')"), 41);
    until_in_state(&mut db, "q", "failed", 41);
    let codes: Vec<String> = db.all("SELECT DISTINCT sqlstate FROM queue.errors WHERE queue = 'q'::regclass");
    assert_eq!(codes, ["57014"]);
    assert_eq!(db.one::<String>(&format!("SELECT queue.status('q', {later})")), "failed");
    db.run("SELECT queue.resume('q')");
    until_done(&mut db, "q", 3);
}

#[test]
fn error_rows_expire_by_themselves() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    numbers(&mut db, "q", ", max_attempts => 1, keep_failed => '100 ms'");
    db.run("SELECT queue.register_processor('q', 'work(q)')");
    put(&mut db, "q", -1500, -1);
    until("they have failed and are gone", || db.one::<i64>("SELECT count(*) FROM q") == 0);
    // And when the queue is told later.
    db.run("SELECT queue.alter_queue('q', keep_failed => '0')");
    put(&mut db, "q", -20, -1);
    until_in_state(&mut db, "q", "failed", 20);
    db.run("SELECT queue.alter_queue('q', keep_failed => '1 microsecond')");
    until("they are gone", || db.one::<i64>("SELECT count(*) FROM q") == 0);
}
