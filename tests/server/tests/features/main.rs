//! All features together, at random, through kills and crashes: keys, groups, limits, schedules, pipelines,
//! topics, dependencies, re-sync and the operations of an admin, on queues that workers and clients empty.
//! In the end the audit proves: no loss, no double effect, order within each group, no limit exceeded, each
//! tick at most once.
//!
//! QUEUE_EXT_SEED repeats the choices of a run (though not how the sessions interleave),
//! QUEUE_EXT_FEATURES_SECONDS makes it longer than the usual 15 s:
//!
//!     QUEUE_EXT_FEATURES_SECONDS=300 tests/server/run.sh --test features

mod act;
mod audit;
mod disturb;
mod schema;
mod world;

use queue_ext_server_tests::Server;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use world::World;

const PRODUCERS: u64 = 6;
const CLIENTS: u64 = 3;

const SETTINGS: [(&str, &str); 5] = [
    ("max_connections", "100"),
    ("queue_ext.max_workers", "10"),
    ("queue_ext.poll_interval", "1s"),
    ("queue_ext.log_failed_jobs", "none"),
    ("log_min_messages", "error"),
];

fn number_from(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

#[test]
fn all_features_together_keep_their_promises() {
    let seed = number_from("QUEUE_EXT_SEED")
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64);
    let seconds = number_from("QUEUE_EXT_FEATURES_SECONDS").unwrap_or(15);
    world::say(&format!("QUEUE_EXT_SEED={seed}, {seconds} s"));
    let server = Server::start(&SETTINGS);
    let mut db = server.app("shop");
    db.batch_execute(schema::TABLES).unwrap_or_else(|error| panic!("{}", world::tell(&error)));
    drop(db);
    let world = World::new(&server, seed);
    thread::scope(|scope| {
        let world = &world;
        let producers: Vec<_> =
            (0..PRODUCERS).map(|number| scope.spawn(move || act::produce(world, number))).collect();
        let clients: Vec<_> =
            (0..CLIENTS).map(|number| scope.spawn(move || act::consume(world, 100 + number))).collect();
        let others = [
            scope.spawn(move || act::administer(world, 200)),
            scope.spawn(move || act::resync(world, 201)),
            scope.spawn(move || disturb::disturb(world, 202)),
        ];
        world.sleep(Duration::from_secs(seconds));
        world.calm.store(true, SeqCst);
        producers.into_iter().chain(others).for_each(|actor| actor.join().expect("an actor panicked"));
        audit::drain(world);
        world.stop.store(true, SeqCst);
        clients.into_iter().for_each(|actor| actor.join().expect("a client panicked"));
    });
    world.verdict();
    audit::audit(&world);
    world.verdict();
    world::say(&world.summary());
}
