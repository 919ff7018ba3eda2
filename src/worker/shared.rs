//! What the processes share: who works on what, which queue has something to do, whom to wake.
//!
//! All of it is a hint that may be lost at any moment; the truth is in the tables. Everything is
//! atomic, all bits zero is the valid empty state, and nothing here allocates or raises, so that it
//! may be used in commit and abort callbacks.

use super::ending::Ends;
pub use super::slots::{DatabaseSlot, QueueSlot, Waiter, WorkerSlot};
use crate::claim::telling::Telling;
use crate::pg::bgworker;
use crate::pg::latch::LatchSlot;
use crate::pg::time::{Micros, now};
use crate::settings;
use crate::spin::SpinLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::SeqCst};

pub const MAX_WORKERS: usize = 64;
pub const MAX_DATABASES: usize = 128;
pub const MAX_QUEUES: usize = 1024;
pub const MAX_WAITERS: usize = 256;

/// How long workers without work are not started after something found no place.
const YIELD: Micros = 3_000_000;

/// No time set.
pub const NEVER: Micros = i64::MAX;

#[repr(C)]
pub struct Shared {
    /// The server did not shut down in order before this start.
    pub unclean_start: AtomicBool,
    /// When this shared memory was made: a crash makes it anew.
    pub made_at: AtomicI64,
    /// The launcher should look at all databases again.
    pub rescan: AtomicBool,
    pub launcher: LatchSlot,
    /// Until then some database's work waits for a worker: none is started that has nothing to do.
    pub short_until: AtomicI64,
    /// No place at or after these was ever taken: nobody need look there.
    queues_end: AtomicUsize,
    workers_end: AtomicUsize,
    pub waiters_end: AtomicUsize,
    pub databases: [DatabaseSlot; MAX_DATABASES],
    pub queues: [QueueSlot; MAX_QUEUES],
    pub workers: [WorkerSlot; MAX_WORKERS],
    pub waiters: [Waiter; MAX_WAITERS],
    pub ends: Ends,
    /// Transactions that are about to lower the floors of all queues of their database.
    pub telling_all: Telling,
    /// Guards taking places in the arrays above; held for a few stores only.
    lock: SpinLock,
}

impl Shared {
    pub fn database(&self, database: u32) -> Option<&DatabaseSlot> {
        self.databases.iter().find(|slot| slot.database.load(SeqCst) == database)
    }

    /// The database's place, taken if it has none yet; `None` when all are taken.
    pub fn take_database(&self, database: u32) -> Option<&DatabaseSlot> {
        self.database(database).or_else(|| {
            self.lock.locked(|| {
                self.database(database).or_else(|| {
                    let slot = self.database(0)?;
                    slot.clear();
                    slot.database.store(database, SeqCst);
                    Some(slot)
                })
            })
        })
    }

    pub fn find_queue(&self, database: u32, queue: u32) -> Option<usize> {
        self.used_queues().iter().position(|slot| slot.is(database, queue))
    }

    fn used_queues(&self) -> &[QueueSlot] {
        &self.queues[..self.queues_end.load(SeqCst).min(MAX_QUEUES)]
    }

    /// All places of workers, free ones among them.
    pub fn workers(&self) -> &[WorkerSlot] {
        &self.workers[..self.workers_end.load(SeqCst).min(MAX_WORKERS)]
    }

    /// The queue's place, taken if it has none yet; `None` when all are taken: the queue is then
    /// served by polling.
    pub fn take_queue(&self, database: u32, queue: u32) -> Option<usize> {
        self.find_queue(database, queue).or_else(|| {
            self.lock.locked(|| {
                self.find_queue(database, queue).or_else(|| {
                    let place = self.queues.iter().position(|slot| slot.is(0, 0))?;
                    self.queues_end.fetch_max(place + 1, SeqCst);
                    let slot = &self.queues[place];
                    slot.clear();
                    slot.database.store(database, SeqCst);
                    slot.queue.store(queue, SeqCst);
                    Some(place)
                })
            })
        })
    }

    /// Gives back the places of a database's queues that no longer exist.
    pub fn retain_queues(&self, database: u32, exists: impl Fn(u32) -> bool) {
        for slot in self.used_queues().iter().filter(|slot| slot.database.load(SeqCst) == database) {
            if !exists(slot.queue.load(SeqCst)) {
                // Together: no worker joins in between, whom whoever has the place next would count.
                self.lock.locked(|| {
                    if slot.active.load(SeqCst) == 0 {
                        slot.queue.store(0, SeqCst);
                        slot.database.store(0, SeqCst);
                    }
                });
            }
        }
    }

    /// Queues of a database, with their places.
    pub fn queues_of(&self, database: u32) -> impl Iterator<Item = (usize, &QueueSlot)> {
        self.used_queues()
            .iter()
            .enumerate()
            .filter(move |(_, slot)| slot.database.load(SeqCst) == database && slot.queue.load(SeqCst) != 0)
    }

