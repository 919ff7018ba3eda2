//! Forgetting keys: marks whose time is over, and entries whose jobs are gone without having ended (popped in
//! a longer transaction, purged, deleted by hand). Part of `upkeep`, in small steps. What is stale does no harm.
//!
//! When it is to be done next is kept in shared memory: whoever computes a queue's due time anew, however often,
//! does not put it off. Without shared memory each session minds it by itself.

use super::{entry, queue_arg};
use crate::error::{Error, SqlResult, required};
use crate::pg::spi::{self, arg};
use crate::pg::time::{self, Micros};
use crate::pg::{Oid, role, xact};
use crate::queue::{self, Queue, as_extension, statements};
use crate::sql_function;
use crate::wake;
use crate::worker::shared::NEVER;
use pgrx::pg_sys::{INT8ARRAYOID, INT8OID, REGCLASSOID, TEXTOID, TIMESTAMPTZOID};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

sql_function!(forget_key);

/// Entries looked at, and marks removed, in one step.
const STEP: i64 = 1000;
/// Between two steps of a pass, and between two passes.
const STEP_PAUSE: Micros = 1_000_000;
pub const PAUSE: Micros = 60_000_000;
/// Where nobody has told that something is stale.
const LONG_PAUSE: Micros = 600_000_000;
/// The time of what was never looked at.
const UNKNOWN: Micros = 0;
/// A session that has not looked yet begins at once only with this probability: many are short.
const AT_ONCE: f64 = 0.01;

/// Where a session's pass over a queue's entries is.
struct Pass {
    next: Micros,
    after: String,
}

thread_local! {
    static PASSES: RefCell<HashMap<Oid, Pass>> = RefCell::new(HashMap::new());
}

