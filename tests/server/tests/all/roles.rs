//! A processor runs as the role that registered it, from login to commit.

use crate::fixture::{put, until_done};
use postgres::Client;
use queue_ext_server_tests::{Server, Sql, until};

/// A queue of the role's own, whose jobs write down who they are.
fn queue_of(db: &mut Client, role: &str) {
    db.run(&format!(
        "CREATE ROLE {role} LOGIN;
         CREATE SCHEMA {role} AUTHORIZATION {role};
         SET SESSION AUTHORIZATION {role};
         CREATE TABLE {role}.who (session text, cur text, super text, at_commit text);
         CREATE FUNCTION {role}.late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE {role}.who SET at_commit = session_user || '/' || current_user; RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER late AFTER INSERT ON {role}.who DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {role}.late();
         SELECT queue.create_queue('{role}.q', 'n int', max_attempts => 1);
         CREATE FUNCTION {role}.work(job {role}.q) RETURNS void LANGUAGE plpgsql AS $$
         BEGIN RESET SESSION AUTHORIZATION; RESET ROLE; INSERT INTO {role}.who VALUES (session_user, current_user, current_setting('is_superuser')); END $$;
         SELECT queue.register_processor('{role}.q', '{role}.work({role}.q)');
         RESET SESSION AUTHORIZATION"
    ));
}

#[test]
fn each_roles_jobs_run_as_that_role_whatever_they_try() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    for role in ["ann", "bob"] {
        queue_of(&mut db, role);
        put(&mut db, &format!("{role}.q"), 1, 3);
    }
    for role in ["ann", "bob"] {
        until(&format!("{role}'s jobs are done"), || {
            db.one::<i64>(&format!("SELECT count(*) FROM {role}.who")) == 3
        });
        let all_own: bool = db.one(&format!("SELECT bool_and(session = '{role}' AND cur = '{role}' AND super = 'off' AND at_commit = '{role}/{role}') FROM {role}.who"));
        assert!(all_own);
    }
}

#[test]
fn a_role_without_login_is_refused_when_registering() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    db.run(
        "CREATE ROLE mute NOLOGIN;
         CREATE SCHEMA mute AUTHORIZATION mute;
         SET ROLE mute;
         SELECT queue.create_queue('mute.q');
         CREATE FUNCTION mute.work(job mute.q) RETURNS void LANGUAGE sql AS ''",
    );
    assert_eq!(db.code("SELECT queue.register_processor('mute.q', 'mute.work(mute.q)')"), "28000");
}

#[test]
fn a_role_that_may_no_longer_log_in_is_named_as_the_problem_and_stops_no_other() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    queue_of(&mut db, "ann");
    queue_of(&mut db, "bob");
    db.run("SELECT queue.stop_workers();\nALTER ROLE ann NOLOGIN;\nSELECT queue.start_workers()");
    put(&mut db, "ann.q", 1, 1);
    put(&mut db, "bob.q", 1, 3);
    until("bob's jobs are done", || db.one::<i64>("SELECT count(*) FROM bob.who") == 3);
    until("the view says why ann's do not run", || {
        db.one::<bool>("SELECT problem IS NOT NULL FROM queue.overview WHERE queue = 'ann.q'::regclass")
    });
    assert_eq!(db.one::<i64>("SELECT count(*) FROM ann.q WHERE state = 'ready'"), 1);
    db.run("ALTER ROLE ann LOGIN");
    until("ann's job is done", || db.one::<i64>("SELECT count(*) FROM ann.who") == 1);
}

#[test]
fn settings_of_the_role_and_the_database_apply() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    db.run("CREATE TABLE done (queue text, n int, path text);\nGRANT INSERT ON done TO PUBLIC");
    db.run(
        "CREATE ROLE carl LOGIN;
         CREATE SCHEMA carl AUTHORIZATION carl;
         ALTER ROLE carl SET search_path = carl;
         SET SESSION AUTHORIZATION carl;
         SELECT queue.create_queue('carl.q', 'n int');
         CREATE FUNCTION carl.work(job carl.q) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.done VALUES ('q', job.n, current_setting('search_path')) $$;
         SELECT queue.register_processor('carl.q', 'carl.work(carl.q)');
         RESET SESSION AUTHORIZATION",
    );
    put(&mut db, "carl.q", 1, 1);
    until_done(&mut db, "q", 1);
    assert_eq!(db.one::<String>("SELECT path FROM done"), "carl");
}

#[test]
fn rights_taken_away_meanwhile_are_the_jobs_error() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    db.run("CREATE TABLE ledger (n int)");
    queue_of(&mut db, "dora");
    db.run("GRANT INSERT ON ledger TO dora");
    db.run("CREATE OR REPLACE FUNCTION dora.work(job dora.q) RETURNS void LANGUAGE sql AS 'INSERT INTO public.ledger VALUES (job.n)'");
    put(&mut db, "dora.q", 1, 1);
    until("allowed", || db.one::<i64>("SELECT count(*) FROM ledger") == 1);
    db.run("REVOKE INSERT ON ledger FROM dora");
    put(&mut db, "dora.q", 2, 2);
    until("refused", || {
        db.all::<String>("SELECT sqlstate FROM queue.errors WHERE queue = 'dora.q'::regclass") == ["42501"]
    });
}
