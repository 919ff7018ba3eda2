//! Workers run registered processors, of both shapes, and say who they are.

use crate::fixture::{done, in_state, numbers, processed, put, until_done};
use queue_ext_server_tests::{Server, Sql, until, until_some};

#[test]
fn both_shapes_are_processed_and_results_kept() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    processed(&mut db, "single", ", keep_done => '1 day'", "");
    db.run(
        "SELECT queue.create_queue('batch', 'n int');
         CREATE TABLE batches (size int);
         CREATE FUNCTION work(jobs batch[]) RETURNS void LANGUAGE sql AS $$
             INSERT INTO public.batches VALUES (cardinality(jobs)); INSERT INTO public.done SELECT 'batch', n FROM unnest(jobs) $$;
         SELECT queue.register_processor('batch', 'work(batch[])', batch_size => 50, load_balanced => false)",
    );
    let first: i64 = db.one("SELECT queue.enqueue('single', '{\"n\": 0}')");
    put(&mut db, "single", 1, 99);
    put(&mut db, "batch", 1, 200);
    until_done(&mut db, "single", 100);
    until_done(&mut db, "batch", 200);
    assert_eq!(in_state(&mut db, "single", "done"), 100);
    assert_eq!(db.one::<String>(&format!("SELECT queue.result('single', {first})::text")), "0");
    assert!(db.one::<i32>("SELECT max(size) FROM batches") <= 50);
    assert!(db.one::<i64>("SELECT count(*) FROM batches") < 200, "batches of more than one");
    let own_session: bool = db.one("SELECT bool_and(pid <> pg_backend_pid()) FROM done");
    assert!(own_session, "run by workers, not by whoever enqueued");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM batch"), 0);
}

#[test]
fn jobs_put_before_the_processor_are_processed_when_it_comes() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    numbers(&mut db, "early", "");
    put(&mut db, "early", 1, 10);
    db.run("SELECT queue.register_processor('early', 'work(early)')");
    until_done(&mut db, "early", 10);
}

#[test]
fn a_trigger_feeds_a_worker() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    processed(&mut db, "jobs", "", "");
    db.run(
        "CREATE TABLE orders (id int PRIMARY KEY, total int);
         SELECT queue.attach('orders', 'jobs', 'insert', set => '{\"n\": \"new.id\"}', condition => 'new.total > 0')",
    );
    db.run("INSERT INTO orders SELECT i, i % 2 FROM generate_series(1, 1000) i");
    until_done(&mut db, "jobs", 500);
}

#[test]
fn several_queues_and_parallel_workers() {
    let server = Server::start(&[("queue_ext.max_workers", "6")]);
    let mut db = server.app("shop");
    for name in ["a", "b", "c"] {
        processed(&mut db, name, "", ", parallelism => 2, batch_size => 10, load_balanced => false");
    }
    for name in ["a", "b", "c"] {
        put(&mut db, name, 1, 500);
    }
    for name in ["a", "b", "c"] {
        until_done(&mut db, name, 500);
    }
}

#[test]
fn parallelism_is_reached_and_not_exceeded() {
    let server = Server::start(&[("queue_ext.max_workers", "6")]);
    let mut db = server.app("shop");
    // Each job waits until another one has begun beside it, so one worker alone would never finish.
    db.run(
        "CREATE TABLE done (queue text, n int);
         CREATE SEQUENCE begun;
         SELECT queue.create_queue('pair', 'n int');
         CREATE FUNCTION work(job pair) RETURNS void LANGUAGE plpgsql AS $$
         BEGIN PERFORM nextval('public.begun'); WHILE (SELECT last_value FROM public.begun) < 2
         LOOP PERFORM pg_sleep(0.01); END LOOP; INSERT INTO public.done VALUES ('pair', job.n); END $$;
         SELECT queue.register_processor('pair', 'work(pair)', parallelism => 2, batch_size => 1, load_balanced => false)",
    );
    put(&mut db, "pair", 1, 2);
    until_done(&mut db, "pair", 2);
    let most = until_some("the workers are counted", || {
        db.all::<i32>("SELECT workers FROM queue.overview WHERE queue = 'pair'::regclass").first().copied()
    });
    assert!(most <= 2);
}

