//! Limits: so many jobs of a queue (`max_running`), or of a key (`max_running_per_key`), run at the same time,
//! and so many start within an interval: for these see `rate`.
//!
//! What runs: each leased job, until its lease ends; and each transaction that runs jobs or pops them, for one,
//! since it works on them one after the other. `count` says how many that are.
//!
//! - **claim**: counts first, and takes no more than there is room for; with none it does not look for jobs.
//!   Of what it took, jobs whose keys have no room are moved to `blocked`. A worker does that in a transaction
//!   that does nothing else: while it runs jobs, those that it moved would be out of everybody's sight.
//! - **ended**: the end of a job brings the first blocked one of its key back to `ready`, and announces the
//!   queue to those for whom there was no room.
//! - **sweep**: brings back blocked jobs whose keys have room.
//!
//! # Why there are never too many
//!
//! Whoever starts jobs counts and is counted under one lock of the queue, which is held for just that: so two
//! do not take the same room. He is counted by locks that he keeps until his transaction ends. A lock counts
//! until the transaction is visible as ended, and the leases it made are counted from then on: who counts the
//! locks first, and then takes the snapshot for the leases, sees each job at least once.
//!
//! # Why no job is forgotten
//!
//! A claim that finds no room counts that in the queue's slot (`group::released::pass`), and looks once more.
//! Who has room noted that count before, compares when his locks are gone, and announces the queue if it has
//! changed. The end of a lease announces the queue in any case. A blocked job is brought back by `ended`; if
//! that did not see it, because the mover had not committed, by the sweep that the mover's commit asks for.
//! For all else (PREPARE TRANSACTION, rows changed by hand) there is a look each second, as long as jobs are
//! blocked, or after a claim that found no room.
//!
//! A blocked row is ours if it has a key, no group and no `after`. A job in a group that is over the limit of
//! its key waits as a blocked job of its group, with those behind it (`group::closing`). Claims do not take up a
//! group whose first job is blocked: `ended` brings back the first jobs of some groups with the key (`grouped`), and
//! the sweep of groups makes the others ready, once their key has room (`rooms`).
//!
//! # Locks and crashes
//!
//! The lock for counting is waited for, by whoever holds other locks; who has it waits for nothing but to read
//! the queue's table, whose definition he has locked. That lock is one on the table, not on its partitions: a
//! transaction that locks the partition `running` by hand (LOCK TABLE, ALTER TABLE) and then claims can deadlock
//! with one that counts, and one of the two is ended (40P01). The locks that count are never waited for. All end
//! with their transaction, however it ends.

pub mod count;
pub mod grant;
mod grouped;
mod look;
pub mod position;
pub mod rate;
mod rooms;
mod starts;
mod window;

use crate::claim::{self, Move, Next, Taken, Use};
use crate::error::Error;
use crate::group::closing::Closing;
use crate::pg::failure::Failure;
use crate::pg::relation::Open;
use crate::pg::{Oid, lock, row, spi, xact};
use crate::queue::statements::Which;
use crate::queue::{self, Queue};
use crate::{group, wake};
use count::{Limit, Room};
pub use look::{next_look, next_room, sweep};
use pgrx::pg_sys::panic::{ErrorReport, ErrorReportable};
pub use rooms::Rooms;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Most jobs that one claim moves out of the way.
const MOST_MOVED: usize = 1000;

/// Does the queue limit how many jobs run or start?
pub fn applies(queue: &Queue) -> bool {
    counts(queue) || rate::applies(queue)
}

/// Does it limit how many run?
fn counts(queue: &Queue) -> bool {
    queue.options.max_running.is_some() || queue.options.max_running_per_key.is_some()
}

/// Does it limit them by key?
pub fn by_key(queue: &Queue) -> bool {
    queue.options.max_running_per_key.is_some() || queue.options.rate_limit_per_key.is_some()
}

fn of_queue(queue: &Queue) -> Option<Limit<'_>> {
    queue.options.max_running.map(|most| Limit { queue, key: None, most: i64::from(most), unseen: 0 })
}

fn of_key<'a>(queue: &'a Queue, key: &'a str) -> Option<Limit<'a>> {
    let most = i64::from(queue.options.max_running_per_key?);
    Some(Limit { queue, key: Some(key), most, unseen: 0 })
}

