//! A worker: connected as one role, works on all queues whose processors that role registered.

use super::WORKER;
use super::shared::{Shared, WorkerSlot};
use crate::pg::bgworker;
use crate::pg::time::{Micros, now};
use crate::pg::{Oid, interrupt, latch, shmem};
use crate::queue::retyped;
use crate::run::session::Worker;
use crate::{settings, worker_main};
use pgrx::prelude::*;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;

worker_main!(queue_ext_worker, run);

/// Statistics of the last job are told after so long: more often Postgres does not take them.
const REPORT_AFTER_MS: i64 = 1_100;

/// States in `WorkerSlot::state`.
pub const STATE_NAMES: [&str; 4] = ["idle", "claiming", "running", "finishing"];
const IDLE: u32 = 0;
pub const CLAIMING: u32 = 1;
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
    bgworker::report_activity(None);
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
        used_by: None,
        unreported: false,
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
    shared.announce_place(database);
}

pub struct Member {
    pub shared: &'static Shared,
    pub slot: &'static WorkerSlot,
    pub place: usize,
    pub database: u32,
    pub role: Oid,
    /// Batch size of each load-balanced queue, as it has proved right.
    pub sizes: HashMap<u32, i32>,
    /// Where to begin looking for work: after the queue last served.
    next: usize,
    /// When it last had jobs: a poll that finds nothing is no work.
    pub worked_at: Micros,
    /// The place of the queue whose code ran in this session since it was last reset.
    pub used_by: Option<usize>,
    /// It did something that statistics do not know yet.
    pub unreported: bool,
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
            if retyped::is_any() {
                return "a queue's columns have other types now";
            }
            if self.shared.database(self.database).is_none_or(|d| !d.is_open()) {
                return "its database is wanted by a statement, or workers were stopped";
            }
            if self.do_something() {
                continue;
            }
            let idle_ms = (now() - self.worked_at) / 1000;
            let limit_ms = settings::worker_idle_timeout_ms();
            if idle_ms >= limit_ms && self.colleagues() > 0 {
                return "idle";
            }
            // From here on a commit wakes us; whatever came before is seen by the last look.
            self.slot.sleeping.store(true, SeqCst);
            self.tidy_up();
            if !self.something_to_do() && !self.slot.retire.load(SeqCst) {
                let until_idle_ms = if idle_ms < limit_ms { limit_ms - idle_ms } else { limit_ms };
                let most_ms = if self.unreported { REPORT_AFTER_MS } else { 60_000 };
                latch::sleep(Some(until_idle_ms.clamp(100, most_ms)));
            }
            self.slot.sleeping.store(false, SeqCst);
        }
    }

    /// What can wait until there is nothing else to do: what the last queue's code set for the session
    /// (advisory locks, say) does not last, and what was done is told.
    fn tidy_up(&mut self) {
        if self.used_by.is_some() {
            self.reset_session();
            bgworker::report_activity(None);
        }
        if self.unreported {
            self.unreported = bgworker::report_statistics();
        }
    }

    pub fn reset_session(&mut self) {
        if let Err(failure) = Worker.reset() {
            warning!("{}: could not reset the session: {}", bgworker::my_name(), failure.message);
        }
        bgworker::report_name(WORKER);
        self.used_by = None;
    }

    fn colleagues(&self) -> usize {
        self.shared.workers_of_role(self.database, self.role.to_u32()) - 1
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
        let limit = settings::max_workers();
        self.queues().iter().any(|place| {
            let queue = &self.shared.queues[*place];
            queue.upkeep_wanted.load(SeqCst) || (queue.has_work() && self.shared.has_room(queue, limit))
        })
    }

    /// Upkeep that is wanted, else a turn at a queue; queues without any worker come first.
    fn do_something(&mut self) -> bool {
        let queues = self.queues();
        for place in &queues {
            if self.shared.queues[*place].upkeep_wanted.swap(false, SeqCst) {
                self.keep_up(*place);
                self.slot.since.store(now(), SeqCst);
                return true;
            }
        }
        let has_work = |place: &&usize| self.shared.queues[**place].has_work();
        let waiting: Vec<usize> = queues.iter().filter(has_work).copied().collect();
        let is_deserted = |place: &usize| self.shared.queues[*place].is_deserted();
        let (deserted, staffed): (Vec<usize>, Vec<usize>) = waiting.into_iter().partition(is_deserted);
        for place in deserted.into_iter().chain(staffed) {
            if self.shared.join(self.slot, place, settings::max_workers()) {
                self.next = place + 1;
                self.take_turn(place);
                self.slot.since.store(now(), SeqCst);
                self.slot.state.store(IDLE, SeqCst);
                self.slot.queue_place.store(0, SeqCst);
                self.shared.queues[place].leave();
                return true;
            }
        }
        false
    }
}
