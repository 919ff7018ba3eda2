//! What the processes share: who works on what, which queue has something to do, whom to wake.
//!
//! All of it is a hint that may be lost at any moment; the truth is in the tables. Everything is
//! atomic, all bits zero is the valid empty state, and nothing here allocates or raises, so that it
//! may be used in commit and abort callbacks.

use crate::pg::bgworker;
use crate::pg::latch::LatchSlot;
use crate::pg::time::{Micros, now};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering::SeqCst};

pub const MAX_WORKERS: usize = 64;
pub const MAX_DATABASES: usize = 128;
pub const MAX_QUEUES: usize = 1024;
const MAX_WAITERS: usize = 256;
const RATE_BUCKETS: usize = 13;
const RATE_BUCKET_MICROS: i64 = 5_000_000;

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
    pub databases: [DatabaseSlot; MAX_DATABASES],
    pub queues: [QueueSlot; MAX_QUEUES],
    pub workers: [WorkerSlot; MAX_WORKERS],
    pub waiters: [Waiter; MAX_WAITERS],
    /// Guards taking places in the arrays above; held for a few stores only.
    lock: AtomicBool,
}

/// One for each database the launcher knows.
#[repr(C)]
pub struct DatabaseSlot {
    pub database: AtomicU32,
    pub scheduler: LatchSlot,
    pub scheduler_pid: AtomicI32,
    /// Its configuration changed, or a worker is wanted: the scheduler should look.
    pub changed: AtomicBool,
    /// `stop_workers` was called.
    pub stopped: AtomicBool,
    /// A statement needs the database for itself until then at the latest.
    pub barred_until: AtomicI64,
    /// The last attempt to start a worker found no free slot.
    pub out_of_slots: AtomicBool,
    /// The last scheduler found that the database has no extension.
    pub no_extension: AtomicBool,
    /// The queues' `careful_left` has been set after this start.
    pub careful_set: AtomicBool,
    /// Not among `queue_ext.databases`.
    pub unserved: AtomicBool,
    /// The worker (place + 1) that runs a job alone after an unclean start.
    pub careful_owner: AtomicU32,
    /// The queue and job last marked since this start: a mark of it tells of no crash.
    pub careful_queue: AtomicU32,
    pub careful_job: AtomicI64,
    /// The worker that ran it was terminated while it did.
    pub careful_died: AtomicBool,
}

/// One for each queue that was used since the start.
#[repr(C)]
pub struct QueueSlot {
    pub database: AtomicU32,
    pub queue: AtomicU32,
    /// The role that serves it: the processor's, else the owner's; 0: none.
    pub role: AtomicU32,
    pub has_processor: AtomicBool,
    pub paused: AtomicBool,
    /// Bumped whenever something became claimable.
    pub sequence: AtomicU64,
    /// Value of `sequence` read before a claim that found the queue empty.
    pub drained: AtomicU64,
    /// Workers on it now, and how many there may be.
    pub active: AtomicU32,
    pub target: AtomicU32,
    pub parallelism: AtomicU32,
    /// When upkeep has something to move or prune next.
    pub next_due: AtomicI64,
    /// Upkeep is due and nobody has taken it on yet.
    pub upkeep_wanted: AtomicBool,
    /// Jobs still to be run one by one after an unclean start.
    pub careful_left: AtomicU32,
    /// The role cannot be connected as, or its worker ended at once.
    pub worker_failed: AtomicBool,
    /// The registered function is gone.
    pub processor_missing: AtomicBool,
    pub waiters: AtomicU32,
    pub done: Rate,
    pub failed: Rate,
}

/// One for each worker process.
#[repr(C)]
pub struct WorkerSlot {
    /// 0: free; else the number of the start this place is meant for.
    pub generation: AtomicU32,
    pub pid: AtomicI32,
    pub database: AtomicU32,
    pub role: AtomicU32,
    pub latch: LatchSlot,
    pub sleeping: AtomicBool,
    pub retire: AtomicBool,
    pub state: AtomicU32,
    /// Place of the queue in `queues`, plus 1; 0: idle.
    pub queue_place: AtomicU32,
    pub job: AtomicI64,
    pub batch: AtomicU32,
    pub since: AtomicI64,
    pub done: AtomicU64,
    pub failed: AtomicU64,
    /// The job that an admin wants stopped.
    pub cancel: AtomicI64,
}

/// A session in `CALL queue.wait`.
#[repr(C)]
pub struct Waiter {
    /// Place of the queue, plus 1; 0: free.
    pub queue_place: AtomicU32,
    pub pid: AtomicI32,
    pub latch: LatchSlot,
}

/// How many in the last minute, in buckets of five seconds.
#[repr(C)]
pub struct Rate {
    total: AtomicU64,
    buckets: [(AtomicI64, AtomicU64); RATE_BUCKETS],
}