fn key_of(queue: &Queue, job: &Taken) -> Option<String> {
    queue.options.max_running_per_key?;
    row::named_column(job.row, c"key")
}

/// Takes up to `limit` ready jobs for which there is room.
pub fn next(queue: &Queue, limit: i64, used: Use) -> Next {
    if xact::sees_only_the_past() {
        Err(ErrorReport::from(Error::StaleCount(queue.name.clone()))).unwrap_or_report()
    }
    let mut room = Room::all(limit);
    if let Some(of_queue) = of_queue(queue) {
        let _turn = count::turn(queue.oid);
        room = of_queue.reserve(limit, used);
    }
    if room.granted == 0 {
        return Next { taken: Vec::new(), more: false };
    }
    // Each may have a key of its own, whose locks this transaction has.
    let mut most = match (queue.options.max_running_per_key, queue.options.rate_limit_per_key) {
        (_, Some(_)) => room.granted.min(lock::fair_share() as i64 / 8),
        (Some(_), None) => room.granted.min(lock::fair_share() as i64 / 2),
        (None, None) => room.granted,
    };
    let mut rate = rate::Claim::begin(queue, most, used);
    let wanted = std::mem::replace(&mut most, rate.most);
    let mut all = Next { taken: Vec::new(), more: false };
    let mut moved = 0;
    let closing = Closing::begin();
    // Of each key: the rows that say so are written only later.
    let mut so_far = HashMap::new();
    loop {
        let left = most - all.taken.len() as i64;
        if left <= 0 {
            break;
        }
        let next = claim::next_of_all(queue, left, used);
        all.more = next.more;
        let (fit, mut over) = split(queue, next.taken, used, &mut so_far);
        let (fit, too_many) = rate.split(fit);
        over.extend(too_many);
        all.taken.extend(fit);
        if over.is_empty() {
            break;
        }
        closing.close(queue, if used == Use::Lease { &all.taken } else { &[] }, &mut over);
        block(queue, &over);
        moved += over.len();
        if used == Use::Run && !rate.only_grants {
            // To be committed at once. Who only grants runs nothing in this transaction anyway.
            all.more = true;
            rate.is_void = true;
            break;
        }
        if moved >= MOST_MOVED || all.taken.len() as i64 >= most {
            all.more = true;
            break;
        }
    }
    all.more |= rate.is_cut_short(all.taken.len() as i64, wanted);
    let only_grants = rate.only_grants && !all.taken.is_empty();
    if used == Use::Run && (rate.is_void || only_grants) {
        claim::put(queue, &all.taken.iter().map(|job| Move::to("ready", job)).collect::<Vec<_>>());
        if only_grants {
            rate.end(&all.taken);
        } else {
            rate.cancel(&all.taken);
        }
        return Next { taken: Vec::new(), more: true };
    }
    rate.end(&all.taken);
    room.give_back(all.taken.len() as i64);
    all
}

/// Parts the jobs whose keys have no room, and those behind them in their groups, from the others, for which
/// the room is then taken.
fn split(
    queue: &Queue,
    taken: Vec<Taken>,
    used: Use,
    so_far: &mut HashMap<String, i64>,
) -> (Vec<Taken>, Vec<Taken>) {
    let keys: Vec<Option<String>> = taken.iter().map(|job| key_of(queue, job)).collect();
    let mut wanted: BTreeMap<&str, i64> = BTreeMap::new();
    keys.iter().flatten().for_each(|key| *wanted.entry(key).or_default() += 1);
    if wanted.is_empty() {
        return (taken, Vec::new());
    }
    let mut granted: HashMap<&str, i64> = HashMap::new();
    {
        let _turn = count::turn(queue.oid);
        for (key, wanted) in wanted {
            let unseen = so_far.entry(key.to_owned()).or_default();
            let room = of_key(queue, key)
                .map_or(wanted, |limit| Limit { unseen: *unseen, ..limit }.reserve(wanted, used).granted);
            *unseen += room;
            granted.insert(key, room);
        }
    }
    let mut held_groups = HashSet::new();
    let (mut fit, mut over) = (Vec::new(), Vec::new());
    for (job, key) in taken.into_iter().zip(&keys) {
        let group = group::of(queue, &job);
        let room = key.as_deref().and_then(|key| granted.get_mut(key));
        let is_over = group.as_ref().is_some_and(|group| held_groups.contains(group))
            || room.is_some_and(|room| {
                *room -= 1;
                *room < 0
            });
        if is_over {
            held_groups.extend(group);
            over.push(job);
        } else {
            fit.push(job);
        }
    }
    (fit, over)
}

