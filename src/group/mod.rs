//! Groups: jobs with the same `group_key` run one at a time, in the order of their ids.
//!
//! Enqueueing knows nothing of groups: a job becomes ready (or scheduled) as any other. Whoever takes jobs
//! minds them:
//!
//! - **gate**: a claim that meets a ready job of a group takes the group's *lock*, if nobody has it: one of
//!   the server's locks, kept until the transaction ends. With a snapshot taken after that it looks whether
//!   the group is *held*: one of its jobs is leased or, unless the queue lets failures pass, waits for its
//!   retry or is an error row. If not, it takes the group's jobs from the first on, from among the ready
//!   and the blocked ones, as far as the one it met. On a queue with limits by key it takes the ready ones only, up
//!   to the first that is blocked: that may wait for its key, and is made ready when this has room.
//! - **sort**: jobs that cannot run stay ready, and each claim passes over them; when they are many, they
//!   are moved among the blocked ones, so that each is passed once.
//! - **ended**: the end of a job makes the group's next one, if it is blocked, ready; if it is ready
//!   already, announces it.
//! - **sweep**: looks at all groups with blocked jobs, and makes the first of each that is free ready.
//!
//! # Why two jobs of a group never run at the same time, and run in order
//!
//! Jobs are started under the lock only. A worker, or a session that pops, has it until the transaction
//! that runs the job has ended, and the job is gone with it. A job lent to a client is among the running
//! ones from the commit on with which the lock ends, until the commit that ends the lease: who has the lock
//! meanwhile sees it there. Who gets the lock takes his snapshot after that, so he sees all that was done
//! under it before: the lock is given back after the transaction has become visible. He takes jobs by
//! their ids from all that he sees; one that he cannot delete (it is being moved, or changed by hand)
//! keeps him from all after it. So the order is that of the ids among the jobs committed when he looked.
//! He may also take them as the scan of all ready jobs meets them, from the floor on, where that comes to the
//! same. Then nothing that he sees may be below the floor: see `Keeper::goes_by_scan` and `claim::telling`.
//!
//! # Why no job is forgotten
//!
//! A ready job that was passed over is no more hidden than others: the floor is not raised past it. What
//! must come is somebody to look again, and that is announced by whoever had the lock when he gives it back
//! (see `released`), or by who ends what held the group (`ended`), who sees all that was committed before he
//! looked, and compares the counts for the rest. A blocked job of a free group is made ready by `ended`, or by a
//! sweep. A sweep comes soon after each transaction that sorted, after the end of each transaction that
//! had a lock while others sorted, when `ended` did not get the lock, and as long as there are groups with
//! blocked jobs every second or, where it takes long, so seldom that it takes a hundredth of the time.
//! The last is what mends all that is not covered: crashes, rows changed by hand, PREPARE TRANSACTION. It is
//! sure to go on: whoever computes when a queue is due, which is done each minute, sets a time if he sees
//! blocked jobs and there is none (`sweep::Look`).
//! Without shared memory sweeps come with every look at the queue, as seldom.
//!
//! # Locks
//!
//! Locks on groups are never waited for, so nobody deadlocks over them. None outlives a crash. A
//! transaction takes a limited number: with that its claim ends.

pub mod closing;
pub mod gate;
pub mod released;
mod sort;
pub mod stuck;
mod sweep;

use crate::claim::{self, Move, Taken};
use crate::pg::group::{Looker, Member, Name};
use crate::pg::{Oid, row, time, xact};
use crate::queue::Queue;
use crate::queue::layout::Col;
use crate::queue::statements::Which;
use crate::worker::shared::NEVER;
use crate::{keys, limit, limit::Rooms, pg::spi, wake};
use released::number_of;
pub use sort::sort;
use std::collections::HashMap;
use sweep::next_known_sweep;
pub use sweep::{Look, next_sweep, sweep};

/// The group of a job, if it is in one.
pub fn of(queue: &Queue, job: &Taken) -> Option<Vec<u8>> {
    let layout = queue.layout.as_ref()?;
    row::text_in(job.row, layout.row_type, layout.number(Col::GroupKey))
}

/// Does a job that goes there hold its group back?
pub fn holds(queue: &Queue, next: &Move) -> bool {
    !queue.options.group_continues
        && (next.state == "failed" || (next.state == "scheduled" && next.attempt > 1))
}

/// These jobs have left where they were, for good or not: it is the turn of the next of their groups, if
/// none holds its group back. Must be called inside `spi::connect`, after the jobs were put.
pub fn ended<'a>(queue: &Queue, jobs: impl Iterator<Item = (&'a Taken, bool)>) {
    let mut groups: HashMap<Vec<u8>, bool> = HashMap::new();
    for (job, holds) in jobs {
        if let Some(group) = of(queue, job) {
            *groups.entry(group).or_default() |= holds;
        }
    }
    groups.retain(|group, holds| !*holds && !released::is_settled(number_of(queue.oid, group)));
    if groups.is_empty() {
        return;
    }
    xact::next_command();
    let Some(tables) = gate::open_tables(queue) else { return };
    let (mut promoted, mut rooms) = (Vec::new(), Rooms::of(queue));
    {
        let mut looker = Looker::of(&tables);
        for group in groups.into_keys() {
            let number = number_of(queue.oid, &group);
            if !released::is_mine(number) && !released::may_lock() {
                // Left to others: the next job, if it is blocked, to the sweep; if it is ready, to who is told.
                wake::enqueued(queue.oid, &claim::floor::NONE);
                wake::sweep(queue.oid);
                continue;
            }
            if !released::lock(queue.oid, number) {
                // Somebody is looking at it just now, and does not see yet what has ended.
                wake::sweep(queue.oid);
                continue;
            }
            looker.renew();
            let group = Name::of(group);
            if !gate::is_held(queue, &mut looker, &group) {
                let directly = tables.allow_direct_deletion();
                promoted.extend(next_if(queue, &mut looker, &group, directly, &mut rooms));
            }
        }
    }
    xact::next_command();
    put_free(queue, &promoted);
}