impl Rate {
    pub fn add(&self, count: u64) {
        if count == 0 {
            return;
        }
        let stamp = now() / RATE_BUCKET_MICROS;
        let (bucket_stamp, bucket) = &self.buckets[stamp as usize % RATE_BUCKETS];
        if bucket_stamp.swap(stamp, SeqCst) != stamp {
            bucket.store(0, SeqCst);
        }
        bucket.fetch_add(count, SeqCst);
        self.total.fetch_add(count, SeqCst);
    }

    /// All since the start.
    pub fn total(&self) -> u64 {
        self.total.load(SeqCst)
    }

    pub fn per_minute(&self) -> u64 {
        let current = now() / RATE_BUCKET_MICROS;
        self.buckets
            .iter()
            .filter(|(stamp, _)| current - stamp.load(SeqCst) < RATE_BUCKETS as i64 - 1)
            .map(|(_, count)| count.load(SeqCst))
            .sum()
    }
}

impl Shared {
    fn locked<R>(&self, work: impl FnOnce() -> R) -> R {
        while self.lock.compare_exchange_weak(false, true, SeqCst, SeqCst).is_err() {
            std::hint::spin_loop();
        }
        let result = work();
        self.lock.store(false, SeqCst);
        result
    }

    pub fn database(&self, database: u32) -> Option<&DatabaseSlot> {
        self.databases.iter().find(|slot| slot.database.load(SeqCst) == database)
    }

