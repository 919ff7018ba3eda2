//! A worker: connected as one role, works on all queues whose processors that role registered.

use super::shared::{QueueSlot, Shared, WorkerSlot};
use super::watching::Watching;
use super::{WORKER, careful};
use crate::pg::bgworker;
use crate::pg::failure::Failure;
use crate::pg::time::{Micros, now};
use crate::pg::{Oid, catalog, interrupt, latch, role, shmem};
use crate::queue::Queue;
use crate::run::balance;
use crate::run::batch::Report;
use crate::run::processor::{self, Processor};
use crate::run::session::{self, Session, Worker};
use crate::{queue, settings, upkeep, worker_main};
use pgrx::prelude::*;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;

worker_main!(queue_ext_worker, run);

/// A worker stays on one queue for so long while others of its role have work, too.
const TURN: Micros = 100_000;

/// Upkeep that failed as a whole is tried again after so long.
const AFTER_FAILED_UPKEEP: Micros = 5_000_000;

/// States in `WorkerSlot::state`.
pub const STATE_NAMES: [&str; 4] = ["idle", "claiming", "running", "finishing"];
const IDLE: u32 = 0;
const CLAIMING: u32 = 1;
pub const RUNNING: u32 = 2;
pub const FINISHING: u32 = 3;

thread_local! {
    /// For the exit callback: this worker's place and generation.
    static PLACE: Cell<Option<(usize, u32)>> = const { Cell::new(None) };
}

fn run() {
    let start = bgworker::my_start();
    bgworker::accept_signals();
    let (database, role) = (Oid::from(start.database), Oid::from(start.role));
    let Some(shared) = shmem::get().filter(|_| start.slot != u32::MAX) else {
        bgworker::connect(database, role);
        return super::unshared::work(start.generation as i32);
    };
    // Registered before connecting, so that it is called after the open transaction was rolled back.
    bgworker::on_exit(give_place_back);
    bgworker::connect(database, role);
    let place = start.slot as usize;
    let slot = &shared.workers[place];
    if slot.generation.load(SeqCst) != start.generation {
        return;
    }
    slot.pid.store(bgworker::my_pid(), SeqCst);
    slot.latch.take();
    // Only a worker that got so far gives its place back itself; else the scheduler knows it failed.
    PLACE.set(Some((place, start.generation)));
    bgworker::report_name(WORKER);
    for (_, queue) in shared.queues_of(start.database).filter(|(_, q)| q.role.load(SeqCst) == start.role) {
        queue.worker_failed.store(false, SeqCst);
    }
    let reason = Member {
        shared,
        slot,
        place,
        database: start.database,
        role,
        sizes: HashMap::new(),
        next: 0,
        worked_at: now(),
    }
    .work();
    log!("{} ends: {reason}", bgworker::my_name());
}

/// However this process ends: what it held is free, and its queue is looked at by the others.
fn give_place_back() {
    let (Some(shared), Some((place, generation))) = (shmem::get(), PLACE.take()) else {
        return;
    };
    let slot = &shared.workers[place];
    if slot.generation.load(SeqCst) != generation {
        return;
    }
    let queue_place = slot.queue_place.load(SeqCst) as usize;
    let database = slot.database.load(SeqCst);
    let owner = shared.database(database);
    if queue_place > 0 {
        let queue = &shared.queues[queue_place - 1];
        if slot.state.load(SeqCst) == RUNNING && owner.is_some_and(|d| d.is_open()) {
            // Perhaps one of the jobs did it: they are run one by one, until it is found.
            queue.careful_left.fetch_max(slot.batch.load(SeqCst).max(1), SeqCst);
        }
        queue.leave();
    }
    if let Some(owner) = owner
        && owner.careful_owner.load(SeqCst) == place as u32 + 1
    {
        owner.careful_died.store(slot.state.load(SeqCst) == RUNNING && owner.is_open(), SeqCst);
        owner.careful_owner.store(0, SeqCst);
    }
    slot.release();
    if queue_place > 0 {
        shared.announce(queue_place - 1);
    }
    shared.wake_scheduler(database);
}

struct Member {
    shared: &'static Shared,
    slot: &'static WorkerSlot,
    place: usize,
    database: u32,
    role: Oid,
    /// Batch size of each load-balanced queue, as it has proved right.
    sizes: HashMap<u32, i32>,
    /// Where to begin looking for work: after the queue last served.
    next: usize,
    /// When it last had jobs: a poll that finds nothing is no work.
    worked_at: Micros,
}

