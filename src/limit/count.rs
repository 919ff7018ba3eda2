//! How many run: locks that transactions hold to be counted, and leased rows.
//!
//! A transaction that runs or pops jobs holds one lock, and counts one. One that leases jobs holds locks that
//! stand for 1, 2, 4, … jobs, together for at least as many as it has leased: until it commits nobody else
//! sees the rows.

use crate::claim::Use;
use crate::group::released;
use crate::pg::{Oid, lock, role, spi, time, xact};
use crate::queue::Queue;
use crate::wake;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Locks that stand for 1, 2, 4, … jobs: enough for the highest limit.
pub const SIZES: u32 = 21;
/// A queue for which a claim found no room is looked at again after so long, whatever is told.
const LOOK_AGAIN: time::Micros = 1_000_000;

thread_local! {
    /// How many jobs this transaction has leased, at most, by the number of what is limited.
    static LEASED: RefCell<HashMap<u64, i64>> = RefCell::default();
}

/// The transaction has ended. Frees nothing: called where nothing may fail.
pub fn forget() {
    super::starts::forget();
    let _ = LEASED.try_with(|leased| leased.try_borrow_mut().map(|mut leased| leased.clear()));
}

/// While it lives, nobody else counts what runs of the queue.
pub fn turn(queue: Oid) -> lock::Turn {
    lock::Turn::wait(number(&(queue.to_u32(), "turn")))
}

/// The same in all sessions: all have the same library.
pub fn number(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// So many jobs of a queue, or of one of its keys, may run.
pub struct Limit<'a> {
    pub queue: &'a Queue,
    pub key: Option<&'a str>,
    pub most: i64,
    /// Leased by this claim already, but not yet among the running rows.
    pub unseen: i64,
}

/// What was taken for jobs that are to start.
pub struct Room {
    pub granted: i64,
    /// What is limited, if leases are counted.
    leases_of: Option<u64>,
    locks: Vec<u64>,
}

impl Room {
    /// As much as is wanted.
    pub fn all(wanted: i64) -> Room {
        Room { granted: wanted, leases_of: None, locks: Vec::new() }
    }

    fn none() -> Room {
        Room::all(0)
    }

    /// So many jobs were found. The locks are kept, unless it was none.
    pub fn give_back(self, found: i64) {
        if let Some(of) = self.leases_of {
            LEASED.with_borrow_mut(|leased| *leased.entry(of).or_default() -= self.granted - found);
        }
        if found == 0 {
            self.locks.into_iter().for_each(lock::count_me_not);
        }
    }
}

