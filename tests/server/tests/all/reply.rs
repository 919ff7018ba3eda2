//! CALL queue.wait_for and queue.call: woken by the end of a job, holding nothing; what becomes of the job when
//! the caller goes.

use crate::fixture::{in_state, numbers, until_in_state, until_vacuumed};
use postgres::Client;
use queue_ext_server_tests::{Server, Sql, until};
use std::thread::{self, JoinHandle};

/// No poll ends a wait within the test's deadline.
const NEVER_POLLED: &[(&str, &str)] = &[("queue_ext.poll_interval", "1h")];

/// Runs a statement in a session of its own; its one value, as text, or its SQLSTATE.
fn in_thread(server: &Server, statement: String) -> (i32, JoinHandle<Result<Option<String>, String>>) {
    let mut client = server.connect("shop");
    let pid: i32 = client.one("SELECT pg_backend_pid()");
    let thread = thread::spawn(move || reply(&mut client, &statement));
    (pid, thread)
}

fn reply(client: &mut Client, statement: &str) -> Result<Option<String>, String> {
    match client.simple_query(statement) {
        Ok(messages) => Ok(messages.iter().find_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => row.get(0).map(String::from),
            _ => None,
        })),
        Err(error) => Err(error.code().map_or_else(|| "closed".into(), |code| code.code().to_string())),
    }
}

fn ended<T>(thread: JoinHandle<T>) -> T {
    until("the call returns", || thread.is_finished());
    thread.join().unwrap()
}

fn until_asleep(db: &mut Client, pid: i32) {
    until("it waits and holds nothing", || {
        db.one::<bool>(&format!(
            "SELECT coalesce(state = 'active' AND wait_event = 'Extension' AND query LIKE 'CALL queue.%'
                             AND backend_xmin IS NULL AND backend_xid IS NULL, false) FROM pg_stat_activity WHERE pid = {pid}"
        ))
    });
}

fn a_waiter_is_woken_by_every_end(server: &Server) {
    let mut db = server.app("shop");
    numbers(&mut db, "q", ", max_attempts => 1");
    let ends = [
        ("SELECT queue.ack('q', id, attempt) FROM queue.dequeue('q')", Ok(None)),
        ("SELECT queue.ack_many('q', array_agg(id), array_agg(attempt)) FROM queue.dequeue('q')", Ok(None)),
        ("SELECT queue.nack('q', id, attempt) FROM queue.dequeue('q')", Err("P0001")),
        ("SELECT queue.pop('q')", Ok(None)),
        ("SELECT queue.cancel('q', {id})", Err("57014")),
        ("SELECT queue.purge('q')", Ok(None)),
        ("DELETE FROM q WHERE id = {id}", Ok(None)),
        ("SELECT queue.register_processor('q', 'work(q)')", Ok(Some("1"))),
    ];
    for (end, expected) in ends {
        let id: i64 = db.one("SELECT queue.enqueue('q', '{\"n\": 1}', keep_result => true)");
        let (pid, waiting) = in_thread(server, format!("CALL queue.wait_for('q', {id}, '1 h')"));
        until_asleep(&mut db, pid);
        // Another job's end, or what is not committed, does not end the wait.
        db.run("SELECT queue.enqueue('q', '{\"n\": 2}', priority => 0);\nSELECT queue.pop('q')");
        db.run("BEGIN;\nSELECT queue.purge('q');\nROLLBACK");
        until_asleep(&mut db, pid);
        assert!(!waiting.is_finished(), "{end}");
        db.run(&end.replace("{id}", &id.to_string()));
        let got = ended(waiting);
        let expected = expected.map(|text| text.map(String::from)).map_err(String::from);
        assert_eq!(got, expected, "{end}");
        if !end.contains("register") {
            db.run("SELECT queue.purge('q', '{ready,failed,done}')");
        }
    }
    // Vacuum is not held back by a waiter.
    db.run("SELECT queue.unregister_processor('q')");
    let id: i64 = db.one("SELECT queue.enqueue('q', '{\"n\": 1}')");
    let (pid, waiting) = in_thread(server, format!("CALL queue.wait_for('q', {id}, '1 h')"));
    until_asleep(&mut db, pid);
    until_vacuumed(&mut db);
    // It can be cancelled, and the job stays.
    db.run(&format!("SELECT pg_cancel_backend({pid})"));
    assert_eq!(ended(waiting), Err("57014".into()));
    assert_eq!(in_state(&mut db, "q", "ready"), 1);
}

