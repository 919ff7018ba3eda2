//! What reviews found of workers and long sessions, so that it stays mended.

use crate::fixture::{done, in_state, processed, put, until_done, until_in_state};
use postgres::Client;
use queue_ext_server_tests::{Server, Settings, Sql, until, until_some};

/// So long that only being told brings a worker.
const NO_POLL: Settings = &[("queue_ext.poll_interval", "1h")];

/// A role with a schema of its own, and a connection as that role.
fn role(server: &Server, db: &mut Client, name: &str) -> Client {
    db.run(&format!("CREATE ROLE {name} LOGIN;\nCREATE SCHEMA {name} AUTHORIZATION {name}"));
    server.connect_as(name, "shop")
}

fn peak_kb(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process of this machine");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
    line.split_whitespace().nth(1).expect("kB").parse().expect("a number")
}

#[test]
fn the_scheduler_counts_without_rights_that_an_owner_could_borrow() {
    let server = Server::start(&[("queue_ext.max_workers", "4")]);
    let mut db = server.app("shop");
    let mut mallory = role(&server, &mut db, "mallory");
    mallory.run(
        "CREATE FUNCTION mallory.spy() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
         BEGIN RAISE LOG 'evaluated as % in %', current_user, pg_backend_pid(); RETURN 1; END $$;
         SELECT queue.create_queue('mallory.q', 'n int');
         CREATE FUNCTION mallory.work(job mallory.q) RETURNS void LANGUAGE sql AS 'SELECT pg_catalog.pg_advisory_xact_lock_shared(1)';
         DO $$ DECLARE part regclass; BEGIN
             FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'mallory.q'::regclass
             LOOP EXECUTE format('CREATE INDEX ON %s ((n + mallory.spy())) WHERE mallory.spy() = 1', part); END LOOP; END $$;
         SELECT queue.register_processor('mallory.q', 'mallory.work(mallory.q)', parallelism => 3, batch_size => 1)",
    );
    // Its jobs last until we let go.
    db.run("SELECT pg_advisory_lock(1)");
    mallory.run("INSERT INTO mallory.q (n) SELECT generate_series(1, 100)");
    let scheduler: i32 = until_some("the scheduler is there", || {
        db.all("SELECT pid FROM pg_stat_activity WHERE backend_type = 'queue_ext scheduler' AND datname = 'shop'").first().copied()
    });
    server.until_logged(&format!("evaluated as mallory in {scheduler}"), 0);
    db.run("SELECT pg_advisory_unlock(1)");
    until("the jobs are done", || mallory.one::<i64>("SELECT count(*) FROM mallory.q") == 0);
    assert!(!server.log().contains("evaluated as postgres"));
}

#[test]
fn who_no_longer_acts_for_the_owner_gets_no_more_jobs() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    let mut owner = role(&server, &mut db, "owner");
    let mut member = role(&server, &mut db, "member");
    db.run("CREATE TABLE ran (queue text, n int);\nGRANT INSERT ON ran TO PUBLIC;\nGRANT owner TO member");
    owner.run("SELECT queue.create_queue('owner.q', 'n int');\nGRANT USAGE ON SCHEMA owner TO member");
    member.run(
        "SELECT queue.create_queue('member.q', 'n int');
         CREATE FUNCTION member.work(job owner.q) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.ran VALUES ('owner', job.n) $$;
         CREATE FUNCTION member.work(job member.q) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.ran VALUES ('member', job.n) $$;
         SELECT queue.register_processor('owner.q', 'member.work(owner.q)'), queue.register_processor('member.q', 'member.work(member.q)')",
    );
    owner.run("INSERT INTO owner.q (n) VALUES (1)");
    until("as a member", || db.one::<i64>("SELECT count(*) FROM ran WHERE queue = 'owner'") == 1);
    db.run("REVOKE owner FROM member");
    owner.run("INSERT INTO owner.q (n) VALUES (2)");
    member.run("INSERT INTO member.q (n) SELECT generate_series(1, 20)");
    until("its own jobs", || db.one::<i64>("SELECT count(*) FROM ran WHERE queue = 'member'") == 20);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM ran WHERE queue = 'owner'"), 1);
    assert_eq!(in_state(&mut db, "owner.q", "ready"), 1);
    db.run("GRANT owner TO member");
    owner.run("INSERT INTO owner.q (n) VALUES (3)");
    until("a member again", || db.one::<i64>("SELECT count(*) FROM ran WHERE queue = 'owner'") == 3);
}

#[test]
fn a_delayed_job_of_an_attached_table_is_run_when_it_is_due() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    for (queue, level) in [("a", "row"), ("b", "statement")] {
        processed(&mut db, queue, "", "");
        db.run(&format!(
            "CREATE TABLE source_{queue} (id int);
             SELECT queue.attach('source_{queue}', '{queue}', 'insert', set => '{{\"n\": \"new.id\"}}', delay => '1 s', level => '{level}')"
        ));
        db.run(&format!("INSERT INTO source_{queue} SELECT generate_series(1, 5)"));
        until_done(&mut db, queue, 5);
    }
}