impl Member {
    /// Works until there is a reason to end.
    fn work(&mut self) -> &'static str {
        log!("{} started", bgworker::my_name());
        loop {
            interrupt::reload_settings();
            interrupt::check_idle();
            if self.slot.retire.load(SeqCst) {
                return "not needed any more";
            }
            if self.shared.database(self.database).is_none_or(|d| !d.is_open()) {
                return "its database is wanted by a statement, or workers were stopped";
            }
            if self.do_something() {
                continue;
            }
            bgworker::report_activity(None);
            bgworker::report_statistics();
            let idle_ms = (now() - self.worked_at) / 1000;
            let limit_ms = settings::worker_idle_timeout_ms();
            if idle_ms >= limit_ms && self.colleagues() > 0 {
                return "idle";
            }
            // From here on a commit wakes us; whatever came before is seen by the last look.
            self.slot.sleeping.store(true, SeqCst);
            if !self.something_to_do() && !self.slot.retire.load(SeqCst) {
                let until_idle_ms = if idle_ms < limit_ms { limit_ms - idle_ms } else { limit_ms };
                latch::sleep(Some(until_idle_ms.clamp(100, 60_000)));
            }
            self.slot.sleeping.store(false, SeqCst);
        }
    }

    fn colleagues(&self) -> usize {
        let role = self.role.to_u32();
        self.shared
            .workers_of(self.database)
            .filter(|(place, worker)| *place != self.place && worker.role.load(SeqCst) == role)
            .count()
    }

    /// The queues of this worker's role, beginning after the one last served.
    fn queues(&self) -> Vec<usize> {
        let role = self.role.to_u32();
        let mine: Vec<usize> = self
            .shared
            .queues_of(self.database)
            .filter(|(_, queue)| queue.role.load(SeqCst) == role)
            .map(|(place, _)| place)
            .collect();
        let (before, after): (Vec<usize>, Vec<usize>) =
            mine.into_iter().partition(|place| *place < self.next);
        after.into_iter().chain(before).collect()
    }

    fn something_to_do(&self) -> bool {
        self.queues().iter().any(|place| {
            let queue = &self.shared.queues[*place];
            queue.upkeep_wanted.load(SeqCst)
                || (queue.has_work()
                    && queue.active.load(SeqCst) < queue.target.load(SeqCst).max(1)
                    && self.may_join(queue))
        })
    }

    /// Upkeep that is wanted, else a turn at a queue; queues without any worker come first.
    fn do_something(&mut self) -> bool {
        let queues = self.queues();
        for place in &queues {
            if self.shared.queues[*place].upkeep_wanted.swap(false, SeqCst) {
                self.keep_up(*place);
                return true;
            }
        }
        let has_work = |place: &&usize| self.shared.queues[**place].has_work();
        let waiting: Vec<usize> = queues.iter().filter(has_work).copied().collect();
        let is_deserted = |place: &usize| self.shared.queues[*place].active.load(SeqCst) == 0;
        let (deserted, staffed): (Vec<usize>, Vec<usize>) = waiting.into_iter().partition(is_deserted);
        for place in deserted.into_iter().chain(staffed) {
            let queue = &self.shared.queues[place];
            if self.may_join(queue) && queue.join() {
                self.next = place + 1;
                self.slot.queue_place.store(place as u32 + 1, SeqCst);
                self.take_turn(place);
                self.slot.state.store(IDLE, SeqCst);
                self.slot.queue_place.store(0, SeqCst);
                queue.leave();
                return true;
            }
        }
        false
    }

    /// Being one more on a queue that has a worker already must leave one worker for the queues that
    /// have none: no queue stops another.
    fn may_join(&self, queue: &QueueSlot) -> bool {
        if queue.active.load(SeqCst) == 0 {
            return true;
        }
        let busy = self.shared.workers.iter().filter(|w| !w.is_idle()).count();
        let only_queue = self.shared.queues.iter().filter(|q| q.has_processor.load(SeqCst)).count() == 1;
        only_queue || busy + 1 < settings::max_workers()
    }

    fn keep_up(&self, place: usize) {
        let slot = &self.shared.queues[place];
        let oid = Oid::from(slot.queue.load(SeqCst));
        bgworker::report_activity(Some("moving due jobs"));
        loop {
            let step = Worker
                .transaction(|| queue::open(oid).and_then(Queue::locked).map(|queue| upkeep::step(&queue)));
            match step {
                Ok(Ok(step)) if step.more => interrupt::check(),
                Ok(Ok(_)) => return,
                // No queue any more, or changed so that it cannot be worked on.
                Ok(Err(_)) => return slot.next_due.store(now() + upkeep::BACK_OFF, SeqCst),
                Err(failure) => {
                    self.complain("could not move the due jobs", oid, &failure);
                    return slot.next_due.store(now() + AFTER_FAILED_UPKEEP, SeqCst);
                }
            }
        }
    }

    fn complain(&self, what: &str, queue: Oid, failure: &Failure) {
        let name = Worker.transaction(|| catalog::qualified_name(queue)).unwrap_or_default();
        warning!("{}: {what} of queue {name}: {}", bgworker::my_name(), failure.message);
    }

    /// Batches of one queue, until it is empty or others are waiting.
    fn take_turn(&mut self, place: usize) {
        let queue = &self.shared.queues[place];
        let oid = Oid::from(queue.queue.load(SeqCst));
        let found = Worker.transaction(|| {
            (
                processor::find(oid).filter(|p| p.role == self.role),
                catalog::relation_name(oid).unwrap_or_default(),
            )
        });
        let (processor, name) = match found {
            Ok((Some(processor), name)) => (processor, name),
            _ => {
                // Unregistered, or registered by another role, since the scheduler looked.
                queue.drained.store(queue.sequence.load(SeqCst), SeqCst);
                self.shared.wake_scheduler(self.database);
                return;
            }
        };
        bgworker::report_name(&format!("queue_ext: {name}"));
        bgworker::report_activity(Some(&format!("SELECT {}(…) /* queue {name} */", processor.function)));
        let until = now() + TURN;
        loop {
            // Read before the claim: what is committed after this makes the queue look undrained.
            let sequence = queue.sequence.load(SeqCst);
            let outcome = if queue.careful_left.load(SeqCst) > 0 {
                careful::run_one(
                    self.shared,
                    self.place,
                    queue,
                    oid,
                    &processor,
                    &mut Watching::new(self.slot),
                )
                .map(|report| (report, 1))
            } else {
                self.run_batch(oid, &processor)
            };
            match outcome {
                Ok((report, limit)) => {
                    self.count(queue, &report);
                    if (report.claimed as i64) < limit {
                        queue.drained.fetch_max(sequence, SeqCst);
                        break;
                    }
                    // A full batch: there is more, perhaps enough for one more worker.
                    if queue.active.load(SeqCst) < queue.target.load(SeqCst) {
                        self.shared.wake_worker(queue);
                    }
                }
                Err(failure) => {
                    // Not a job's fault. The next poll or enqueue tries again.
                    self.complain("could not run a batch", oid, &failure);
                    queue.drained.store(queue.sequence.load(SeqCst), SeqCst);
                    break;
                }
            }
            interrupt::check();
            if now() > until || queue.paused.load(SeqCst) || self.slot.retire.load(SeqCst) {
                break;
            }
        }
        // What the processor set for the session (a role, a search_path, temporary tables, advisory
        // locks) is not for the next queue's.
        if let Err(failure) = Worker.transaction(role::reset_session) {
            self.complain("could not reset the session after a turn", oid, &failure);
        }
        bgworker::report_name(WORKER);
    }

    fn run_batch(&mut self, oid: Oid, processor: &Processor) -> Result<(Report, i64), Failure> {
        let size = match processor.load_balanced {
            true => self.sizes.get(&oid.to_u32()).copied().unwrap_or(8).clamp(1, processor.batch_size),
            false => processor.batch_size,
        };
        let started = now();
        self.slot.since.store(started, SeqCst);
        self.slot.state.store(CLAIMING, SeqCst);
        let report =
            session::run_batch(&Worker, oid, processor, i64::from(size), &mut Watching::new(self.slot))?;
        let took_ms = (now() - started) as f64 / 1000.0;
        let next = balance::batch_size(
            size,
            processor.batch_size,
            report.claimed,
            took_ms,
            settings::batch_target_ms(),
        );
        self.sizes.insert(oid.to_u32(), next);
        Ok((report, i64::from(size)))
    }

    fn count(&mut self, queue: &QueueSlot, report: &Report) {
        if report.claimed > 0 {
            self.worked_at = now();
        }
        queue.done.add(report.done as u64);
        queue.failed.add(report.failed as u64);
        self.slot.done.fetch_add(report.done as u64, SeqCst);
        self.slot.failed.fetch_add(report.failed as u64, SeqCst);
    }
}
