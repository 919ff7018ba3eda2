//! The end of a job with a key: its entry goes, or its key is marked as done.
//!
//! Entries that an enqueuer has locked are left: nobody who ends a job waits for an enqueuer's transaction.
//! Marks have rows of their own, which enqueuers only read, so that one can always be made. An entry for a job
//! with `once` stays as long as the mark: `exists` and the mark are looked at by whoever finds it.

use super::{entry, prune};
use crate::claim::{Move, Taken};
use crate::error::Error;
use crate::pg::time::{self, Micros};
use crate::pg::{Oid, row, xact};
use crate::queue::Queue;
use crate::queue::layout::Col;
use crate::wake;
use pgrx::datum::Interval;
use std::cell::RefCell;
use std::collections::BTreeMap;

thread_local! {
    static RUNNING: RefCell<Vec<(Oid, i64)>> = const { RefCell::new(Vec::new()) };
}

/// While it lives, these jobs are being run in this session. This transaction has deleted them, so it does not
/// see them any more: a processor that enqueues its own key asks.
pub struct Running(Vec<(Oid, i64)>);

impl Running {
    pub fn these(queue: &Queue, jobs: &[Taken]) -> Running {
        let with_key = jobs.iter().filter(|job| has_key(queue, job)).map(|job| (queue.oid, job.id));
        let inner = with_key.collect();
        Running(RUNNING.replace(inner))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.set(std::mem::take(&mut self.0));
    }
}

pub fn is_running_here(queue: Oid, id: i64) -> bool {
    RUNNING.with_borrow(|running| running.contains(&(queue, id)))
}

/// Jobs are about to be put where their attempts have brought them. Inside `spi::connect`.
pub fn ended(queue: &Queue, moves: &[Move]) {
    remember(queue, moves.iter().filter(|m| m.state == "done").map(|m| m.job));
}

/// Jobs were taken off the queue, and are done when this transaction commits. Inside `spi::connect`.
pub fn popped(queue: &Queue, taken: &[Taken]) {
    remember(queue, taken.iter());
}

fn remember<'a>(queue: &Queue, jobs: impl Iterator<Item = &'a Taken>) {
    let (mut keys, mut ids) = (Vec::new(), Vec::new());
    let mut marks: BTreeMap<String, (i64, Micros)> = BTreeMap::new();
    for job in jobs.filter(|job| has_key(queue, job)) {
        let Some(key) = row::named_column::<String>(job.row, c"key") else { continue };
        match row::named_column::<Interval>(job.row, c"once") {
            Some(once) => {
                let until = time::after(time::now(), time::interval_micros(&once));
                let mark = marks.entry(key).or_insert((job.id, until));
                *mark = (job.id, until.max(mark.1));
            }
            None => {
                keys.push(key);
                ids.push(job.id);
            }
        }
    }
    // In one order everywhere.
    for (key, (id, until)) in &marks {
        entry::mark(queue.oid, key, *id, *until);
        wake::prune(queue.oid, *until);
    }
    if keys.is_empty() {
        return;
    }
    // A transaction of the user's may go on for long, and with it everybody who enqueues one of the keys.
    let may_take_long = xact::is_in_block() || xact::sees_only_the_past();
    let removed = if may_take_long { 0 } else { entry::remove(queue.oid, &keys, &ids) };
    if removed < keys.len() {
        wake::prune(queue.oid, time::after(time::now(), prune::PAUSE));
    }
}

fn has_key(queue: &Queue, job: &Taken) -> bool {
    queue.layout.as_ref().is_none_or(|layout| row::any_filled(job.row, &[layout.number(Col::Key)]))
}

/// Raises if jobs that may stand for work committed since this transaction's snapshot were taken to be run
/// in it: it would run them without seeing that work.
pub fn require_fresh_view(queue: &Queue, taken: &[Taken]) -> Result<(), Error> {
    if !xact::sees_only_the_past() {
        return Ok(());
    }
    for job in taken.iter().filter(|job| has_key(queue, job)) {
        let key = row::named_column::<String>(job.row, c"key");
        let entry = key.and_then(|key| entry::read(queue.oid, &key, entry::Lock::No));
        if entry.is_some_and(|entry| entry.id == job.id) {
            return Err(Error::StaleView(queue.name.clone()));
        }
    }
    Ok(())
}