#[test]
fn a_waiter_is_woken_with_preload() {
    a_waiter_is_woken_by_every_end(&Server::start(NEVER_POLLED));
}

#[test]
fn a_waiter_notices_without_preload() {
    let server = Server::start_without_preload(&[]);
    let mut db = server.app("shop");
    numbers(&mut db, "q", "");
    db.run("SELECT queue.register_processor('q', 'work(q)');\nSELECT queue.start_workers()");
    let mut client = server.connect("shop");
    assert_eq!(reply(&mut client, "CALL queue.call('q', '{\"n\": 5}')"), Ok(Some("5".into())));
    let id: i64 = db.one("SELECT queue.enqueue('q', '{\"n\": 6}')");
    assert_eq!(reply(&mut client, &format!("CALL queue.wait_for('q', {id})")), Ok(None));
}

/// A queue `q` whose processor doubles, fails for negative numbers with SQLSTATE NEG01, and waits for the lock
/// of a table `gate` if the number is 0.
fn doubling(db: &mut Client, options: &str) {
    db.run(&format!(
        "CREATE TABLE gate (i int);
         SELECT queue.create_queue('q', 'n int'{options});
         CREATE FUNCTION work(job q) RETURNS jsonb LANGUAGE plpgsql SET search_path = public AS $$
         BEGIN
             IF job.n < 0 THEN RAISE EXCEPTION 'negative' USING ERRCODE = 'NEG01'; END IF; IF job.n = 0 THEN LOCK TABLE gate IN SHARE MODE; END IF; RETURN jsonb_build_object('twice', job.n * 2); END $$;
         SELECT queue.register_processor('q', 'work(q)')"
    ));
}

#[test]
fn a_call_returns_the_result_or_raises_the_error_of_its_own_job() {
    let server = Server::start(NEVER_POLLED);
    let mut db = server.app("shop");
    doubling(&mut db, ", max_attempts => 1");
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let mut client = server.connect("shop");
            thread::spawn(move || {
                for i in 1..=25 {
                    let n = caller * 100 + i;
                    let sql = format!("CALL queue.call('q', '{{\"n\": {n}}}', '1 h')");
                    let twice = format!("{{\"twice\": {}}}", n * 2);
                    assert_eq!(reply(&mut client, &sql), Ok(Some(twice)));
                    if i % 10 == 0 {
                        let sql = "CALL queue.call('q', '{\"n\": -1}', '1 h')";
                        assert_eq!(reply(&mut client, sql), Err("NEG01".into()));
                    }
                }
            })
        })
        .collect();
    callers.into_iter().for_each(ended);
    // Fetched results are gone; failures stay for whoever mends them.
    assert_eq!(in_state(&mut db, "q", "done"), 0);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM q"), 16);
    assert_eq!(in_state(&mut db, "q", "failed"), 16);
    // Where done jobs are kept, so are those of calls.
    db.run("SELECT queue.alter_queue('q', keep_done => '1 day')");
    assert!(reply(&mut db, "CALL queue.call('q', '{\"n\": 1}')").is_ok());
    assert_eq!(in_state(&mut db, "q", "done"), 1);
}

#[test]
fn a_call_waits_for_retries() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    db.run(
        "SELECT queue.create_queue('q', max_attempts => 3, backoff => '10 ms');
         CREATE FUNCTION work(job q) RETURNS int LANGUAGE plpgsql AS $$
         BEGIN IF job.attempt < 3 THEN RAISE 'not yet'; END IF; RETURN job.attempt; END $$;
         SELECT queue.register_processor('q', 'work(q)')",
    );
    assert_eq!(reply(&mut db, "CALL queue.call('q')"), Ok(Some("3".into())));
    assert_eq!(reply(&mut db, "CALL queue.call('q', max_attempts => 1)"), Err("P0001".into()));
}

#[test]
fn a_call_that_waits_for_a_retry_in_vain_says_what_failed() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    doubling(&mut db, ", backoff => '1 h', backoff_max => '1 h'");
    // The attempt may not have been made yet.
    until("the failed attempt is named", || {
        let error = db.simple_query("CALL queue.call('q', '{\"n\": -1}', '100 ms')").unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "55000");
        error.detail().is_some_and(|detail| {
            detail.starts_with("Attempt 1 failed: negative") && detail.contains("The next is due at 2")
        })
    });
}

