//! pg_dump and restore keep queues, jobs, processors and attachments; so does a physical copy.

use crate::fixture::{done, processed, put, until_done};
use postgres::Client;
use queue_ext_server_tests::{Server, Sql};

fn fill(db: &mut Client) {
    db.run("CREATE ROLE packer LOGIN");
    db.run("CREATE SCHEMA \"Ware house\" AUTHORIZATION packer");
    processed(db, "q", ", keep_done => '1 day', max_attempts => 1", "");
    put(db, "q", 1, 10);
    until_done(db, "q", 10);
    put(db, "q", -1, -1);
    crate::fixture::until_in_state(db, "q", "failed", 1);
    db.run(
        "SELECT queue.alter_queue('q', lease => '7 min', max_attempts => 9);
         CREATE TABLE orders (id int PRIMARY KEY);
         SELECT queue.attach('orders', 'q', 'insert', set => '{\"n\": \"new.id\"}');
         SELECT queue.pause('q');
         SELECT queue.enqueue('q', '{\"n\": 20}', delay => '1 day');
         SET SESSION AUTHORIZATION packer;
         SELECT queue.create_queue('\"Ware house\".\"odd q\"');
         CREATE FUNCTION \"Ware house\".pack(job \"Ware house\".\"odd q\") RETURNS void LANGUAGE sql AS '';
         SELECT queue.register_processor('\"Ware house\".\"odd q\"', '\"Ware house\".pack(\"Ware house\".\"odd q\")', batch_size => 3, timeout => '9 s');
         RESET SESSION AUTHORIZATION",
    );
    put(db, "q", 11, 15);
    db.run("SELECT queue.resume('q');\nSELECT queue.unregister_processor('q');\nSELECT queue.dequeue('q', 1, '1 day')");
    db.run("SELECT queue.pause('q');\nSELECT queue.register_processor('q', 'work(q)')");
    db.run(
        "SELECT queue.create_queue('rated', rate_limit => 2, rate_interval => '1 hour');
         SELECT queue.enqueue_many('rated', ARRAY['1', '2', '3']::jsonb[]);
         SELECT queue.pop('rated')",
    );
    db.run(
        "SELECT queue.schedule('yearly', '@yearly', 'rated', key => 'y');
         SELECT queue.subscribe('orders.*', 'rated');
         CREATE TABLE news (id int PRIMARY KEY);
         SELECT queue.attach('news', topic => 'orders.news');
         SELECT queue.create_queue('keyed', on_conflict => 'skip');
         SELECT queue.enqueue('keyed', key => 'k')",
    );
}

/// All that must be the same afterwards.
fn picture(db: &mut Client) -> Vec<String> {
    let mut lines: Vec<String> = db.all(
        "SELECT concat_ws(' ', queue, max_attempts, backoff, backoff_factor, backoff_max, lease, keep_done, paused) FROM queue.queues ORDER BY 1",
    );
    lines.extend(db.all::<String>("SELECT concat_ws(' ', queue, processor, shape, role, batch_size, parallelism, load_balanced, timeout) FROM queue.processors ORDER BY 1"));
    lines.extend(db.all::<String>(
        "SELECT concat_ws(' ', id, source, queue, role, options) FROM queue.attachments ORDER BY 1",
    ));
    lines.extend(db.all::<String>("SELECT q::text FROM q ORDER BY 1"));
    for table in ["rates", "timetable", "subscriptions", "keys"] {
        let rows: Vec<String> = db.all(&format!("SELECT r::text FROM queue.{table} r ORDER BY 1"));
        assert!(!rows.is_empty(), "{table}");
        lines.extend(rows);
    }
    lines
}

