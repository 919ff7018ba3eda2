//! The floor: for each priority of a queue, a key (the job's id) below which nothing is claimable. It
//! saves a claim from walking the dead head of the index. Pure: atomics and a short lock, no Postgres.
//!
//! Who does what, each in one short section under the lock:
//!
//! - **lower**: whoever made a row claimable, *after* it became so: an enqueuer when its transaction has
//!   committed, a claimer when its transaction (or subtransaction) has been rolled back.
//! - **begin**: a claimer, *before* it takes its snapshot. It reads the floors and sets up a mark, in
//!   which every later `lower` is also noted until it is done.
//! - **finish**: the claimer, after its scan. It raises the floors past what it saw dead, or claimed
//!   itself, or met in the hands of another claimer; clipped to what its mark says.
//!
//! # Why a job is never hidden
//!
//! Hidden means: claimable, with a key below the floor, and nobody is about to lower it. Suppose that
//! claimer A's `finish` were the first to raise the floor past the key k of a claimable row R, or of
//! one that becomes claimable later. R becomes claimable by a commit or a rollback, which is followed
//! by a `lower` to k or below. Take the last time that R became so. The sections are in one order:
//!
//! 1. `lower` after A's `finish`: it undoes the raise.
//! 2. `lower` between A's `begin` and `finish`: it is in A's mark, and A's raise is clipped to it.
//! 3. `lower` before A's `begin`: R was claimable before `lower`, so before A's snapshot, which is thus
//!    a snapshot that sees R. The floor was at most k then, so A's scan, in the order of the keys,
//!    started at or before R and met it before going past. A then either claimed R, or found it
//!    deleted, or found somebody claiming it; R was no longer claimable, and if it became so again by a
//!    rollback, that was not the last time. Or A found R merely locked, or changed by hand: then A does
//!    not raise past it.
//!
//! Plain SQL is covered by the queue's own triggers (`enqueue::plain`): an INSERT or COPY lowers to what the
//! sequence had given out before it, and to each id that was chosen below that; an UPDATE, and the
//! rollback of an UPDATE or DELETE, lower to the beginning.
//!
//! A row nobody lowers for is not covered: COMMIT PREPARED and ROLLBACK PREPARED, logical replication,
//! changes with triggers disabled. For those there is the safety scan (`safety`). All of this is a hint:
//! the truth is in the table, and losing the hint (all bits zero) costs one scan from the beginning.

use crate::spin::SpinLock;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

pub const PRIORITIES: usize = 10;
/// Claims of one queue that may be in their scan at the same time and still raise the floor.
const MARKS: usize = 16;

/// A key for each priority.
pub type Keys = [i64; PRIORITIES];

/// Below everything: a scan from here sees all. Ids below 1 are taken as this.
pub const BOTTOM: i64 = 0;
/// Above everything: nothing is claimable.
pub const TOP: i64 = i64::MAX;
/// For no priority.
pub const NONE: Keys = [TOP; PRIORITIES];
/// For all priorities, from the beginning.
pub const ALL: Keys = [BOTTOM; PRIORITIES];

/// Lowers one key.
pub fn include(keys: &mut Keys, priority: i32, id: i64) {
    if let Some(key) = usize::try_from(priority).ok().and_then(|p| keys.get_mut(p)) {
        *key = (*key).min(id.max(BOTTOM));
    }
}

/// For one job only.
pub fn of_one(priority: i32, id: i64) -> Keys {
    let mut keys = NONE;
    include(&mut keys, priority, id);
    keys
}

/// Lowers all keys to those of another list.
pub fn include_all(keys: &mut Keys, others: &Keys) {
    for (key, other) in keys.iter_mut().zip(others) {
        *key = (*key).min(*other);
    }
}

/// What shared memory keeps for a queue. All bits zero is the valid beginning.
#[derive(Default)]
#[repr(C)]
pub struct Floors {
    lock: SpinLock,
    /// Changes when the slot gets another queue.
    incarnation: AtomicU64,
    floor: [AtomicI64; PRIORITIES],
    /// Below this everything is dead for good, so that the safety scan need not look again.
    dead: [AtomicI64; PRIORITIES],
    marks: [Mark; MARKS],
}

#[derive(Default)]
#[repr(C)]
struct Mark {
    taken: AtomicBool,
    lowest: [AtomicI64; PRIORITIES],
}

/// A claim in its scan: from `begin` to `finish` or `abandon`.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    incarnation: u64,
    /// None if too many claims are under way: this one raises nothing.
    mark: Option<usize>,
    /// Where to start.
    pub floor: Keys,
    /// Where the safety scan may start.
    pub dead: Keys,
}

impl Floors {
    /// Everything may be claimable again; marks taken before are void.
    pub fn reset(&self) {
        self.lock.locked(|| {
            self.incarnation.fetch_add(1, Relaxed);
            self.floor.iter().chain(&self.dead).for_each(|key| key.store(BOTTOM, Relaxed));
            self.marks.iter().for_each(|mark| mark.taken.store(false, Relaxed));
        });
    }

