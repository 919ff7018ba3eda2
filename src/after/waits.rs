//! What shared memory keeps for a queue about jobs that wait for others: which jobs have ended since upkeep
//! last looked, and whether any job waits at all. Pure: atomics and a short lock, no Postgres.
//!
//! All bits zero is the valid beginning: nothing is known, so everything is to be looked at.

use crate::spin::SpinLock;
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};

type Micros = i64;

/// Ended jobs that are remembered one by one; beyond that, all waiting jobs are looked at.
pub const MOST_IDS: usize = 128;
/// Without a reason all waiting jobs are looked at so often: what was lost is found then.
const EVERY: Micros = 60_000_000;
/// A pass over all waiting jobs that took longer than this is followed by a rest of so many times its length.
const LONG: Micros = 100_000;
const REST: Micros = 5;
/// No time set.
const NEVER: Micros = i64::MAX;

#[repr(C)]
pub struct Waits {
    lock: SpinLock,
    /// No job of the queue waits for another one.
    none: AtomicBool,
    /// Goes up whenever a transaction that put waiting jobs commits.
    added: AtomicU64,
    /// All are to be looked at, from the beginning.
    all: AtomicBool,
    /// And that at once, without a rest after the last time.
    urgent: AtomicBool,
    /// All are being looked at, and how far that has come.
    passing: AtomicBool,
    cursor: AtomicI64,
    began: AtomicI64,
    looked: AtomicI64,
    rest_until: AtomicI64,
    /// There is one that could not be moved. Whoever has not tried it looks for it.
    stuck: AtomicBool,
    count: AtomicUsize,
    ids: [AtomicI64; MOST_IDS],
}

impl Default for Waits {
    fn default() -> Waits {
        Waits {
            lock: SpinLock::default(),
            none: AtomicBool::new(false),
            added: AtomicU64::new(0),
            all: AtomicBool::new(false),
            urgent: AtomicBool::new(false),
            passing: AtomicBool::new(false),
            cursor: AtomicI64::new(0),
            began: AtomicI64::new(0),
            looked: AtomicI64::new(0),
            rest_until: AtomicI64::new(0),
            stuck: AtomicBool::new(false),
            count: AtomicUsize::new(0),
            ids: std::array::from_fn(|_| AtomicI64::new(0)),
        }
    }
}

/// A step of a pass over all waiting jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Those with ids above this are next.
    pub from: i64,
    /// What `added_so_far` was before.
    pub added: u64,
}

impl Waits {
    /// Nothing is known any more.
    pub fn reset(&self) {
        self.lock.locked(|| {
            self.none.store(false, Relaxed);
            self.all.store(false, Relaxed);
            self.urgent.store(false, Relaxed);
            self.passing.store(false, Relaxed);
            self.looked.store(0, Relaxed);
            self.rest_until.store(0, Relaxed);
            self.stuck.store(false, Relaxed);
            self.count.store(0, Relaxed);
            self.added.fetch_add(1, Relaxed);
        });
    }

    /// Is it known that no job waits?
    pub fn is_none(&self) -> bool {
        self.none.load(Acquire)
    }

    /// To be read before looking whether any job waits.
    pub fn added_so_far(&self) -> u64 {
        self.added.load(Acquire)
    }

    /// Waiting jobs were committed. These they wait for; `None`: not known, or too many to tell.
    pub fn add(&self, ids: Option<&mut dyn Iterator<Item = i64>>) {
        self.lock.locked(|| {
            self.none.store(false, Relaxed);
            self.added.fetch_add(1, Relaxed);
            self.note(ids);
        });
    }

    /// These jobs have ended; `None`: some have. False if nobody cares.
    pub fn end(&self, ids: Option<&mut dyn Iterator<Item = i64>>) -> bool {
        if self.is_none() {
            return false;
        }
        self.lock.locked(|| self.note(ids));
        true
    }

    fn note(&self, ids: Option<&mut dyn Iterator<Item = i64>>) {
        let Some(ids) = ids else { return self.all.store(true, Relaxed) };
        let mut count = self.count.load(Relaxed);
        for id in ids {
            if count == MOST_IDS {
                self.all.store(true, Relaxed);
                break;
            }
            self.ids[count].store(id, Relaxed);
            count += 1;
        }
        self.count.store(count, Relaxed);
    }