/// Puts the first blocked jobs of free groups, whose keys have room, where they go now.
pub fn put_free(queue: &Queue, first: &[Taken]) {
    put(queue, &first.iter().map(Move::back).collect::<Vec<_>>());
}

/// Puts the first jobs of groups.
pub fn put(queue: &Queue, moves: &[Move]) {
    if moves.iter().any(|next| next.state == "scheduled") {
        // Those behind it do not wait for it: the sweep is told of blocked ones, who takes jobs of ready ones.
        wake::sweep(queue.oid);
        wake::enqueued(queue.oid, &claim::floor::NONE);
    }
    claim::put(queue, moves);
}

/// The group's first job: taken, if it is blocked and its key has room; announced, if it is ready.
fn next_if(
    queue: &Queue,
    looker: &mut Looker,
    group: &Name,
    directly: bool,
    rooms: &mut Rooms,
) -> Option<Taken> {
    let key = queue.layout.as_ref()?.number(Col::Key);
    let ready = looker.first(group, false, i64::MIN, 1).into_iter().next();
    let blocked = looker.first(group, true, i64::MIN, 1).into_iter().next();
    let goes_first = |member: &Member| ready.is_none_or(|ready| member.id < ready.id);
    if let Some(member) = blocked.filter(goes_first) {
        if !rooms.take(|| looker.text_of(&member, key)) {
            return None;
        }
        if directly {
            let taken = looker.take(&member, xact::command_to_write()).map(Taken::from);
            keys::want(queue.oid, looker.held.drain(..));
            return taken;
        }
        return claim::take(queue, Which::BlockedJob, &[spi::arg(member.id)]).into_iter().next();
    }
    let ready = ready?;
    wake::enqueued(queue.oid, &claim::floor::of_one(ready.priority, ready.id));
    None
}

/// Takes the first job of each of these groups that is free, if it is blocked and its key has room, as long as this
/// key has. Must be called inside `spi::connect`; the jobs are to be put by the caller.
pub fn take_first_of(
    queue: &Queue,
    groups: impl Iterator<Item = Vec<u8>>,
    key: &str,
    rooms: &mut Rooms,
) -> Vec<Taken> {
    xact::next_command();
    let Some(tables) = gate::open_tables(queue) else { return Vec::new() };
    let mut taken = Vec::new();
    {
        let mut looker = Looker::of(&tables);
        for group in groups {
            if !rooms.is_left(key) || !released::may_lock() {
                break;
            }
            let number = number_of(queue.oid, &group);
            if !released::lock(queue.oid, number) {
                // At work: its end makes the next one ready.
                continue;
            }
            looker.renew();
            let group = Name::of(group);
            let is_held = gate::is_held(queue, &mut looker, &group);
            let directly = tables.allow_direct_deletion();
            let first = (!is_held).then(|| next_if(queue, &mut looker, &group, directly, rooms));
            match first.flatten() {
                Some(job) => taken.push(job),
                None => released::unlock(number),
            }
        }
    }
    xact::next_command();
    taken
}

/// The jobs are gone with the caller's transaction.
pub fn gone(queue: &Queue, jobs: &[Taken]) {
    ended(queue, jobs.iter().map(|job| (job, false)));
}

/// Rows of the queue, or its options, are changed by hand: perhaps blocked jobs waited for that. Costs
/// nothing where none are.
pub fn changed_by_hand(queue: Oid) {
    if next_known_sweep(queue) != NEVER {
        wake::sweep(queue);
    }
}

/// Takes one ready job by its id, if it may start.
pub fn take_one(queue: &Queue, id: i64) -> Vec<Taken> {
    let taken = claim::take(queue, Which::ReadyJob, &[spi::arg(id)]);
    let Some(job) = taken.first() else { return taken };
    // The limits last: what they count starts.
    let elsewhere = if job.is_early(time::now()) {
        Some("scheduled")
    } else if !is_its_turn(queue, job) {
        Some("blocked")
    } else {
        limit::admits(queue, job).err()
    };
    let Some(state) = elsewhere else { return taken };
    put(queue, &[Move::to(state, job)]);
    if state == "blocked" {
        wake::sorted(queue.oid);
    }
    Vec::new()
}

/// Is this taken job the next of its group, and nothing holds that back?
fn is_its_turn(queue: &Queue, job: &Taken) -> bool {
    let Some(group) = of(queue, job) else { return true };
    released::lock(queue.oid, number_of(queue.oid, &group))
        && gate::open_tables(queue).is_some_and(|tables| {
            let mut looker = Looker::of(&tables);
            let group = Name::of(group);
            let is_before = |member: &Member| member.id < job.id;
            !gate::is_held(queue, &mut looker, &group)
                && !looker.first(&group, false, i64::MIN, 1).iter().any(is_before)
                && !looker.first(&group, true, i64::MIN, 1).iter().any(is_before)
        })
}