#[test]
fn a_trigger_on_error_rows_wakes_the_queue_it_feeds() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    processed(&mut db, "first", ", max_attempts => 1", "");
    processed(&mut db, "second", "", "");
    db.run(
        "CREATE FUNCTION forward() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO public.second (n, run_at) VALUES (1, NULL), (2, clock_timestamp() + '1 s'); RETURN NULL; END $$;
         DO $$ BEGIN EXECUTE format('CREATE TRIGGER forward AFTER INSERT ON %s FOR EACH ROW EXECUTE FUNCTION forward()',
             (SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'first'::regclass AND inhrelid::regclass::text LIKE '%failed%')); END $$",
    );
    put(&mut db, "first", -1, -1);
    until_in_state(&mut db, "first", "failed", 1);
    until_done(&mut db, "second", 2);
}

#[test]
fn workers_work_in_a_database_that_is_read_only_and_repeatable_read_by_default() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    db.run(
        "ALTER DATABASE shop SET default_transaction_isolation = 'repeatable read';
         ALTER DATABASE shop SET default_transaction_read_only = on;
         ALTER DATABASE shop SET default_transaction_deferrable = on",
    );
    processed(&mut db, "q", ", max_attempts => 2, backoff => '10 ms'", ", parallelism => 2");
    put(&mut db, "q", -1, 50);
    until_done(&mut db, "q", 51);
    until_in_state(&mut db, "q", "failed", 1);
    db.run("SELECT queue.enqueue('q', '{\"n\": 51}', delay => '100 ms')");
    until_done(&mut db, "q", 52);
}

#[test]
fn what_a_job_sets_ends_with_it() {
    let server = Server::start(&[("queue_ext.max_workers", "1")]);
    let mut db = server.app("shop");
    db.run("CREATE ROLE other;\nCREATE TABLE seen (queue text, who text, path text, memory text);\nGRANT INSERT ON seen TO other");
    db.run(
        "CREATE FUNCTION sets(queue text, n int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO public.seen VALUES (queue, current_user, current_setting('search_path'), current_setting('work_mem')); SET ROLE other; SET search_path = nowhere; SET work_mem = '77MB'; IF n < 0 THEN RAISE EXCEPTION 'negative'; END IF; END $$",
    );
    for queue in ["a", "b"] {
        db.run(&format!(
            "SELECT queue.create_queue('{queue}', 'n int', max_attempts => 1);
             CREATE FUNCTION work(job {queue}) RETURNS void LANGUAGE sql AS $$ SELECT public.sets('{queue}', job.n) $$;
             SELECT queue.register_processor('{queue}', 'work({queue})')"
        ));
        put(&mut db, queue, -1, 3);
        until(&format!("those of {queue} are done"), || {
            db.one::<i64>(&format!("SELECT count(*) FROM seen WHERE queue = '{queue}'")) == 4
        });
    }
    assert_eq!(db.one::<i64>("SELECT count(*) FROM seen WHERE memory = '77MB' OR who <> 'postgres'"), 0);
    assert_eq!(db.one::<i64>("SELECT count(DISTINCT (who, path, memory)) FROM seen"), 1);
}

#[test]
fn a_commit_that_fails_with_a_huge_message_is_one_jobs_failure() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    processed(&mut db, "q", ", max_attempts => 1", "");
    db.run(
        "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN IF new.n = 3 THEN RAISE EXCEPTION '%', repeat('x', 10000000); END IF; RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER shout AFTER INSERT ON done DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION shout()",
    );
    put(&mut db, "q", 1, 5);
    until_done(&mut db, "q", 4);
    until_in_state(&mut db, "q", "failed", 1);
    assert_eq!(db.all::<String>("SELECT sqlstate FROM queue.errors"), ["P0001"]);
    assert_eq!(done(&mut db, "q"), 4);
}

#[test]
fn memory_does_not_grow_with_the_batches_of_a_run() {
    let server = Server::start(&[("queue_ext.databases", "")]);
    let mut db = server.app("shop");
    processed(&mut db, "q", "", ", batch_size => 1, load_balanced => false");
    let pid: i32 = db.one("SELECT pg_backend_pid()");
    let mut peak_after = |from, to| {
        put(&mut db, "q", from, to);
        db.run("CALL queue.run('q')");
        until_done(&mut db, "q", i64::from(to));
        peak_kb(pid)
    };
    let few = peak_after(1, 500);
    let many = peak_after(501, 5500);
    assert!(many < few * 2, "{few} kB after 500 batches, {many} kB after 5500");
}

#[test]
fn the_view_of_errors_holds_no_more_than_work_mem() {
    let server =
        Server::start(&[("queue_ext.databases", ""), ("work_mem", "4MB"), ("shared_buffers", "4MB")]);
    let mut db = server.app("shop");
    for queue in ["a", "b"] {
        db.run(&format!("SELECT queue.create_queue('{queue}', 'n int, t text', max_attempts => 1)"));
        // About 100 MB each.
        db.run(&format!(
            "INSERT INTO {queue} (n, t, state, finished_at, errors)
             SELECT i, repeat(md5(i::text), 60), 'failed', now(), '[{{\"message\": \"no\"}}]' FROM generate_series(1, 50000) i"
        ));
    }
    drop(db);
    let mut db = server.connect("shop");
    let pid: i32 = db.one("SELECT pg_backend_pid()");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM queue.errors WHERE id < 0"), 0);
    let count: i64 =
        db.one("SELECT count(*) FROM queue.errors WHERE message = 'no' AND length(job ->> 't') = 1920");
    assert_eq!(count, 100_000);
    let peak = peak_kb(pid);
    assert!(peak < 80_000, "{peak} kB for 200 MB of error rows");
}