fn works(db: &mut Client) {
    let kept: i64 = db.one("SELECT id FROM keyed");
    assert_eq!(db.one::<i64>("SELECT queue.enqueue('keyed', key => 'k')"), kept, "a key still coalesces");
    db.run("INSERT INTO news VALUES (1)");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM rated WHERE topic = 'orders.news'"), 1);
    db.run("DELETE FROM rated WHERE topic = 'orders.news'");
    let leased: i64 = db.one("SELECT id FROM q WHERE state = 'running'");
    assert!(db.one::<bool>(&format!("SELECT queue.ack('q', {leased}, 1)")));
    let highest: i64 = db.one("SELECT max(id) FROM q");
    db.run("INSERT INTO orders VALUES (100)");
    assert!(db.one::<i64>("SELECT max(id) FROM q") > highest, "the ids go on");
    db.run("TRUNCATE done;\nSELECT queue.resume('q')");
    until_done(db, "q", 5);
    assert_eq!(db.one::<String>("SELECT string_agg(n::text, ' ' ORDER BY n) FROM done"), "12 13 14 15 100");
    assert_eq!(
        db.all::<i64>("SELECT id FROM queue.pop('rated', 10)").len(),
        1,
        "what has started still counts"
    );
    db.run("SELECT queue.detach('orders', 'q');\nDROP FUNCTION \"Ware house\".pack;\nSELECT queue.drop_queue('\"Ware house\".\"odd q\"', true)");
}

fn restored(format: &str, jobs: &str) {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    fill(&mut db);
    let before = picture(&mut db);
    let file = server.dir().join("dump").display().to_string();
    server.program("pg_dump", &["--format", format, "--file", &file, "shop"]);
    server.connect("postgres").run("CREATE DATABASE restored");
    if format == "plain" {
        server.program("psql", &["-v", "ON_ERROR_STOP=1", "-q", "-X", "-f", &file, "-d", "restored"]);
    } else {
        server.program("pg_restore", &["--exit-on-error", "--jobs", jobs, "-d", "restored", &file]);
    }
    let mut copy = server.connect("restored");
    assert_eq!(picture(&mut copy), before);
    works(&mut copy);
    // The original is none the wiser.
    assert_eq!(done(&mut db, "q"), 10);
    works(&mut db);
}

#[test]
fn a_plain_dump_restored() {
    restored("plain", "1");
}

#[test]
fn a_custom_dump_restored() {
    restored("custom", "1");
}

/// Which of the extension's tables is filled first is anybody's guess.
#[test]
fn a_custom_dump_restored_by_several_at_once() {
    restored("custom", "4");
}

#[test]
fn a_dump_of_everything_restored_into_a_new_server() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    fill(&mut db);
    let before = picture(&mut db);
    let file = server.dir().join("dump").display().to_string();
    server.program("pg_dumpall", &["--file", &file]);
    let other = Server::start(&[]);
    // The role postgres is there already; nothing else may fail, which the picture shows.
    other.program("psql", &["-q", "-X", "-f", &file, "-d", "postgres"]);
    let mut copy = other.connect("shop");
    assert_eq!(picture(&mut copy), before);
    works(&mut copy);
}

/// In a dump it would be a number, which in another server may be anybody's, a superuser's, say: the function, or an
/// attachment's expressions, would run with the rights of that one.
#[test]
fn what_a_role_that_is_gone_has_left_is_not_carried() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    db.run(
        "SELECT queue.stop_workers();
         CREATE ROLE gone LOGIN;
         GRANT CREATE ON SCHEMA public TO gone;
         SET SESSION AUTHORIZATION gone;
         SELECT queue.create_queue('left_over');
         CREATE FUNCTION work(left_over) RETURNS void LANGUAGE sql AS '';
         SELECT queue.register_processor('left_over', 'work(left_over)');
         CREATE TABLE left_source (n int PRIMARY KEY);
         SELECT queue.attach('left_source', 'left_over');
         SELECT queue.schedule('left', '@yearly', 'left_over');
         RESET SESSION AUTHORIZATION",
    );
    let count = "SELECT (SELECT count(*) FROM queue.processors) + (SELECT count(*) FROM queue.attachments)
                 + (SELECT count(*) FROM queue.timetable)";
    for (name, is_carried) in [("before", 3), ("after", 0)] {
        let file = server.dir().join(name).display().to_string();
        server.program("pg_dump", &["--file", &file, "shop"]);
        server.connect("postgres").run(&format!("CREATE DATABASE {name}"));
        server.program("psql", &["-v", "ON_ERROR_STOP=1", "-q", "-X", "-f", &file, "-d", name]);
        assert_eq!(server.connect(name).one::<i64>(count), is_carried, "{name}");
        server.connect("postgres").run(&format!("DROP DATABASE {name} WITH (FORCE)"));
        if name == "before" {
            db.run("REASSIGN OWNED BY gone TO postgres;\nDROP OWNED BY gone;\nDROP ROLE gone");
        }
    }
    assert_eq!(db.one::<i64>(count), 3, "here it is as it was");
}
