//! What every claimer does, whatever happens to it afterwards: take, judge what was handed out, record it.

use crate::produce::list;
use crate::world::World;
use postgres::{Client, Error, Row};
use queue_ext_server_tests::Rng;

pub struct Lease {
    pub id: i64,
    pub attempt: i32,
    pub token: i64,
}

pub struct Claimer<'a> {
    pub world: &'a World<'a>,
    pub db: &'a mut Client,
    pub rng: &'a mut Rng,
    pub queue: &'static str,
}

impl Claimer<'_> {
    pub fn run(&mut self, sql: &str) -> Result<(), Error> {
        self.db.batch_execute(sql)
    }

    pub fn either(&mut self, chance: i64, this: &str, that: &str) -> Result<(), Error> {
        let sql = if self.rng.percent(chance) { this } else { that };
        self.run(sql)
    }

    pub fn wait(&mut self, chance: i64, most: i64) {
        if self.rng.percent(chance) {
            self.world.sleep(self.rng.between(1, most));
        }
    }

    pub fn how_many(&mut self) -> i64 {
        let most = self.rng.weighted(&[(40, 1), (50, 30), (10, 300)]);
        self.rng.between(1, most)
    }

    pub fn pop(&mut self) -> Result<Vec<i64>, Error> {
        let asked = self.how_many();
        let queue = self.queue;
        let sql = if self.rng.percent(50) {
            format!("SELECT token, run_at > clock_timestamp() FROM queue.pop_as(NULL::{queue}, {asked})")
        } else {
            format!(
                "SELECT (payload ->> 'token')::bigint, run_at > clock_timestamp() FROM queue.pop('{queue}', {asked})"
            )
        };
        let rows = self.db.query(&sql, &[])?;
        self.taken(asked, &rows, 1);
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    pub fn record(&mut self, how: &'static str, taken: &[i64]) -> Result<(), Error> {
        if taken.is_empty() {
            return Ok(());
        }
        self.world.count(how);
        self.run(&format!("INSERT INTO consumed SELECT '{}', unnest({}), '{how}'", self.queue, list(taken)))
    }

    pub fn dequeue(&mut self) -> Result<Vec<Lease>, Error> {
        let (asked, queue) = (self.how_many(), self.queue);
        let lease = self.rng.weighted(&[(70, "2 s"), (30, "50 ms")]);
        let sql = if self.rng.percent(50) {
            format!(
                "SELECT id, attempt, token, run_at > clock_timestamp() FROM queue.dequeue_as(NULL::{queue}, {asked}, '{lease}')"
            )
        } else {
            format!(
                "SELECT id, attempt, (payload ->> 'token')::bigint, run_at > clock_timestamp() FROM queue.dequeue('{queue}', {asked}, '{lease}')"
            )
        };
        let rows = self.db.query(&sql, &[])?;
        self.taken(asked, &rows, 3);
        Ok(rows.iter().map(|row| Lease { id: row.get(0), attempt: row.get(1), token: row.get(2) }).collect())
    }

    /// What every claim is judged by; the column says whether the job came too early.
    pub fn taken(&self, asked: i64, rows: &[Row], early: usize) {
        let queue = self.queue;
        if rows.iter().any(|row| row.get::<_, Option<bool>>(early) == Some(true)) {
            self.world.fail(format!("a job of {queue} was handed out before its run_at"));
        }
        if rows.len() as i64 > asked {
            self.world
                .fail(format!("{} jobs of {queue} were handed out, {asked} were asked for", rows.len()));
        }
        self.world.claimed(queue, asked, rows.len());
    }
}
