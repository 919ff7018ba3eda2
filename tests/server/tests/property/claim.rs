//! Claimers: every way to take a job, and every way for that to end.
//!
//! What is taken for good is recorded in the table `consumed` by the transaction that takes it.

use crate::claimer::{Claimer, Lease};
use crate::produce::list;
use crate::world::{COVERED, REPLICATED, UNCOVERED, World};
use postgres::Error;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

static PREPARED: AtomicI64 = AtomicI64::new(1);

#[derive(Clone, Copy)]
enum Way {
    Pop,
    PopRollback,
    PopSavepoint,
    PopVanish,
    PopTerminated,
    PopTimeout,
    PopOldSnapshot,
    PopTwice,
    Lease,
    // From here on what no callback covers.
    PopPrepared,
    DeleteByHand,
    LockByHand,
    UpdateByHand,
}

const WAYS: [(i64, Way); 9] = [
    (30, Way::Pop),
    (12, Way::PopRollback),
    (12, Way::PopSavepoint),
    (3, Way::PopVanish),
    (2, Way::PopTerminated),
    (6, Way::PopTimeout),
    (6, Way::PopOldSnapshot),
    (5, Way::PopTwice),
    (24, Way::Lease),
];
const UNCOVERED_WAYS: [(i64, Way); 13] = [
    WAYS[0],
    WAYS[1],
    WAYS[2],
    WAYS[3],
    WAYS[4],
    WAYS[5],
    WAYS[6],
    WAYS[7],
    WAYS[8],
    (15, Way::PopPrepared),
    (5, Way::DeleteByHand),
    (5, Way::LockByHand),
    (5, Way::UpdateByHand),
];

pub fn live(world: &World, number: u64) {
    world.live("claimer", number, &world.stop, |db, rng| {
        let queue = rng.weighted(&[(50, COVERED), (30, UNCOVERED), (20, REPLICATED)]);
        let claimer = &mut Claimer { world, db, rng, queue };
        let way = if queue == UNCOVERED {
            claimer.rng.weighted(&UNCOVERED_WAYS)
        } else {
            claimer.rng.weighted(&WAYS)
        };
        match claimer.turn(way) {
            // The publisher's ids are not of the queue's own sequence, so a late ack cannot be told from a
            // wrong one (README: errors of ack).
            Err(error) if queue == REPLICATED && error.code().is_some_and(|code| code.code() == "22023") => {
                world.count("late ack of a replicated job");
                db.batch_execute("ROLLBACK")
            }
            outcome => outcome,
        }
    });
}

