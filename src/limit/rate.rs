//! At most so many starts of a queue (`rate_limit`), or of a key (`rate_limit_per_key`), in any
//! `rate_interval`. `window` has the arithmetic, `starts` what has started.
//!
//! - A claim takes room for jobs of the queue first; with none it does not look for jobs, and the queue is
//!   due when there is some. Of what it took, jobs whose keys have no room are moved to `blocked`, as those
//!   over `max_running_per_key` are, and the sweep brings back as many of each key as have room, when they
//!   have it. (Not to `scheduled` with a time: all that wait for a key would come back at the same time, and
//!   all but a few in vain; and a scheduled job does not hold back those behind it in its group.)
//! - `pop` and `dequeue` write down what they took in their own transaction. If that is rolled back nothing
//!   has started. Who holds the turn of the queue waits for nobody, so a transaction that stays open holds
//!   up no others; what it took counts until it ends, or the interval has passed.
//! - A worker, and `CALL queue.run`, first take jobs only to see which they are, write that down, put them
//!   back and commit: that is a *grant*. Then they claim again, and run what the grant covers. So what has
//!   started is counted whatever becomes of the run: a worker that is killed leaves its starts behind. What
//!   a grant covers and was not found is given back.
//! - What was granted must start within a leeway, which the stamp of the starts includes: jobs of a batch
//!   that are not begun by then go back to the queue. To have few of them, a worker takes one job at a time
//!   until it has seen that they are quick.
//!
//! # Why there are never too many
//!
//! Who starts jobs takes room for them in turn: he counts what others hold in locks, then what the rows in
//! a snapshot taken after that say, and holds locks himself before the next one counts. A lock lasts until
//! the rows are visible. A grant is used by this session, once, after the commit that wrote it down, before
//! the leeway has passed; memory of it that is lost costs room, but lets nobody start.

use super::count;
use super::grant::{self, Grant, Turn};
use super::starts::{self, Known, Of, Room};
use super::window::Rate;
use crate::claim::{Taken, Use};
use crate::pg::time::{self, Micros};
use crate::pg::{Oid, row};
use crate::queue::Queue;
use crate::{group, wake};
use std::collections::{BTreeMap, HashMap, HashSet};

pub fn applies(queue: &Queue) -> bool {
    queue.options.rate_limit.is_some() || queue.options.rate_limit_per_key.is_some()
}

fn of_queue(queue: &Queue) -> Option<Rate> {
    let most = i64::from(queue.options.rate_limit?);
    Some(Rate { most, interval: queue.options.rate_interval })
}

fn of_keys(queue: &Queue) -> Option<Rate> {
    let most = i64::from(queue.options.rate_limit_per_key?);
    Some(Rate { most, interval: queue.options.rate_interval })
}

/// The rates differ in their limits only.
pub fn any(queue: &Queue) -> Option<Rate> {
    of_queue(queue).or_else(|| of_keys(queue))
}

fn key_of(queue: &Queue, job: &Taken) -> Option<String> {
    queue.options.rate_limit_per_key?;
    row::named_column(job.row, c"key")
}

/// What a claim may take.
pub struct Claim<'a> {
    queue: &'a Queue,
    rate: Option<Rate>,
    /// So many jobs; what is above is not limited.
    pub most: i64,
    room: Option<Room>,
    stamp: Micros,
    until: Micros,
    /// Jobs that are to be run in this transaction are covered by this.
    grant: Option<Grant>,
    turn: Option<Turn>,
    /// They are to be run in the next one.
    pub only_grants: bool,
    /// Some were not covered.
    pub is_void: bool,
}