fn block(queue: &Queue, jobs: &[Taken]) {
    claim::put(queue, &jobs.iter().map(|job| Move::to("blocked", job)).collect::<Vec<_>>());
    wake::sorted(queue.oid);
}

/// Is there room for one job more that is to be run in this transaction? Then it is taken. Else: where the job
/// is to be put.
pub fn admits(queue: &Queue, job: &Taken) -> Result<(), &'static str> {
    if counts(queue) {
        let key = key_of(queue, job);
        let has_room = {
            let _turn = count::turn(queue.oid);
            of_queue(queue).is_none_or(|limit| limit.reserve(1, Use::Run).granted > 0)
                && key
                    .and_then(|key| of_key(queue, &key).map(|limit| limit.reserve(1, Use::Run).granted > 0))
                    .unwrap_or(true)
        };
        if !has_room {
            // Out of the way, if its key has no room: else whoever looks for the first job meets it again.
            let key = row::named_column::<String>(job.row, c"key");
            let mut rooms = Rooms::of(queue);
            return Err(if rooms.take(|| key) { "ready" } else { "blocked" });
        }
    }
    rate::admits(queue, job)
}

/// How many more jobs with this key may start.
fn free_of_key(queue: &Queue, key: &str) -> i64 {
    of_key(queue, key).map_or(i64::MAX, |limit| limit.free())
}

/// These jobs do not run any more once this transaction commits; `own`: it was counted itself. Must be called
/// inside `spi::connect`, after they were put.
pub fn ended<'a>(queue: &Queue, jobs: impl Iterator<Item = &'a Taken>, own: bool) {
    if queue.options.max_running.is_some() && !own {
        wake::enqueued(queue.oid, &claim::floor::NONE);
    }
    if queue.options.max_running_per_key.is_none() {
        return;
    }
    // How many of each key, and the group of one of them.
    let mut ended: BTreeMap<String, (i64, Option<String>)> = BTreeMap::new();
    for job in jobs {
        let Some(key) = key_of(queue, job) else { continue };
        let (count, group) = ended.entry(key).or_default();
        *count += 1;
        *group = row::named_column(job.row, c"group_key");
    }
    if ended.is_empty() || none_blocked(queue) {
        return;
    }
    for (key, (count, group)) in ended {
        let count = count.min(rate::free_of_key(queue, &key));
        bring_back(queue, &key, count);
        grouped::bring_back(queue, &key, count, group.as_deref());
    }
}

fn none_blocked(queue: &Queue) -> bool {
    let partition = queue.layout.as_ref().and_then(|layout| layout.partition("blocked"));
    partition.is_some_and(|oid| Open::for_reading(oid).is_empty())
}

/// Makes the first blocked jobs of a key ready.
fn bring_back(queue: &Queue, key: &str, most: i64) -> usize {
    if most <= 0 {
        return 0;
    }
    let args = [spi::arg(most), spi::arg(key)];
    let taken = claim::take(queue, Which::OfKey, &args);
    if (taken.len() as i64) < most {
        claim::held::note(queue, Which::OfKey, &args);
    }
    claim::put(queue, &taken.iter().map(Move::back).collect::<Vec<_>>());
    taken.len()
}

/// Rows of the queue are deleted by hand: perhaps leased ones.
pub fn changed_by_hand(oid: Oid) {
    if queue::open(oid).is_ok_and(|queue| applies(&queue)) {
        wake::enqueued(oid, &claim::floor::NONE);
        wake::due(oid, 0);
    }
}

/// Why no job can start, if that is because of the queue's limit.
pub fn problem(queue: &Queue) -> Option<String> {
    queue.options.max_running.or(queue.options.rate_limit)?;
    let find = || {
        let limit = of_queue(queue).filter(|limit| limit.free() <= 0);
        let running = limit.map(|limit| format!("held by max_running: {} running", limit.most));
        running.or_else(|| rate::problem(queue))
    };
    let found: Result<Option<String>, Failure> = crate::pg::failure::in_subtransaction(find);
    found.ok().flatten()
}
