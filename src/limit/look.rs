//! The look at the keys of blocked jobs, and when the next one is due. That is kept: whoever computes a
//! queue's due time anew, however often, does not put that look off.

use super::{bring_back, free_of_key, none_blocked, rate};
use crate::pg::time::{self, Micros};
use crate::pg::{Oid, role, spi, xact};
use crate::queue::Queue;
use crate::worker::shared::NEVER;
use crate::{claim, wake};
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

const PAUSE: Micros = 1_000_000;
/// Between two sweeps that together look at all keys of a queue with a rate.
const STEP_PAUSE: Micros = 100_000;
/// Keys looked at in one sweep.
const STEP: i64 = 500;
/// Blocked jobs of one key brought back in one sweep.
const MOST_FREED: i64 = 1000;

fn kept(queue: Oid) -> Option<&'static AtomicI64> {
    Some(&wake::slot_of(queue)?.next_limit_look)
}

/// There are such jobs: when is the next look due?
pub fn next_look(queue: Oid) -> Micros {
    let soon = time::after(time::now(), PAUSE);
    kept(queue).map_or(soon, |kept| kept.fetch_min(soon, SeqCst).min(soon))
}

/// They were looked at.
pub fn is_next(queue: Oid, at: Micros) {
    if let Some(kept) = kept(queue) {
        kept.store(at, SeqCst);
    }
}

thread_local! {
    /// The key that the last sweep of a queue stopped at, where there is no shared memory, or no room in it.
    static STOPPED: RefCell<HashMap<Oid, String>> = RefCell::default();
}

/// Where the last sweep stopped; none: it came to the end.
fn take_position(queue: Oid) -> Option<String> {
    let mine = STOPPED.with_borrow_mut(|stopped| stopped.remove(&queue));
    wake::slot_of(queue).and_then(|slot| slot.limit_position.get()).or(mine)
}

/// Sessions may be short: whoever does the next step goes on from there.
fn keep_position(queue: Oid, last: Option<&String>) {
    let kept =
        wake::slot_of(queue).is_some_and(|slot| slot.limit_position.set(last.map_or("", String::as_str)));
    if let Some(last) = last.filter(|_| !kept) {
        STOPPED.with_borrow_mut(|stopped| stopped.insert(queue, last.clone()));
    }
}

/// Brings back blocked jobs whose keys have room, or whose limit is gone. Returns how many, and when it is to
/// be done again.
pub fn sweep(queue: &Queue) -> (usize, Micros) {
    let (freed, next) = look_at_keys(queue);
    is_next(queue.oid, next);
    (freed, next)
}

fn look_at_keys(queue: &Queue) -> (usize, Micros) {
    let full_until = rate::full_until(queue);
    if queue.options.max_running.is_some() || (queue.options.rate_limit.is_some() && full_until.is_none()) {
        // Whoever found no room looks again.
        wake::enqueued(queue.oid, &claim::floor::NONE);
    }
    if xact::sees_only_the_past() {
        return (0, full_until.unwrap_or(NEVER));
    }
    let due = full_until.into_iter().chain(rate::prune(queue)).min().unwrap_or(NEVER);
    if none_blocked(queue) {
        return (0, due);
    }
    let after = take_position(queue.oid);
    let was_first = after.is_none();
    let keys = blocked_keys(queue, after);
    keep_position(queue.oid, keys.last().filter(|_| keys.len() as i64 == STEP));
    if keys.is_empty() && was_first {
        return (0, due);
    }
    let rates = rate::free_of_keys(queue, &keys.iter().map(String::as_str).collect::<Vec<_>>());
    let mut due = due.min(time::after(time::now(), PAUSE));
    let mut freed = 0;
    for (place, key) in keys.iter().enumerate() {
        let rate = rates.as_ref().and_then(|rates| rates.get(place));
        let free = free_of_key(queue, key).min(rate.map_or(MOST_FREED, |rate| rate.free)).min(MOST_FREED);
        freed += bring_back(queue, key, free);
        if let Some(rate) = rate {
            due = due.min(if rate.free > 0 { rate::room_after(queue) } else { rate.room_at });
        }
    }
    if keys.len() as i64 == STEP && rates.is_some() {
        // The others may have room already.
        due = due.min(time::after(time::now(), STEP_PAUSE));
    }
    (freed, due)
}

/// When a job that waits because of a rate may start: without a look at what has room already.
pub fn next_room(queue: &Queue) -> Micros {
    if !rate::applies(queue) {
        return NEVER;
    }
    if let Some(until) = rate::full_until(queue) {
        return until;
    }
    if queue.options.rate_limit_per_key.is_none() || none_blocked(queue) {
        return NEVER;
    }
    let keys = blocked_keys(queue, None);
    let rates = rate::free_of_keys(queue, &keys.iter().map(String::as_str).collect::<Vec<_>>());
    rates.into_iter().flatten().map(|known| known.room_at).fold(NEVER, Micros::min)
}

/// The keys of blocked jobs that are ours, each found by one look into the index.
fn blocked_keys(queue: &Queue, after: Option<String>) -> Vec<String> {
    let first = |condition: &str| {
        format!(
            "SELECT b.key FROM {} AS b WHERE b.state = 'blocked' AND b.key IS NOT NULL AND b.group_key IS NULL
                 AND b.after IS NULL AND {condition} ORDER BY b.key LIMIT 1",
            queue.table
        )
    };
    let sql = format!(
        "WITH RECURSIVE k (key) AS (
             ({}) UNION ALL SELECT ({}) FROM k WHERE k.key IS NOT NULL)
         SELECT key FROM k WHERE key IS NOT NULL LIMIT {STEP}",
        first("($1 IS NULL OR b.key > $1)"),
        first("b.key > k.key")
    );
    let rows = role::as_role(queue.owner, || {
        let _order = role::Planner::by_index();
        queue.plan(sql, &[pg_sys::TEXTOID]).execute(&[spi::arg(after)])
    });
    (0..rows.len()).filter_map(|row| rows.get(row, 1)).collect()
}
