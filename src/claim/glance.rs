//! A look at what could be claimed, without claiming: what the scheduler asks of each queue, often.

use super::native::{self, Direct};
use super::{floor, safety};
use crate::queue::Queue;

/// Entries looked at to find out whether there is a job. After so many the claim will tell.
const MOST_LOOKED_AT: usize = 100;

/// May there be a job to claim? The safety scan is done first, if it is due. `None`: only SQL can tell.
pub fn has_ready(queue: &Queue) -> Option<bool> {
    let direct = native::open_to_look(queue)?;
    if safety::is_due(direct.slot) {
        safety::step(&direct, safety::WHOLE_PASS);
    }
    let mut found = false;
    above_floor(&direct, MOST_LOOKED_AT, |look| found |= look.met.is_some() || look.next.is_some());
    Some(found)
}

/// Is a job in sight that could be claimed? Only what the floor shows is looked at, so yes is sure and no is not.
pub fn is_in_sight(queue: &Queue) -> bool {
    let mut found = false;
    if let Some(direct) = native::open_to_look(queue) {
        above_floor(&direct, MOST_LOOKED_AT, |look| found |= look.met.is_some());
    }
    found
}

/// Entries above the floor, counted up to a bound: the jobs that wait, those that are being run, and the
/// few that were since the floor was last raised. `None`: only SQL can tell.
pub fn count(queue: &Queue, bound: usize) -> Option<usize> {
    let direct = native::open_to_look(queue)?;
    let mut count = 0;
    above_floor(&direct, bound, |look| count += look.seen);
    Some(count)
}

fn above_floor(direct: &Direct, most: usize, mut each: impl FnMut(&crate::pg::ready::Look)) {
    let mut left = most;
    for priority in 0..floor::PRIORITIES {
        if left > 0 {
            let look = direct.ready.look(priority, direct.slot.floors.of(priority), floor::TOP, left);
            left = left.saturating_sub(look.seen);
            each(&look);
        }
    }
}
