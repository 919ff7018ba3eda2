//! Looks at all groups that have blocked jobs, and makes the first job of each that is free ready.

use super::gate::{is_held, open_tables};
use super::released::{self, number_of};
use crate::limit::Rooms;
use crate::pg::group::Looker;
use crate::pg::time::{self, Micros};
use crate::pg::{Oid, shmem, xact};
use crate::queue::Queue;
use crate::wake;
use crate::worker::shared::NEVER;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;

/// Groups looked at in one step.
const STEP: usize = 500;
/// A sweep is followed by so many times its own duration without.
const SHARE: Micros = 100;
const SHORTEST_PAUSE: Micros = 1_000_000;
const LONGEST_PAUSE: Micros = 60_000_000;

/// A sweep of this session that has not come to its end.
#[derive(Default)]
struct Pass {
    /// The group looked at last.
    after: Option<Vec<u8>>,
    spent: Micros,
    /// Without shared memory: when the next one is due.
    next: Micros,
}

thread_local! {
    static PASSES: RefCell<HashMap<Oid, Pass>> = RefCell::default();
}

/// When the next sweep is due.
pub fn next_sweep(queue: Oid) -> Micros {
    match wake::slot_of(queue) {
        Some(slot) => slot.next_sweep.load(SeqCst),
        None => PASSES.with_borrow(|passes| passes.get(&queue).map_or(0, |pass| pass.next)),
    }
}

/// The same for who only looks: without shared memory every session has its own times.
pub fn next_known_sweep(queue: Oid) -> Micros {
    if shmem::get().is_some() { next_sweep(queue) } else { NEVER }
}

/// A look whether there are blocked jobs of groups at all. While there are some, the next sweep has a time.
pub struct Look {
    queue: Oid,
    due: Micros,
    sorted: u64,
}

impl Look {
    /// To be called before the snapshot is taken.
    pub fn begin(queue: Oid) -> Look {
        Look { queue, due: next_known_sweep(queue), sorted: sorted_so_far(queue) }
    }

    /// It has seen some, or none. Returns when a sweep is due now.
    pub fn end(self, any_blocked: bool) -> Micros {
        let Some(slot) = wake::slot_of(self.queue) else { return NEVER };
        if !any_blocked {
            set_next_sweep(self.queue, self.due, NEVER);
            if sorted_so_far(self.queue) != self.sorted {
                // Somebody has committed meanwhile. The time that he set may be just the one that was set before.
                slot.sweep_soon();
            }
        } else if self.due == NEVER {
            // Nobody told of them: they are of a prepared transaction, say. The time is kept, however often it is asked.
            set_next_sweep(self.queue, NEVER, time::after(time::now(), SHORTEST_PAUSE));
        }
        slot.next_sweep.load(SeqCst)
    }
}

fn sorted_so_far(queue: Oid) -> u64 {
    wake::slot_of(queue).map_or(0, |slot| slot.sorted.load(SeqCst))
}

fn set_next_sweep(queue: Oid, before: Micros, next: Micros) {
    match wake::slot_of(queue) {
        // Unless somebody asked for one meanwhile.
        Some(slot) => {
            let _ = slot.next_sweep.compare_exchange(before, next, SeqCst, SeqCst);
        }
        None => PASSES.with_borrow_mut(|passes| passes.entry(queue).or_default().next = next),
    }
}

/// Does a step, if a sweep is due or under way; `anyway`: also if it is only due later. Returns how many jobs became ready.
pub fn sweep(queue: &Queue, anyway: bool) -> usize {
    let due = next_sweep(queue.oid);
    let started = time::now();
    if !anyway && due > started {
        return 0;
    }
    // Taken before looking: whoever asks for a sweep while we look is heard.
    let under_way = started + LONGEST_PAUSE;
    set_next_sweep(queue.oid, due, under_way);
    let Some(tables) = open_tables(queue) else { return 0 };
    let mut after = PASSES.with_borrow_mut(|passes| passes.entry(queue.oid).or_default().after.take());
    let is_first = after.is_none();
    let (mut seen, mut promoted) = (0, Vec::new());
    let mut rooms = Rooms::of(queue);
    let mut is_over = false;
    {
        let mut looker = Looker::of(&tables);
        // The rest is for a transaction that has locks left.
        while seen < STEP && released::may_lock() {
            let Some(group) = looker.next_blocked_group(after.as_deref()) else {
                is_over = true;
                break;
            };
            seen += 1;
            let number = number_of(queue.oid, &group.bytes);
            if released::lock(queue.oid, number) {
                looker.renew();
                let next = if is_held(queue, &mut looker, &group) {
                    None
                } else {
                    super::next_if(queue, &mut looker, &group, tables.allow_direct_deletion(), &mut rooms)
                };
                match next {
                    Some(job) => promoted.push(job),
                    None => released::unlock(number),
                }
            }
            after = Some(group.bytes);
        }
    }
    xact::next_command();
    super::put_free(queue, &promoted);
    let now = time::now();
    let spent = PASSES.with_borrow_mut(|passes| {
        let pass = passes.entry(queue.oid).or_default();
        pass.spent += now - started;
        pass.after = if is_over { None } else { after };
        if is_over { std::mem::take(&mut pass.spent) } else { pass.spent }
    });
    let next = if !is_over {
        now
    } else if seen == 0 && is_first {
        // Nothing is blocked.
        if shmem::get().is_some() { NEVER } else { now + SHORTEST_PAUSE }
    } else {
        now + (spent * SHARE).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
    };
    set_next_sweep(queue.oid, under_way, next);
    promoted.len()
}
