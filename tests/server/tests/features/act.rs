//! Producers, clients who take jobs, an admin, and a re-sync.

use crate::world::World;
use postgres::{Client, Error};
use queue_ext_server_tests::Rng;
use std::time::Duration;

/// Puts something, in a transaction that commits or not.
pub fn produce(world: &World, number: u64) {
    world.live(number, &world.calm, |db, rng| {
        db.batch_execute("BEGIN")?;
        let what = put(world, db, rng)?;
        world.sleep(Duration::from_millis(rng.weighted(&[(60, 0), (30, 3), (10, 40)])));
        db.batch_execute(rng.weighted(&[(85, "COMMIT"), (15, "ROLLBACK")]))?;
        Ok(what)
    });
}

fn put(world: &World, db: &mut Client, rng: &mut Rng) -> Result<&'static str, Error> {
    let token = world.token();
    match rng.between(1, 10) {
        1..=3 => {
            let sql = "UPDATE objects SET version = version + 1 WHERE id IN (SELECT id FROM objects WHERE id % 20 = $1 ORDER BY id FOR UPDATE)";
            db.execute(sql, &[&(rng.between(0, 19) as i32)])?;
            Ok("change")
        }
        4 | 5 => {
            let queue = rng.weighted(&[(40, "ordered"), (30, "passing"), (30, "lent")]);
            let group = format!("g{}", rng.between(1, 8));
            // Whoever puts a job of the group next waits for this commit: ids are in the order of commits.
            db.execute("SELECT pg_advisory_xact_lock(hashtext($1 || $2))", &[&queue, &group])?;
            for _ in 0..rng.between(1, 4) {
                let token = world.token();
                db.execute("INSERT INTO accepted VALUES ($1, $2, $3)", &[&queue, &token, &group])?;
                let key = match rng.between(1, 3) {
                    3 => "NULL".into(),
                    key => format!("'k{key}'"),
                };
                match rng.between(1, 3) {
                    1 => db.batch_execute(&format!("INSERT INTO {queue} (token, key, group_key, priority) VALUES ({token}, {key}, '{group}', {})", rng.between(0, 9)))?,
                    2 => db.batch_execute(&format!("SELECT queue.enqueue_many('{queue}', ARRAY['{{\"token\": {token}}}'::jsonb], key => {key}, group_key => '{group}')"))?,
                    _ => db.batch_execute(&format!("SELECT queue.enqueue('{queue}', '{{\"token\": {token}}}', key => {key}, group_key => '{group}', priority => {})", rng.between(0, 9)))?,
                }
            }
            Ok("jobs of a group")
        }
        6 => {
            let queue = rng.weighted(&[(80, "limited"), (20, "rated")]);
            db.execute("INSERT INTO accepted VALUES ($1, $2)", &[&queue, &token])?;
            let key = rng.between(1, 3);
            db.batch_execute(&format!(
                "SELECT queue.enqueue('{queue}', '{{\"token\": {token}}}', key => 'k{key}')"
            ))?;
            Ok("limited job")
        }
        7 => {
            let key = format!("k{}", rng.between(1, 200));
            db.execute("INSERT INTO accepted VALUES ('single', NULL, $1)", &[&key])?;
            match rng.between(1, 2) {
                1 => db.batch_execute(&format!("SELECT queue.enqueue('single', '{{\"token\": {token}}}', key => '{key}', once => '1 day')"))?,
                _ => db.batch_execute(&format!("INSERT INTO single (token, key, once) VALUES ({token}, '{key}', '1 day')"))?,
            }
            Ok("job for once")
        }
        8 => {
            db.execute("INSERT INTO accepted VALUES ('first', $1)", &[&token])?;
            db.batch_execute(&format!(
                "SELECT queue.enqueue('first', '{{\"token\": {token}}}', correlation_id => 'c{token}')"
            ))?;
            Ok("pipeline")
        }
        9 => {
            let topic = rng.weighted(&[(50, "event.a"), (30, "event.b"), (20, "other.a")]);
            db.execute("INSERT INTO accepted VALUES ('topic', $1, $2)", &[&token, &topic])?;
            db.batch_execute(&format!("SELECT queue.publish('{topic}', '{{\"token\": {token}}}')"))?;
            Ok("publish")
        }
        _ => {
            let parts: Vec<i64> = (0..rng.between(1, 4)).map(|_| world.token()).collect();
            let mut ids: Vec<i64> = Vec::new();
            for part in &parts {
                let sql = format!("SELECT queue.enqueue('steps', '{{\"token\": {part}}}')");
                ids.push(db.query_one(&sql, &[])?.get(0));
                db.execute("INSERT INTO accepted VALUES ('steps', $1)", &[part])?;
            }
            if rng.percent(50) {
                // They may be gone before the one that waits for them comes.
                db.batch_execute("COMMIT; BEGIN")?;
            }
            let sql = format!(
                "SELECT queue.enqueue('steps', '{{\"token\": {token}, \"waits_for\": {parts:?}}}', after => '{{{}}}')",
                ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
            );
            db.batch_execute(&sql)?;
            db.execute("INSERT INTO accepted VALUES ('steps', $1)", &[&token])?;
            Ok("job after others")
        }
    }
}