impl<'a> Claim<'a> {
    pub fn begin(queue: &'a Queue, wanted: i64, used: Use) -> Claim<'a> {
        let mut claim = Claim {
            queue,
            rate: any(queue),
            most: wanted,
            room: None,
            stamp: 0,
            until: 0,
            grant: None,
            turn: None,
            only_grants: false,
            is_void: false,
        };
        let Some(rate) = claim.rate else { return claim };
        if used == Use::Run {
            if let Some(grant) = grant::take(queue, time::now()) {
                claim.most = wanted.min(grant.left);
                claim.grant = Some(grant);
                return claim;
            }
            claim.only_grants = true;
            if of_keys(queue).is_some() {
                claim.turn = Turn::wait(queue.oid);
            }
            let size = grant::size(queue.oid);
            claim.most = wanted.min(size);
        }
        let turn = count::turn(queue.oid);
        let now = time::now();
        (claim.stamp, claim.until) = (rate.stamp(now), now.saturating_add(rate.leeway()));
        if let Some(rate) = of_queue(queue) {
            let room = {
                let _turn = turn;
                starts::reserve(queue.oid, &rate, claim.stamp, &[(None, claim.most)]).into_iter().next()
            };
            claim.most = claim.most.min(room.as_ref().map_or(0, |room| room.granted));
            if let Some(room) = room.as_ref().filter(|room| room.granted == 0) {
                wake::due(queue.oid, room.room_at);
            }
            claim.room = room;
        }
        claim
    }

    /// Parts the jobs whose keys have no room, and those behind them in their groups, from the others, for
    /// which the room is then taken.
    pub fn split(&mut self, taken: Vec<Taken>) -> (Vec<Taken>, Vec<Taken>) {
        let Some(rate) = of_keys(self.queue).filter(|_| !taken.is_empty()) else {
            return (taken, Vec::new());
        };
        let keys: Vec<Option<String>> = taken.iter().map(|job| key_of(self.queue, job)).collect();
        let mut wanted: BTreeMap<&str, i64> = BTreeMap::new();
        keys.iter().flatten().for_each(|key| *wanted.entry(key).or_default() += 1);
        if let Some(grant) = &mut self.grant {
            for (key, wanted) in wanted {
                let left = grant.keys.entry(key.to_owned()).or_default();
                self.is_void |= *left < wanted;
                *left -= wanted;
            }
            return (taken, Vec::new());
        }
        let mut granted = take_room(self.queue, &rate, self.stamp, &wanted);
        let mut held_groups = HashSet::new();
        let (mut fit, mut over) = (Vec::new(), Vec::new());
        let mut started: BTreeMap<&str, i64> = BTreeMap::new();
        for (job, key) in taken.into_iter().zip(&keys) {
            let group = group::of(self.queue, &job);
            let is_held = group.as_ref().is_some_and(|group| held_groups.contains(group));
            let has_room = |key: &String| {
                granted.get_mut(key.as_str()).is_none_or(|room| {
                    *room -= 1;
                    *room >= 0
                })
            };
            if is_held || !key.as_ref().is_none_or(has_room) {
                held_groups.extend(group);
                over.push(job);
            } else {
                key.iter().for_each(|key| *started.entry(key).or_default() += 1);
                fit.push(job);
            }
        }
        let started: Vec<(Of, i64)> = started.into_iter().map(|(key, count)| (Some(key), count)).collect();
        starts::record(self.queue.oid, self.stamp_to_record(), &started);
        (fit, over)
    }

    /// Who only grants keeps to the time of the grant. What is handed out now starts now, however long it took
    /// to find it.
    fn stamp_to_record(&self) -> Micros {
        match self.rate.filter(|_| !self.only_grants) {
            Some(rate) => rate.stamp(time::now()).max(self.stamp),
            None => self.stamp,
        }
    }

    /// So these jobs are to start.
    pub fn end(mut self, jobs: &[Taken]) {
        if self.rate.is_none() {
            return;
        }
        let (oid, count) = (self.queue.oid, jobs.len() as i64);
        if let Some(mut grant) = self.grant.take() {
            grant::begin(&grant);
            grant.left -= count;
            return grant::give_back(self.queue, &grant);
        }
        if of_queue(self.queue).is_some() {
            starts::record(oid, self.stamp_to_record(), &[(None, count)]);
        }
        if let Some(room) = self.room.take() {
            room.settle(count);
        }
        if self.only_grants && count > 0 {
            let mut keys: HashMap<String, i64> = HashMap::new();
            jobs.iter()
                .filter_map(|job| key_of(self.queue, job))
                .for_each(|key| *keys.entry(key).or_default() += 1);
            grant::keep(
                oid,
                Grant {
                    is_committed: false,
                    until: self.until,
                    stamp: self.stamp,
                    left: count,
                    keys,
                    turn: self.turn.take(),
                },
            );
        }
    }

    /// Nothing is to start: the grant did not fit, and its room is given back.
    pub fn cancel(mut self, taken: &[Taken]) {
        if let Some(mut grant) = self.grant.take() {
            for key in taken.iter().filter_map(|job| key_of(self.queue, job)) {
                *grant.keys.entry(key).or_default() += 1;
            }
            grant::give_back(self.queue, &grant);
        }
    }

    /// Might there have been more, had it taken more?
    pub fn is_cut_short(&self, count: i64, wanted: i64) -> bool {
        count > 0 && count >= self.most && self.most < wanted
    }
}

/// Takes room for starts of keys; what is not taken is due later.
fn take_room<'k>(
    queue: &Queue,
    rate: &Rate,
    stamp: Micros,
    wanted: &BTreeMap<&'k str, i64>,
) -> HashMap<&'k str, i64> {
    let list: Vec<(Of, i64)> = wanted.iter().map(|(key, wanted)| (Some(*key), *wanted)).collect();
    let rooms = {
        let _turn = count::turn(queue.oid);
        starts::reserve(queue.oid, rate, stamp, &list)
    };
    let mut granted = HashMap::new();
    for ((key, wanted), room) in wanted.iter().zip(rooms) {
        if room.granted < *wanted {
            wake::due(queue.oid, room.room_at);
        }
        granted.insert(*key, room.granted);
    }
    granted
}

