//! The queue that most tests use, and what they ask of it again and again.

use postgres::Client;
use queue_ext_server_tests::{Server, Sql, until, until_count, until_some};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// A queue `name` of jobs with a number; each that is processed leaves its number in the table `done`.
/// Jobs whose number is negative fail.
pub fn numbers(db: &mut Client, name: &str, options: &str) {
    db.run(&format!(
        "CREATE TABLE IF NOT EXISTS done (queue text, n int, pid int DEFAULT pg_backend_pid(), who text DEFAULT session_user);
         SELECT queue.create_queue('{name}', 'n int'{options});
         CREATE FUNCTION work(job {name}) RETURNS int LANGUAGE plpgsql SET search_path = public AS $$
         BEGIN IF job.n < 0 THEN RAISE EXCEPTION 'negative: %', job.n; END IF; INSERT INTO done VALUES ('{name}', job.n); RETURN job.n; END $$"
    ));
}

/// The same, with its processor registered.
pub fn processed(db: &mut Client, name: &str, options: &str, registration: &str) {
    numbers(db, name, options);
    db.run(&format!("SELECT queue.register_processor('{name}', 'work({name})'{registration})"));
}

pub fn put(db: &mut Client, name: &str, from: i32, to: i32) {
    db.run(&format!("INSERT INTO {name} (n) SELECT generate_series({from}, {to})"));
}

pub fn done(db: &mut Client, name: &str) -> i64 {
    db.one(&format!("SELECT count(*) FROM done WHERE queue = '{name}'"))
}

pub fn until_done(db: &mut Client, name: &str, count: i64) {
    until_count(&format!("jobs of {name} that are done"), count, || done(db, name));
    let once: bool = db.one(&format!("SELECT count(*) = count(DISTINCT n) FROM done WHERE queue = '{name}'"));
    assert!(once, "a job of {name} took effect twice");
    assert_eq!(done(db, name), count);
}

pub fn in_state(db: &mut Client, name: &str, state: &str) -> i64 {
    db.one(&format!("SELECT count(*) FROM {name} WHERE state = '{state}'"))
}

pub fn until_in_state(db: &mut Client, name: &str, state: &str, count: i64) {
    until(&format!("{count} jobs of {name} are {state}"), || in_state(db, name, state) == count);
}

/// Nothing holds vacuum back: it can remove rows that were deleted just now. A worker that looks for work at this
/// moment may hold it back for as long as it looks.
pub fn until_vacuumed(db: &mut Client) {
    db.run("CREATE TABLE t (i int);\nINSERT INTO t SELECT generate_series(1, 1000);\nDELETE FROM t");
    until("vacuum can remove all rows", || {
        db.run("VACUUM t");
        db.one::<i64>("SELECT pg_relation_size('t')") == 0
    });
}

/// The process of a worker that runs a job of the queue now.
pub fn busy_worker(db: &mut Client, name: &str) -> i32 {
    until_some(&format!("a worker runs a job of {name}"), || {
        db.all(&format!(
            "SELECT pid FROM queue.activity WHERE queue = '{name}'::regclass AND state = 'running'"
        ))
        .first()
        .copied()
    })
}

/// Kills a worker of the queue `q`, whose jobs leave rows in `runs`, while it is at work; and another one after that.
pub fn crash_twice_at_work(server: &Server, mut db: Client) -> Client {
    for _ in 0..2 {
        let before: i64 = db.one("SELECT count(*) FROM runs");
        until("work goes on", || db.one::<i64>("SELECT count(*) FROM runs") > before);
        let pid = until_some("a worker is there", || {
            db.all::<i32>("SELECT pid FROM queue.activity WHERE queue = 'q'::regclass").first().copied()
        });
        server.crash_by_killing(pid);
        db = server.reconnect("shop");
    }
    db
}

/// Does `work` beside so many clients, which are told to stop when it is done.
pub fn beside_clients(server: &Server, count: usize, client: fn(Client, &AtomicBool), work: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..count {
            let other = server.connect("shop");
            scope.spawn(|| client(other, &stop));
        }
        let _stops_all = Stops(&stop);
        work();
    });
}

/// Told when it is dropped, also by a failure.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
