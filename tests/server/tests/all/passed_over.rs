//! A job that a worker passed over is looked at again when what kept it has ended. The poll is an hour away, so
//! only being told can be what starts it.

use crate::fixture::{done, in_state, numbers, processed, put, until_done};
use postgres::Client;
use queue_ext_server_tests::{Server, Settings, Sql, until};

const NO_POLL: Settings = &[("queue_ext.poll_interval", "1h")];
const REGISTER: &str = "SELECT queue.register_processor('q', 'work(q)')";

/// The worker has passed over all that is more urgent than this one, which it has run.
fn until_passed_over(db: &mut Client, n: i32) {
    db.run(&format!("INSERT INTO q (n, priority) VALUES ({n}, 9)"));
    until("the worker has looked at all", || {
        db.one::<bool>(&format!("SELECT EXISTS (SELECT FROM done WHERE n = {n})"))
    });
}

#[test]
fn by_its_group() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    numbers(&mut db, "q", "");
    let mut client = server.connect("shop");
    db.run("INSERT INTO q (n, group_key) SELECT n, 'a' FROM generate_series(1, 4) n");
    // Whoever has the group's lock, and takes the job away, or gives it back.
    client.run("BEGIN;\nSELECT queue.pop('q')");
    db.run(REGISTER);
    until_passed_over(&mut db, 100);
    client.run("COMMIT");
    until_done(&mut db, "q", 4);
    db.run("SELECT queue.pause('q')");
    db.run("INSERT INTO q (n, group_key) VALUES (5, 'a'), (6, 'a')");
    db.run("SELECT queue.unregister_processor('q')");
    db.run("SELECT queue.resume('q')");
    client.run("BEGIN;\nSELECT queue.pop('q')");
    db.run(REGISTER);
    until_passed_over(&mut db, 101);
    assert_eq!(done(&mut db, "q"), 5);
    client.run("ROLLBACK");
    until_done(&mut db, "q", 7);
}

#[test]
fn by_a_limit() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    numbers(&mut db, "q", ", max_running => 1");
    processed(&mut db, "other", "", "");
    let mut client = server.connect("shop");
    put(&mut db, "q", 1, 2);
    client.run("BEGIN;\nSELECT queue.pop('q')");
    db.run(REGISTER);
    put(&mut db, "other", 1, 3);
    until_done(&mut db, "other", 3);
    assert_eq!(done(&mut db, "q"), 0);
    client.run("COMMIT");
    until_done(&mut db, "q", 1);
}

#[test]
fn because_an_enqueuer_holds_it() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    numbers(&mut db, "q", ", on_conflict => 'skip'");
    for (end, before) in [("COMMIT", 0), ("ROLLBACK", 2)] {
        let mut client = server.connect("shop");
        db.run("SELECT queue.pause('q')");
        db.run(&format!("SELECT queue.enqueue('q', '{{\"n\": {}}}', key => 'k')", before + 1));
        client.run("BEGIN;\nSELECT queue.enqueue('q', '{\"n\": 1000}', key => 'k')");
        db.run("SELECT queue.resume('q')");
        if before == 0 {
            db.run(REGISTER);
        }
        until_passed_over(&mut db, before + 2);
        assert_eq!(done(&mut db, "q"), i64::from(before) + 1);
        client.run(end);
        until_done(&mut db, "q", i64::from(before) + 2);
    }
}

#[test]
fn because_it_waits_for_another() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    numbers(&mut db, "q", ", max_attempts => 1");
    put(&mut db, "q", 1, 3);
    db.run("SELECT queue.dequeue('q', 3, '1 day')");
    db.run("INSERT INTO q (n, after) VALUES (4, '{1}'), (5, '{2,3}')");
    db.run("INSERT INTO q (n, after, after_failure) VALUES (6, '{3}', 'release')");
    db.run(REGISTER);
    until_passed_over(&mut db, 100);
    assert_eq!(done(&mut db, "q"), 1);
    db.run("SELECT queue.ack('q', 1, 1)");
    until_done(&mut db, "q", 2);
    db.run("SELECT queue.nack('q', 3, 1)");
    until_done(&mut db, "q", 3);
    assert_eq!(in_state(&mut db, "q", "failed"), 2);
}

/// After a crash workers take jobs one by one, in another way. A lease that outlived the crash counts there, too.
#[test]
fn by_a_limit_after_a_crash() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    db.run(
        "CREATE TABLE ran (n int, beside bigint);
         SELECT queue.create_queue('q', 'n int', max_running => 1);
         SELECT queue.create_queue('k', 'n int', max_running_per_key => 1);
         CREATE FUNCTION work(job q) RETURNS void LANGUAGE sql
             AS $$ INSERT INTO public.ran SELECT job.n, count(*) FROM public.q WHERE state = 'running' $$;
         CREATE FUNCTION work(job k) RETURNS void LANGUAGE sql
             AS $$ INSERT INTO public.ran SELECT job.n, count(*) FROM public.k WHERE state = 'running' $$;
         INSERT INTO q (n) VALUES (1), (2);
         INSERT INTO k (n, key) VALUES (11, 'a'), (12, 'a');
         SELECT queue.dequeue('q', 1, '1 day'), queue.dequeue('k', 1, '1 day')",
    );
    processed(&mut db, "other", "", "");
    db.run("SELECT queue.register_processor('q', 'work(q)'), queue.register_processor('k', 'work(k)')");
    put(&mut db, "other", 1, 1);
    until_done(&mut db, "other", 1);
    server.stop_immediately();
    server.start_again();
    let mut db = server.reconnect("shop");
    put(&mut db, "other", 2, 5);
    until_done(&mut db, "other", 5);
    db.run("SELECT queue.ack('q', 1, 1), queue.ack('k', 1, 1)");
    until("the others have run", || db.one::<i64>("SELECT count(*) FROM ran") == 2);
    assert_eq!(db.one::<i64>("SELECT sum(beside)::bigint FROM ran"), 0, "beside a leased one");
}
