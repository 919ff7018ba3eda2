//! What has started: rows of `queue.rates`, and locks for the starts of transactions that are still open.
//!
//! A row holds the starts of a queue, or of one of its keys, that have the same stamp. Who adds to it takes
//! a row that nobody else is changing, or writes another one: nobody waits. Until he commits others do not
//! see that, so he holds locks that stand for 1, 2, 4, … starts, which others count. The locks have the
//! epoch of the stamp in their numbers: a transaction that stays open for long is not counted for longer
//! than its starts are.

use super::count::{SIZES, add, hold, number, others};
use super::window::{Rate, Starts};
use crate::group::released;
use crate::pg::spi::{self, Arg, arg};
use crate::pg::time::{self, Micros};
use crate::pg::{Oid, lock, role, xact};
use crate::queue::as_extension;
use pgrx::pg_sys::{BOOLARRAYOID, INT4ARRAYOID, INT8OID, REGCLASSOID, TEXTARRAYOID, TIMESTAMPTZOID};
use std::cell::RefCell;
use std::collections::HashMap;

/// Rows removed in one step of upkeep.
const STEP: i64 = 1000;
/// Starts are remembered for so long at least: the interval may be made longer.
const SHORTEST_MEMORY: Micros = 60_000_000;

/// What is limited: a key, or with `None` the queue.
pub type Of<'a> = Option<&'a str>;

thread_local! {
    /// What this transaction's locks stand for, at least, by the number of what is limited and the epoch.
    static OPEN: RefCell<HashMap<u64, i64>> = RefCell::default();
}

/// The transaction has ended. Frees nothing that Postgres knows of: called where nothing may fail.
pub fn forget() {
    let _ = OPEN.try_with(|open| open.try_borrow_mut().map(|mut open| open.clear()));
}

/// What is known of one queue or key.
pub struct Known {
    pub free: i64,
    /// When one more may start.
    pub room_at: Micros,
}

/// What was taken for jobs that are to start.
pub struct Room {
    pub granted: i64,
    /// When there is room for one more than that.
    pub room_at: Micros,
    number: u64,
    /// The sizes of the locks taken for it.
    powers: Vec<u32>,
}

impl Room {
    /// So many have started. The locks for the others are given back, as far as that is possible.
    pub fn settle(mut self, started: i64) {
        let needed = OPEN.with_borrow_mut(|open| {
            let open = open.entry(self.number).or_default();
            *open -= self.granted - started;
            *open
        });
        let is_held = |power: &u32| lock::is_counted(size(self.number, *power));
        let mut sum: i64 = (0..SIZES).filter(is_held).map(|power| 1 << power).sum();
        self.powers.sort_unstable_by_key(|power| std::cmp::Reverse(*power));
        for power in self.powers {
            if sum - (1 << power) >= needed {
                lock::count_me_not(size(self.number, power));
                sum -= 1 << power;
            }
        }
    }
}

fn size(of: u64, power: u32) -> u64 {
    number(&(of, power))
}

/// The lock of who has any of them: most often nobody has.
fn any(of: u64) -> u64 {
    number(&(of, "any"))
}

fn number_of(queue: Oid, of: Of, rate: &Rate, epoch: Micros) -> u64 {
    number(&(queue.to_u32(), "starts", of, rate.epoch_length(), epoch))
}

/// Starts of others that only they see.
fn open(queue: Oid, of: Of, rate: &Rate, now: Micros) -> i64 {
    let with = |epoch| {
        let number = number_of(queue, of, rate, epoch);
        if lock::others_with(any(number)) == 0 {
            return 0;
        }
        others(&|power| size(number, power))
    };
    rate.epochs(now).map(with).sum()
}

