//! The scheduler's safety net: looking at queues without having been woken for them, and minding the time.
//! An idle database costs next to nothing: while no transaction ends, there is nothing to look for.

use super::looking;
use super::scheduler::{ASKED_EVERY, Scheduler};
use super::shared::{NEVER, QueueSlot};
use crate::claim::floor;
use crate::pg::time::{Micros, now};
use crate::pg::xact;
use crate::settings;
use std::sync::atomic::Ordering::SeqCst;

/// Every queue's upkeep is looked after at least so often, in case a due time was lost.
const UPKEEP_EVERY: Micros = 60_000_000;
/// A queue that is locked is looked at again after so long.
const LOCKED_FOR: Micros = 200_000;

impl Scheduler {
    /// From here on a commit that finds no worker wakes us again: this look sees those before it.
    pub fn listen(&mut self) {
        let time = now();
        if time - self.listened >= ASKED_EVERY {
            self.listened = time;
            for (_, slot) in self.shared.queues_of(self.database) {
                if slot.asked.load(SeqCst) {
                    slot.asked.store(false, SeqCst);
                }
            }
        }
    }

    /// The safety net: what became claimable without a commit of ours (COMMIT PREPARED, replication).
    pub fn poll(&mut self) {
        let time = now();
        if time - self.polled > settings::poll_interval_ms() * 1000 {
            self.polled = time;
            // Read before looking. If no transaction has ended since, there is nothing new to be seen.
            let ended = Some(xact::ended());
            let is_news = self.ended != ended;
            self.ended = ended;
            // A function made again, or a role allowed to log in, announces nothing.
            if is_news && self.queues.iter().any(|queue| queue.processor_missing || !queue.can_login) {
                self.slot.changed.store(true, SeqCst);
            }
            if is_news {
                self.look_after_prepared();
            }
            for (place, slot) in self.shared.queues_of(self.database) {
                if slot.is_served() && !slot.has_work() {
                    self.look_for_ready(place, slot, is_news);
                } else if slot.is_served() {
                    // A claim that began before what is news now may yet find the queue empty.
                    self.ended = None;
                }
            }
        }
        if time - self.kept_up > UPKEEP_EVERY {
            self.kept_up = time;
            for (_, slot) in self.shared.queues_of(self.database) {
                slot.due_at(0);
            }
        }
    }

    /// A transaction that ended by COMMIT PREPARED told nobody what is due now because of it, where the floor is to
    /// be, or that a processor was registered.
    fn look_after_prepared(&self) {
        let queues = self.shared.queues_of(self.database).map(|(_, slot)| slot);
        let marked: Vec<(&QueueSlot, u64)> = queues
            .filter(|slot| !slot.prepared.is_none())
            .map(|slot| (slot, slot.prepared.so_far()))
            .collect();
        if marked.is_empty() {
            return;
        }
        // One that is not there any more has ended, and what it did is seen by a look after this.
        let goes_on = looking::any_prepared().unwrap_or(true);
        for (slot, so_far) in marked {
            if !goes_on {
                slot.floors.lower(&floor::ALL);
                slot.prepared.have_ended(so_far);
                self.slot.changed.store(true, SeqCst);
            }
            slot.due_at(0);
        }
    }

    fn look_for_ready(&mut self, place: usize, slot: &QueueSlot, is_news: bool) {
        let retry = slot.retry.swap(false, SeqCst);
        if !retry && !is_news {
            return;
        }
        let found = if retry { Ok(Some(true)) } else { looking::has_ready(slot.oid()) };
        match found {
            Ok(Some(false)) => {}
            // Locked: to be looked at again.
            Ok(None) => self.ended = None,
            // If it cannot be read, it is for the worker to say why.
            Ok(Some(true)) | Err(_) => self.shared.announce(place),
        }
    }

    /// Asks for the upkeep of queues on which something is due.
    pub fn mind_the_time(&self) {
        for (_, slot) in self.shared.queues_of(self.database) {
            let is_due = || slot.next_due.load(SeqCst) <= now();
            if !is_due() || slot.role.load(SeqCst) == 0 || slot.worker_failed.load(SeqCst) {
                continue;
            }
            // A worker is often there anyway for a queue with a processor; for another one it would have
            // to be started, for a lease that has been acked, say. Where none came somebody else may have seen to it.
            let is_known = slot.has_processor.load(SeqCst) || slot.upkeep_wanted.load(SeqCst);
            let is_wanted = (is_known && slot.next_due.load(SeqCst) != 0) || self.is_really_due(slot);
            slot.upkeep_wanted.store(is_wanted, SeqCst);
            if is_wanted {
                self.shared.wake_worker(slot);
            }
        }
    }

    /// Looks what is due and when, if it can.
    fn is_really_due(&self, slot: &QueueSlot) -> bool {
        // Taken before looking: what becomes due while we look lowers it again.
        slot.next_due.store(NEVER, SeqCst);
        let due = match looking::next_due(slot.oid()) {
            Ok(Some(due)) => due,
            // Locked, by the transaction that is just making it, say.
            Ok(None) => now() + LOCKED_FOR,
            // If it cannot be read, it is for the worker to say why.
            Err(_) => now(),
        };
        slot.due_at(due);
        due <= now()
    }
}
