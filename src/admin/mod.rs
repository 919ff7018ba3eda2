//! What an admin does to jobs, one by id or all for which a condition is true: `cancel` (in `worker::cancel`),
//! `reprioritize`, `run_now`, `move`, and `resubmit` (in `history`).
//!
//! Every change is a take and a put in one transaction, with the definition locked, like any other. Nobody is
//! waited for: a job that a worker or client has, or that another admin is changing, is passed over; so two
//! admins cannot deadlock, and no claim waits longer than for a job it would pass over anyway. (By id, a
//! scheduled, blocked or failed job that somebody else is changing is waited for: it is one row.) Nor does one
//! job with which the work cannot be done stop the others.

mod each;
mod transfer;
mod walk;

use crate::after;
use crate::claim::{self, Move, Taken};
use crate::error::{SqlResult, required};
use crate::finish;
use crate::history;
use crate::pg::failure::Failure;
use crate::pg::{Oid, catalog, row, spi};
use crate::queue::limits::check_priority;
use crate::queue::statements::Which;
use crate::queue::{self, Queue};
use crate::sql_function;
use crate::worker::cancel;
pub use each::{Condition, each, held};

sql_function!(reprioritize);
sql_function!(reprioritize_all);
sql_function!(run_now);
sql_function!(run_now_all);
sql_function!(cancel_all);

/// Where a job can be taken that waits.
pub const WAITING: [&str; 3] = ["ready", "scheduled", "blocked"];

fn by_id(state: &str) -> Which {
    match state {
        "scheduled" => Which::ScheduledJob,
        "blocked" => Which::BlockedJob,
        "failed" => Which::FailedJob,
        _ => Which::ReadyJob,
    }
}

/// Takes a job by its id out of one of these states, and tells which. Raises if there never was such a job.
fn take(queue: &Queue, id: i64, states: &[&'static str]) -> SqlResult<Option<(&'static str, Taken)>> {
    // Twice, for a job that moved on to a state already looked at.
    for state in states.iter().chain(states) {
        let taken = claim::take(queue, by_id(state), &[spi::arg(id)]).into_iter().next();
        if let Some(job) = taken {
            return Ok(Some((state, job)));
        }
    }
    history::check_issued(queue, id)?;
    Ok(None)
}

/// The job as it is with another priority.
fn with_priority(queue: &Queue, job: &Taken, priority: i32) -> Taken {
    let column = catalog::column_number(queue.oid, c"priority");
    let value = Some(crate::pg::Datum::from(priority as i16));
    Taken { row: row::with_column(job.row, queue.row_type, column, value), priority, ..job.clone() }
}

/// `queue.reprioritize`
fn reprioritize(queue: Option<Oid>, id: Option<i64>, priority: Option<i32>) -> SqlResult<bool> {
    let (oid, id, priority) =
        (required("queue", queue)?, required("id", id)?, required("priority", priority)?);
    check_priority(Some(priority))?;
    spi::connect(|| {
        let queue = queue::open_owned(oid)?.locked()?;
        let taken = take(&queue, id, &WAITING)?;
        if let Some((state, job)) = &taken {
            claim::put(&queue, &[Move::to(state, &with_priority(&queue, job, priority))]);
        }
        Ok(taken.is_some())
    })
}

/// `queue.reprioritize_all`
fn reprioritize_all(queue: Option<Oid>, priority: Option<i32>, condition: Option<&str>) -> SqlResult<i64> {
    let (oid, priority) = (required("queue", queue)?, required("priority", priority)?);
    check_priority(Some(priority))?;
    let condition = Condition::of(condition)?.and(&format!("priority <> {priority}"));
    // A ready job goes to a part of the queue that is still to be looked through, or has been: only the
    // condition keeps it from being found there.
    each(oid, &WAITING, &condition, &mut |queue, state, taken| {
        let changed: Vec<Taken> = taken.iter().map(|job| with_priority(queue, job, priority)).collect();
        claim::put(queue, &changed.iter().map(|job| Move::to(state, job)).collect::<Vec<_>>());
        Ok(())
    })
}

/// A scheduled job, as it may start at once, or as soon as those have ended that it waits for.
fn at_once<'a>(queue: &Queue, job: &'a Taken) -> Move<'a> {
    Move { run_at: None, ..after::due(queue, job) }
}

/// `queue.run_now`
fn run_now(queue: Option<Oid>, id: Option<i64>) -> SqlResult<bool> {
    let (oid, id) = (required("queue", queue)?, required("id", id)?);
    spi::connect(|| {
        let queue = queue::open_owned(oid)?.locked()?;
        let taken = take(&queue, id, &["scheduled"])?;
        if let Some((_, job)) = &taken {
            finish::put(&queue, vec![at_once(&queue, job)]);
        }
        Ok(taken.is_some())
    })
}

/// `queue.run_now_all`
fn run_now_all(queue: Option<Oid>, condition: Option<&str>) -> SqlResult<i64> {
    let oid = required("queue", queue)?;
    each(oid, &["scheduled"], &Condition::of(condition)?, &mut |queue, _, taken| {
        finish::put(queue, taken.iter().map(|job| at_once(queue, job)).collect());
        Ok(())
    })
}

/// `queue.cancel_all`
fn cancel_all(queue: Option<Oid>, condition: Option<&str>) -> SqlResult<i64> {
    let oid = required("queue", queue)?;
    let condition = Condition::of(condition)?;
    let failure = Failure::new("57014", cancel::BY_ADMIN);
    let waiting = ["ready", "scheduled", "blocked", "running"];
    let taken = each(oid, &waiting, &condition, &mut |queue, _, taken| {
        finish::put(queue, taken.iter().map(|job| history::give_up(job, &failure)).collect());
        Ok(())
    })?;
    // What is left of the ready ones, workers have.
    let asked = held(oid, &condition, &mut |queue, ids| cancel::interrupt_workers(queue, ids))?;
    Ok(taken + asked)
}
