//! Whom a commit wakes, and who wants to be woken. Nothing here allocates or raises, as in `shared`.

use super::shared::{MAX_WAITERS, QueueSlot, Shared, Waiter};
use crate::pg::bgworker;
use crate::pg::time::now;
use crate::settings;
use std::sync::atomic::Ordering::SeqCst;

impl Shared {
    /// Something on the queue became claimable: wakes one sleeping worker of its role, else its
    /// scheduler if one more could be at work there, and all sessions that wait for the queue.
    pub fn announce(&self, place: usize) {
        let queue = &self.queues[place];
        queue.bump();
        if queue.waiters.load(SeqCst) > 0 {
            for waiter in self.used_waiters() {
                if waiter.queue_place.load(SeqCst) == place as u32 + 1 {
                    waiter.latch.wake();
                }
            }
        }
        // While all that there may be are at work, a commit only reads. The scheduler is asked once, not by
        // every commit that comes before it has looked.
        if queue.is_served()
            && self.has_room(queue, settings::max_workers())
            && !self.wake_worker(queue)
            && !queue.asked.load(SeqCst)
            && !queue.asked.swap(true, SeqCst)
        {
            self.wake_scheduler(queue.database.load(SeqCst));
        }
    }

    fn used_waiters(&self) -> &[Waiter] {
        &self.waiters[..self.waiters_end.load(SeqCst).min(MAX_WAITERS)]
    }

    /// Wakes one sleeping worker of the queue's role; false if none sleeps.
    pub fn wake_worker(&self, queue: &QueueSlot) -> bool {
        let (database, role) = (queue.database.load(SeqCst), queue.role.load(SeqCst));
        self.workers().iter().any(|worker| {
            let woken = worker.database.load(SeqCst) == database
                && worker.role.load(SeqCst) == role
                && worker.generation.load(SeqCst) != 0
                && worker.sleeping.load(SeqCst)
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

    /// A worker of the database has given its place back: its scheduler looks. If some database's work waits for a
    /// place, all do: the one that gave way may soon have work again.
    pub fn announce_place(&self, database: u32) {
        if self.short_until.load(SeqCst) > now() {
            self.databases.iter().for_each(|slot| slot.scheduler.wake());
        } else {
            self.wake_scheduler(database);
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
        let (index, waiter) = self.waiters.iter().enumerate().find(|(_, waiter)| {
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
        self.waiters_end.fetch_max(index + 1, SeqCst);
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
