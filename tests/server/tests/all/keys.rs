//! Keys with real workers: what arrives while its twin runs is run after it, and nothing is ever lost.

use crate::fixture::until_in_state;
use postgres::Client;
use queue_ext_server_tests::{Rng, Server, Settings, Sql, until};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{SystemTime, UNIX_EPOCH};

#[test]
fn work_that_arrives_while_its_twin_runs_is_run_after_it() {
    let server = Server::start(&[("queue_ext.poll_interval", "1h")]);
    let mut db = server.app("shop");
    db.run(
        "CREATE TABLE gate (open boolean);
         CREATE TABLE seen (job bigint, version int);
         CREATE TABLE object (version int);
         INSERT INTO gate VALUES (true);
         INSERT INTO object VALUES (1);
         SELECT queue.create_queue('q', on_conflict => 'skip');
         CREATE FUNCTION work(job q) RETURNS void LANGUAGE plpgsql SET search_path = public AS $$
         BEGIN INSERT INTO seen SELECT job.id, version FROM object; PERFORM FROM gate FOR UPDATE; END $$;
         SELECT queue.register_processor('q', 'work(q)', parallelism => 1)",
    );
    let mut keeper = server.connect("shop");
    keeper.run("BEGIN;\nSELECT FROM gate FOR UPDATE");
    let first: i64 = db.one("SELECT queue.enqueue('q', key => 'k')");
    crate::fixture::busy_worker(&mut db, "q");
    // Nobody waits for the run; the next one waits for its turn, and stands for all that follow.
    db.run("SET statement_timeout = '30s'");
    db.run("UPDATE object SET version = 2");
    let second: i64 = db.one("SELECT queue.enqueue('q', key => 'k')");
    assert_ne!(first, second);
    db.run("UPDATE object SET version = 3");
    assert_eq!(second, db.one::<i64>("SELECT queue.enqueue('q', key => 'k')"));
    db.run("INSERT INTO q (key) VALUES ('k')");
    keeper.run("COMMIT");
    until_in_state(&mut db, "q", "ready", 0);
    let last: i32 = db.one(&format!("SELECT version FROM seen WHERE job = {second}"));
    assert_eq!(last, 3);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM seen"), 2);
    // Done jobs leave nothing.
    until("the entry is gone", || db.one::<i64>("SELECT count(*) FROM queue.keys") == 0);
}

/// Two sessions that enqueue in turn: each transaction holds the waiting job before the last one lets it go.
struct Holders<'a> {
    sessions: [Client; 2],
    turn: usize,
    hold: &'a str,
}

impl Holders<'_> {
    /// From now on the job that waits is held.
    fn begin<'a>(server: &Server, hold: &'a str) -> Holders<'a> {
        let mut holders =
            Holders { sessions: [server.connect("shop"), server.connect("shop")], turn: 0, hold };
        holders.sessions.iter_mut().for_each(|session| session.run("SET lock_timeout = '1s'"));
        holders.sessions[0].run(&format!("BEGIN; {hold}"));
        holders
    }

    fn until(mut self, what: &str, mut probe: impl FnMut() -> bool) {
        until(what, || {
            self.turn += 1;
            // When it has started at last, the other is making the next one: then this one would wait for it.
            let _ = self.sessions[self.turn % 2].batch_execute(&format!("BEGIN; {}", self.hold));
            self.sessions[(self.turn + 1) % 2].run("COMMIT");
            probe()
        });
        self.sessions[self.turn % 2].run("COMMIT");
    }
}

const NEVER_POLLED: Settings = &[("queue_ext.poll_interval", "1h")];

fn started_while_held(queue_is_made: &str) {
    let server = Server::start(NEVER_POLLED);
    let mut db = server.app("shop");
    crate::fixture::processed(&mut db, "q", ", on_conflict => 'skip'", "");
    db.run(queue_is_made);
    db.run("SELECT queue.pause('q')");
    db.run("SELECT queue.enqueue('q', '{\"n\": 1}', key => 'k')");
    let holders = Holders::begin(&server, "SELECT queue.enqueue('q', '{\"n\": 2}', key => 'k')");
    db.run("SELECT queue.resume('q')");
    holders.until("the job that is always held has run", || {
        db.one::<i64>("SELECT count(*) FROM done WHERE n = 1") == 1
    });
}

#[test]
fn a_job_that_is_always_held_starts_all_the_same() {
    started_while_held("");
}

#[test]
fn a_job_that_is_claimed_in_sql_and_always_held_starts_all_the_same() {
    started_while_held(
        "CREATE FUNCTION deleted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER deleted AFTER DELETE ON q FOR EACH ROW EXECUTE FUNCTION deleted()",
    );
}

