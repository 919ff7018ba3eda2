//! Recurring jobs under real workers: each tick makes one job, through restarts, crashes, failover and restore.

use crate::fixture::in_state;
use postgres::Client;
use queue_ext_server_tests::{Server, Sql, until};

/// A queue that keeps what it does, with a processor.
fn ticking(db: &mut Client, registered: bool) {
    db.run(
        "SELECT queue.create_queue('q', 'n int', keep_done => '1 day');
         CREATE FUNCTION work(job q) RETURNS int LANGUAGE sql AS 'SELECT job.n'",
    );
    if registered {
        db.run("SELECT queue.register_processor('q', 'work(q)')");
    }
}

/// Begins a schedule that runs each second and makes up for what it missed.
fn every_second(db: &mut Client) {
    db.run(
        "CREATE TABLE began AS
         SELECT queue.schedule('s', '* * * * * *', 'q', '{\"n\": 1}', catch_up => 'all') AS first",
    );
}

/// Ticks that were dealt with.
fn ticks(db: &mut Client) -> i64 {
    db.one(
        "SELECT coalesce((extract(epoch FROM last_tick - first) + 1)::bigint, 0) FROM queue.timetable, began WHERE name = 's'",
    )
}

/// So many more ticks come; and all there were, in one snapshot, made a job each.
fn until_ticks(db: &mut Client, more: i64) {
    let before = ticks(db);
    until("ticks come", || ticks(db) >= before + more);
    each_made_one_job(db);
}

fn each_made_one_job(db: &mut Client) {
    let (jobs, ticks) = {
        let row = db
            .query_one(
                "SELECT (SELECT count(*) FROM q WHERE n = 1), (extract(epoch FROM last_tick - first) + 1)::bigint
                 FROM queue.timetable, began WHERE name = 's'",
                &[],
            )
            .expect("jobs and ticks");
        (row.get::<_, i64>(0), row.get::<_, i64>(1))
    };
    assert_eq!(jobs, ticks, "jobs and ticks");
}

#[test]
fn every_tick_makes_one_job_through_restarts_and_crashes() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    ticking(&mut db, true);
    every_second(&mut db);
    until_ticks(&mut db, 2);
    server.stop_fast();
    server.start_again();
    let mut db = server.reconnect("shop");
    until_ticks(&mut db, 2);
    for _ in 0..3 {
        server.stop_immediately();
        server.start_again();
        db = server.reconnect("shop");
        until_ticks(&mut db, 1);
    }
    db.run("SELECT queue.unschedule('s')");
    // After a crash a job is marked before it runs, so one that is not ready may not be done either.
    until("all are done", || {
        // One that ran alone, marked, just when its server went down looks like the culprit.
        db.run("SELECT queue.resubmit_all('q')");
        in_state(&mut db, "q", "done") == db.one::<i64>("SELECT count(*) FROM q")
    });
}

#[test]
fn clients_beside_the_workers_fire_no_tick_twice() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    ticking(&mut db, false);
    every_second(&mut db);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut client = server.connect("shop");
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    client.run("SELECT queue.ack('q', id, attempt) FROM queue.dequeue('q')");
                    // Fired, and taken back.
                    client.run("BEGIN;\nSELECT count(*) FROM queue.dequeue('q');\nROLLBACK");
                }
            });
        }
        until_ticks(&mut db, 5);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    each_made_one_job(&mut db);
}

#[test]
fn what_the_downtime_missed_is_caught_up_with_as_said() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    ticking(&mut db, true);
    for (n, catch_up) in [(1, "none"), (2, "one"), (3, "all")] {
        db.run(&format!(
            "SELECT queue.schedule('{catch_up}', '0 12 1 1 *', 'q', '{{\"n\": {n}}}', catch_up => '{catch_up}')"
        ));
    }
    // Four years without anybody to fire them, as far as they know.
    db.run(
        "SELECT queue.stop_workers();\nUPDATE queue.timetable SET next_tick = next_tick - interval '4 years'",
    );
    server.stop_fast();
    server.start_again();
    let mut db = server.reconnect("shop");
    db.run("SELECT queue.start_workers()");
    until("all were looked at", || db.one("SELECT bool_and(next_run > now()) FROM queue.schedules"));
    until("all are done", || in_state(&mut db, "q", "ready") == 0);
    let jobs: Vec<String> =
        db.all("SELECT n || ' ' || count(*) FROM q WHERE state = 'done' GROUP BY n ORDER BY n");
    assert_eq!(jobs, ["2 1", "3 4"]);
    let outcomes: Vec<String> =
        db.all("SELECT name || ' ' || last_outcome FROM queue.schedules ORDER BY name");
    assert_eq!(outcomes, ["all done", "none missed", "one done"]);
}

