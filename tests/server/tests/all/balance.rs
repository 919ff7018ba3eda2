//! Load balancing: more workers and larger batches under a burst, fewer after it.

use crate::fixture::{numbers, put, until_done};
use queue_ext_server_tests::{Server, Sql, until};

#[test]
fn grows_under_a_burst_and_shrinks_after_it() {
    let server = Server::start(&[
        ("queue_ext.max_workers", "4"),
        ("queue_ext.worker_idle_timeout", "200ms"),
        ("queue_ext.poll_interval", "1s"),
    ]);
    let mut db = server.app("shop");
    numbers(&mut db, "q", "");
    // Slow enough for a backlog to be one.
    db.run(
        "CREATE FUNCTION slowly(job q) RETURNS void LANGUAGE sql AS $$ SELECT pg_catalog.pg_sleep(0.002); INSERT INTO public.done VALUES ('q', job.n) $$;
         SELECT queue.register_processor('q', 'slowly(q)', parallelism => 3, batch_size => 200)",
    );
    put(&mut db, "q", 1, 1);
    until_done(&mut db, "q", 1);
    let workers = "SELECT workers FROM queue.overview WHERE queue = 'q'::regclass";
    let target = "SELECT target_workers FROM queue.overview WHERE queue = 'q'::regclass";
    assert!(db.one::<i32>(target) <= 1, "one is enough for one");
    put(&mut db, "q", 2, 10000);
    let mut largest_batch = 0;
    until("it grows to its bound", || {
        largest_batch = largest_batch
            .max(db.one("SELECT coalesce(max(batch), 0) FROM queue.activity WHERE queue = 'q'::regclass"));
        db.one::<i32>(workers) == 3
    });
    until("batches grow", || {
        largest_batch = largest_batch
            .max(db.one("SELECT coalesce(max(batch), 0) FROM queue.activity WHERE queue = 'q'::regclass"));
        largest_batch > 1
    });
    until_done(&mut db, "q", 10000);
    assert!(largest_batch <= 200);
    assert!(db.one::<i64>("SELECT count(DISTINCT pid) FROM done") >= 3, "all of them worked");
    until("it shrinks", || db.one::<i32>(target) <= 1 && db.one::<i32>(workers) <= 1);
}

#[test]
fn fixed_stays_fixed() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    db.run(
        "CREATE TABLE done (queue text, n int);
         CREATE TABLE sizes (size int);
         SELECT queue.create_queue('q', 'n int');
         CREATE FUNCTION work(jobs q[]) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.sizes VALUES (cardinality(jobs)); INSERT INTO public.done SELECT 'q', n FROM unnest(jobs) $$;
         SELECT queue.pause('q');
         SELECT queue.register_processor('q', 'work(q[])', batch_size => 7, parallelism => 1, load_balanced => false)",
    );
    put(&mut db, "q", 1, 70);
    db.run("SELECT queue.resume('q')");
    until_done(&mut db, "q", 70);
    assert_eq!(db.all::<i32>("SELECT DISTINCT size FROM sizes"), [7]);
}
