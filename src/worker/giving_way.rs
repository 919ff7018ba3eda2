//! Who gives way when all places for workers are taken (`queue_ext.max_workers`): idle workers, to work.
//!
//! - A role without any worker that has work gets the place of an idle one of another role at once.
//! - A queue that has work and may have more workers gets places only if that has been so for a while, and from
//!   those who have been idle for a while and whose role has nothing to do: so two roles with little to do do
//!   not take places from each other all the time. One place is left for others, as in `Shared::has_room`.
//! - A role without work gets its first worker only in the place of one that is idle for a while and not the last
//!   of its role.

use super::looking;
use super::scheduler::Scheduler;
use super::shared::{QueueSlot, WorkerSlot};
use crate::pg::time::{Micros, now};
use crate::settings;
use std::sync::atomic::Ordering::SeqCst;

/// So long a role must want for a worker before it gets the place of another role's.
const PATIENCE: Micros = 1_000_000;
/// So long a worker must have had nothing to do before it is taken from a role that has work at times.
const IDLE_LONG: Micros = 2_000_000;

impl Scheduler {
    /// Has the role wanted for one more worker for a while? To be asked at each look.
    pub fn is_in_need(&mut self, role: u32) -> bool {
        if !self.wants_one_more(role) {
            self.wanting_since.remove(&role);
            return false;
        }
        let time = now();
        time - *self.wanting_since.entry(role).or_insert(time) >= PATIENCE
    }

    /// Has it a queue on which one more could be at work, and nobody for that?
    fn wants_one_more(&self, role: u32) -> bool {
        let is_idle = |worker: &WorkerSlot| worker.role.load(SeqCst) == role && worker.is_idle();
        self.queues_of_role(role).any(|queue| self.could_use_one_more(queue))
            && !self.shared.workers_of(self.database).any(|(_, worker)| is_idle(worker))
    }

    fn queues_of_role(&self, role: u32) -> impl Iterator<Item = &'static QueueSlot> {
        let queues = self.shared.queues_of(self.database);
        queues.map(|(_, queue)| queue).filter(move |queue| queue.role.load(SeqCst) == role)
    }

    fn could_use_one_more(&self, queue: &QueueSlot) -> bool {
        queue.upkeep_wanted.load(SeqCst)
            || (queue.has_work() && self.shared.has_room(queue, settings::max_workers()))
    }

    /// How many workers there may be in all, if the role gets one more. Its first may have any place. A
    /// further one leaves a place for each role that has none yet, and, unless a queue is without any,
    /// for one that may come: jobs that never end must not keep others from having a worker at all. To a role
    /// in need, places that idle workers can be sent from are as good as free, and a role is only counted if it
    /// has work.
    pub fn limit(&self, role: u32, have: usize, deserted: bool, in_need: bool) -> usize {
        let most = settings::max_workers();
        if have == 0 {
            return most;
        }
        let kept = self.shared.roles_without_worker(self.database, role, in_need).max(usize::from(!deserted));
        let idle = if in_need { self.idle_of_others(role).count() } else { 0 };
        (most + idle).saturating_sub(kept).min(most)
    }

    fn is_other(&self, worker: &WorkerSlot, role: u32) -> bool {
        worker.role.load(SeqCst) != role || worker.database.load(SeqCst) != self.database
    }

    fn idle_of_others(&self, role: u32) -> impl Iterator<Item = &'static WorkerSlot> {
        let is_idle =
            |w: &WorkerSlot| w.generation.load(SeqCst) != 0 && w.sleeping.load(SeqCst) && w.is_idle();
        self.shared.workers().iter().filter(move |worker| is_idle(worker) && self.is_other(worker, role))
    }

    fn is_last(&self, worker: &WorkerSlot) -> bool {
        self.shared.workers_of_role(worker.database.load(SeqCst), worker.role.load(SeqCst)) <= 1
    }

    /// A role without any worker finds all places taken: an idle worker of another one gives way. To a
    /// resident without work only one that is not the last of its role. True: look again soon.
    pub fn make_room(&self, role: u32, urgent: bool) -> bool {
        if urgent {
            self.shared.make_room(|worker| self.is_other(worker, role));
            return true;
        }
        // One that has just become idle may yet be wanted again: its turn comes if it is not.
        let mut spare = self.idle_of_others(role).filter(|worker| !self.is_last(worker)).peekable();
        let any = spare.peek().is_some();
        if let Some(worker) = spare.find(|worker| is_idle_long(worker)) {
            worker.retire();
        }
        any
    }

    /// A role in need has workers, and finds all places taken: an idle worker of a role that has nothing to do
    /// gives way, the last of its role if there is no other. True: look again soon.
    pub fn take_over(&self, role: u32, deserted: bool) -> bool {
        let (most, taken) = (settings::max_workers(), self.shared.workers_in_use());
        let kept = self.shared.roles_without_worker(self.database, role, true).max(usize::from(!deserted));
        if taken < most || taken + kept >= most + self.idle_of_others(role).count() {
            return false;
        }
        let idle =
            self.idle_of_others(role).filter(|worker| is_idle_long(worker) && !self.has_work_for(worker));
        let Some(worker) = idle.min_by_key(|worker| (self.is_last(worker), worker.since.load(SeqCst))) else {
            return true;
        };
        // One at work may have the last jobs there are: that it left nothing to others is known when it is done.
        let has_jobs = |queue: &QueueSlot| !matches!(looking::has_ready(queue.oid()), Ok(Some(false)));
        let mut queues = self.queues_of_role(role).filter(|queue| self.could_use_one_more(queue));
        let is_of_use = queues.any(|queue| queue.upkeep_wanted.load(SeqCst) || has_jobs(queue));
        if is_of_use {
            self.shared.give_way(worker);
        }
        is_of_use
    }

    fn has_work_for(&self, worker: &WorkerSlot) -> bool {
        let role = worker.role.load(SeqCst);
        self.shared.queues_of(worker.database.load(SeqCst)).any(|(_, queue)| {
            queue.role.load(SeqCst) == role && (queue.has_work() || queue.upkeep_wanted.load(SeqCst))
        })
    }
}

fn is_idle_long(worker: &WorkerSlot) -> bool {
    now() - worker.since.load(SeqCst) >= IDLE_LONG
}