    /// Rows with these keys have become claimable, or may have.
    pub fn lower(&self, keys: &Keys) {
        if *keys == NONE {
            return;
        }
        self.lock.locked(|| {
            let marks = self.marks.iter().filter(|mark| mark.taken.load(Relaxed)).map(|mark| &mark.lowest);
            for list in marks.chain([&self.floor, &self.dead]) {
                for (place, key) in list.iter().zip(keys) {
                    if *key < place.load(Relaxed) {
                        place.store(*key, Relaxed);
                    }
                }
            }
        });
    }

    /// To be called before the snapshot is taken.
    pub fn begin(&self) -> Reading {
        self.lock.locked(|| {
            let mark = self.marks.iter().position(|mark| !mark.taken.load(Relaxed));
            if let Some(mark) = mark.map(|place| &self.marks[place]) {
                mark.taken.store(true, Relaxed);
                mark.lowest.iter().for_each(|key| key.store(TOP, Relaxed));
            }
            Reading {
                incarnation: self.incarnation.load(Relaxed),
                mark,
                floor: std::array::from_fn(|p| self.floor[p].load(Relaxed)),
                dead: std::array::from_fn(|p| self.dead[p].load(Relaxed)),
            }
        })
    }

    /// The scan is over: below `reached` nothing is claimable, as far as it saw; below `dead`, nothing
    /// ever will be. Keys that say nothing new change nothing.
    pub fn finish(&self, reading: &Reading, reached: &Keys, dead: &Keys) {
        self.lock.locked(|| {
            let Some(mark) = self.mark_of(reading) else { return };
            for p in 0..PRIORITIES {
                let clip = mark.lowest[p].load(Relaxed);
                for (place, key) in [(&self.floor[p], reached[p]), (&self.dead[p], dead[p])] {
                    let key = key.min(clip);
                    if key > place.load(Relaxed) {
                        place.store(key, Relaxed);
                    }
                }
            }
            mark.taken.store(false, Relaxed);
        });
    }

    /// The scan did not come to its end.
    pub fn abandon(&self, reading: &Reading) {
        self.lock.locked(|| {
            if let Some(mark) = self.mark_of(reading) {
                mark.taken.store(false, Relaxed);
            }
        });
    }

    fn mark_of(&self, reading: &Reading) -> Option<&Mark> {
        let valid = reading.incarnation == self.incarnation.load(Relaxed);
        reading.mark.filter(|_| valid).map(|place| &self.marks[place])
    }

    /// The floor of a priority, as of now.
    pub fn of(&self, priority: usize) -> i64 {
        self.floor[priority].load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floors() -> Floors {
        Floors::default()
    }

    fn keys(priority: i32, id: i64) -> Keys {
        let mut keys = NONE;
        include(&mut keys, priority, id);
        keys
    }

    fn reached(priority: usize, id: i64) -> Keys {
        let mut keys = ALL;
        keys[priority] = id;
        keys
    }

    #[test]
    fn a_raise_is_kept() {
        let floors = floors();
        let reading = floors.begin();
        floors.finish(&reading, &reached(5, 10), &ALL);
        assert_eq!(floors.of(5), 10);
        assert_eq!(floors.of(4), BOTTOM);
    }

    #[test]
    fn a_raise_is_clipped_to_what_was_lowered_since_it_began() {
        let floors = floors();
        let reading = floors.begin();
        floors.lower(&keys(5, 7));
        floors.finish(&reading, &reached(5, 10), &reached(5, 10));
        assert_eq!(floors.of(5), 7);
        assert_eq!(floors.begin().dead[5], 7);
    }

    #[test]
    fn what_was_lowered_before_it_began_does_not_clip() {
        let floors = floors();
        floors.lower(&keys(5, 7));
        let reading = floors.begin();
        floors.finish(&reading, &reached(5, 10), &ALL);
        assert_eq!(floors.of(5), 10);
    }

    #[test]
    fn lowering_undoes_a_raise() {
        let floors = floors();
        let reading = floors.begin();
        floors.finish(&reading, &reached(5, TOP), &ALL);
        floors.lower(&keys(5, 7));
        assert_eq!(floors.of(5), 7);
    }

    #[test]
    fn a_raise_never_lowers() {
        let floors = floors();
        let (first, second) = (floors.begin(), floors.begin());
        floors.finish(&first, &reached(5, 10), &ALL);
        floors.finish(&second, &reached(5, 6), &ALL);
        assert_eq!(floors.of(5), 10);
    }

    #[test]
    fn without_a_mark_nothing_is_raised() {
        let floors = floors();
        let marked: Vec<Reading> = (0..MARKS).map(|_| floors.begin()).collect();
        let late = floors.begin();
        floors.finish(&late, &reached(5, 10), &ALL);
        assert_eq!(floors.of(5), BOTTOM);
        marked.iter().for_each(|reading| floors.abandon(reading));
        assert!(floors.begin().mark.is_some());
    }

    #[test]
    fn a_mark_of_another_queue_says_nothing() {
        let floors = floors();
        let reading = floors.begin();
        floors.reset();
        floors.finish(&reading, &reached(5, 10), &ALL);
        assert_eq!(floors.of(5), BOTTOM);
    }

    #[test]
    fn ids_below_one_are_the_beginning() {
        let floors = floors();
        let reading = floors.begin();
        floors.finish(&reading, &reached(0, 10), &ALL);
        floors.lower(&keys(0, -3));
        assert_eq!(floors.of(0), BOTTOM);
    }
}