    /// The database's place, taken if it has none yet; `None` when all are taken.
    pub fn take_database(&self, database: u32) -> Option<&DatabaseSlot> {
        self.database(database).or_else(|| {
            self.locked(|| {
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
        self.queues.iter().position(|slot| slot.is(database, queue))
    }

    /// The queue's place, taken if it has none yet; `None` when all are taken: the queue is then
    /// served by polling.
    pub fn take_queue(&self, database: u32, queue: u32) -> Option<usize> {
        self.find_queue(database, queue).or_else(|| {
            self.locked(|| {
                self.find_queue(database, queue).or_else(|| {
                    let place = self.find_queue(0, 0)?;
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
        for slot in self.queues.iter().filter(|slot| slot.database.load(SeqCst) == database) {
            if !exists(slot.queue.load(SeqCst)) && slot.active.load(SeqCst) == 0 {
                self.locked(|| {
                    slot.queue.store(0, SeqCst);
                    slot.database.store(0, SeqCst);
                });
            }
        }
    }

    /// Queues of a database, with their places.
    pub fn queues_of(&self, database: u32) -> impl Iterator<Item = (usize, &QueueSlot)> {
        self.queues
            .iter()
            .enumerate()
            .filter(move |(_, slot)| slot.database.load(SeqCst) == database && slot.queue.load(SeqCst) != 0)
    }

    pub fn workers_of(&self, database: u32) -> impl Iterator<Item = (usize, &WorkerSlot)> {
        self.workers.iter().enumerate().filter(move |(_, slot)| {
            slot.generation.load(SeqCst) != 0 && slot.database.load(SeqCst) == database
        })
    }

    pub fn workers_in_use(&self) -> usize {
        self.workers.iter().filter(|slot| slot.generation.load(SeqCst) != 0).count()
    }

    /// A free place for a worker that is about to be started, if fewer than `limit` are in use.
    pub fn take_worker(&self, database: u32, role: u32, limit: usize) -> Option<(usize, u32)> {
        self.locked(|| {
            if self.workers_in_use() >= limit.min(MAX_WORKERS) {
                return None;
            }
            let place = self.workers.iter().position(|slot| slot.generation.load(SeqCst) == 0)?;
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

    /// Something on the queue became claimable: wakes one sleeping worker of its role, else its
    /// scheduler if nobody is at work there, and all sessions that wait for the queue.
    pub fn announce(&self, place: usize) {
        let queue = &self.queues[place];
        queue.sequence.fetch_add(1, SeqCst);
        if queue.waiters.load(SeqCst) > 0 {
            for waiter in &self.waiters {
                if waiter.queue_place.load(SeqCst) == place as u32 + 1 {
                    waiter.latch.wake();
                }
            }
        }
        if !queue.has_processor.load(SeqCst) || queue.paused.load(SeqCst) {
            return;
        }
        if queue.active.load(SeqCst) < queue.target.load(SeqCst).max(1) && !self.wake_worker(queue) {
            self.wake_scheduler(queue.database.load(SeqCst));
        }
    }

    /// Wakes one sleeping worker of the queue's role; false if none sleeps.
    pub fn wake_worker(&self, queue: &QueueSlot) -> bool {
        let (database, role) = (queue.database.load(SeqCst), queue.role.load(SeqCst));
        self.workers.iter().any(|worker| {
            let woken = worker.database.load(SeqCst) == database
                && worker.role.load(SeqCst) == role
                && worker.generation.load(SeqCst) != 0
                && worker.sleeping.compare_exchange(true, false, SeqCst, SeqCst).is_ok();
            if woken {
                worker.latch.wake();
            }
            woken
        })
    }

    pub fn wake_scheduler(&self, database: u32) {
        if let Some(slot) = self.database(database) {
            slot.scheduler.wake();
        }
    }

    /// The configuration of a database changed: launcher and scheduler look again.
    pub fn announce_change(&self, database: u32) {
        if let Some(slot) = self.database(database) {
            slot.changed.store(true, SeqCst);
            slot.scheduler.wake();
        }
        self.rescan.store(true, SeqCst);
        self.launcher.wake();
    }

    /// Registers the calling session as waiting for a queue. Takes over the entry of a session that
    /// was terminated while it waited.
    pub fn take_waiter(&self, place: usize) -> Option<&Waiter> {
        let waiter = self.waiters.iter().find(|waiter| {
            let pid = waiter.pid.load(SeqCst);
            // Only one session may take it over: the one that finds the dead one's number first.
            if pid != 0
                && !bgworker::is_alive(pid)
                && waiter.pid.compare_exchange(pid, 0, SeqCst, SeqCst).is_ok()
            {
                self.release_waiter(waiter);
            }
            waiter.queue_place.compare_exchange(0, place as u32 + 1, SeqCst, SeqCst).is_ok()
        })?;
        waiter.pid.store(bgworker::my_pid(), SeqCst);
        waiter.latch.take();
        self.queues[place].waiters.fetch_add(1, SeqCst);
        Some(waiter)
    }

    pub fn release_waiter(&self, waiter: &Waiter) {
        let place = waiter.queue_place.load(SeqCst);
        waiter.latch.release();
        waiter.pid.store(0, SeqCst);
        if place != 0 {
            self.queues[place as usize - 1].waiters.fetch_sub(1, SeqCst);
            waiter.queue_place.store(0, SeqCst);
        }
    }
}

impl DatabaseSlot {
    fn clear(&self) {
        self.scheduler.release();
        self.scheduler_pid.store(0, SeqCst);
        self.changed.store(false, SeqCst);
        self.stopped.store(false, SeqCst);
        self.barred_until.store(0, SeqCst);
        self.out_of_slots.store(false, SeqCst);
        self.no_extension.store(false, SeqCst);
        self.careful_set.store(false, SeqCst);
        self.unserved.store(false, SeqCst);
        self.careful_owner.store(0, SeqCst);
        self.careful_queue.store(0, SeqCst);
        self.careful_job.store(0, SeqCst);
        self.careful_died.store(false, SeqCst);
    }

    pub fn release(&self) {
        self.clear();
        self.database.store(0, SeqCst);
    }

    /// May processes of ours be connected to it now?
    pub fn is_open(&self) -> bool {
        !self.stopped.load(SeqCst) && !self.unserved.load(SeqCst) && self.barred_until.load(SeqCst) < now()
    }
}

impl QueueSlot {
    pub fn is(&self, database: u32, queue: u32) -> bool {
        self.queue.load(SeqCst) == queue && self.database.load(SeqCst) == database
    }

    fn clear(&self) {
        self.role.store(0, SeqCst);
        self.has_processor.store(false, SeqCst);
        self.paused.store(false, SeqCst);
        self.sequence.store(1, SeqCst);
        self.drained.store(0, SeqCst);
        self.active.store(0, SeqCst);
        self.target.store(1, SeqCst);
        self.parallelism.store(1, SeqCst);
        self.next_due.store(0, SeqCst);
        self.upkeep_wanted.store(false, SeqCst);
        self.careful_left.store(0, SeqCst);
        self.worker_failed.store(false, SeqCst);
        self.processor_missing.store(false, SeqCst);
        self.waiters.store(0, SeqCst);
    }

    /// Is there, as far as is known, something to claim?
    pub fn has_work(&self) -> bool {
        self.has_processor.load(SeqCst)
            && !self.paused.load(SeqCst)
            && !self.processor_missing.load(SeqCst)
            && self.sequence.load(SeqCst) != self.drained.load(SeqCst)
    }

    /// Joins the workers on this queue, if it may have one more.
    pub fn join(&self) -> bool {
        let target = self.target.load(SeqCst).max(1);
        self.active.fetch_update(SeqCst, SeqCst, |active| (active < target).then_some(active + 1)).is_ok()
    }

    pub fn leave(&self) {
        self.active.fetch_sub(1, SeqCst);
    }

    /// Something will have to be moved at this time.
    pub fn due_at(&self, at: Micros) {
        self.next_due.fetch_min(at, SeqCst);
    }
}

impl WorkerSlot {
    fn clear(&self) {
        self.pid.store(0, SeqCst);
        self.latch.release();
        self.sleeping.store(false, SeqCst);
        self.retire.store(false, SeqCst);
        self.state.store(0, SeqCst);
        self.queue_place.store(0, SeqCst);
        self.job.store(0, SeqCst);
        self.batch.store(0, SeqCst);
        self.done.store(0, SeqCst);
        self.failed.store(0, SeqCst);
        self.cancel.store(0, SeqCst);
    }

    /// Gives the place back.
    pub fn release(&self) {
        self.clear();
        self.generation.store(0, SeqCst);
    }

    pub fn is_idle(&self) -> bool {
        self.queue_place.load(SeqCst) == 0
    }
}
