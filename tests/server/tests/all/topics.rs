//! Topics between real sessions: publishers never fail, and lose nothing, whatever comes and goes.

use queue_ext_server_tests::{Server, Sql};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const PUBLISHERS: i64 = 3;
const EACH: i64 = 200;

fn queues_come_and_go_under_publishers(server: &Server) {
    let mut db = server.app("shop");
    db.run(
        "SELECT queue.create_queue('stays');
         SELECT queue.subscribe('orders.#', 'stays');
         CREATE TABLE source (n int);
         SELECT queue.attach('source', topic => 'orders.stored', set => '{\"payload.n\": \"new.n\"}', events => 'insert')",
    );
    let is_over = AtomicBool::new(false);
    let (published, kept) = thread::scope(|scope| {
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|number| {
                scope.spawn(move || {
                    let mut client = server.connect("shop");
                    let mut total = 0;
                    for n in 0..EACH {
                        total += client.one::<i64>(&format!(
                            "SELECT queue.publish('orders.p{number}', '{{\"n\": {n}}}')"
                        ));
                        client.run(&format!("INSERT INTO source VALUES ({n})"));
                    }
                    total
                })
            })
            .collect();
        let changer = scope.spawn(|| {
            let mut client = server.connect("shop");
            let (mut gone, mut rounds) = (0, 0);
            while !is_over.load(Ordering::Relaxed) || rounds < 3 {
                client.run(
                    "SELECT queue.create_queue('comes');
                     SELECT queue.subscribe('orders.*', 'comes');
                     SELECT queue.subscribe('#', 'comes')",
                );
                // What it got goes with it, in one transaction.
                let mut transaction = client.transaction().unwrap();
                transaction.batch_execute("LOCK TABLE comes").unwrap();
                gone += transaction
                    .query_one("SELECT count(*) FROM comes WHERE topic <> 'orders.stored'", &[])
                    .unwrap()
                    .get::<_, i64>(0);
                transaction.batch_execute("SELECT queue.drop_queue('comes')").unwrap();
                transaction.commit().unwrap();
                rounds += 1;
            }
            gone
        });
        let published: i64 = publishers.into_iter().map(|publisher| publisher.join().unwrap()).sum();
        is_over.store(true, Ordering::Relaxed);
        (published, changer.join().unwrap())
    });
    let stayed: i64 = db.one("SELECT count(*) FROM stays WHERE topic <> 'orders.stored'");
    assert_eq!(stayed, PUBLISHERS * EACH, "the queue that stays got all");
    assert_eq!(published, stayed + kept, "as many jobs as the publishers were told");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM stays WHERE topic = 'orders.stored'"), PUBLISHERS * EACH);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM queue.subscriptions"), 1);
}

#[test]
fn with_preload() {
    queues_come_and_go_under_publishers(&Server::start(&[]));
}

#[test]
fn without_preload() {
    queues_come_and_go_under_publishers(&Server::start_without_preload(&[]));
}

/// pg_dump carries subscriptions and attachments to topics; what a resync was in the middle of it does not.
#[test]
fn dumped_and_restored() {
    let server = Server::start(&[]);
    let mut db = server.app("shop");
    db.run(
        "SELECT queue.create_queue('a');
         SELECT queue.subscribe('orders.#', 'a');
         CREATE TABLE source (n int PRIMARY KEY);
         SELECT queue.attach('source', topic => 'orders.stored', events => 'insert');
         SELECT queue.create_queue('b');
         SELECT queue.attach('source', 'b');
         CALL queue.resync('source', 'b')",
    );
    let dump = server.program("pg_dump", &["shop"]);
    let file = server.dir().join("dump.sql");
    std::fs::write(&file, dump.stdout).unwrap();
    db.run("CREATE DATABASE copy");
    server
        .program("psql", &["-q", "-X", "-v", "ON_ERROR_STOP=1", "-d", "copy", "-f", file.to_str().unwrap()]);
    let mut copy = server.connect("copy");
    assert_eq!(copy.one::<i64>("SELECT count(*) FROM queue.resyncs"), 0);
    assert_eq!(copy.one::<i64>("SELECT queue.publish('orders.x')"), 1);
    copy.run("INSERT INTO source VALUES (1)");
    assert_eq!(copy.one::<i64>("SELECT count(*) FROM a"), 2);
    copy.run("CALL queue.resync('source', 'b')");
    assert_eq!(copy.one::<i64>("SELECT count(*) FROM b"), 2);
}