#[test]
fn a_broken_one_stops_nobody_else() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    ticking(&mut db, true);
    db.run("ALTER TABLE q ADD CONSTRAINT rule CHECK (n <> 13)");
    db.run("SELECT queue.schedule('bad', '* * * * * *', 'q', '{\"n\": 13}')");
    every_second(&mut db);
    until_ticks(&mut db, 3);
    until("it says why", || {
        db.one("SELECT coalesce(problem LIKE '%rule%23514%', false) FROM queue.schedules WHERE name = 'bad'")
    });
    let due: i64 = db.one("SELECT queue.enqueue('q', '{\"n\": 2}', delay => '100 ms')");
    until("upkeep goes on", || {
        db.one::<Option<String>>(&format!("SELECT queue.status('q', {due})")).as_deref() == Some("done")
    });
    // Said once, not each second.
    assert_eq!(server.log().matches("schedule \"bad\" cannot put a job").count(), 1);
    // The remedy needs no more.
    db.run("ALTER TABLE q DROP CONSTRAINT rule");
    until("it runs", || db.one("SELECT EXISTS (SELECT FROM q WHERE n = 13)"));
    until("it has no problem", || db.one("SELECT problem IS NULL FROM queue.schedules WHERE name = 'bad'"));
}

#[test]
fn a_queue_without_a_processor_or_that_pauses_gets_its_jobs() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    ticking(&mut db, false);
    every_second(&mut db);
    until_ticks(&mut db, 2);
    db.run("SELECT queue.pause('q')");
    until_ticks(&mut db, 2);
    db.run("SELECT queue.resume('q')");
    // Nobody asked for them; then it ends at once.
    db.run("SELECT queue.unschedule('s')");
    let jobs: i64 = db.one("SELECT count(*) FROM q");
    db.run("SELECT queue.schedule('other', '* * * * * *', 'q', '{\"n\": 2}')");
    until("the other runs", || db.one("SELECT EXISTS (SELECT FROM q WHERE n = 2)"));
    assert_eq!(db.one::<i64>("SELECT count(*) FROM q WHERE n = 1"), jobs);
}

#[test]
fn without_preload_workers_and_run_fire_them() {
    let server = Server::start_without_preload(&[("queue_ext.poll_interval", "1s")]);
    let mut db = server.app("shop");
    ticking(&mut db, true);
    every_second(&mut db);
    until("a call fires one", || {
        db.run("CALL queue.run('q')");
        ticks(&mut db) > 0
    });
    each_made_one_job(&mut db);
    db.run("SELECT queue.start_workers()");
    until_ticks(&mut db, 3);
    db.run("SELECT queue.stop_workers()");
}

#[test]
fn dumped_and_restored_they_go_on() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    ticking(&mut db, true);
    every_second(&mut db);
    db.run("SELECT queue.schedule('yearly', '0 0 1 1 *', 'q', '{\"n\": 2}', 'Europe/Berlin', 'one', true, 3, 'k', NULL, 'g', 4)");
    until_ticks(&mut db, 2);
    for format in ["plain", "custom"] {
        let file = server.dir().join(format).display().to_string();
        server.program("pg_dump", &["--format", format, "--file", &file, "shop"]);
        server.connect("postgres").run(&format!("CREATE DATABASE {format}"));
        match format {
            "plain" => server.program("psql", &["-v", "ON_ERROR_STOP=1", "-qXf", &file, "-d", format]),
            _ => server.program("pg_restore", &["--exit-on-error", "-d", format, &file]),
        };
        let mut copy = server.connect(format);
        const YEARLY: &str = "SELECT t::text FROM queue.timetable t WHERE name = 'yearly'";
        assert_eq!(copy.one::<String>(YEARLY), db.one::<String>(YEARLY));
        until_ticks(&mut copy, 2);
        // The original is none the wiser.
        until_ticks(&mut db, 1);
        copy.run("SELECT queue.unschedule('s')");
    }
}

#[test]
fn a_promoted_standby_goes_on() {
    let primary = Server::start(&[("synchronous_commit", "on")]);
    let mut db = primary.app("shop");
    ticking(&mut db, true);
    every_second(&mut db);
    until_ticks(&mut db, 1);
    let standby = Server::standby_of(&primary);
    let mut there = standby.reconnect("shop");
    until("ticks arrive there", || ticks(&mut there) >= 2);
    each_made_one_job(&mut there);
    assert_eq!(there.one::<String>("SELECT name FROM queue.schedules"), "s");
    primary.stop_immediately();
    standby.promote();
    until("the standby is a primary", || !there.one::<bool>("SELECT pg_is_in_recovery()"));
    until_ticks(&mut there, 3);
}