/// When the queue is to be pruned next, as others are told; taken by who looks, and given back with what he found:
/// what he is told meanwhile stays.
struct Kept(Option<(&'static AtomicI64, Micros)>);

impl Kept {
    fn take(queue: Oid) -> Kept {
        Kept(wake::slot_of(queue).map(|slot| (&slot.next_prune, slot.next_prune.swap(NEVER, SeqCst))))
    }

    fn time(&self) -> Option<Micros> {
        self.0.map(|(_, time)| time)
    }

    fn finish(mut self, next: Option<Micros>) {
        if let Some((_, time)) = &mut self.0 {
            *time = next.unwrap_or(NEVER);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some((kept, time)) = self.0 {
            kept.fetch_min(time, SeqCst);
        }
    }
}

/// When the queue is to be pruned next. Looks for itself only if nobody has since the server started.
pub fn next_prune(queue: &Queue) -> Micros {
    let Some(slot) = wake::slot_of(queue.oid) else { return NEVER };
    if slot.next_prune.load(SeqCst) == UNKNOWN {
        let kept = Kept::take(queue.oid);
        let (mark, has_entries) = first(queue);
        let entries = has_entries.then(|| time::now() + PAUSE);
        kept.finish(mark.into_iter().chain(entries).min());
    }
    slot.next_prune.load(SeqCst)
}

/// This transaction makes entries, which may be stale one day.
pub fn made(queue: Oid) {
    if let Some(slot) = wake::slot_of(queue) {
        let at = time::now() + LONG_PAUSE;
        if slot.next_prune.load(SeqCst) > at {
            wake::prune(queue, at);
        }
    }
}

/// The first mark's time, and whether there are entries.
fn first(queue: &Queue) -> (Option<Micros>, bool) {
    const FIRST: &str = "
        SELECT (SELECT done_until FROM queue.done_keys WHERE queue = $1 ORDER BY done_until LIMIT 1),
               EXISTS (SELECT FROM queue.keys WHERE queue = $1)";
    let first = as_extension(|| {
        let _order = role::Planner::by_index();
        spi::run_kept(FIRST, &[REGCLASSOID], &[queue_arg(queue.oid)])
    });
    (first.datum(0, 1).map(|at| at.value() as Micros), first.get(0, 2).unwrap_or(false))
}

/// Does a step, if one is due. Says whether there is more to do now. Must be called inside `spi::connect`.
pub fn prune(queue: &Queue) -> bool {
    let now = time::now();
    let kept = Kept::take(queue.oid);
    let (mark, has_entries) = first(queue);
    if xact::is_in_block() || xact::sees_only_the_past() {
        // A transaction of the user's may go on for long, and whoever needs what it has removed would wait.
        let later = kept.time().filter(|at| *at > now).unwrap_or(now + PAUSE);
        kept.finish((has_entries || mark.is_some()).then_some(later));
        return false;
    }
    let mark_due = match mark.filter(|mark| *mark <= now) {
        Some(_) => Some(if remove_marks(queue.oid, now) < STEP as usize { now + PAUSE } else { now }),
        None => mark,
    };
    let pass_due = has_entries.then(|| advance(queue, now, kept.time()));
    let next = mark_due.into_iter().chain(pass_due).min();
    let more = kept.time().is_some() && next.is_some_and(|next| next <= now);
    kept.finish(next);
    more
}

/// Does a step of this session's pass over the entries, if it is due for this session or, as all are told, for
/// anybody. Says when the next one is.
fn advance(queue: &Queue, now: Micros, kept: Option<Micros>) -> Micros {
    let (next, from) = PASSES.with_borrow_mut(|passes| {
        let pass = passes.entry(queue.oid).or_insert_with(|| {
            let wait = if time::random_fraction() < AT_ONCE { 0 } else { PAUSE };
            Pass { next: now + wait, after: String::new() }
        });
        (pass.next, pass.after.clone())
    });
    if next > now && kept.is_none_or(|kept| kept > now) {
        return kept.map_or(next, |kept| kept.min(now + LONG_PAUSE));
    }
    let last = remove_stale(queue, &from);
    let mut pause = if last.is_some() { STEP_PAUSE } else { PAUSE };
    PASSES.with_borrow_mut(|passes| {
        passes.insert(queue.oid, Pass { next: now + pause, after: last.clone().unwrap_or_default() });
    });
    if kept.is_some() {
        // Whoever is called for it may have begun just for that: he goes on to the end.
        pause = if last.is_some() { 0 } else { LONG_PAUSE };
    }
    now + pause
}

fn remove_marks(queue: Oid, now: Micros) -> usize {
    const REMOVE: &str = "
        DELETE FROM queue.done_keys WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM queue.done_keys WHERE queue = $1 AND done_until <= $2
            ORDER BY done_until LIMIT $3 FOR UPDATE SKIP LOCKED))";
    as_extension(|| {
        let _order = role::Planner::by_index();
        let types = [REGCLASSOID, TIMESTAMPTZOID, INT8OID];
        spi::run_kept(REMOVE, &types, &[queue_arg(queue), time::to_arg(Some(now)), arg(STEP)]).len()
    })
}

/// Looks at some entries; returns the last of them if there may be more. A job that no snapshot sees any more
/// never comes back, so its entry may go, if it still names that job.
fn remove_stale(queue: &Queue, from: &str) -> Option<String> {
    const SOME: &str = "
        SELECT k.key, k.id,
               NOT EXISTS (SELECT FROM queue.done_keys d WHERE d.queue = k.queue AND d.key = k.key AND k.once)
        FROM queue.keys k WHERE k.queue = $1 AND k.key > $2 ORDER BY k.key LIMIT $3";
    let types = [REGCLASSOID, TEXTOID, INT8OID];
    let some = as_extension(|| {
        let _order = role::Planner::by_index();
        spi::run_kept(SOME, &types, &[queue_arg(queue.oid), arg(from), arg(STEP)])
    });
    let keys: Vec<String> = (0..some.len()).filter_map(|row| some.get(row, 1)).collect();
    let ids: Vec<i64> = (0..some.len()).filter_map(|row| some.get(row, 2)).collect();
    let unmarked: Vec<bool> = (0..some.len()).filter_map(|row| some.get(row, 3)).collect();
    if keys.is_empty() {
        return None;
    }
    let gone = format!(
        "SELECT i.id FROM pg_catalog.unnest($1) AS i (id) WHERE NOT {}",
        statements::exists(queue, "i.id")
    );
    let gone = role::as_restricted(queue.owner, || {
        let _order = role::Planner::by_index();
        queue.plan(gone, &[INT8ARRAYOID]).execute(&[arg(ids.clone())])
    });
    let gone: Vec<i64> = (0..gone.len()).filter_map(|row| gone.get(row, 1)).collect();
    let stale = (0..keys.len()).filter(|place| unmarked[*place] && gone.contains(&ids[*place]));
    let (stale_keys, stale_ids): (Vec<String>, Vec<i64>) =
        stale.map(|place| (keys[place].clone(), ids[place])).unzip();
    if !stale_keys.is_empty() {
        entry::remove(queue.oid, &stale_keys, &stale_ids);
    }
    (keys.len() as i64 == STEP).then(|| keys.into_iter().next_back()).flatten()
}

/// Accepts all keys of a queue again. Inside `spi::connect`.
pub fn forget_marks(queue: Oid) {
    as_extension(|| {
        spi::run_kept("DELETE FROM queue.done_keys WHERE queue = $1", &[REGCLASSOID], &[queue_arg(queue)]);
    });
}

/// `queue.forget_key`
fn forget_key(queue: Option<Oid>, key: Option<&str>) -> SqlResult<bool> {
    const FORGET: &str = "DELETE FROM queue.done_keys WHERE queue = $1 AND key = $2 AND done_until > $3";
    let (oid, key) = (required("queue", queue)?, required("key", key)?);
    spi::connect(|| -> Result<bool, Error> {
        let queue = queue::open_owned(oid)?;
        let types = [REGCLASSOID, TEXTOID, TIMESTAMPTZOID];
        let args = [queue_arg(queue.oid), arg(key), time::to_arg(Some(time::now()))];
        Ok(!as_extension(|| spi::run_kept(FORGET, &types, &args)).is_empty())
    })
    .map_err(Into::into)
}