/// How many may start now of each, besides what this transaction has started.
pub fn known(queue: Oid, rate: &Rate, of: &[Of]) -> Vec<Known> {
    let now = time::now();
    // First the locks: who has none any more is visible in the snapshot that is taken then.
    let open: Vec<i64> = of.iter().map(|of| open(queue, *of, rate, now)).collect();
    let starts = read(queue, of, rate.since(now));
    let know = |(starts, open): (&Vec<Starts>, i64)| Known {
        free: rate.free(now, starts, open),
        room_at: rate.room_at(now, starts, open),
    };
    starts.iter().zip(open).map(know).collect()
}

fn read(queue: Oid, of: &[Of], since: Micros) -> Vec<Vec<Starts>> {
    const READ: &str = "
        SELECT w.place, r.at, r.starts
        FROM unnest($2, $3) WITH ORDINALITY AS w (of_key, key, place)
        JOIN queue.rates r ON r.queue = $1 AND r.of_key = w.of_key AND r.key = w.key AND r.at > $4";
    let mut found = vec![Vec::new(); of.len()];
    xact::next_command();
    let rows = as_extension(|| {
        let _order = role::Planner::by_index();
        let [of_key, key] = names(of.iter().copied());
        let types = [REGCLASSOID, BOOLARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID];
        spi::run_kept(READ, &types, &[arg(queue), of_key, key, time::to_arg(Some(since))])
    });
    for row in 0..rows.len() {
        let (place, at, count) =
            (rows.get::<i64>(row, 1), rows.datum(row, 2), rows.get::<i32>(row, 3).unwrap_or(0));
        if let Some((place, at)) = place.zip(at) {
            found[place as usize - 1].push(Starts { at: at.value() as Micros, count: i64::from(count) });
        }
    }
    found
}

fn names<'a>(of: impl Iterator<Item = Of<'a>> + Clone) -> [Arg; 2] {
    let of_key: Vec<bool> = of.clone().map(|of| of.is_some()).collect();
    let key: Vec<&str> = of.map(Option::unwrap_or_default).collect();
    [arg(of_key), arg(key)]
}

/// Takes room for up to so many starts with this stamp, of each. To be called when it is this transaction's
/// turn.
pub fn reserve(queue: Oid, rate: &Rate, stamp: Micros, wanted: &[(Of, i64)]) -> Vec<Room> {
    let of: Vec<Of> = wanted.iter().map(|(of, _)| *of).collect();
    let mut now_known = known(queue, rate, &of);
    if now_known.iter().zip(wanted).any(|(known, (_, wanted))| known.free < *wanted) {
        // Whoever gives room back sees that, or we see that it is free.
        released::pass(queue);
        now_known = known(queue, rate, &of);
    }
    // Before the locks are taken: those who see them are counted from now on.
    released::note(queue);
    let take = |(known, (of, wanted)): (Known, &(Of, i64))| {
        let number = number_of(queue, *of, rate, rate.epoch(stamp));
        let granted = known.free.min(*wanted);
        let none = Room { granted: 0, room_at: known.room_at, number, powers: Vec::new() };
        if granted <= 0 {
            return none;
        }
        match hold_for(number, granted) {
            Some(powers) => Room { granted, powers, ..none },
            None => none,
        }
    };
    now_known.into_iter().zip(wanted).map(take).collect()
}

/// Holds locks that stand for so many more.
fn hold_for(number: u64, more: i64) -> Option<Vec<u32>> {
    if !lock::is_counted(any(number)) && !add(any(number)) {
        return None;
    }
    let open = OPEN.with_borrow(|open| open.get(&number).copied().unwrap_or(0)) + more;
    let taken = hold(open, &|power| size(number, power))?;
    OPEN.with_borrow_mut(|all| all.insert(number, open));
    Some(taken)
}

