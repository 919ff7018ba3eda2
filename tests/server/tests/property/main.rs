//! No job is lost, none is taken twice, and none stays hidden, whatever happens to those who put and take.
//!
//! Enqueuers and claimers do everything that they may do, and what they had better not, at random, under
//! attack, while a snapshot is held open elsewhere. QUEUE_EXT_SEED repeats the choices of a run (though not
//! how the sessions interleave), QUEUE_EXT_PROPERTY_SECONDS makes it longer than the usual 20 s:
//!
//!     QUEUE_EXT_PROPERTY_SECONDS=300 tests/server/run.sh --test property

mod claim;
mod claimer;
mod disturb;
mod produce;

mod world;

use disturb::full_scans;
use postgres::Client;
use queue_ext_server_tests::{DEADLINE, Rng, Server, Sql, within};
use std::io::Write;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use world::{COVERED, QUEUES, REPLICATED, WORKED, World};

const PRODUCERS: u64 = 8;
const PUBLISHERS: u64 = 2;
const CLAIMERS: u64 = 10;
/// In the end claimers go on until they have found nothing for so long: a lease (2 s), the poll interval,
/// and some more.
const QUIET: Duration = Duration::from_secs(6);

const SETTINGS: [(&str, &str); 8] = [
    ("wal_level", "logical"),
    ("max_prepared_transactions", "50"),
    ("max_connections", "200"),
    ("queue_ext.poll_interval", "2s"),
    ("queue_ext.log_failed_jobs", "none"),
    ("autovacuum_naptime", "1s"),
    // Of the commits here a crash is to lose none, but there is none.
    ("synchronous_commit", "off"),
    ("log_min_messages", "fatal"),
];

const TABLES: &str = "
    CREATE TABLE produced (queue text, token bigint);
    CREATE TABLE consumed (queue text, token bigint, how text);
    SELECT queue.create_queue(name, 'token bigint NOT NULL', max_attempts => 10000, backoff => '10 ms', backoff_max => '50 ms', lease => '2 s')
        FROM unnest('{covered,uncovered,replicated}'::text[]) name;
    SELECT queue.create_queue('worked', 'token bigint NOT NULL', max_attempts => 3, backoff => '10 ms');
    CREATE TABLE orders (token bigint, priority int);
    SELECT queue.attach('orders', 'covered', events => 'insert', set => '{\"token\": \"new.token\", \"priority\": \"new.priority\"}');
    CREATE FUNCTION work(job worked) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO public.consumed VALUES ('worked', job.token, 'processor'); IF hashint8(job.token + job.attempt) % 5 = 0 THEN RAISE EXCEPTION 'this one not'; END IF; END $$;
    SELECT queue.register_processor('worked', 'work(worked)', parallelism => 2);
    ";

fn number_from(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// Not by eprintln!: that is only shown when a test fails.
fn say(text: &str) {
    let mut out = std::io::stderr();
    let _ = writeln!(out, "property: {text}");
}

#[test]
fn no_job_is_lost_or_taken_twice_or_hidden() {
    let seed = number_from("QUEUE_EXT_SEED")
        .unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64);
    let seconds = number_from("QUEUE_EXT_PROPERTY_SECONDS").unwrap_or(20);
    say(&format!("QUEUE_EXT_SEED={seed}, {seconds} s"));
    let server = Server::start(&SETTINGS);
    let mut db = server.app("shop");
    db.run(TABLES);
    // Ids of the publisher, out of order here, or of this side's own sequence.
    let with_ids = Rng::of(seed, 0).percent(50);
    replicate(&server, &mut db, with_ids);
    let mut holder = server.connect("shop");
    holder.run("BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT count(*) FROM produced;\n");

    let world = World::new(&server, seed);
    run(&world, &mut db, Duration::from_secs(seconds));
    world.verdict();
    holder.run("COMMIT");
    audit(&world, &mut db);
    world.verdict();
    say(&world.summary());
}

/// By hand because the two databases are of one cluster: CREATE SUBSCRIPTION would wait for itself.
fn replicate(server: &Server, db: &mut Client, with_ids: bool) {
    db.run("CREATE DATABASE source");
    let id = if with_ids { "id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, " } else { "" };
    let mut source = server.connect("source");
    source.run(&format!(
        "CREATE TABLE {REPLICATED} ({id}token bigint, priority smallint);
         CREATE PUBLICATION feed FOR TABLE {REPLICATED};
         SELECT pg_create_logical_replication_slot('feed', 'pgoutput')"
    ));
    db.run(&format!(
        "CREATE SUBSCRIPTION feed CONNECTION 'host={} dbname=source user=postgres' PUBLICATION feed
         WITH (create_slot = false, slot_name = 'feed', copy_data = false)",
        server.dir().display()
    ));
}