impl Limit<'_> {
    fn number(&self) -> u64 {
        number(&(self.queue.oid.to_u32(), "limit", self.key))
    }

    /// The lock of who runs or pops.
    fn one(&self) -> u64 {
        number(&(self.number(), "one"))
    }

    /// The lock that stands for this power of two.
    fn size(&self, power: u32) -> u64 {
        number(&(self.number(), power))
    }

    /// How many may start now, besides what this transaction has taken.
    pub fn free(&self) -> i64 {
        // First the locks: see the header of the module above.
        let others = lock::others_with(self.one()) + others(&|power| self.size(power));
        let mine = i64::from(lock::is_counted(self.one()));
        let left = self.most - others - mine - self.unseen;
        if left <= 0 { left } else { left - self.leased(left) }
    }

    /// Leased jobs, this transaction's, too; counts no further than this.
    fn leased(&self, most: i64) -> i64 {
        xact::next_command();
        let key = if self.key.is_some() { " AND l.key = $2" } else { " AND $2 IS NULL" };
        let sql = format!(
            "SELECT pg_catalog.count(*) FROM (
                 SELECT FROM {} AS l WHERE l.state = 'running'{key} LIMIT $1) AS r",
            self.queue.table
        );
        let rows = role::as_owner_of_all(self.queue.owner, || {
            let _order = role::Planner::by_index();
            let plan = self.queue.plan(sql, &[pg_sys::INT8OID, pg_sys::TEXTOID]);
            plan.execute(&[spi::arg(most), spi::arg(self.key)])
        });
        rows.get(0, 1).unwrap_or(most)
    }

    /// Takes room for up to so many jobs. To be called when it is this transaction's turn.
    pub fn reserve(&self, wanted: i64, used: Use) -> Room {
        if used != Use::Lease && lock::is_counted(self.one()) {
            return Room::all(wanted);
        }
        let mut free = self.free();
        if free <= 0 {
            // Whoever has the room sees that, or we see that he has it no more.
            released::pass(self.queue.oid);
            free = self.free();
        }
        if free <= 0 {
            wake::due(self.queue.oid, time::after(time::now(), LOOK_AGAIN));
            return Room::none();
        }
        // Before the lock is taken: those who see it are counted from now on.
        released::note(self.queue.oid);
        if used != Use::Lease {
            return match add(self.one()) {
                true => Room { locks: vec![self.one()], ..Room::all(wanted) },
                false => Room::none(),
            };
        }
        let granted = wanted.min(free);
        match self.hold_for(granted) {
            Some(locks) => Room { granted, leases_of: Some(self.number()), locks },
            None => Room::none(),
        }
    }

    /// Holds locks that stand for so many leases more.
    fn hold_for(&self, more: i64) -> Option<Vec<u64>> {
        let leased = LEASED.with_borrow(|leased| leased.get(&self.number()).copied().unwrap_or(0)) + more;
        let taken = hold(leased, &|power| self.size(power))?;
        LEASED.with_borrow_mut(|all| all.insert(self.number(), leased));
        Some(taken.into_iter().map(|power| self.size(power)).collect())
    }
}

/// What the locks of others stand for; `size`: the lock for a power of two.
pub fn others(size: &dyn Fn(u32) -> u64) -> i64 {
    (0..SIZES).map(|power| lock::others_with(size(power)) << power).sum()
}

/// Holds locks that stand, with those held already, for so many at least. Returns which it took; `None`, and none
/// is taken, if that cannot be had.
pub fn hold(wanted: i64, size: &dyn Fn(u32) -> u64) -> Option<Vec<u32>> {
    let held: Vec<bool> = (0..SIZES).map(|power| lock::is_counted(size(power))).collect();
    let mut taken = Vec::new();
    for power in powers(wanted, &held) {
        if !add(size(power)) {
            taken.into_iter().for_each(|power| lock::count_me_not(size(power)));
            return None;
        }
        taken.push(power);
    }
    Some(taken)
}

/// Holds one lock more, if that can be had.
pub fn add(number: u64) -> bool {
    let got = released::may_lock() && lock::count_me(number);
    if got {
        released::add_one();
    }
    got
}

/// The powers of two that are to be added to those held, to be so many at least.
fn powers(wanted: i64, held: &[bool]) -> Vec<u32> {
    let place = |power: &u32| *power as usize;
    let sum: i64 = (0..held.len() as u32).filter(|power| held[place(power)]).map(|power| 1 << power).sum();
    let missing = wanted - sum;
    if missing <= 0 {
        return Vec::new();
    }
    let free = || (0..held.len() as u32).filter(|power| !held[place(power)]);
    let exact: Vec<u32> = free().filter(|power| missing & (1 << power) != 0).collect();
    if exact.iter().map(|power| 1_i64 << power).sum::<i64>() == missing {
        return exact;
    }
    // One that is large enough; if none is left, all there are: that is more than any limit.
    free().find(|power| 1_i64 << power >= missing).map_or_else(|| free().collect(), |power| vec![power])
}

#[cfg(test)]
mod tests {
    use super::powers;

    #[test]
    fn locks_stand_for_as_many_as_are_leased() {
        assert_eq!(powers(5, &[false; 4]), [0, 2]);
        assert!(powers(1, &[true, false, false]).is_empty());
        assert_eq!(powers(2, &[true, false, false]), [1]);
        assert_eq!(powers(4, &[true, true, false]), [2]);
        assert_eq!(powers(9, &[true, true, false]), [2]);
    }
}
