//! CALL queue.resync of many rows: interrupted in every way, seen from elsewhere, behind daily work.

use postgres::{Client, NoTls};
use queue_ext_server_tests::{Server, Sql, until, until_count, until_some};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

const ROWS: i64 = 100_000;
const RESYNC: &str = "CALL queue.resync('source', 'q', batch_size => 500)";

fn source(db: &mut Client) {
    db.run(&format!(
        "CREATE TABLE source (id int PRIMARY KEY, v int NOT NULL DEFAULT 0);
         INSERT INTO source SELECT generate_series(1, {ROWS});
         ANALYZE source;
         SELECT queue.create_queue('q', 'source_id int, v int', on_conflict => 'skip');
         SELECT queue.attach('source', 'q', set => '{{\"source_id\": \"coalesce(new.id, old.id)\", \"v\": \"new.v\"}}', key => 'coalesce(new.id, old.id)')"
    ));
}

/// In a session of its own, whose end nobody minds.
fn resync_in_thread(server: &Server) -> JoinHandle<Client> {
    let mut client = server.connect("shop");
    thread::spawn(move || {
        let _ = client.batch_execute(RESYNC);
        client
    })
}

fn progress(db: &mut Client) -> (String, Option<i32>, i64) {
    db.query_opt("SELECT phase, pid, rows_done FROM queue.progress", &[])
        .unwrap()
        .map_or(("none".into(), None, 0), |row| (row.get(0), row.get(1), row.get(2)))
}

/// The process of a resync that has come some way beyond `from`, but not to the end.
fn under_way(db: &mut Client, from: i64) -> i32 {
    until_some("the resync is under way", || match progress(db) {
        (phase, Some(pid), done) if phase == "running" && done > from + 1000 => Some(pid),
        _ => None,
    })
}

fn killed_and_called_again(server: &Server) {
    let mut db = server.app("shop");
    source(&mut db);
    // Terminated.
    let first = resync_in_thread(server);
    let pid = under_way(&mut db, 0);
    assert_eq!(db.one::<i64>("SELECT rows_total FROM queue.progress"), ROWS);
    db.run(&format!("SELECT pg_terminate_backend({pid})"));
    until("its session is gone", || first.is_finished());
    until("it is known to be interrupted", || progress(&mut db).0 == "interrupted");
    let (_, _, done) = progress(&mut db);
    assert!(done < ROWS, "it was interrupted in the middle, after {done}");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM q"), done, "as many jobs as rows done");
    // Cancelled: the session lives on, and holds nothing.
    let second = resync_in_thread(server);
    let pid = under_way(&mut db, done);
    db.run(&format!("SELECT pg_cancel_backend({pid})"));
    until("it has returned", || second.is_finished());
    let (phase, _, done) = progress(&mut db);
    assert_eq!(phase, "interrupted");
    let _idle = second.join().unwrap();
    // Killed, and all sessions with it; changes come in between.
    let third = resync_in_thread(server);
    let pid = under_way(&mut db, done);
    db.run("UPDATE source SET v = 1 WHERE id % 1000 = 0");
    server.crash_by_killing(pid);
    until("its session is gone", || third.is_finished());
    let mut db = server.reconnect("shop");
    assert_eq!(progress(&mut db).0, "interrupted");
    // To the end.
    db.run(RESYNC);
    let (phase, pid, done) = progress(&mut db);
    assert_eq!((phase.as_str(), pid, done), ("finished", None, ROWS));
    let without: i64 =
        db.one("SELECT count(*) FROM source s WHERE NOT EXISTS (SELECT FROM q WHERE q.source_id = s.id)");
    assert_eq!(without, 0, "rows without a job");
    // Batch and position are one transaction, and what the changes put there coalesces.
    assert_eq!(db.one::<i64>("SELECT count(*) FROM q"), ROWS, "one waits for each");
}

#[test]
fn with_preload() {
    killed_and_called_again(&Server::start(&[]));
}

#[test]
fn without_preload() {
    killed_and_called_again(&Server::start_without_preload(&[]));
}

#[test]
fn daily_work_overtakes() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    source(&mut db);
    db.run(
        "CREATE TABLE seen (place serial, id int);
         CREATE FUNCTION work(job q) RETURNS void LANGUAGE sql AS 'INSERT INTO seen (id) VALUES (job.source_id)';
         SELECT queue.register_processor('q', 'work(q)');
         SELECT queue.pause('q')",
    );
    // The whole of it waits when daily work comes.
    db.run(RESYNC);
    db.run("INSERT INTO source SELECT generate_series(-50, -1)");
    db.run("SELECT queue.resume('q')");
    until("all daily work is done", || db.one::<i64>("SELECT count(*) FROM seen WHERE id < 0") == 50);
    assert_eq!(db.one::<i32>("SELECT max(place) FROM seen WHERE id < 0"), 50, "before any of the other");
    until_count("then the other", ROWS + 50, || db.one("SELECT count(DISTINCT id) FROM seen"));
}

#[test]
fn no_snapshot_is_held_for_long() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    source(&mut db);
    let running = resync_in_thread(&server);
    let pid = under_way(&mut db, 0);
    // Another transaction of its own with each batch.
    let mut seen: Vec<String> = Vec::new();
    until("it goes from transaction to transaction", || {
        let sql = format!(
            "SELECT backend_xid::text FROM pg_stat_activity WHERE pid = {pid} AND backend_xid IS NOT NULL"
        );
        seen.extend(db.all::<String>(&sql));
        seen.dedup();
        seen.len() >= 3 || running.is_finished()
    });
    assert!(seen.len() >= 3, "{seen:?}");
    until("it is finished", || running.is_finished());
    assert_eq!(progress(&mut db).0, "finished");
}

#[test]
fn it_tells_its_caller() {
    let server = Server::start_without_preload(&[]);
    let mut db = server.app("shop");
    db.run(
        "CREATE FOREIGN DATA WRAPPER nothing;
         CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
         CREATE TABLE source (id int) PARTITION BY LIST (id);
         CREATE TABLE here PARTITION OF source FOR VALUES IN (1, 2, 3);
         CREATE FOREIGN TABLE there PARTITION OF source FOR VALUES IN (4) SERVER nowhere;
         INSERT INTO source VALUES (1), (2), (3);
         SELECT queue.create_queue('q', 'n int CHECK (n < 3)');
         SELECT queue.attach('source', 'q', set => '{\"n\": \"new.id\"}')",
    );
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = heard.clone();
    let mut client = postgres::Config::new()
        .host_path(server.dir())
        .user("postgres")
        .dbname("shop")
        .notice_callback(move |notice| listener.lock().unwrap().push(notice.message().to_string()))
        .connect(NoTls)
        .unwrap();
    let call = "CALL queue.resync('source', 'q', batch_size => 1)";
    assert_eq!(client.code(call), "23514");
    db.run("ALTER TABLE q DROP CONSTRAINT q_n_check");
    client.run(call);
    let heard = heard.lock().unwrap();
    for expected in [
        "foreign table \"there\" is passed over",
        "resync of \"source\" to \"q\" goes on: 2 rows, 2 jobs",
        "resync of \"source\" to \"q\" is finished: 3 rows, 3 jobs",
    ] {
        assert!(heard.iter().any(|message| message == expected), "{expected:?} in {heard:?}");
    }
}