#[test]
fn a_caller_that_goes_leaves_its_job() {
    let server = Server::start(NEVER_POLLED);
    let mut db = server.app("shop");
    doubling(&mut db, "");
    let mut holder = server.connect("shop");
    holder.run("BEGIN;\nLOCK TABLE gate IN ACCESS EXCLUSIVE MODE");
    // By a timeout, a cancel, and its end.
    assert_eq!(reply(&mut db, "CALL queue.call('q', '{\"n\": 0}', '100 ms')"), Err("55000".into()));
    let call = "CALL queue.call('q', '{\"n\": 0}', '1 h')";
    let (pid, calling) = in_thread(&server, call.into());
    until_asleep(&mut db, pid);
    db.run(&format!("SELECT pg_cancel_backend({pid})"));
    assert_eq!(ended(calling), Err("57014".into()));
    let (pid, calling) = in_thread(&server, call.into());
    until_asleep(&mut db, pid);
    db.run(&format!("SELECT pg_terminate_backend({pid})"));
    assert!(ended(calling).is_err());
    holder.run("COMMIT");
    until_in_state(&mut db, "q", "done", 3);
    let ids: Vec<i64> = db.all("SELECT id FROM q ORDER BY id");
    for id in ids {
        assert_eq!(
            reply(&mut db, &format!("CALL queue.wait_for('q', {id})")),
            Ok(Some("{\"twice\": 0}".into()))
        );
    }
    // The place of the one that was terminated serves the next.
    assert_eq!(
        reply(&mut db, "CALL queue.call('q', '{\"n\": 4}', '1 h')"),
        Ok(Some("{\"twice\": 8}".into()))
    );
}

#[test]
fn a_call_over_a_restart_of_the_server() {
    for crash in [false, true] {
        let server = Server::start(&[]);
        let mut db = server.app("shop");
        doubling(&mut db, "");
        let mut holder = server.connect("shop");
        holder.run("BEGIN;\nLOCK TABLE gate IN ACCESS EXCLUSIVE MODE");
        let (pid, calling) = in_thread(&server, "CALL queue.call('q', '{\"n\": 0}', '1 h')".into());
        until_asleep(&mut db, pid);
        if crash {
            // The client hears of it before the server does, which would end the next session, too.
            server.crash_by_killing(pid);
            assert!(ended(calling).is_err());
            drop(holder);
        } else {
            server.stop_fast();
            assert!(ended(calling).is_err());
            server.start_again();
        }
        let mut db = server.reconnect("shop");
        let id: i64 = db.one("SELECT max(id) FROM q");
        let result = reply(&mut db, &format!("CALL queue.wait_for('q', {id}, '1 min')"));
        assert_eq!(result, Ok(Some("{\"twice\": 0}".into())));
        assert_eq!(db.one::<i64>("SELECT count(*) FROM q"), 1);
    }
}

#[test]
fn a_timeout_says_what_keeps_the_queue() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    numbers(&mut db, "q", "");
    let mut detail = || {
        let error = db.simple_query("CALL queue.call('q', '{\"n\": 1}', '0')").unwrap_err();
        let error = error.as_db_error().unwrap();
        assert!(error.hint().unwrap().starts_with("The job goes on."));
        let detail = error.detail().unwrap_or_default().to_string();
        db.run("SELECT queue.register_processor('q', 'work(q)', replace => true);\nSELECT queue.pause('q')");
        detail
    };
    assert!(detail().contains("no processor"));
    assert!(detail().contains("paused"));
}

#[test]
fn results_nobody_fetched_are_forgotten() {
    let server = Server::start(&[("queue_ext.keep_results", "1 s")]);
    let mut db = server.app("shop");
    numbers(&mut db, "q", "");
    db.run("SELECT queue.register_processor('q', 'work(q)')");
    db.run("SELECT queue.enqueue('q', jsonb_build_object('n', i), keep_result => true) FROM generate_series(1, 2500) i");
    until_in_state(&mut db, "q", "ready", 0);
    until_in_state(&mut db, "q", "done", 0);
    assert_eq!(crate::fixture::done(&mut db, "q"), 2500);
}