/// Everybody for so long, then claimers alone until nothing is left to be found.
fn run(world: &World, db: &mut Client, time: Duration) {
    thread::scope(|scope| {
        let mut producers = Vec::new();
        for n in 0..PRODUCERS {
            producers.push(scope.spawn(move || produce::live(world, 100 + n)));
        }
        for n in 0..PUBLISHERS {
            producers.push(scope.spawn(move || produce::publish(world, 200 + n)));
        }
        for n in 0..CLAIMERS {
            scope.spawn(move || claim::live(world, 300 + n));
        }
        scope.spawn(move || disturb::attack(world, 400));
        scope.spawn(move || disturb::end_prepared(world, 500));
        scope.spawn(move || disturb::observe(world));

        world.sleep(time.as_millis() as i64);
        world.drain.store(true, SeqCst);
        for producer in producers {
            producer.join().unwrap_or_else(|_| world.fail("an enqueuer panicked".into()));
        }
        until_or_failed(world, "what was put in prepared transactions is committed", || {
            db.one::<bool>("SELECT NOT EXISTS (SELECT FROM pg_prepared_xacts WHERE gid LIKE 'put %')")
        });
        let end: String = db.one("SELECT pg_current_wal_lsn()::text");
        until_or_failed(world, "everything is replicated", || {
            db.one::<bool>(&format!("SELECT EXISTS (SELECT FROM pg_stat_replication WHERE application_name = 'feed' AND replay_lsn >= '{end}')"))
        });
        let clients = || QUEUES.into_iter().filter(|queue| *queue != WORKED);
        let began = std::time::Instant::now();
        until_or_failed(world, "claimers find nothing any more", || {
            clients().all(|queue| world.quiet_for(queue).min(began.elapsed()) > QUIET)
        });
        until_or_failed(world, "the processor has done all", || {
            db.one::<bool>(&format!("SELECT NOT EXISTS (SELECT FROM {WORKED} WHERE state <> 'failed')"))
        });
        world.stop.store(true, SeqCst);
    });
}

fn until_or_failed(world: &World, what: &str, mut probe: impl FnMut() -> bool) {
    let what = format!("{what} (QUEUE_EXT_SEED={})", world.seed);
    let reached = within(2 * DEADLINE, || (world.has_failed() || probe()).then_some(()));
    if reached.is_none() {
        world.fail(format!("this did not happen: {what}"));
    }
}

fn audit(world: &World, db: &mut Client) {
    full_scans(db);
    let mut source = world.server.connect("source");
    let published: Vec<i64> = source.all(&format!("SELECT token FROM {REPLICATED}"));
    db.run(&format!("INSERT INTO produced SELECT '{REPLICATED}', unnest({})", produce::list(&published)));
    let knows_floor: bool = db.one("SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'queue.overview'::regclass AND attname = 'safety_found')");
    for queue in QUEUES {
        let expect_none = |what: &str, found: Vec<i64>| {
            if !found.is_empty() {
                world.fail(format!(
                    "{queue}: {} {what}, such as {:?}",
                    found.len(),
                    &found[..found.len().min(10)]
                ));
            }
        };
        let ended = format!(
            "(SELECT token FROM consumed WHERE queue = '{queue}' UNION ALL SELECT token FROM {queue} WHERE state = 'failed')"
        );
        let produced = format!("SELECT token FROM produced WHERE queue = '{queue}'");
        expect_none(
            "were taken twice",
            db.all(&format!("SELECT token FROM {ended} e GROUP BY 1 HAVING count(*) > 1")),
        );
        expect_none("are lost", db.all(&format!("{produced} EXCEPT SELECT token FROM {ended} e")));
        expect_none("came from nowhere", db.all(&format!("SELECT token FROM {ended} e EXCEPT {produced}")));
        expect_none("are left", db.all(&format!("SELECT token FROM {queue} WHERE state <> 'failed'")));
        expect_none("are ready", db.all(&format!("SELECT token FROM {queue} WHERE state = 'ready'")));
        if queue != WORKED {
            expect_none(
                "are error rows",
                db.all(&format!("SELECT token FROM {queue} WHERE state = 'failed'")),
            );
        }
        let count: i64 = db.one(&format!("SELECT count(*) FROM produced WHERE queue = '{queue}'"));
        if count == 0 {
            world.fail(format!("{queue}: nothing was put, so nothing was tested"));
        }
        let found = knows_floor.then(|| -> i64 {
            db.one(&format!(
                "SELECT coalesce(safety_found, 0) FROM queue.overview WHERE queue = '{queue}'::regclass"
            ))
        });
        say(&format!("{queue}: {count} jobs, found by the safety scan: {found:?}"));
        if [COVERED, WORKED].contains(&queue) && found.unwrap_or(0) != 0 {
            world.fail(format!("{queue}: the safety scan found {found:?} jobs that the floor hid"));
        }
    }
}
