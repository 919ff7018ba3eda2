//! Enqueuers: every way to put a job, and every way for that to end.

use crate::world::{COVERED, REPLICATED, UNCOVERED, WORKED, World};
use postgres::{Client, Error};
use queue_ext_server_tests::Rng;
use std::io::Write;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::time::{Duration, Instant};

static TOKENS: AtomicI64 = AtomicI64::new(1);
static PREPARED: AtomicI64 = AtomicI64::new(1);

fn tokens(count: i64) -> Vec<i64> {
    let first = TOKENS.fetch_add(count, SeqCst);
    (first..first + count).collect()
}

pub fn list(numbers: &[i64]) -> String {
    let text: Vec<String> = numbers.iter().map(i64::to_string).collect();
    format!("'{{{}}}'::bigint[]", text.join(","))
}

/// A transaction left open, to commit when others that began later have long committed.
struct Late {
    db: Client,
    end: Instant,
}

pub fn live(world: &World, number: u64) {
    let mut late: Option<Late> = None;
    world.live("producer", number, &world.drain, |db, rng| {
        if late.as_ref().is_some_and(|late| late.end < Instant::now()) {
            end_late(world, late.take().unwrap(), rng);
        }
        let queue = rng.weighted(&[(50, COVERED), (25, UNCOVERED), (25, WORKED)]);
        if world.is_fed(queue) {
            world.count("no job put: enough waiting");
            world.sleep(20);
            return Ok(());
        }
        if late.is_none() && rng.percent(10) {
            let mut other = world.connect("producer", "shop");
            if begin(&mut other, rng).and_then(|()| put_several(world, &mut other, rng, queue)).is_ok() {
                let end = Instant::now() + Duration::from_millis(rng.between(50, 1500) as u64);
                late = Some(Late { db: other, end });
            }
            return Ok(());
        }
        transaction(world, db, rng, queue)?;
        world.sleep(rng.between(0, 6));
        Ok(())
    });
    if let Some(late) = late {
        end_late(world, late, &mut Rng::of(world.seed, number));
    }
}

fn end_late(world: &World, mut late: Late, rng: &mut Rng) {
    let commit = rng.percent(80);
    world.count(if commit { "put late: committed" } else { "put late: rolled back" });
    // It may have been attacked meanwhile: then it is rolled back.
    let _ = late.db.batch_execute(if commit { "COMMIT" } else { "ROLLBACK" });
}

fn begin(db: &mut Client, rng: &mut Rng) -> Result<(), Error> {
    db.batch_execute(rng.weighted(&[(80, "BEGIN"), (20, "BEGIN ISOLATION LEVEL REPEATABLE READ")]))
}

fn transaction(world: &World, db: &mut Client, rng: &mut Rng, queue: &'static str) -> Result<(), Error> {
    begin(db, rng)?;
    put_several(world, db, rng, queue)?;
    if rng.percent(40) {
        world.sleep(rng.between(1, 50));
    }
    if queue == UNCOVERED && rng.percent(30) {
        world.count("put: prepared");
        let gid = PREPARED.fetch_add(1, SeqCst);
        return db.batch_execute(&format!("PREPARE TRANSACTION 'put {gid}'"));
    }
    if rng.percent(20) {
        world.count("put: rolled back");
        if rng.percent(50) {
            let _ = db.batch_execute("SELECT 1 / 0");
        }
        return db.batch_execute("ROLLBACK");
    }
    world.count("put: committed");
    db.batch_execute("COMMIT")
}

/// One or more ways to put, and the record of what was put, which commits with it.
fn put_several(world: &World, db: &mut Client, rng: &mut Rng, queue: &'static str) -> Result<(), Error> {
    let mut all = Vec::new();
    for _ in 0..rng.weighted(&[(60, 1), (30, 2), (10, 4)]) {
        match rng.between(1, 10) {
            1 => {
                world.count("put: savepoint rolled back");
                db.batch_execute("SAVEPOINT s")?;
                put(world, db, rng, queue)?;
                db.batch_execute("ROLLBACK TO s")?;
            }
            2 => {
                db.batch_execute("SAVEPOINT s")?;
                all.extend(put(world, db, rng, queue)?);
                db.batch_execute("RELEASE s")?;
            }
            _ => all.extend(put(world, db, rng, queue)?),
        }
    }
    db.batch_execute(&format!("INSERT INTO produced SELECT '{queue}', unnest({})", list(&all)))
}

