//! How many workers each role has: starting them, clearing away those that ended.

use super::scheduler::Scheduler;
use super::{SCHEDULER, WORKER};
use crate::pg::bgworker::{self, Handle, Life, Start};
use crate::pg::time::{Micros, now};
use crate::pg::{Oid, catalog};
use crate::run::session::{Session, Worker};
use crate::settings;
use pgrx::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;

/// A role whose worker could not start is tried again after so long.
const RETRY_ROLE_AFTER: Micros = 30_000_000;

/// The workers that a role should have.
#[derive(Default)]
struct Wanted {
    workers: usize,
    /// Something waits for them.
    urgent: bool,
    /// A queue has work and no worker.
    deserted: bool,
}

/// A worker this scheduler started.
pub struct Started {
    handle: Handle,
    role: u32,
    place: usize,
    generation: u32,
}

impl Scheduler {
    /// Clears away workers that ended; one that never got to work tells of a role that cannot be had.
    pub fn reap(&mut self) {
        let (shared, failed_roles) = (self.shared, &mut self.failed_roles);
        let mut broken = Vec::new();
        self.workers.retain(|started| {
            if started.handle.life() != Life::Gone {
                return true;
            }
            let slot = &shared.workers[started.place];
            // It gave its place back at its end; if it never got so far, the place is still meant for it.
            if slot.generation.load(SeqCst) == started.generation {
                slot.release();
                failed_roles.insert(started.role, now() + RETRY_ROLE_AFTER);
                broken.push(started.role);
            }
            false
        });
        for role in broken {
            warning!(
                "{SCHEDULER}: the worker for role \"{}\" could not start; see the log lines before",
                self.role_name(role)
            );
            self.mark_failed(role, true);
        }
    }

    fn role_name(&self, role: u32) -> String {
        Worker.transaction(|| catalog::role_name(Oid::from(role))).unwrap_or_else(|_| role.to_string())
    }

    fn mark_failed(&self, role: u32, failed: bool) {
        for (_, slot) in self.shared.queues_of(self.database).filter(|(_, q)| q.role.load(SeqCst) == role) {
            slot.worker_failed.store(failed, SeqCst);
        }
    }

    /// Starts the workers that are wanting. True: work waits for one that could not be had.
    pub fn staff(&mut self) -> bool {
        let wanted = self.wanted();
        self.retire_unwanted(&wanted);
        self.wake_wanted();
        let mut short = false;
        for (role, Wanted { workers, urgent, deserted }) in wanted {
            let mut have = self.shared.workers_of_role(self.database, role);
            let (had, in_need) = (have, self.is_in_need(role));
            // A place that was made for work elsewhere is not for a worker without any.
            let yields = !urgent && self.shared.short_until.load(SeqCst) > now();
            // Then nobody else says when that is over.
            short |= yields && have < workers && self.may_try(role);
            while have < workers && !yields && self.may_try(role) {
                if !self.start_worker(role, self.limit(role, have, deserted, in_need)) {
                    short |= match have {
                        0 => self.make_room(role, urgent),
                        // One after the other: whether a further one is of use is known when this one is at work.
                        _ => in_need && have == had && self.take_over(role, deserted),
                    };
                    break;
                }
                have += 1;
            }
        }
        short
    }

    /// How many workers each role should have.
    fn wanted(&self) -> HashMap<u32, Wanted> {
        let mut wanted: HashMap<u32, Wanted> = HashMap::new();
        for (_, slot) in self.shared.queues_of(self.database) {
            let role = slot.role.load(SeqCst);
            if role == 0 || self.queues.iter().any(|q| q.role.to_u32() == role && !q.can_login) {
                continue;
            }
            let entry = wanted.entry(role).or_default();
            let has_work = slot.has_work() || slot.active.load(SeqCst) > 0;
            if has_work {
                entry.workers += slot.target.load(SeqCst).max(1) as usize;
            } else if slot.has_processor.load(SeqCst) && !slot.paused.load(SeqCst) {
                entry.workers = entry.workers.max(1);
            }
            // Upkeep is not to wait for a long job of another queue.
            entry.workers += usize::from(slot.upkeep_wanted.load(SeqCst));
            entry.urgent |= has_work || slot.upkeep_wanted.load(SeqCst);
            entry.deserted |= slot.is_deserted() || slot.upkeep_wanted.load(SeqCst);
        }
        wanted
    }

    /// Wakes a worker for each queue that has work and may have one more: a resumed queue, a risen target.
    fn wake_wanted(&self) {
        let limit = settings::max_workers();
        for (_, slot) in self.shared.queues_of(self.database) {
            if slot.has_work() && self.shared.has_room(slot, limit) {
                self.shared.wake_worker(slot);
            }
        }
    }

    fn may_try(&self, role: u32) -> bool {
        self.failed_roles.get(&role).is_none_or(|until| *until < now())
    }

    fn start_worker(&mut self, role: u32, limit: usize) -> bool {
        let Some((place, generation)) = self.shared.take_worker(self.database, role, limit) else {
            return false;
        };
        let names = Worker.transaction(|| {
            (catalog::database_name(Oid::from(self.database)), catalog::role_name(Oid::from(role)))
        });
        let (database, role_name) = names.unwrap_or_default();
        let start = Start { database: self.database, role, slot: place as u32, generation };
        match bgworker::start(&format!("{WORKER}: {database} {role_name}"), WORKER, "queue_ext_worker", start)
        {
            Some(handle) => {
                self.workers.push(Started { handle, role, place, generation });
                self.slot.out_of_slots.store(false, SeqCst);
                true
            }
            None => {
                self.shared.workers[place].release();
                if !self.slot.out_of_slots.swap(true, SeqCst) {
                    warning!(
                        "{SCHEDULER}: no free worker slot for role \"{role_name}\" in database \"{database}\"; raise max_worker_processes"
                    );
                }
                false
            }
        }
    }

    fn retire_unwanted(&self, wanted: &HashMap<u32, Wanted>) {
        for (_, worker) in self.shared.workers_of(self.database) {
            if wanted.get(&worker.role.load(SeqCst)).is_none_or(|w| w.workers == 0) && worker.is_idle() {
                worker.retire.store(true, SeqCst);
                worker.latch.wake();
            }
        }
    }
}
