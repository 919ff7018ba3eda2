//! What is left of a job: failures and their retries, results, and bringing error rows back.

use crate::admin::{self, Condition};
use crate::after;
use crate::claim::{self, Move, Taken};
use crate::error::{Error, SqlResult, required};
use crate::pg::failure::Failure;
use crate::pg::time::{self, Micros};
use crate::pg::{Oid, catalog, role, spi};
use crate::queue::limits::cut_error_text;
use crate::queue::statements::{self, Which};
use crate::queue::{self, Queue};
use crate::run::outcome::{self, Backoff, Outcome};
use crate::sql_function;

sql_function!(status);
sql_function!(result);
sql_function!(resubmit);
sql_function!(resubmit_all);

/// Where a job goes after a failed attempt: back with a wait, or among the error rows. A wait given by
/// the caller replaces the queue's backoff.
pub fn after_failure<'a>(queue: &Queue, job: &'a Taken, failure: &Failure, wait: Option<Micros>) -> Move<'a> {
    let error = Some(to_keep(failure));
    let options = &queue.options;
    let backoff = Backoff {
        first_seconds: options.backoff_seconds,
        factor: options.backoff_factor,
        most_seconds: options.backoff_max_seconds,
    };
    let max_attempts = job.max_attempts.unwrap_or(options.max_attempts);
    match outcome::after_failure(job.attempt, max_attempts, backoff, time::random_fraction()) {
        Outcome::GiveUp => Move { error, ..Move::to("failed", job) },
        Outcome::Retry { seconds } => {
            let wait = wait.unwrap_or((seconds * 1e6) as Micros);
            Move {
                attempt: job.attempt + 1,
                run_at: Some(time::after(time::now(), wait)),
                error,
                ..Move::to("scheduled", job)
            }
        }
    }
}

/// A failure as it is kept among a job's errors.
fn to_keep(failure: &Failure) -> String {
    let cut = |text: &Option<String>| text.as_deref().map(cut_error_text);
    let kept = Failure {
        message: cut_error_text(&failure.message),
        detail: cut(&failure.detail),
        hint: cut(&failure.hint),
        context: cut(&failure.context),
        sqlstate: failure.sqlstate.clone(),
        ..*failure
    };
    kept.to_json()
}

/// An error row at once, whatever attempts are left.
pub fn give_up<'a>(job: &'a Taken, failure: &Failure) -> Move<'a> {
    let error = Some(to_keep(failure));
    Move { error, ..Move::to("failed", job) }
}

/// Raises if the queue never issued this id, as far as its sequence tells: one that is behind, as that of a
/// queue that another server wrote (logical replication copies rows, but no sequences), tells nothing.
pub fn check_issued(queue: &Queue, id: i64) -> Result<(), Error> {
    let last = catalog::last_value(queue.sequence, queue.owner);
    if id >= 1 && (id <= last.unwrap_or(0) || is_behind(queue, last)) {
        return Ok(());
    }
    Err(Error::NeverIssued { queue: queue.name.clone(), id })
}

/// Are there, or have there been, rows whose ids are not of the queue's own sequence, which has come this far?
fn is_behind(queue: &Queue, last: Option<i64>) -> bool {
    if last.is_none() {
        let partitions = queue.layout.as_ref().map_or(&[][..], |layout| layout.partitions());
        return partitions.iter().any(|partition| !catalog::has_no_pages(*partition));
    }
    let rows = role::as_restricted(queue.owner, || {
        let _order = role::Planner::by_index();
        queue.plan(statements::any_above(queue), &[pgrx::pg_sys::INT8OID]).execute(&[spi::arg(last)])
    });
    rows.get(0, 1).unwrap_or(false)
}

/// A column of the job's row, if the caller may see it.
fn read<T: pgrx::FromDatum>(oid: Option<Oid>, id: Option<i64>, column: &str) -> SqlResult<Option<T>> {
    let (oid, id) = (required("queue", oid)?, required("id", id)?);
    spi::connect(|| {
        let queue = queue::open(oid)?;
        queue.require(catalog::SELECT, "SELECT")?;
        let sql = format!("SELECT {column} FROM {} WHERE id = $1", queue.table);
        let work = || {
            let _order = role::Planner::by_index();
            queue.plan(sql, &[pgrx::pg_sys::INT8OID]).execute(&[spi::arg(id)])
        };
        // Else planning would run the owner's index expressions with the caller's rights.
        let rows = if catalog::row_security_applies(oid) {
            role::pinned(work)
        } else {
            role::as_restricted(queue.owner, work)
        };
        if rows.is_empty() {
            check_issued(&queue, id)?;
            return Ok(None);
        }
        Ok(rows.get(0, 1))
    })
}

/// `queue.status`
fn status(queue: Option<Oid>, id: Option<i64>) -> SqlResult<Option<String>> {
    read(queue, id, "state")
}

/// `queue.result`
fn result(queue: Option<Oid>, id: Option<i64>) -> SqlResult<Option<pgrx::JsonB>> {
    read(queue, id, "result")
}

/// The number of the attempt after this one. Never the same again: the old one is to stay fenced off.
pub fn next_attempt(queue: &Queue, job: &Taken) -> Result<i32, Error> {
    job.attempt.checked_add(1).ok_or_else(|| Error::NoAttemptLeft { queue: queue.name.clone(), id: job.id })
}

/// Failed jobs begin anew: the attempt goes on counting, so that an old lease stays fenced off.
fn renew(queue: &Queue, taken: &[Taken]) -> Result<(), Error> {
    let taken = after::again(queue, taken);
    let renewed = |(job, state)| -> Result<Move, Error> {
        Ok(Move {
            attempt: next_attempt(queue, job)?,
            max_attempts: Some(job.attempt.saturating_add(queue.options.max_attempts)),
            run_at: None,
            ..Move::to(state, job)
        })
    };
    let taken = taken.iter().map(|(job, state)| (job, *state));
    claim::put(queue, &taken.map(renewed).collect::<Result<Vec<_>, _>>()?);
    Ok(())
}

/// `queue.resubmit`
fn resubmit(queue: Option<Oid>, id: Option<i64>) -> SqlResult<bool> {
    let (oid, id) = (required("queue", queue)?, required("id", id)?);
    spi::connect(|| {
        let queue = queue::open_owned(oid)?.locked()?;
        let taken = claim::take(&queue, Which::FailedJob, &[spi::arg(id)]);
        if taken.is_empty() {
            check_issued(&queue, id)?;
        }
        renew(&queue, &taken)?;
        Ok(!taken.is_empty())
    })
}

/// `queue.resubmit_all`
fn resubmit_all(queue: Option<Oid>, condition: Option<&str>) -> SqlResult<i64> {
    let oid = required("queue", queue)?;
    queue::open_owned(oid)?;
    admin::each(oid, &["failed"], &Condition::of(condition)?, &mut |queue, _, taken| {
        Ok(renew(queue, &taken)?)
    })
}