impl Claimer<'_> {
    fn turn(&mut self, way: Way) -> Result<(), Error> {
        match way {
            Way::Pop => {
                self.run("BEGIN")?;
                let taken = self.pop()?;
                self.record("pop", &taken)?;
                self.wait(25, 10);
                self.run("COMMIT")?;
                // An idle claimer is not to keep the processors from working.
                if taken.is_empty() {
                    self.world.sleep(self.rng.between(1, 20));
                }
                Ok(())
            }
            Way::PopRollback => {
                self.run("BEGIN")?;
                let taken = self.pop()?;
                self.record("pop, rolled back", &taken)?;
                self.wait(50, 50);
                self.run("ROLLBACK")
            }
            Way::PopSavepoint => self.savepoints(),
            Way::PopVanish => {
                self.run("BEGIN")?;
                let taken = self.pop()?;
                self.record("pop, vanished", &taken)?;
                let other = self.world.connect("claimer", "shop");
                drop(std::mem::replace(self.db, other));
                Ok(())
            }
            Way::PopTerminated => {
                self.run("BEGIN")?;
                let taken = self.pop()?;
                self.record("pop, terminated", &taken)?;
                self.run("SELECT pg_terminate_backend(pg_backend_pid())")
            }
            Way::PopTimeout => self.timeout(),
            Way::PopOldSnapshot => {
                self.either(
                    50,
                    "BEGIN ISOLATION LEVEL REPEATABLE READ",
                    "BEGIN ISOLATION LEVEL SERIALIZABLE",
                )?;
                if self.rng.percent(50) {
                    self.run("SELECT 1 FROM produced LIMIT 1")?;
                    self.wait(100, 20);
                }
                let taken = self.pop()?;
                self.record("pop with an old snapshot", &taken)?;
                self.either(80, "COMMIT", "ROLLBACK")
            }
            Way::PopTwice => {
                self.run("BEGIN")?;
                for _ in 0..self.rng.between(2, 4) {
                    let taken = self.pop()?;
                    self.record("pop again in a transaction", &taken)?;
                }
                self.either(70, "COMMIT", "ROLLBACK")
            }
            Way::Lease => self.lease(),
            Way::PopPrepared => {
                self.run("BEGIN")?;
                let taken = self.pop()?;
                self.record("pop, prepared", &taken)?;
                if taken.is_empty() {
                    return self.run("ROLLBACK");
                }
                let gid = PREPARED.fetch_add(1, SeqCst);
                self.run(&format!("PREPARE TRANSACTION 'pop {gid}'"))
            }
            Way::DeleteByHand => self.by_hand(
                "DELETE by hand",
                "DELETE FROM {q} WHERE state = 'ready' AND ctid IN ({next})",
                "ROLLBACK",
            ),
            Way::LockByHand => self.by_hand("FOR UPDATE by hand", "{next}", "COMMIT"),
            Way::UpdateByHand => {
                let end = self.rng.weighted(&[(60, "COMMIT"), (40, "ROLLBACK")]);
                let update = "UPDATE {q} SET priority = (priority + 3) % 10 WHERE state = 'ready' AND ctid IN ({next})";
                self.by_hand("UPDATE by hand", update, end)
            }
        }
    }

    /// What is taken after a savepoint is given back by it, and nothing else is.
    fn savepoints(&mut self) -> Result<(), Error> {
        self.run("BEGIN")?;
        if self.rng.percent(50) {
            let taken = self.pop()?;
            self.record("pop before a savepoint", &taken)?;
        }
        self.run("SAVEPOINT a")?;
        let taken = self.pop()?;
        self.record("pop after a savepoint", &taken)?;
        if self.rng.percent(30) {
            self.run("SAVEPOINT b")?;
            let taken = self.pop()?;
            self.record("pop after two savepoints", &taken)?;
            self.either(50, "RELEASE b", "ROLLBACK TO b")?;
        }
        self.wait(30, 20);
        self.either(30, "RELEASE a", "ROLLBACK TO a")?;
        if self.rng.percent(50) {
            let taken = self.pop()?;
            self.record("pop after a savepoint was left", &taken)?;
        }
        self.either(80, "COMMIT", "ROLLBACK")
    }

    /// The timeout comes while the claim is under way, or in the same statement after it.
    fn timeout(&mut self) -> Result<(), Error> {
        self.world.count("pop with a timeout");
        let queue = self.queue;
        self.run("BEGIN; SET LOCAL statement_timeout = '2 ms'")?;
        if self.rng.percent(50) {
            let asked = self.rng.between(1, 2000);
            let rows = self.db.query(
                &format!(
                    "SELECT token, run_at > clock_timestamp() FROM queue.pop_as(NULL::{queue}, {asked})"
                ),
                &[],
            )?;
            self.taken(asked, &rows, 1);
            let taken: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
            self.run("SET LOCAL statement_timeout = 0")?;
            self.record("pop before its timeout", &taken)?;
            return self.run("COMMIT");
        }
        self.run(&format!("SELECT pg_sleep(0.01) FROM queue.pop('{queue}', 10)"))?;
        self.run("ROLLBACK")
    }

    /// Leases, and then acks, nacks, snoozes, cancels, or lets it run out.
    fn lease(&mut self) -> Result<(), Error> {
        let queue = self.queue;
        self.run("BEGIN")?;
        let leases = self.dequeue()?;
        if self.rng.percent(15) {
            self.world.count("dequeue, rolled back");
            return self.run("ROLLBACK");
        }
        self.run("COMMIT")?;
        let Some(Lease { id, attempt, .. }) = leases.first() else { return Ok(()) };
        self.wait(50, 100);
        match self.rng.between(1, 10) {
            1 => {
                self.world.count("nack");
                self.run(&format!("SELECT queue.nack('{queue}', {id}, {attempt}, 'no', '10 ms')"))?;
            }
            2 => {
                self.world.count("snooze");
                self.run(&format!("SELECT queue.snooze('{queue}', {id}, {attempt}, '20 ms')"))?;
            }
            3 => {
                self.world.count("cancel and resubmit");
                self.run(&format!(
                    "BEGIN; SELECT queue.cancel('{queue}', {id}), queue.resubmit('{queue}', {id}); COMMIT"
                ))?;
            }
            4 => {
                self.world.count("lease left to run out");
                return Ok(());
            }
            _ => {}
        }
        let column = |of: fn(&Lease) -> i64| list(&leases.iter().map(of).collect::<Vec<_>>());
        let (ids, attempts, tokens) = (column(|l| l.id), column(|l| l.attempt.into()), column(|l| l.token));
        self.world.count("ack_many");
        let end = self.rng.weighted(&[(80, "COMMIT"), (20, "ROLLBACK")]);
        self.run("BEGIN")?;
        self.run(&format!(
            "INSERT INTO consumed SELECT '{queue}', l.token, 'ack'
             FROM queue.ack_many('{queue}', {ids}, {attempts}::int[]) acked, unnest({ids}, {tokens}) l (id, token)
             WHERE l.id = acked"
        ))?;
        self.run(end)
    }

    /// Something is done to the jobs that come next; those that somebody has are left.
    fn by_hand(&mut self, name: &'static str, sql: &str, end: &str) -> Result<(), Error> {
        self.world.count(name);
        let next =
            "SELECT ctid FROM {q} WHERE state = 'ready' ORDER BY priority, id LIMIT 5 FOR UPDATE SKIP LOCKED";
        self.run("BEGIN")?;
        self.run(&sql.replace("{next}", next).replace("{q}", self.queue))?;
        self.world.sleep(self.rng.between(1, 100));
        self.run(end)
    }
}
