//! Locks on groups, and what is told when they are given back.
//!
//! A claimer that does not get a group's lock leaves the group's jobs where they are; so does one that gets
//! it and finds the group held back. It counts that in the queue's slot, and then looks once more.
//! Whoever holds a lock noted the count before he took it, and compares after his locks are gone: if it
//! has changed, he announces the queue anew. So a job that was passed over because of a lock is looked at
//! again: either the second look found the lock free, or the count was raised before the lock was given
//! back.

use crate::pg::{Oid, lock, shmem, xact};
use crate::wake;
use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Once;
use std::sync::atomic::Ordering::SeqCst;

#[derive(Default)]
struct Held {
    /// Queues of which this transaction has locks: place, queue, passed and sorted when it took the first.
    queues: Vec<(usize, u32, u64, u64)>,
    /// Locks taken.
    count: usize,
    /// Groups that need nothing done in the end.
    settled: HashSet<u64>,
}

thread_local! {
    static HELD: RefCell<Held> = RefCell::default();
}

/// The number of a group's lock. Two groups with the same only wait for each other.
pub fn number_of(queue: Oid, group: &[u8]) -> u64 {
    // The same in all sessions: all have the same library.
    let mut hasher = DefaultHasher::new();
    queue.to_u32().hash(&mut hasher);
    group.hash(&mut hasher);
    hasher.finish()
}

/// May this transaction take one more?
pub fn may_lock() -> bool {
    HELD.with_borrow(|held| held.count < lock::fair_share())
}

/// Takes a group's lock until the transaction ends, if nobody else has it.
pub fn lock(queue: Oid, number: u64) -> bool {
    note(queue);
    let got = lock::try_number(number) || {
        pass(queue);
        lock::try_number(number)
    };
    if got {
        HELD.with_borrow_mut(|held| held.count += 1);
    }
    got
}

/// Does this transaction have the group's lock?
pub fn is_mine(number: u64) -> bool {
    lock::has_number(number)
}

/// This transaction has one more lock of another kind.
pub fn add_one() {
    HELD.with_borrow_mut(|held| held.count += 1);
}

/// Gives a lock back before.
pub fn unlock(number: u64) {
    lock::release_number(number);
    HELD.with_borrow_mut(|held| held.count = held.count.saturating_sub(1));
}

/// From now on what others count is told at the end of this transaction.
pub fn note(queue: Oid) {
    static REGISTERED: Once = Once::new();
    xact::on_release(&REGISTERED, told);
    let Some(shared) = shmem::get() else { return };
    let Some(place) = wake::place_of(queue) else { return };
    HELD.with_borrow_mut(|held| {
        if !held.queues.iter().any(|known| known.0 == place) {
            let slot = &shared.queues[place];
            let (passed, sorted) = (slot.passed.load(SeqCst), slot.sorted.load(SeqCst));
            held.queues.push((place, queue.to_u32(), passed, sorted));
        }
    });
}

/// A job was left where it is because of its group.
pub fn pass(queue: Oid) {
    if let Some(slot) = wake::slot_of(queue) {
        slot.passed.fetch_add(1, SeqCst);
    }
}

/// Was ever a job passed over, as far as is known?
pub fn any_passed(queue: Oid) -> bool {
    wake::slot_of(queue).is_some_and(|slot| slot.passed.load(SeqCst) > 0)
}

/// Nothing need be done for the group when its jobs that this transaction has taken are done: there are no
/// others, as far as it saw, or the next one is ready. Those that come later are announced as they come.
pub fn settle(number: u64) {
    if shmem::get().is_some() {
        HELD.with_borrow_mut(|held| held.settled.insert(number));
    }
}

pub fn is_settled(number: u64) -> bool {
    HELD.with_borrow(|held| held.settled.contains(&number))
}

/// A subtransaction was rolled back, perhaps with the claim that found it out. Frees nothing: called where
/// nothing may fail.
pub fn rolled_back() {
    let _ = HELD.try_with(|held| held.try_borrow_mut().map(|mut held| held.settled.clear()));
}

/// Is that so of all groups that this transaction has locked?
pub fn all_settled() -> bool {
    HELD.with_borrow(|held| held.settled.len() == held.count)
}

/// The locks are gone. Touches atomics and latches only.
fn told() {
    let _ = HELD.try_with(|held| {
        let Ok(mut held) = held.try_borrow_mut() else { return };
        if let Some(shared) = shmem::get() {
            for (place, queue, passed, sorted) in &held.queues {
                let slot = &shared.queues[*place];
                if slot.queue.load(SeqCst) != *queue {
                    continue;
                }
                if slot.sorted.load(SeqCst) != *sorted {
                    slot.sweep_soon();
                    shared.wake_scheduler(slot.database.load(SeqCst));
                }
                if slot.passed.load(SeqCst) != *passed {
                    shared.announce(*place);
                }
            }
        }
        crate::limit::count::forget();
        held.queues.clear();
        held.settled.clear();
        held.count = 0;
    });
}
