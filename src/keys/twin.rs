//! The job that a key's entry names: looked up, held, or taken and put back with the new one's content. With
//! the rights of the queue's owner, inside `spi::connect`.

use super::Keyed;
use crate::claim::{self, Moving, Taken, floor};
use crate::error::Error;
use crate::pg::spi::{self, Rows};
use crate::pg::time::{self, Micros};
use crate::pg::{array, role};
use crate::queue::Queue;
use crate::queue::limits::OnConflict;
use crate::queue::statements::{self, One};
use crate::{settings, wake};
use pgrx::pg_sys::{INT8OID, TEXTOID, TIMESTAMPTZOID};

/// Where a job waits that has not started. The ready ones once more, for one that came there meanwhile.
const WAITING: [&str; 4] = ["ready", "scheduled", "blocked", "ready"];

fn as_owner(queue: &Queue, work: impl FnOnce() -> Rows) -> Rows {
    role::as_role(queue.owner, || {
        let (_order, _moving) = (role::Planner::by_index(), Moving::within(queue.oid));
        work()
    })
}

fn run_by_id(queue: &Queue, sql: String, id: i64) -> Rows {
    as_owner(queue, || queue.plan(sql, &[INT8OID]).execute(&[spi::arg(id)]))
}

/// Keeps a waiting job from starting before this transaction has ended; false if it does not wait any more.
pub fn hold(queue: &Queue, id: i64) -> bool {
    WAITING.into_iter().any(|state| {
        let rows = run_by_id(queue, statements::hold(queue, state), id);
        if rows.is_empty() {
            return false;
        }
        // Whoever passes over it meanwhile sleeps: to be woken whichever way this ends.
        let mut keys = floor::NONE;
        if state == "ready" {
            floor::include(&mut keys, rows.get(0, 1).unwrap_or(0), id);
            wake::enqueued(queue.oid, &keys);
        } else if let Some(at) = rows.datum(0, 2) {
            wake::due(queue.oid, at.value() as Micros);
        }
        wake::taken(queue.oid, &keys);
        super::note_hold(queue.oid);
        true
    })
}

/// Is the job anywhere but among the done ones? One that is just being run is.
pub fn exists(queue: &Queue, id: i64) -> bool {
    let sql = statements::exists(queue, "$1");
    let look = || {
        let _order = role::Planner::by_index();
        queue.plan(format!("SELECT {sql}"), &[INT8OID]).execute(&[spi::arg(id)])
    };
    role::as_restricted(queue.owner, look).get(0, 1).unwrap_or(false)
}

/// Removes the new job: it is not needed.
pub fn remove(queue: &Queue, row: &Keyed) {
    take_new(queue, row);
}

fn take_new(queue: &Queue, row: &Keyed) -> Option<Taken> {
    let first = [row.state];
    first.into_iter().chain(WAITING).find_map(|state| take(queue, One::Own, state, row.id))
}

fn take(queue: &Queue, how: One, state: &str, id: i64) -> Option<Taken> {
    let keys = if state == "ready" { floor::ALL } else { floor::NONE };
    let sql = statements::take_one(queue, how, state);
    claim::take_with(queue, sql, &[INT8OID], &[spi::arg(id)], keys, false).pop()
}

/// Takes a waiting job, with the state it was in; `None` if it does not wait any more.
fn take_waiting(queue: &Queue, id: i64) -> Option<(Taken, &'static str)> {
    WAITING.into_iter().find_map(|state| {
        let taken = take(queue, One::IfFree, state, id).or_else(|| {
            // Held by others for what they have put into it, and not started? Then it cannot start while we
            // hold it, too, and they are to be waited for.
            let held = !run_by_id(queue, statements::hold(queue, state), id).is_empty();
            held.then(|| take(queue, One::Own, state, id)).flatten()
        });
        taken.map(|taken| (taken, state))
    })
}

/// Takes the waiting job and the new one, and puts one in their place: the old one with what the mode takes
/// from the new one. False, with nothing done, if it does not wait any more.
pub fn combine(queue: &Queue, row: &Keyed, id: i64, mode: OnConflict) -> Result<bool, Error> {
    let Some((old, was)) = take_waiting(queue, id) else { return Ok(false) };
    let Some(new) = take_new(queue, row) else {
        // A trigger of the user's has moved or removed it.
        return Err(Error::ChangedMeanwhile(queue.name.clone()));
    };
    let run_at = if mode == OnConflict::Debounce { new.run_at } else { old.run_at };
    let state = match (mode, was) {
        // What it waits for besides its time is not over.
        (_, "blocked") => "blocked",
        (OnConflict::Debounce, _) if run_at.is_some_and(|at| at > time::transaction_start()) => "scheduled",
        (OnConflict::Debounce, _) => "ready",
        _ => was,
    };
    let types = [queue.row_type, queue.row_type, TEXTOID, TIMESTAMPTZOID];
    let args = [Some(old.row), Some(new.row), spi::arg(state), time::to_arg(run_at)];
    let put = as_owner(queue, || queue.plan(statements::combine(queue, mode), &types).execute(&args));
    if mode == OnConflict::Merge {
        let payload = (!put.is_empty()).then(|| put.datum(0, 1)).flatten();
        let (bytes, limit) = (payload.map_or(0, array::stored_bytes), settings::max_payload_bytes());
        if bytes > limit {
            return Err(Error::PayloadTooLarge { bytes, limit });
        }
    }
    announce(queue, state, &old, run_at);
    Ok(true)
}

fn announce(queue: &Queue, state: &str, job: &Taken, run_at: Option<Micros>) {
    match (state, run_at) {
        ("ready", _) => {
            // A trigger of the user's may give a row another priority.
            wake::enqueued(queue.oid, &[job.id.max(floor::BOTTOM); floor::PRIORITIES]);
        }
        ("scheduled", Some(at)) => wake::due(queue.oid, at),
        _ => {}
    }
}
