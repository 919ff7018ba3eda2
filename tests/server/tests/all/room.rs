//! Workers for everybody: who has none yet gets one, and who needs none gets none.

use crate::fixture::{in_state, processed, put, until_done, until_in_state};
use postgres::Client;
use queue_ext_server_tests::{Server, Settings, Sql, until};

const NO_POLL: Settings = &[("queue_ext.max_workers", "4"), ("queue_ext.poll_interval", "1h")];

/// A queue of the role's own whose jobs last until the advisory lock is let go.
fn endless(server: &Server, db: &mut Client, role: &str) -> Client {
    db.run(&format!("CREATE ROLE {role} LOGIN;\nCREATE SCHEMA {role} AUTHORIZATION {role}"));
    let mut owner = server.connect_as(role, "shop");
    owner.run(&format!(
        "SELECT queue.create_queue('{role}.q', 'n int');
         CREATE FUNCTION {role}.work(job {role}.q) RETURNS void LANGUAGE sql AS 'SELECT pg_catalog.pg_advisory_xact_lock_shared(1)';
         SELECT queue.register_processor('{role}.q', '{role}.work({role}.q)', parallelism => 4, batch_size => 1, load_balanced => false)"
    ));
    owner
}

fn running(db: &mut Client, queue: &str) -> i64 {
    db.one(&format!(
        "SELECT count(*) FROM queue.activity WHERE queue = '{queue}'::regclass AND state = 'running'"
    ))
}

#[test]
fn endless_jobs_of_one_role_leave_a_worker_for_another() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    let mut ann = endless(&server, &mut db, "ann");
    db.run("SELECT pg_advisory_lock(1)");
    put(&mut ann, "ann.q", 1, 8);
    until("ann has as many workers as she may", || running(&mut db, "ann.q") >= 3);
    // Bob comes when all of ann's are at work, and none of them ever ends.
    processed(&mut db, "late", "", "");
    put(&mut db, "late", 1, 3);
    until_done(&mut db, "late", 3);
    assert_eq!(running(&mut db, "ann.q"), 3);
    db.run("SELECT pg_advisory_unlock(1)");
    until("ann's are done", || db.one::<i64>("SELECT count(*) FROM ann.q") == 0);
}

/// The roles that have workers. One that is starting may have no role yet, from Postgres 18 on.
fn roles(db: &mut Client) -> Vec<String> {
    db.all(
        "SELECT DISTINCT usename::text FROM pg_stat_activity
         WHERE backend_type = 'queue_ext worker' AND usename IS NOT NULL ORDER BY 1",
    )
}

#[test]
fn idle_workers_of_other_roles_give_way_to_a_queue_that_may_have_more() {
    let server = Server::start(&[("queue_ext.max_workers", "4"), ("queue_ext.poll_interval", "1s")]);
    let mut db = server.app("shop");
    let mut owners = ["ann", "bob", "cat", "dan"].map(|role| endless(&server, &mut db, role));
    until("each has a worker, which takes all places", || roles(&mut db).len() == 4);
    db.run("SELECT pg_advisory_lock(1)");
    put(&mut owners[0], "ann.q", 1, 8);
    until("ann has as many workers as she may", || running(&mut db, "ann.q") == 3);
    // One place is left, and whoever has work gets it.
    for (owner, queue) in owners.iter_mut().skip(1).zip(["bob.q", "cat.q", "dan.q"]) {
        owner.run(&format!("SELECT queue.enqueue('{queue}', '{{\"n\": 0}}')"));
    }
    let others = |db: &mut Client| running(db, "bob.q") + running(db, "cat.q") + running(db, "dan.q");
    until("one of the others is at work", || others(&mut db) == 1);
    assert_eq!(running(&mut db, "ann.q"), 3);
    db.run("SELECT pg_advisory_unlock(1)");
    for queue in ["ann.q", "bob.q", "cat.q", "dan.q"] {
        until("all is done", || db.one::<i64>(&format!("SELECT count(*) FROM {queue}")) == 0);
    }
    until("each has a worker again", || roles(&mut db).len() == 4);
}

#[test]
fn who_waits_for_the_endless_jobs_of_others_says_so() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    db.run("SELECT pg_advisory_lock(1);\nCREATE ROLE ann LOGIN;\nCREATE SCHEMA ann AUTHORIZATION ann");
    let mut ann = server.connect_as("ann", "shop");
    // Each of her queues is to have a worker, and no other role needs one yet.
    for queue in ["ann.q1", "ann.q2", "ann.q3", "ann.q4"] {
        ann.run(&format!(
            "SELECT queue.create_queue('{queue}', 'n int');
             CREATE FUNCTION ann.work(job {queue}) RETURNS void LANGUAGE sql AS 'SELECT pg_catalog.pg_advisory_xact_lock_shared(1)';
             SELECT queue.register_processor('{queue}', 'ann.work({queue})');
             INSERT INTO {queue} (n) VALUES (1)"
        ));
        until("a worker runs it", || running(&mut db, queue) == 1);
    }
    processed(&mut db, "late", "", "");
    processed(&mut db, "due", "", "");
    put(&mut db, "late", 1, 3);
    db.run("SELECT queue.enqueue('due', '{\"n\": 1}', delay => '1 ms')");
    for queue in ["late", "due"] {
        let problem = format!("SELECT problem FROM queue.overview WHERE queue = '{queue}'::regclass");
        until("the setting is named", || {
            db.one::<Option<String>>(&problem).as_deref()
                == Some("all workers are taken: raise queue_ext.max_workers")
        });
    }
    server.configure(&[("queue_ext.max_workers", "5")]);
    server.reload();
    until_done(&mut db, "late", 3);
    until_done(&mut db, "due", 1);
}

#[test]
fn a_queue_without_a_processor_starts_no_worker() {
    let server = Server::start(NO_POLL);
    let mut db = server.app("shop");
    for role in ["idle", "busy"] {
        db.run(&format!("CREATE ROLE {role} LOGIN;\nCREATE SCHEMA {role} AUTHORIZATION {role}"));
        server.connect_as(role, "shop").run(&format!("SELECT queue.create_queue('{role}.q', 'n int')"));
    }
    // What is due is moved all the same, by a worker of the one who has something due.
    db.run("SELECT queue.enqueue('busy.q', '{\"n\": 1}', delay => '100 ms')");
    until_in_state(&mut db, "busy.q", "ready", 1);
    server.until_logged("queue_ext worker: shop busy started", 0);
    assert!(!server.log().contains("queue_ext worker: shop idle"));
    // A lease that was acked in time is nothing to start a worker for, one that ran out is.
    let (id, attempt): (i64, i32) = {
        let row = db.query_one("SELECT id, attempt FROM queue.dequeue('busy.q', 1, '200 ms')", &[]).unwrap();
        (row.get(0), row.get(1))
    };
    until_in_state(&mut db, "busy.q", "ready", 1);
    assert!(!db.one::<bool>(&format!("SELECT queue.ack('busy.q', {id}, {attempt})")));
    assert_eq!(in_state(&mut db, "busy.q", "running"), 0);
}