/// Takes jobs from the queues without a processor: by pop, or by dequeue and ack.
pub fn consume(world: &World, number: u64) {
    world.live(number, &world.stop, |db, rng| {
        let queue = rng.weighted(&[(50, "lent"), (30, "limited"), (20, "rated")]);
        let many = rng.between(1, 6);
        let pause = rng.between(0, 8);
        if rng.percent(50) {
            db.batch_execute(&format!(
                "BEGIN;
                 INSERT INTO ran (queue, grp, id, token, attempt, s)
                 SELECT '{queue}', coalesce(group_key, key), id, token, attempt, clock_timestamp() FROM queue.pop_as(NULL::{queue}, {many});
                 SELECT pg_sleep(0.001 * {pause});
                 UPDATE ran SET e = clock_timestamp() WHERE tx = pg_current_xact_id()::text;
                 {}", rng.weighted(&[(80, "COMMIT"), (20, "ROLLBACK")])))?;
            return Ok("pop");
        }
        let rows = db.query(&format!("SELECT id, attempt, token, coalesce(group_key, key), clock_timestamp()::text FROM queue.dequeue_as(NULL::{queue}, {many}, '20 s')"), &[])?;
        std::thread::sleep(Duration::from_millis(pause as u64));
        for row in &rows {
            let (id, attempt, token, group, s): (i64, i32, i64, Option<String>, String) = (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
            let group = group.unwrap_or_default();
            if rng.percent(15) {
                db.batch_execute(&format!("SELECT queue.nack('{queue}', {id}, {attempt}, 'no', '5 ms')"))?;
                continue;
            }
            db.batch_execute(&format!(
                "WITH e AS MATERIALIZED (SELECT clock_timestamp() AS e)
                 INSERT INTO ran SELECT '{queue}', '{group}', {id}, {token}, {attempt}, '{s}', e FROM e WHERE queue.ack('{queue}', {id}, {attempt})"))?;
        }
        if rows.is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok("dequeue and ack")
    });
}

/// What an admin may do at any time without harm.
pub fn administer(world: &World, number: u64) {
    world.live(number, &world.calm, |db, rng| {
        world.sleep(Duration::from_millis(rng.between(20, 200) as u64));
        let queue = rng.weighted(&[(1, "ordered"), (1, "passing"), (1, "lent"), (1, "limited"), (1, "single"), (1, "first"), (1, "second"), (1, "mirror")]);
        let some = rng.between(0, 16);
        let priority = rng.between(0, 9);
        let sql = match rng.between(1, 5) {
            1 => format!("SELECT queue.reprioritize_all('{queue}', {priority}, 'id % 17 = {some}')"),
            2 => format!("SELECT queue.run_now_all('{queue}', 'id % 17 = {some}')"),
            3 => format!("BEGIN; SELECT queue.cancel_all('{queue}', 'id % 17 = {some}'); SELECT queue.resubmit_all('{queue}'); COMMIT"),
            4 => format!("SELECT queue.pause('{queue}'); SELECT pg_sleep(0.05); SELECT queue.resume('{queue}')"),
            _ => "SELECT count(*) FROM queue.overview".into(),
        };
        for statement in sql.split("; ") {
            db.batch_execute(statement)?;
        }
        Ok("admin")
    });
}

pub fn resync(world: &World, number: u64) {
    world.live(number, &world.calm, |db, rng| {
        world.sleep(Duration::from_millis(rng.between(200, 800) as u64));
        db.batch_execute("CALL queue.resync('objects', 'mirror', batch_size => 7)")?;
        Ok("resync")
    });
}