#[test]
fn a_scheduled_job_that_is_always_held_starts_all_the_same() {
    let server = Server::start(NEVER_POLLED);
    let mut db = server.app("shop");
    crate::fixture::processed(&mut db, "q", ", on_conflict => 'skip'", "");
    db.run("SELECT queue.enqueue('q', '{\"n\": 1}', key => 'k', delay => '1 s')");
    let hold = "SELECT queue.enqueue('q', '{\"n\": 2}', key => 'k', delay => '1 s')";
    Holders::begin(&server, hold).until("the job that is always held has run", || {
        db.one::<i64>("SELECT count(*) FROM done WHERE n = 1") == 1
    });
}

/// Job 1 is leased, and job 2 blocked because of it.
fn blocked_by_a_lease(db: &mut Client, options: &str, of_both: &str, of_second: &str) {
    crate::fixture::numbers(db, "q", options);
    db.run(&format!("SELECT queue.enqueue('q', '{{\"n\": 1}}'{of_both})"));
    db.run("SELECT queue.dequeue('q', lease => '1 day')");
    db.run(&format!("SELECT queue.enqueue('q', '{{\"n\": 2}}'{of_both}{of_second})"));
    db.run("SELECT queue.dequeue('q', 10, lease => '1 day')");
    until_in_state(db, "q", "blocked", 1);
    db.run("SELECT queue.register_processor('q', 'work(q)')");
}

/// It ends, and job 2 runs, though those who enqueue its key hold it all the time.
fn freed_while_held(server: &Server, db: &mut Client) {
    let holders =
        Holders::begin(server, "SELECT queue.enqueue('q', '{\"n\": 3}', key => 'k', on_conflict => 'skip')");
    db.run("SELECT queue.ack('q', id, attempt) FROM q WHERE state = 'running' AND n = 1");
    holders.until("the job that is always held has run", || {
        db.one::<i64>("SELECT count(*) FROM done WHERE n = 2") == 1
    });
}

#[test]
fn a_job_over_the_limit_of_its_key_that_is_always_held_starts_all_the_same() {
    let server = Server::start(NEVER_POLLED);
    let mut db = server.app("shop");
    let (options, key) = (", max_running_per_key => 1", ", key => 'k', on_conflict => 'skip'");
    blocked_by_a_lease(&mut db, options, key, "");
    freed_while_held(&server, &mut db);
}

#[test]
fn a_job_after_others_that_is_always_held_starts_all_the_same() {
    let server = Server::start(NEVER_POLLED);
    let mut db = server.app("shop");
    blocked_by_a_lease(&mut db, "", "", ", after => '{1}', key => 'k', on_conflict => 'skip'");
    freed_while_held(&server, &mut db);
}

#[test]
fn a_job_of_a_group_that_is_always_held_starts_all_the_same() {
    let server = Server::start(NEVER_POLLED);
    let mut db = server.app("shop");
    // So many that those who cannot run are put among the blocked ones.
    crate::fixture::numbers(&mut db, "q", "");
    db.run(
        "SELECT queue.enqueue('q', jsonb_build_object('n', n), group_key => 'g', key => CASE n WHEN 2 THEN 'k' END,
                              on_conflict => CASE n WHEN 2 THEN 'skip' END) FROM generate_series(1, 400) n",
    );
    db.run("SELECT queue.dequeue('q', lease => '1 day')");
    db.run("SELECT queue.dequeue('q', 10, lease => '1 day')");
    until_in_state(&mut db, "q", "blocked", 399);
    db.run("SELECT queue.register_processor('q', 'work(q)')");
    freed_while_held(&server, &mut db);
}

#[test]
fn stale_entries_are_pruned() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    db.run(
        "SELECT queue.create_queue('q', on_conflict => 'skip');
         SELECT queue.enqueue('q', key => 'gone'), queue.enqueue('q', key => 'here', run_at => '2100-01-01'),
                queue.enqueue('q', key => 'done', priority => 0, once => '1 ms');
         SELECT queue.pop('q')",
    );
    db.run("DELETE FROM q WHERE key = 'gone'");
    // A session begins at once with a probability of one in a hundred.
    until("what is stale is gone", || {
        server.connect("shop").run("SELECT queue.dequeue('q')");
        db.one::<i64>("SELECT count(*) FROM queue.keys") == 1
            && db.one::<i64>("SELECT count(*) FROM queue.done_keys") == 0
    });
    assert_eq!(db.one::<String>("SELECT key FROM queue.keys"), "here");
}

