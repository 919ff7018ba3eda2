//! The safety scan: looks below the floor for what nobody lowered it for. That is what no callback of
//! ours covers (see `floor`), and would be any mistake in the protocol.
//!
//! It goes in small steps, a pass after the other, at most one step at a time on a queue, and takes at
//! most a hundredth of the time. A pass starts where everything below was dead for good when it was last
//! looked at; a full pass starts at the beginning, and comes as often as its cost allows: on a queue
//! whose dead rows are vacuumed, each time.

use super::floor::{BOTTOM, PRIORITIES, TOP, include};
use super::native::{Direct, Held};
use crate::pg::time::{self, Micros};
use crate::worker::shared::QueueSlot;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};

/// Index entries looked at in one step.
const STEP: usize = 2000;
/// Steps done at once where there is nothing else to do.
pub const WHOLE_PASS: usize = 100;
/// Time between two passes.
const PAUSE: Micros = 1_000_000;
/// A step or pass is followed by at least so many times its own duration without.
const SHARE: Micros = 100;
const LONGEST_PAUSE: Micros = 60_000_000;
/// A step that does not end is given up after this time.
const LOST: Micros = 10_000_000;

/// What shared memory keeps of it. All bits zero is the valid beginning.
#[repr(C)]
pub struct Safety {
    /// When the next step is due; while one is under way, when it is taken for lost.
    next: AtomicI64,
    /// Where the pass under way goes on.
    priority: AtomicU64,
    key: AtomicI64,
    /// The pass under way starts from the beginning, and has taken so long.
    full: AtomicBool,
    spent: AtomicI64,
    /// When the next full pass is due.
    next_full: AtomicI64,
    /// When the last pass ended.
    pub ended: AtomicI64,
    /// Claimable jobs met below the floor that nobody was about to lower it for.
    pub found: AtomicU64,
}

impl Safety {
    pub fn reset(&self) {
        for place in [&self.next, &self.key, &self.spent, &self.next_full, &self.ended] {
            place.store(0, SeqCst);
        }
        self.priority.store(0, SeqCst);
        self.full.store(false, SeqCst);
        self.found.store(0, SeqCst);
    }
}

/// Is a step due, and may this session do it? Looked at after each claim, so it must cost nothing.
pub fn is_due(slot: &QueueSlot) -> bool {
    let (next, now) = (slot.safety.next.load(SeqCst), time::now());
    // Never so far ahead, unless the clock was set back.
    next <= now || next > now + 2 * LONGEST_PAUSE
}

/// Does up to so many steps of a pass. True if it lowered the floor.
pub fn step(direct: &Direct, most: usize) -> bool {
    let safety = &direct.slot.safety;
    let mut lowered = false;
    for number in 1..=most {
        let started = time::now();
        let due = safety.next.load(SeqCst);
        let is_ours =
            is_due(direct.slot) && safety.next.compare_exchange(due, started + LOST, SeqCst, SeqCst).is_ok();
        if !is_ours {
            return lowered;
        }
        let (found, pass_over) = one_step(direct, started);
        lowered |= found;
        let took = (time::now() - started).max(1);
        let spent = safety.spent.fetch_add(took, SeqCst) + took;
        if pass_over {
            let now = time::now();
            if safety.full.load(SeqCst) {
                safety.next_full.store(now + spent * SHARE, SeqCst);
            }
            safety.spent.store(0, SeqCst);
            safety.ended.store(now, SeqCst);
            safety.next.store(now + (took * SHARE).clamp(PAUSE, LONGEST_PAUSE), SeqCst);
            return lowered;
        }
        let pause = if number < most { 0 } else { (took * SHARE).min(PAUSE) };
        safety.next.store(time::now() + pause, SeqCst);
    }
    lowered
}

/// Looks at some entries. Says whether it lowered the floor, and whether the pass is over.
fn one_step(direct: &Direct, now: Micros) -> (bool, bool) {
    let (floors, safety) = (&direct.slot.floors, &direct.slot.safety);
    let held = Held::begin(floors);
    let reading = held.reading;
    let mut priority = safety.priority.load(SeqCst) as usize;
    let mut key = safety.key.load(SeqCst);
    if priority == 0 && key == BOTTOM {
        safety.full.store(now >= safety.next_full.load(SeqCst), SeqCst);
    }
    let full = safety.full.load(SeqCst);
    let mut dead = [BOTTOM; PRIORITIES];
    let mut left = STEP;
    let mut lowered = false;
    while priority < PRIORITIES && left > 0 {
        let from = if full { key } else { key.max(reading.dead[priority]) };
        let to = reading.floor[priority];
        let look = direct.ready.look(priority, from, to, left);
        // Only if nothing lies between what is known as dead and what was looked at.
        if from <= reading.dead[priority] {
            dead[priority] = look.dead;
        }
        if let Some(met) = look.met {
            lowered |= deal_with(direct, priority, met);
        }
        left = if look.cut_short { 0 } else { left.saturating_sub(look.seen) };
        match look.next {
            Some(next) => key = next,
            None => (priority, key) = (priority + 1, BOTTOM),
        }
    }
    let over = priority >= PRIORITIES;
    safety.priority.store(if over { 0 } else { priority as u64 }, SeqCst);
    safety.key.store(if over { BOTTOM } else { key }, SeqCst);
    held.finish(&[BOTTOM; PRIORITIES], &dead);
    (lowered, over)
}

/// A claimable row below the floor: perhaps whoever made it so is just about to lower the floor. Then it
/// is none of our business. Else the floor is lowered here, and it counts.
fn deal_with(direct: &Direct, priority: usize, met: crate::pg::ready::Met) -> bool {
    let floors = &direct.slot.floors;
    direct.ready.settle(&met);
    if floors.of(priority) <= met.id {
        return true;
    }
    // Above the floor's word, and unchanged since: it was claimable all the time.
    let again = direct.ready.look(priority, met.id, met.id.saturating_add(1), 1);
    if again.met != Some(met) {
        return false;
    }
    direct.slot.safety.found.fetch_add(1, SeqCst);
    let mut keys = [TOP; PRIORITIES];
    include(&mut keys, priority as i32, met.id);
    floors.lower(&keys);
    true
}