    pub fn workers_of(&self, database: u32) -> impl Iterator<Item = (usize, &WorkerSlot)> {
        self.workers().iter().enumerate().filter(move |(_, slot)| {
            slot.generation.load(SeqCst) != 0 && slot.database.load(SeqCst) == database
        })
    }

    pub fn workers_in_use(&self) -> usize {
        self.workers().iter().filter(|slot| slot.generation.load(SeqCst) != 0).count()
    }

    /// May one more worker join those on the queue, if there are `limit` in all? Being one more on a queue
    /// that has a worker already must leave one for work that has none: no queue stops another.
    pub fn has_room(&self, queue: &QueueSlot, limit: usize) -> bool {
        let active = queue.active.load(SeqCst);
        let busy = || self.workers().iter().filter(|worker| !worker.is_idle()).count();
        active < queue.target.load(SeqCst).max(1) && (active == 0 || busy() + 1 < limit)
    }

    /// The worker joins those on the queue, if it may, and if the place was not given back meanwhile.
    pub fn join(&self, worker: &WorkerSlot, place: usize, limit: usize) -> bool {
        let queue = &self.queues[place];
        // Together: two at once must not both take the room that only one may have.
        self.lock.locked(|| {
            let is_there = queue.database.load(SeqCst) == worker.database.load(SeqCst)
                && queue.role.load(SeqCst) == worker.role.load(SeqCst);
            let may = is_there && self.has_room(queue, limit);
            if may {
                queue.active.fetch_add(1, SeqCst);
                worker.queue_place.store(place as u32 + 1, SeqCst);
            }
            may
        })
    }

    /// Can a worker look after the queue soon, as far as is known?
    pub fn can_keep_up(&self, queue: &QueueSlot) -> bool {
        let is_served = |database: &&DatabaseSlot| {
            database.is_open() && bgworker::is_alive(database.scheduler_pid.load(SeqCst))
        };
        let may_start = |database: &DatabaseSlot| {
            self.workers_in_use() < settings::max_workers() && !database.out_of_slots.load(SeqCst)
        };
        let is_idle = |worker: &WorkerSlot| worker.generation.load(SeqCst) != 0 && worker.is_idle();
        queue.role.load(SeqCst) != 0
            && !queue.worker_failed.load(SeqCst)
            && self
                .database(queue.database.load(SeqCst))
                .filter(is_served)
                .is_some_and(|database| may_start(database) || self.workers().iter().any(is_idle))
    }

    /// Roles, other than this one, that should have a worker and have none; `with_work`: that have work for it.
    pub fn roles_without_worker(&self, database: u32, role: u32, with_work: bool) -> usize {
        let mut roles: Vec<(u32, u32)> = self
            .used_queues()
            .iter()
            .filter(|queue| queue.is_served() && !queue.worker_failed.load(SeqCst))
            .filter(|queue| !with_work || queue.has_work() || queue.upkeep_wanted.load(SeqCst))
            .map(|queue| (queue.database.load(SeqCst), queue.role.load(SeqCst)))
            .filter(|pair| *pair != (database, role) && pair.0 != 0 && pair.1 != 0)
            .collect();
        roles.sort_unstable();
        roles.dedup();
        roles.retain(|(database, role)| {
            self.database(*database).is_some_and(|d| d.is_open() && d.scheduler_pid.load(SeqCst) != 0)
                && self.workers_of_role(*database, *role) == 0
        });
        roles.len()
    }

    pub fn workers_of_role(&self, database: u32, role: u32) -> usize {
        self.workers_of(database).filter(|(_, worker)| worker.role.load(SeqCst) == role).count()
    }

    /// A free place for a worker that is about to be started, if fewer than `limit` are in use.
    pub fn take_worker(&self, database: u32, role: u32, limit: usize) -> Option<(usize, u32)> {
        self.lock.locked(|| {
            if self.workers_in_use() >= limit.min(MAX_WORKERS) {
                return None;
            }
            let place = self.workers.iter().position(|slot| slot.generation.load(SeqCst) == 0)?;
            self.workers_end.fetch_max(place + 1, SeqCst);
            let slot = &self.workers[place];
            slot.clear();
            slot.database.store(database, SeqCst);
            slot.role.store(role, SeqCst);
            slot.since.store(now(), SeqCst);
            let generation = (now() as u32) | 1;
            slot.generation.store(generation, SeqCst);
            Some((place, generation))
        })
    }

    /// Ends an idle worker that `is_other` picks, so that its place can be taken by work that waits.
    pub fn make_room(&self, is_other: impl Fn(&WorkerSlot) -> bool) {
        let is_idle =
            |w: &&WorkerSlot| w.generation.load(SeqCst) != 0 && w.sleeping.load(SeqCst) && is_other(w);
        if let Some(worker) = self.workers().iter().find(is_idle) {
            worker.retire();
        }
        self.short_until.store(now() + YIELD, SeqCst);
    }

    /// Ends this idle worker for that.
    pub fn give_way(&self, worker: &WorkerSlot) {
        worker.retire();
        self.short_until.store(now() + YIELD, SeqCst);
    }
}