/// Also by workers alone, however often somebody computes anew what is due on the queue.
#[test]
fn marks_are_pruned_when_their_time_is_over() {
    let server = Server::start(NEVER_POLLED);
    let mut db = server.app("shop");
    crate::fixture::processed(&mut db, "q", "", "");
    db.run("SELECT queue.pause('q')");
    // Its entry stays behind.
    db.run("SELECT queue.enqueue('q', '{\"n\": 1}', key => 'stale', on_conflict => 'skip')");
    db.run("DELETE FROM q WHERE key = 'stale'");
    db.run("SELECT queue.resume('q')");
    db.run("SELECT queue.enqueue('q', '{\"n\": 2}', key => 'k', once => '3 s')");
    until("it was done", || db.one::<i64>("SELECT count(*) FROM queue.done_keys") == 1);
    db.run("SELECT queue.pause('q')");
    db.run("SELECT queue.resume('q')");
    until("its mark is gone, and what is stale", || {
        db.one::<i64>("SELECT count(*) FROM queue.done_keys")
            + db.one::<i64>("SELECT count(*) FROM queue.keys")
            == 0
    });
}

#[test]
fn entries_and_marks_are_dumped_and_restored() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    db.run(
        "SELECT queue.create_queue('q', on_conflict => 'skip');
         SELECT queue.enqueue('q', key => 'o', once => '1 day');
         SELECT queue.pop('q');
         SELECT queue.enqueue('q', key => 'k')",
    );
    let dump = server.program("pg_dump", &["--dbname=shop", "--format=custom", "--file=keys.dump"]);
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    db.run("CREATE DATABASE copy");
    let restore = server.program("pg_restore", &["--dbname=copy", "--exit-on-error", "keys.dump"]);
    assert!(restore.status.success(), "{}", String::from_utf8_lossy(&restore.stderr));
    let mut copy = server.connect("copy");
    assert_eq!(copy.one::<i64>("SELECT queue.enqueue('q', key => 'k')"), 2);
    assert_eq!(copy.one::<i64>("SELECT queue.enqueue('q', key => 'o', once => '1 day')"), 1);
}

const OBJECTS: i64 = 4;
const ENQUEUERS: u64 = 4;
/// Few changes a round, so that the last of an object is often one that went into a waiting job.
const CHANGES: usize = 6;
const ROUNDS: usize = 60;

/// Each transaction changes an object and enqueues its key; who runs the job copies the version it sees. In the
/// end every copy must be of the last version.
fn hammer(server: &Server, workers: bool) {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64) | 1;
    println!("seed {seed}");
    let mut db = server.app("shop");
    db.run(&format!(
        "CREATE TABLE object (id int PRIMARY KEY, version int NOT NULL);
         CREATE TABLE copy (id int PRIMARY KEY, version int NOT NULL, runs int NOT NULL);
         INSERT INTO object SELECT i, 0 FROM generate_series(1, {OBJECTS}) i;
         INSERT INTO copy SELECT i, 0, 0 FROM generate_series(1, {OBJECTS}) i;
         SELECT queue.create_queue('q', 'object int', on_conflict => 'skip', backoff => '1 ms', max_attempts => 1000);
         CREATE FUNCTION work(job q) RETURNS void LANGUAGE plpgsql SET search_path = public AS $$
         DECLARE seen int; BEGIN
             SELECT version INTO seen FROM object WHERE id = job.object; IF random() < 0.1 THEN PERFORM pg_sleep(0.005); END IF; IF random() < 0.05 THEN RAISE 'by chance'; END IF; UPDATE copy SET version = greatest(version, seen), runs = runs + 1 WHERE id = job.object; END $$;
         CREATE TABLE dirty (object int);
         SELECT queue.attach('dirty', 'q', 'insert', set => '{{\"object\": \"new.object\"}}', key => 'new.object')"
    ));
    if workers {
        db.run("SELECT queue.register_processor('q', 'work(q)', parallelism => 2, batch_size => 20)");
    }
    let over = AtomicBool::new(false);
    let mut enqueuers: Vec<(Client, Rng)> =
        (0..ENQUEUERS).map(|number| (server.connect("shop"), Rng::of(seed, number))).collect();
    std::thread::scope(|scope| {
        let over = &over;
        for _ in 0..2 {
            scope.spawn(move || pop(&mut server.connect("shop"), over));
        }
        scope.spawn(move || lease(&mut server.connect("shop"), over));
        for round in 0..ROUNDS {
            std::thread::scope(|scope| {
                enqueuers.iter_mut().for_each(|(db, rng)| drop(scope.spawn(|| change(db, rng))));
            });
            until("all jobs are done", || db.one::<i64>("SELECT count(*) FROM q") == 0);
            // What was lost now, a later change must not make good.
            let lost = db.one::<i64>(
                "SELECT count(*) FROM object o JOIN copy c USING (id) WHERE o.version <> c.version",
            );
            if lost > 0 {
                over.store(true, SeqCst);
            }
            assert_eq!(lost, 0, "an object's last change was lost; seed {seed}, round {round}");
        }
        over.store(true, SeqCst);
    });
    let changes: i64 = db.one("SELECT sum(version)::bigint FROM object");
    let runs: i64 = db.one("SELECT sum(runs)::bigint FROM copy");
    println!("{changes} changes, {runs} runs");
}