    /// All are to be looked at again.
    pub fn ask_for_all(&self) {
        self.lock.locked(|| {
            self.none.store(false, Relaxed);
            self.all.store(true, Relaxed);
        });
    }

    /// The same, and at once: so many wait for one that has ended that they are not looked for one by one.
    pub fn ask_for_all_now(&self) {
        self.urgent.store(true, Relaxed);
        self.ask_for_all();
    }

    /// Some could not be moved.
    pub fn leave_stuck(&self) {
        self.stuck.store(true, Release);
    }

    /// Have some been left by others?
    pub fn take_stuck(&self) -> bool {
        self.stuck.load(Acquire) && self.stuck.swap(false, Acquire)
    }

    /// Somebody looked, after `added_so_far`, whether any job waits.
    pub fn seen(&self, any: bool, added: u64) {
        self.lock.locked(|| {
            let known = self.none.load(Relaxed);
            if any && known {
                // Nobody told of it: a prepared transaction.
                self.none.store(false, Relaxed);
                self.all.store(true, Relaxed);
            } else if !any && !known && self.added.load(Relaxed) == added {
                self.none.store(true, Relaxed);
                self.passing.store(false, Relaxed);
                self.all.store(false, Relaxed);
                self.count.store(0, Relaxed);
            }
        });
    }

    /// When there is something to look at.
    pub fn due(&self) -> Micros {
        self.lock.locked(|| {
            if self.none.load(Relaxed) {
                NEVER
            } else if self.count.load(Relaxed) > 0 || self.passing.load(Relaxed) {
                0
            } else if self.all.load(Relaxed) {
                if self.urgent.load(Relaxed) { 0 } else { self.rest_until.load(Relaxed) }
            } else {
                self.looked.load(Relaxed) + EVERY
            }
        })
    }

    /// The ended jobs that nobody has looked at yet.
    pub fn take(&self) -> Vec<i64> {
        // Allocated before: nobody waits for that.
        let mut taken = Vec::with_capacity(MOST_IDS);
        self.lock.locked(|| {
            let count = self.count.swap(0, Relaxed);
            taken.extend(self.ids[..count].iter().map(|id| id.load(Relaxed)));
        });
        taken
    }

    /// The next step of a pass, if one is under way or due.
    pub fn begin(&self, now: Micros) -> Option<Pass> {
        self.lock.locked(|| {
            let added = self.added.load(Relaxed);
            if self.passing.load(Relaxed) {
                return Some(Pass { from: self.cursor.load(Relaxed), added });
            }
            let rested = self.urgent.load(Relaxed) || self.rest_until.load(Relaxed) <= now;
            let asked = self.all.load(Relaxed) && rested;
            if !asked && self.looked.load(Relaxed) + EVERY > now {
                return None;
            }
            self.all.store(false, Relaxed);
            self.urgent.store(false, Relaxed);
            self.passing.store(true, Relaxed);
            self.cursor.store(i64::MIN, Relaxed);
            self.began.store(now, Relaxed);
            Some(Pass { from: i64::MIN, added })
        })
    }

    /// The step has come to this id.
    pub fn advance(&self, pass: &Pass, last: i64) {
        self.lock.locked(|| {
            if self.cursor.load(Relaxed) == pass.from {
                self.cursor.store(last, Relaxed);
            }
        });
    }

    /// The step found no more.
    pub fn finish(&self, pass: &Pass, now: Micros) {
        self.lock.locked(|| {
            if self.cursor.load(Relaxed) == pass.from && self.passing.swap(false, Relaxed) {
                let took = (now - self.began.load(Relaxed)).max(0);
                self.looked.store(now, Relaxed);
                let rest = if took > LONG { took * REST } else { 0 };
                self.rest_until.store(now + rest, Relaxed);
            }
        });
    }
}

#[cfg(test)]
#[path = "waits_test.rs"]
mod tests;