/// Writes down so many starts of each; less than none: that they are not to be. A row that somebody has changed since
/// the statement's snapshot was taken can be locked, but not updated by its place: then another one is added, too.
pub fn record(queue: Oid, stamp: Micros, starts: &[(Of, i64)]) {
    const RECORD: &str = "
        WITH wanted AS MATERIALIZED (
            SELECT w.of_key, w.key, w.starts,
                   (SELECT r.ctid FROM queue.rates r
                    WHERE r.queue = $1 AND r.of_key = w.of_key AND r.key = w.key AND r.at = $5
                    LIMIT 1 FOR UPDATE SKIP LOCKED) AS place
            FROM unnest($2, $3, $4) AS w (of_key, key, starts)),
        added AS (
            UPDATE queue.rates r SET starts = r.starts + w.starts FROM wanted w WHERE r.ctid = w.place
            RETURNING w.place)
        INSERT INTO queue.rates (queue, of_key, key, at, starts)
        SELECT $1, w.of_key, w.key, $5, w.starts FROM wanted w
        WHERE w.place IS NULL OR NOT w.place = ANY (ARRAY(SELECT a.place FROM added a))";
    let starts: Vec<(Of, i64)> = starts.iter().filter(|(_, count)| *count != 0).copied().collect();
    if starts.is_empty() {
        return;
    }
    as_extension(|| {
        let _order = role::Planner::by_index();
        let [of_key, key] = names(starts.iter().map(|(of, _)| *of));
        let counts: Vec<i32> = starts.iter().map(|(_, count)| *count as i32).collect();
        let types = [REGCLASSOID, BOOLARRAYOID, TEXTARRAYOID, INT4ARRAYOID, TIMESTAMPTZOID];
        spi::run_kept(RECORD, &types, &[arg(queue), of_key, key, arg(counts), time::to_arg(Some(stamp))]);
    });
}

/// Removes rows that are not counted any more, some at a time, and gives rows from before the clock was set
/// back a time of now. Returns when there is something to do next.
pub fn prune(queue: Oid, rate: &Rate) -> Option<Micros> {
    const REMOVE: &str = "
        DELETE FROM queue.rates WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM queue.rates WHERE queue = $1 AND at <= $2 ORDER BY at LIMIT $3 FOR UPDATE SKIP LOCKED))";
    const CORRECT: &str = "
        UPDATE queue.rates SET at = $4 WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM queue.rates WHERE queue = $1 AND at > $2 ORDER BY at DESC LIMIT $3 FOR UPDATE SKIP LOCKED))";
    const FIRST: &str = "SELECT at FROM queue.rates WHERE queue = $1 ORDER BY at LIMIT 1";
    let now = time::now();
    let memory = rate.interval.max(SHORTEST_MEMORY);
    as_extension(|| {
        let _order = role::Planner::by_index();
        let (old, late) = (now.saturating_sub(memory), rate.latest(now));
        let some = [REGCLASSOID, TIMESTAMPTZOID, INT8OID];
        let removed = spi::run_kept(REMOVE, &some, &[arg(queue), time::to_arg(Some(old)), arg(STEP)]).len();
        let types = [REGCLASSOID, TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID];
        let stamp = time::to_arg(Some(rate.stamp(now)));
        spi::run_kept(CORRECT, &types, &[arg(queue), time::to_arg(Some(late)), arg(STEP), stamp]);
        let first = spi::run_kept(FIRST, &[REGCLASSOID], &[arg(queue)]);
        let first = (!first.is_empty()).then(|| first.datum(0, 1)).flatten()?.value() as Micros;
        if removed as i64 == STEP {
            return Some(now);
        }
        // In one go with those that come soon after it; what somebody else holds can wait.
        Some(first.saturating_add(memory).max(now).saturating_add(SHORTEST_MEMORY))
    })
}

/// Forgets all starts of a queue without rates, but for those that somebody is just writing down.
pub fn forget_unlimited(queue: Oid) {
    const FORGET: &str = "
        DELETE FROM queue.rates WHERE ctid = ANY (ARRAY(
            SELECT r.ctid FROM queue.rates r JOIN queue.queues q ON q.queue = r.queue
            WHERE r.queue = $1 AND q.rate_limit IS NULL AND q.rate_limit_per_key IS NULL FOR UPDATE OF r SKIP LOCKED))";
    spi::run_kept(FORGET, &[REGCLASSOID], &[arg(queue)]);
}
