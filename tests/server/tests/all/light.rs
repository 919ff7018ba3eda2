//! What workers keep between jobs, and what they do not: processors looked up once, sessions as after login.

use crate::fixture::{done, processed, put, until_done};
use queue_ext_server_tests::{Server, Settings, Sql, until};

const NO_POLL: Settings = &[("queue_ext.max_workers", "1"), ("queue_ext.poll_interval", "1h")];

#[test]
fn a_worker_notices_whatever_happens_to_its_processor() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", "");
    db.run("CREATE ROLE other LOGIN;\nCREATE SCHEMA moved");
    let put_and_wait = |db: &mut postgres::Client, n: i32| {
        put(db, "q", n, n);
        until_done(db, "q", i64::from(n));
    };
    put_and_wait(&mut db, 1);
    for (n, change) in (2..).zip([
        "ALTER FUNCTION work(q) RENAME TO labour",
        "ALTER FUNCTION labour(q) SET SCHEMA moved",
        "ALTER SCHEMA moved RENAME TO settled",
        "CREATE OR REPLACE FUNCTION settled.labour(job q) RETURNS int LANGUAGE sql AS $$ INSERT INTO public.done VALUES ('q', job.n, 0, 'replaced'); SELECT 1 $$",
        "ALTER TABLE q RENAME TO q2;\nALTER TABLE q2 RENAME TO q",
        "ALTER TABLE q ADD note text",
    ]) {
        db.run(change);
        put_and_wait(&mut db, n);
    }
    assert_eq!(db.one::<i64>("SELECT count(*) FROM done WHERE who = 'replaced'"), 3);
    // Another one, then none, then the first again under its name.
    db.run(
        "CREATE FUNCTION second(job q) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.done VALUES ('q', job.n, 0, 'second') $$;
         SELECT queue.register_processor('q', 'second(q)', replace => true)",
    );
    put_and_wait(&mut db, 8);
    assert_eq!(db.one::<String>("SELECT who FROM done WHERE n = 8"), "second");
    db.run("DROP FUNCTION second(q) CASCADE");
    put(&mut db, "q", 9, 9);
    until("the view says that there is none", || {
        db.one("SELECT problem LIKE '%does not exist%' AND workers = 0 FROM queue.overview WHERE queue = 'q'::regclass")
    });
    db.run("CREATE FUNCTION second(job q) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.done VALUES ('q', job.n, 0, 'anew') $$");
    db.run("SELECT queue.register_processor('q', 'second(q)', replace => true)");
    until_done(&mut db, "q", 9);
    assert_eq!(db.one::<String>("SELECT who FROM done WHERE n = 9"), "anew");
}

#[test]
fn a_session_is_as_after_login_for_the_next_queue_and_while_idle() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    db.run(
        "CREATE TABLE seen (queue text, memory text, locks bigint, tables bigint);
         CREATE TABLE late (n int);
         CREATE FUNCTION set_late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN SET work_mem = '77MB'; RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER late AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION set_late();
         CREATE FUNCTION leave_traces(queue text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO public.seen SELECT queue, current_setting('work_mem'),
                 (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'),
                 (SELECT count(*) FROM pg_class WHERE relname = 'trace' AND relpersistence = 't'); CREATE TEMPORARY TABLE IF NOT EXISTS trace (n int); PERFORM pg_advisory_lock(5); INSERT INTO public.late VALUES (1); END $$",
    );
    for queue in ["a", "b"] {
        db.run(&format!(
            "SELECT queue.create_queue('{queue}', 'n int');
             CREATE FUNCTION work(job {queue}) RETURNS void LANGUAGE sql AS $$ SELECT public.leave_traces('{queue}') $$;
             SELECT queue.register_processor('{queue}', 'work({queue})', batch_size => 1)"
        ));
    }
    // Both have work before either is begun.
    db.run("BEGIN;\nINSERT INTO a (n) VALUES (1);\nINSERT INTO b (n) VALUES (1);\nCOMMIT");
    until("both are done", || db.one::<i64>("SELECT count(*) FROM seen") == 2);
    let clean: bool = db
        .one("SELECT bool_and(memory = current_setting('work_mem') AND locks = 0 AND tables = 0) FROM seen");
    assert!(clean, "what one queue's job left behind was there for the other's");
    until("nothing is left while idle", || {
        db.one::<bool>(
            "SELECT NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory')
                AND NOT EXISTS (SELECT FROM pg_class WHERE relname = 'trace')",
        )
    });
    let workers: i64 =
        db.one("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'queue_ext worker'");
    assert_eq!(workers, 1, "the same one served both, and is still there");
}

#[test]
fn a_batch_that_could_not_be_run_is_tried_again_though_nothing_was_committed() {
    let server = Server::start(&[("queue_ext.poll_interval", "1s")]);
    let mut db = server.app("shop");
    db.run("ALTER DATABASE shop SET lock_timeout = '50ms'");
    processed(&mut db, "q", "", "");
    put(&mut db, "q", 1, 1);
    until_done(&mut db, "q", 1);
    db.run("SELECT queue.pause('q')");
    put(&mut db, "q", 2, 2);
    // No worker can have the table's definition while we hold it. What ends this transaction is no news.
    let mut holder = server.connect("shop");
    holder.run("BEGIN;\nLOCK TABLE q IN SHARE ROW EXCLUSIVE MODE");
    db.run("SELECT queue.resume('q')");
    // Once when resumed, perhaps once for what was committed until then, and again at each poll.
    server.until_logged("could not run a batch of queue public.q", 3);
    assert_eq!(done(&mut db, "q"), 1);
    holder.run("ROLLBACK");
    until_done(&mut db, "q", 2);
}
