//! Groups that a claim of several rounds is done with: what it took of them is not yet where the next round
//! would see it, or goes nowhere now.

use super::released::number_of;
use super::{Looker, Taken, gate};
use crate::claim;
use crate::pg::group::{Member, Name};
use crate::pg::{spi, xact};
use crate::queue::Queue;
use crate::queue::statements::Which;
use std::cell::RefCell;
use std::collections::HashSet;

thread_local! {
    static CLOSED: RefCell<HashSet<u64>> = RefCell::default();
}

/// While it lives, claims take no job of the groups that were added.
/// Must be used inside `spi::connect`.
pub struct Closing(HashSet<u64>);

impl Closing {
    pub fn begin() -> Closing {
        Closing(CLOSED.take())
    }

    /// A round is over: of the groups of these leased jobs no other is to be leased, and those of the jobs that
    /// are put aside wait with them: their ready jobs are added.
    pub fn close(&self, queue: &Queue, leased: &[Taken], aside: &mut Vec<Taken>) {
        let groups_of = |jobs: &[Taken]| -> HashSet<Vec<u8>> {
            jobs.iter().filter_map(|job| super::of(queue, job)).collect()
        };
        let close = |group: &[u8]| {
            CLOSED.with_borrow_mut(|closed| closed.insert(number_of(queue.oid, group)));
        };
        groups_of(leased).iter().for_each(|group| close(group));
        for group in groups_of(aside) {
            close(&group);
            aside.extend(take_ready(queue, group));
        }
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        CLOSED.set(std::mem::take(&mut self.0));
    }
}

pub fn is_closed(number: u64) -> bool {
    CLOSED.with_borrow(|closed| closed.contains(&number))
}

/// Most jobs of a group taken at once.
const MOST: usize = 500;

/// Takes the ready jobs of a group whose lock this transaction has.
fn take_ready(queue: &Queue, group: Vec<u8>) -> Vec<Taken> {
    xact::next_command();
    let Some(tables) = gate::open_tables(queue) else { return Vec::new() };
    let mut looker = Looker::of(&tables);
    looker.renew();
    let ready = looker.first(&Name::of(group), false, i64::MIN, MOST);
    let mut take = |member: &Member| match tables.allow_direct_deletion() {
        true => looker.take(member, xact::command_to_write()).map(Taken::from),
        false => claim::take(queue, Which::ReadyJob, &[spi::arg(member.id)]).pop(),
    };
    let taken = ready.iter().filter_map(&mut take).collect();
    xact::next_command();
    taken
}