/// May this job be run in this transaction? Else: where it is to be put. Then it may perhaps be in the next.
pub fn admits(queue: &Queue, job: &Taken) -> Result<(), &'static str> {
    if !applies(queue) {
        return Ok(());
    }
    let mut claim = Claim::begin(queue, 1, Use::Run);
    if claim.most == 0 {
        return Err("ready");
    }
    let (fit, over) = claim.split(vec![job.clone()]);
    if claim.is_void {
        claim.cancel(&fit);
        return Err("ready");
    }
    let only_grants = claim.only_grants;
    claim.end(&fit);
    match (over.is_empty(), only_grants) {
        (false, _) => Err("blocked"),
        (true, true) => Err("ready"),
        (true, false) => Ok(()),
    }
}

/// How many more of a key may start now.
pub fn free_of_key(queue: &Queue, key: &str) -> i64 {
    free_of_keys(queue, &[key]).and_then(|known| known.first().map(|known| known.free)).unwrap_or(i64::MAX)
}

/// How many of each key may start now; `None` if keys are not limited.
pub fn free_of_keys(queue: &Queue, keys: &[&str]) -> Option<Vec<Known>> {
    let rate = of_keys(queue)?;
    let of: Vec<Of> = keys.iter().map(|key| Some(*key)).collect();
    Some(starts::known(queue.oid, &rate, &of))
}

/// When there is room again for a key of which so many more are about to start.
pub fn room_after(queue: &Queue) -> Micros {
    let now = time::now();
    any(queue).map_or(now, |rate| rate.stamp(now).saturating_add(rate.interval))
}

/// When the queue has room again, if it has none now.
pub fn full_until(queue: &Queue) -> Option<Micros> {
    let rate = of_queue(queue)?;
    let known = starts::known(queue.oid, &rate, &[None]).into_iter().next()?;
    (known.free <= 0).then_some(known.room_at)
}

pub fn is_full(queue: &Queue) -> bool {
    full_until(queue).is_some()
}

/// The same; then the queue is due when it has room.
pub fn holds(queue: &Queue) -> bool {
    let full_until = full_until(queue);
    full_until.into_iter().for_each(|until| wake::due(queue.oid, until));
    full_until.is_some()
}

/// What time does: starts are forgotten. Returns when there is something to do next.
pub fn prune(queue: &Queue) -> Option<Micros> {
    starts::prune(queue.oid, &any(queue)?)
}

/// If the queue has no rate any more, what has started does not matter.
pub fn forget_unlimited(queue: Oid) {
    starts::forget_unlimited(queue);
}

/// Why no job can start, if that is because of the queue's rate.
pub fn problem(queue: &Queue) -> Option<String> {
    let most = queue.options.rate_limit?;
    full_until(queue)?;
    Some(format!("held by rate_limit: {most} started within rate_interval"))
}
