//! What goes on beside enqueuers and claimers: attacks on them, the second phase of prepared transactions,
//! and the observer, who finds jobs by reading the whole table.

use crate::world::{QUEUES, WORKED, World, tell};
use postgres::Client;
use postgres::error::SqlState;
use queue_ext_server_tests::Rng;
use queue_ext_server_tests::Sql;
use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// A job that may be taken is found at the latest after so long (README: `queue_ext.poll_interval`, which
/// the test sets to 2 s, and some seconds for a slow machine).
pub const BOUND: Duration = Duration::from_secs(10);
/// Only a job that so many claims have left behind is hidden; fewer, and the machine is slow.
const LEFT_BEHIND: i64 = 30;

/// Cancels and terminates claimers, enqueuers, and now and then a worker.
pub fn attack(world: &World, number: u64) {
    let mut rng = Rng::of(world.seed, number);
    let mut db = world.server.connect("shop");
    while !world.stop.load(SeqCst) {
        world.sleep(rng.between(5, 60));
        let victim = rng.weighted(&[
            (84, "application_name = 'claimer'"),
            (15, "application_name = 'producer'"),
            (1, "backend_type = 'queue_ext worker' AND application_name LIKE '%worked%'"),
        ]);
        let how = rng.weighted(&[(75, "pg_cancel_backend"), (25, "pg_terminate_backend")]);
        world.count(how);
        let sql = format!(
            "SELECT {how}(pid) FROM pg_stat_activity WHERE {victim} AND datname = 'shop' ORDER BY random() LIMIT 1"
        );
        if let Err(error) = db.batch_execute(&sql) {
            return world.fail(format!("attacker: {}", tell(&error)));
        }
    }
}

/// Ends prepared transactions, each after up to a second.
pub fn end_prepared(world: &World, number: u64) {
    let mut rng = Rng::of(world.seed, number);
    let mut db = world.server.connect("shop");
    while !world.stop.load(SeqCst) {
        world.sleep(50);
        let prepared = "SELECT gid, prepared < clock_timestamp() - interval '1 s' FROM pg_prepared_xacts";
        let prepared: Vec<(String, bool)> =
            db.query(prepared, &[]).unwrap_or_default().iter().map(|row| (row.get(0), row.get(1))).collect();
        for (gid, old) in prepared {
            if !old && rng.percent(90) {
                continue;
            }
            let end = rng.weighted(&[(70, "COMMIT PREPARED"), (30, "ROLLBACK PREPARED")]);
            world.count(end);
            match db.batch_execute(&format!("{end} '{gid}'")) {
                Ok(()) => {}
                // The session that prepares it is not yet through.
                Err(error) if error.code() == Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) => {}
                Err(error) => world.fail(format!("{end}: {}", tell(&error))),
            }
        }
    }
}

/// What a full scan finds that may be taken at once. Who takes it is not seen, only who has committed.
const CLAIMABLE: &str = "
    SELECT token, attempt, state, id FROM {q}
    WHERE state = 'ready' AND coalesce(run_at, '-infinity') <= clock_timestamp()
       OR state = 'scheduled' AND run_at <= clock_timestamp()
       OR state = 'running' AND lease_until <= clock_timestamp()";

type Job = (i64, i32, String, i64);

struct Seen {
    first: Instant,
    /// Claims, until then, that brought less than they asked for: each must have passed over the job.
    short: i64,
}

/// Looks once a second with a new snapshot. A job is hidden if it is there all the time, in the same
/// attempt, while claims that ask for more than they get leave it behind.
pub fn observe(world: &World) {
    let mut db = world.server.connect("shop");
    full_scans(&mut db);
    let mut seen: HashMap<(&str, Job), Seen> = HashMap::new();
    while !world.stop.load(SeqCst) {
        for queue in QUEUES {
            let short = world.hunger(queue).short.load(SeqCst);
            let rows = match db.query(&CLAIMABLE.replace("{q}", queue), &[]) {
                Ok(rows) => rows,
                Err(error) => return world.fail(format!("observer: {}", tell(&error))),
            };
            let now: Vec<Job> =
                rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
            world.hunger(queue).waiting.store(now.len() as i64, SeqCst);
            let mut kept = HashMap::new();
            for job in now {
                let since =
                    seen.remove(&(queue, job.clone())).unwrap_or(Seen { first: Instant::now(), short });
                if is_hidden(queue, &since, short) {
                    hidden(world, &mut db, queue, &job, since.first.elapsed());
                }
                kept.insert((queue, job), since);
            }
            seen.retain(|(other, _), _| *other != queue);
            seen.extend(kept);
        }
        world.sleep(1000);
    }
}

fn is_hidden(queue: &str, since: &Seen, short: i64) -> bool {
    // The processor's claims are not seen from here: time alone must do, and more of it.
    let left_behind = short - since.short >= LEFT_BEHIND;
    let long = since.first.elapsed();
    if queue == WORKED { long > 3 * BOUND } else { long > BOUND && left_behind }
}

fn hidden(world: &World, db: &mut Client, queue: &str, job: &Job, since: Duration) {
    let (token, attempt, state, id) = job;
    let row: String = db.one(&format!(
        "SELECT coalesce((SELECT format('ctid %s xmin %s xmax %s ', ctid, xmin, xmax) || to_jsonb(j) FROM {queue} j WHERE id = {id}), 'gone meanwhile')"
    ));
    let overview: String =
        db.one(&format!("SELECT to_jsonb(o)::text FROM queue.overview o WHERE queue = '{queue}'::regclass"));
    world.fail(format!("{queue}: job {token} (id {id}, attempt {attempt}, {state}) was not found for {since:?}\n{row}\n{overview}"));
}

pub fn full_scans(db: &mut Client) {
    db.run("SET enable_indexscan = off;\nSET enable_indexonlyscan = off;\nSET enable_bitmapscan = off;\n");
}
