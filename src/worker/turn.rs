//! What a worker does at a queue: a turn of batches, and the upkeep.

use super::careful;
use super::main_loop::{CLAIMING, Member};
use super::shared::QueueSlot;
use super::watching::Watching;
use crate::pg::bgworker;
use crate::pg::failure::Failure;
use crate::pg::time::{Micros, now};
use crate::pg::{Oid, catalog, interrupt};
use crate::queue::Queue;
use crate::run::balance;
use crate::run::batch::Report;
use crate::run::processor::Processor;
use crate::run::session::{self, Session, Worker};
use crate::{queue, settings, upkeep};
use pgrx::prelude::*;
use std::sync::atomic::Ordering::SeqCst;

/// A worker stays on one queue for so long while others of its role have work, too.
const TURN: Micros = 100_000;
/// Upkeep that failed as a whole is tried again after so long.
const AFTER_FAILED_UPKEEP: Micros = 5_000_000;
/// Batch size of a load-balanced queue before anything is known of it.
const FIRST_SIZE: i32 = 8;

impl Member {
    pub fn keep_up(&mut self, place: usize) {
        let slot = &self.shared.queues[place];
        let oid = Oid::from(slot.queue.load(SeqCst));
        self.unreported = true;
        bgworker::report_activity(Some("moving due jobs"));
        loop {
            let step = Worker
                .transaction(|| queue::open(oid).and_then(Queue::locked).map(|queue| upkeep::step(&queue)));
            match step {
                Ok(Ok(step)) if step.more => interrupt::check(),
                Ok(Ok(_)) => break,
                // No queue any more, or changed so that it cannot be worked on.
                Ok(Err(_)) => {
                    slot.next_due.store(now() + upkeep::BACK_OFF, SeqCst);
                    break;
                }
                Err(failure) => {
                    self.complain("could not move the due jobs", oid, &failure);
                    slot.next_due.store(now() + AFTER_FAILED_UPKEEP, SeqCst);
                    break;
                }
            }
        }
        bgworker::report_activity(None);
    }

    fn complain(&self, what: &str, queue: Oid, failure: &Failure) {
        let name = Worker.transaction(|| catalog::qualified_name(queue)).unwrap_or_default();
        warning!("{}: {what} of queue {name}: {}", bgworker::my_name(), failure.message);
    }

    /// Batches of one queue, until it is empty or others are waiting.
    pub fn take_turn(&mut self, place: usize) {
        let queue = &self.shared.queues[place];
        let oid = Oid::from(queue.queue.load(SeqCst));
        if self.used_by.is_some_and(|other| other != place) {
            self.reset_session();
        }
        self.unreported = true;
        let until = now() + TURN;
        loop {
            // Before the snapshot of the claim: what is committed after this makes the queue look undrained.
            let begun = queue.begin_claim();
            let outcome = if queue.careful_left.load(SeqCst) > 0 {
                let named = self.used_by == Some(place);
                let watching = &mut Watching::new(self.slot, named);
                careful::run_one(self.shared, self.place, queue, oid, watching)
                    .map(|report| report.map(|report| (report, 1)))
            } else {
                self.run_batch(oid, self.used_by == Some(place))
            };
            match outcome {
                Ok(Some((report, limit))) => {
                    self.count(queue, place, &report);
                    if (report.claimed as i64) < limit && !report.more {
                        queue.is_drained(begun);
                        break;
                    }
                    // A full batch: there is more, perhaps enough for one more worker.
                    if self.shared.has_room(queue, settings::max_workers()) {
                        self.shared.wake_worker(queue);
                    }
                }
                Ok(None) => {
                    // Unregistered, registered by another role or gone, since the scheduler looked: it is
                    // to look again.
                    queue.retry.store(true, SeqCst);
                    queue.is_drained(begun);
                    if let Some(database) = self.shared.database(self.database) {
                        database.changed.store(true, SeqCst);
                    }
                    self.shared.wake_scheduler(self.database);
                    break;
                }
                Err(failure) => {
                    self.used_by = Some(place);
                    // Not a job's fault. The next poll or enqueue tries again.
                    self.complain("could not run a batch", oid, &failure);
                    queue.retry.store(true, SeqCst);
                    queue.is_drained(queue.begin_claim());
                    break;
                }
            }
            interrupt::check();
            if now() > until || queue.paused.load(SeqCst) || self.slot.retire.load(SeqCst) {
                break;
            }
        }
    }

    /// `named`: the process is named after the queue already. `None`: not ours to run.
    fn run_batch(&mut self, oid: Oid, named: bool) -> Result<Option<(Report, i64)>, Failure> {
        let known = self.sizes.get(&oid.to_u32()).copied().unwrap_or(FIRST_SIZE);
        let size = |processor: &Processor| match processor.load_balanced {
            true => known.clamp(1, processor.batch_size),
            false => processor.batch_size,
        };
        let started = now();
        self.slot.since.store(started, SeqCst);
        self.slot.state.store(CLAIMING, SeqCst);
        let limit = |processor: &Processor| i64::from(size(processor));
        let Some(ran) = session::run_batch(&Worker, oid, &limit, &mut Watching::new(self.slot, named))?
        else {
            return Ok(None);
        };
        let took_ms = (now() - started) as f64 / 1000.0;
        let next = balance::batch_size(
            size(&ran.processor),
            ran.processor.batch_size,
            ran.report.claimed,
            took_ms,
            settings::batch_target_ms(),
        );
        self.sizes.insert(oid.to_u32(), next);
        Ok(Some((ran.report, ran.limit)))
    }

    fn count(&mut self, queue: &QueueSlot, place: usize, report: &Report) {
        if report.claimed > 0 {
            self.worked_at = now();
            self.used_by = Some(place);
        }
        queue.done.add(report.done as u64);
        queue.failed.add(report.failed as u64);
        self.slot.done.fetch_add(report.done as u64, SeqCst);
        self.slot.failed.fetch_add(report.failed as u64, SeqCst);
    }
}