#[test]
fn workers_are_named_by_database_queue_and_role() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    db.run(
        "CREATE ROLE packer LOGIN;
         GRANT CREATE ON SCHEMA public TO packer;
         SET SESSION AUTHORIZATION packer;
         SELECT queue.create_queue('parcels');
         CREATE FUNCTION pack(job parcels) RETURNS void LANGUAGE sql AS 'SELECT pg_catalog.pg_advisory_xact_lock(1)';
         SELECT queue.register_processor('parcels', 'pack(parcels)');
         RESET SESSION AUTHORIZATION",
    );
    let mut holder = server.connect("shop");
    // The job waits for the lock that we hold.
    holder.run("SELECT pg_advisory_lock(1)");
    db.run("SELECT queue.enqueue('parcels')");
    let pid = crate::fixture::busy_worker(&mut db, "parcels");
    let row = db
        .query_one("SELECT datname::text, usename::text, backend_type || ' ' || application_name, state FROM pg_stat_activity WHERE pid = $1", &[&pid])
        .unwrap();
    assert_eq!((row.get::<_, String>(0), row.get::<_, String>(1)), ("shop".into(), "packer".into()));
    let name: String = row.get(2);
    assert!(name.contains("queue_ext") && name.contains("parcels"), "{name}");
    assert_eq!(row.get::<_, Option<String>>(3).as_deref(), Some("active"));
    let running: bool = db.one("SELECT job_id IS NOT NULL AND batch > 0 AND running_for >= '0' AND role = 'packer'::regrole FROM queue.activity WHERE queue = 'parcels'::regclass");
    assert!(running);
    holder.run("SELECT pg_advisory_unlock_all()");
}

#[test]
fn one_log_line_a_worker_and_none_a_job() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    processed(&mut db, "quiet", "", "");
    put(&mut db, "quiet", 1, 300);
    until_done(&mut db, "quiet", 300);
    let lines = server.log().lines().filter(|line| line.contains("quiet")).count();
    assert!(lines < 20, "{lines} lines for 300 jobs");
}

#[test]
fn settings_follow_a_reload() {
    let server = Server::start(&[("queue_ext.databases", "")]);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 3);
    until("the view says that the database is not served", || {
        db.one::<bool>("SELECT problem IS NOT NULL FROM queue.overview WHERE queue = 'q'::regclass")
    });
    assert_eq!(done(&mut db, "q"), 0);
    server.configure(&[("queue_ext.databases", "other, shop")]);
    server.reload();
    until_done(&mut db, "q", 3);
}

#[test]
fn statement_statistics_see_what_workers_do() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 50);
    until_done(&mut db, "q", 50);
    until("the statistics of the table count the workers' inserts", || {
        db.one::<i64>("SELECT coalesce(n_tup_ins, 0) FROM pg_stat_user_tables WHERE relname = 'done'") >= 50
    });
}

#[test]
fn the_scheduler_waits_for_no_lock_on_a_queue() {
    let server = Server::start(&[
        ("queue_ext.poll_interval", "100ms"),
        ("log_lock_waits", "on"),
        ("deadlock_timeout", "10ms"),
        ("log_line_prefix", "%b %a "),
    ]);
    let mut db = server.app("shop");
    processed(&mut db, "locked", "", "");
    processed(&mut db, "other", "", "");
    put(&mut db, "locked", 1, 1);
    until_done(&mut db, "locked", 1);
    // As CREATE INDEX does, for as long as it takes.
    let mut owner = server.connect("shop");
    owner.run("BEGIN;\nLOCK TABLE locked IN SHARE MODE");
    db.run("SET session_replication_role = replica");
    for n in 1..=3 {
        // Told by nobody: a look at all queues finds it, the locked one before.
        put(&mut db, "other", n, n);
        until_done(&mut db, "other", i64::from(n));
    }
    owner.run("ROLLBACK");
    let log = server.log();
    let waits: Vec<&str> =
        log.lines().filter(|line| line.contains("scheduler") && line.contains("still waiting")).collect();
    assert!(waits.is_empty(), "{waits:?}");
}