fn change(db: &mut Client, rng: &mut Rng) {
    for _ in 0..CHANGES {
        let object = rng.between(1, OBJECTS);
        let update = format!("UPDATE object SET version = version + 1 WHERE id = {object}");
        let enqueue = match rng.between(0, 5) {
            0 => format!("INSERT INTO q (key, object) VALUES ('{object}', {object})"),
            1 => format!("INSERT INTO dirty VALUES ({object})"),
            2 => format!(
                "SELECT queue.enqueue('q', '{{\"object\": {object}}}', key => '{object}', delay => '1 ms')"
            ),
            3 => format!(
                "SELECT queue.enqueue('q', '{{\"object\": {object}}}', key => '{object}', on_conflict => 'replace')"
            ),
            _ => format!("SELECT queue.enqueue('q', '{{\"object\": {object}}}', key => '{object}')"),
        };
        let (first, second) = if rng.percent(50) { (update, enqueue) } else { (enqueue, update) };
        let end = if rng.percent(10) { "ROLLBACK" } else { "COMMIT" };
        let pause = if rng.percent(33) { "SELECT pg_sleep(0.002)" } else { "SELECT 1" };
        // Two orders of locks may deadlock, which rolls back both the change and the job.
        let _ = db.batch_execute(&format!("BEGIN;\n{first};\n{pause};\n{second};\n{end}"));
        let _ = db.batch_execute("ROLLBACK");
    }
}

fn pop(db: &mut Client, over: &AtomicBool) {
    db.run(
        "CREATE OR REPLACE FUNCTION pg_temp.pop_and_copy() RETURNS void LANGUAGE plpgsql AS $$
         DECLARE job q; seen int; BEGIN
             SELECT * INTO job FROM queue.pop_as(NULL::q); SELECT version INTO seen FROM object WHERE id = job.object; PERFORM pg_sleep(0.001); UPDATE copy SET version = greatest(version, seen), runs = runs + 1 WHERE id = job.object; END $$",
    );
    let mut rolled_back = 0;
    while !over.load(SeqCst) {
        rolled_back += 1;
        let end = if rolled_back % 5 == 0 { "ROLLBACK" } else { "COMMIT" };
        let _ = db.batch_execute(&format!("BEGIN;\nSELECT pg_temp.pop_and_copy();\n{end}"));
        let _ = db.batch_execute("ROLLBACK");
    }
}

fn lease(db: &mut Client, over: &AtomicBool) {
    while !over.load(SeqCst) {
        let jobs = db.query("SELECT id, attempt, object FROM queue.dequeue_as(NULL::q, 3)", &[]);
        for job in jobs.unwrap_or_default() {
            let (id, attempt, object): (i64, i32, Option<i32>) = (job.get(0), job.get(1), job.get(2));
            let object = object.unwrap_or_default();
            loop {
                let copy = format!(
                    "BEGIN;\nUPDATE copy SET version = greatest(copy.version, o.version), runs = runs + 1
                     FROM object o WHERE o.id = copy.id AND o.id = {object};\nSELECT queue.ack('q', {id}, {attempt});\nCOMMIT"
                );
                if db.batch_execute(&copy).is_ok() {
                    break;
                }
                let _ = db.batch_execute("ROLLBACK");
            }
        }
    }
}

const HAMMERED: Settings = &[("queue_ext.poll_interval", "1s"), ("deadlock_timeout", "10ms")];

#[test]
fn no_change_is_lost_with_workers() {
    hammer(&Server::start(HAMMERED), true);
}

#[test]
fn no_change_is_lost_with_clients_only() {
    hammer(&Server::start(HAMMERED), false);
}

#[test]
fn no_change_is_lost_without_shared_memory() {
    let server = Server::start_without_preload(&[("deadlock_timeout", "10ms")]);
    hammer(&server, false);
}