fn put(world: &World, db: &mut Client, rng: &mut Rng, queue: &'static str) -> Result<Vec<i64>, Error> {
    let priority = if rng.percent(60) { world.priority_of_the_moment() } else { rng.between(0, 9) };
    let run_at = match rng.between(1, 20) {
        1 => format!("now() + interval '{} ms'", rng.between(1, 1500)),
        2 => "now() - interval '1 min'".to_string(),
        _ => "NULL".to_string(),
    };
    let count = rng.weighted(&[(60, 2), (30, 10), (10, 100)]);
    let many = tokens(rng.between(1, count));
    let one = &many[..1];
    let token = one[0];
    let way = rng.between(1, if queue == WORKED { 6 } else { 7 });
    match way {
        1 => {
            world.count("enqueue");
            db.query(&format!("SELECT queue.enqueue('{queue}', '{{\"token\": {token}}}', priority => {priority}, run_at => {run_at})"), &[])?;
            Ok(one.to_vec())
        }
        2 => {
            world.count("enqueue_many");
            let payloads: Vec<String> =
                many.iter().map(|token| format!("'{{\"token\": {token}}}'")).collect();
            let payloads = payloads.join(",");
            db.batch_execute(&format!("SELECT count(*) FROM queue.enqueue_many('{queue}', ARRAY[{payloads}]::jsonb[], priority => {priority}, run_at => {run_at})"))?;
            Ok(many)
        }
        3 => {
            world.count("INSERT of one");
            db.execute(
                &format!("INSERT INTO {queue} (token, priority, run_at) VALUES ($1, {priority}, {run_at})"),
                &[&token],
            )?;
            Ok(one.to_vec())
        }
        4 => {
            world.count("INSERT of many");
            let rows: Vec<String> =
                many.iter().map(|token| format!("({token}, {}, {run_at})", rng.between(0, 9))).collect();
            db.batch_execute(&format!(
                "INSERT INTO {queue} (token, priority, run_at) VALUES {}",
                rows.join(",")
            ))?;
            Ok(many)
        }
        5 => {
            world.count("INSERT … SELECT");
            db.batch_execute(&format!(
                "INSERT INTO {queue} (token, priority, run_at) SELECT unnest({}), {priority}, {run_at}",
                list(&many)
            ))?;
            Ok(many)
        }
        6 => {
            world.count("COPY");
            let mut copy = db.copy_in(&format!("COPY {queue} (token, priority) FROM STDIN"))?;
            let text: String = many.iter().map(|token| format!("{token}\t{}\n", rng.between(0, 9))).collect();
            // Where it was cut short, finish says why.
            let _ = copy.write_all(text.as_bytes());
            copy.finish()?;
            Ok(many)
        }
        _ if queue == COVERED => {
            world.count("trigger");
            db.batch_execute(&format!("INSERT INTO orders SELECT unnest({}), {priority}", list(&many)))?;
            Ok(many)
        }
        _ => {
            world.count("INSERT with an id taken long before");
            let id: i64 = db
                .query_one(&format!("SELECT nextval(pg_get_serial_sequence('{queue}', 'id'))"), &[])?
                .get(0);
            world.sleep(rng.between(1, 200));
            db.batch_execute(&format!("INSERT INTO {queue} (id, token, priority) OVERRIDING SYSTEM VALUE VALUES ({id}, {token}, {priority})"))?;
            Ok(one.to_vec())
        }
    }
}

/// Writes to the table that is published in another database.
pub fn publish(world: &World, number: u64) {
    let mut rng = Rng::of(world.seed, number);
    let mut source = world.connect("publisher", "source");
    while !world.drain.load(SeqCst) && !world.stop.load(SeqCst) {
        if world.is_fed(REPLICATED) {
            world.sleep(20);
            continue;
        }
        let most = rng.weighted(&[(80, 3), (20, 30)]);
        let rows: Vec<String> = tokens(rng.between(1, most))
            .iter()
            .map(|token| format!("({token}, {})", rng.between(0, 9)))
            .collect();
        let end = rng.weighted(&[(80, "COMMIT"), (20, "ROLLBACK")]);
        let put = format!("BEGIN; INSERT INTO {REPLICATED} (token, priority) VALUES {}", rows.join(","));
        world.count("published");
        if let Err(error) = source.batch_execute(&put) {
            return world.fail(format!("publisher: {error}"));
        }
        world.sleep(rng.between(1, 50));
        if let Err(error) = source.batch_execute(end) {
            return world.fail(format!("publisher: {error}"));
        }
    }
}
