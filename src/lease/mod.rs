//! Jobs lent to programs outside the database: dequeue, ack, nack, snooze, extend and pop.
//!
//! A lease is a row among the running ones with an end and the number of its attempt. Whoever holds
//! the attempt number holds the job: every way back to the queue raises the number, so that an ack of
//! a former holder finds nothing.

mod jobs;
pub mod object;

use crate::claim::{self, Move, Returning, Taken, Use};
use crate::error::{Error, SqlResult, required};
use crate::history::{self, after_failure};
use crate::pg::entry::Call;
use crate::pg::failure::Failure;
use crate::pg::srf::RowSink;
use crate::pg::time::{self, interval_micros};
use crate::pg::{Datum, Oid, catalog, spi, xact};
use crate::queue::limits::{check_interval, check_lease};
use crate::queue::{self, Queue};
use crate::schedule::tick;
use crate::upkeep::{self, block};
use crate::{finish, keys, raw_function, wake};
use jobs::Unfit;
use pgrx::prelude::*;

const MOST_JOBS: i32 = 1_000_000;

raw_function!(dequeue, dequeue_jobs);
raw_function!(dequeue_as, dequeue_rows);
raw_function!(pop, pop_jobs);
raw_function!(pop_as, pop_rows);
raw_function!(ack, ack_one);
raw_function!(ack_many, ack_all);
raw_function!(nack, nack_one);
raw_function!(snooze, snooze_one);
raw_function!(extend_lease, extend_one);

fn dequeue_jobs(call: &Call) -> SqlResult<Datum> {
    deliver(call, named_queue(call)?, Take::Lease(call.arg(2)), Form::Job)
}

fn dequeue_rows(call: &Call) -> SqlResult<Datum> {
    deliver(call, typed_queue(call)?, Take::Lease(call.arg(2)), Form::Row)
}

fn pop_jobs(call: &Call) -> SqlResult<Datum> {
    deliver(call, named_queue(call)?, Take::Keep, Form::Job)
}

fn pop_rows(call: &Call) -> SqlResult<Datum> {
    deliver(call, typed_queue(call)?, Take::Keep, Form::Row)
}

fn named_queue(call: &Call) -> Result<Oid, Error> {
    required("queue", call.arg(0))
}

/// The queue whose row type the polymorphic first argument has.
fn typed_queue(call: &Call) -> Result<Oid, Error> {
    let row_type = call.arg_type(0);
    catalog::table_of_row_type(row_type).ok_or_else(|| Error::NotAQueue(catalog::type_name(row_type)))
}

enum Take {
    /// Lent for so long, or for the queue's lease.
    Lease(Option<Interval>),
    /// Removed; the caller's rollback puts it back.
    Keep,
}

#[derive(PartialEq)]
enum Form {
    Job,
    Row,
}

fn deliver(call: &Call, oid: Oid, how: Take, form: Form) -> SqlResult<Datum> {
    let max_jobs: i32 = required("max_jobs", call.arg(1))?;
    if !(1..=MOST_JOBS).contains(&max_jobs) {
        return Err(Error::out_of_range(format!("max_jobs must be between 1 and {MOST_JOBS}")).into());
    }
    let lease = match &how {
        Take::Lease(Some(interval)) => Some(interval_micros(interval)),
        _ => None,
    };
    check_lease(lease)?;
    let sink = RowSink::open(call);
    spi::connect(|| {
        let queue = queue::open(oid)?;
        queue.require_consumer()?;
        let queue = queue.locked()?;
        if form == Form::Row && !sink.fits(queue.row_type) {
            return Err(Error::ChangedMeanwhile(queue.name.clone()).into());
        }
        let used = if let Take::Keep = how { Use::Pop } else { Use::Lease };
        let mut taken = take_next(&queue, max_jobs, used);
        if let Take::Lease(_) = how {
            let until = time::after(time::now(), lease.unwrap_or(queue.options.lease));
            for job in &mut taken {
                job.lease_until = Some(until);
            }
            let moves: Vec<Move> = taken
                .iter()
                .map(|job| Move { lease_until: job.lease_until, ..Move::to("running", job) })
                .collect();
            let returning = if form == Form::Row { Returning::All } else { Returning::Changed };
            let leased = claim::put_returning(&queue, &moves, returning);
            drop(moves);
            taken.iter_mut().zip(leased).for_each(|(job, row)| job.row = row);
        }
        let unfit = match form {
            Form::Row => {
                sink.put_rows(&taken, |job| job.row);
                Vec::new()
            }
            Form::Job => jobs::put(&queue, &taken, &sink),
        };
        let is_popped = matches!(how, Take::Keep);
        if !unfit.is_empty() {
            taken = give_up_unfit(&queue, taken, &unfit, is_popped);
        }
        if is_popped {
            finish::popped(&queue, &taken);
            keys::require_fresh_view(&queue, &taken)?;
            keys::popped(&queue, &taken);
        }
        Ok(call.null())
    })
}

/// Puts jobs that could not be handed out among the error rows, and those that are held back by one where they
/// wait. Returns the others.
fn give_up_unfit(queue: &Queue, taken: Vec<Taken>, unfit: &[Unfit], is_popped: bool) -> Vec<Taken> {
    let mut left: Vec<Option<Taken>> = taken.into_iter().map(Some).collect();
    let mut given_up = Vec::new();
    for one in unfit {
        let Some(job) = left[one.place].take() else { continue };
        let job = match is_popped {
            true => Some(job),
            // Its lease has just been written.
            false => claim::take_leases(queue, &[(job.id, job.attempt)], true).into_iter().next(),
        };
        given_up.extend(job.map(|job| (job, &one.failure)));
    }
    let moves = given_up.iter().map(|(job, failure)| match failure {
        Some(failure) => history::give_up(job, failure),
        None => {
            wake::sorted(queue.oid);
            Move::to("blocked", job)
        }
    });
    let moves = moves.collect();
    if is_popped {
        finish::put_own(queue, moves)
    } else {
        finish::put(queue, moves)
    }
    left.into_iter().flatten().collect()
}

/// The next jobs, after what is due has been put among them.
fn take_next(queue: &Queue, max_jobs: i32, used: Use) -> Vec<Taken> {
    let is_left = block::is_left_to_worker(queue);
    let keeps_up = !is_left && !queue.options.paused && !xact::sees_only_the_past();
    if keeps_up && upkeep::is_due(queue) {
        upkeep::step(queue);
    } else if queue.options.paused && !is_left {
        // Nothing is handed out, but enqueueing goes on.
        tick::fire_due(queue);
    }
    let taken = claim::next(queue, i64::from(max_jobs), used).taken;
    if is_left {
        block::ask(queue, taken.is_empty());
    }
    // An empty queue is worth a look at the rest: a row changed by hand announces nothing.
    if keeps_up && taken.is_empty() && upkeep::step(queue).moved > 0 {
        return claim::next(queue, i64::from(max_jobs), used).taken;
    }
    taken
}

/// One leased job, and what its holder wants done with it; false if the attempt no longer holds it.
fn with_lease(call: &Call, finish: impl FnOnce(&Queue, &Taken) -> SqlResult<()>) -> SqlResult<Datum> {
    let (oid, id, attempt) = lease_of(call)?;
    spi::connect(|| {
        let queue = queue::open(oid)?;
        queue.require_consumer()?;
        let queue = queue.locked()?;
        match claim::take_leases(&queue, &[(id, attempt)], true).first() {
            Some(job) => finish(&queue, job).map(|()| Datum::from(true)),
            None => {
                history::check_issued(&queue, id)?;
                Ok(Datum::from(false))
            }
        }
    })
}

/// The first arguments of all that is done to a lease: queue, id and attempt.
fn lease_of(call: &Call) -> Result<(Oid, i64, i32), Error> {
    Ok((required("queue", call.arg(0))?, required("id", call.arg(1))?, required("attempt", call.arg(2))?))
}

fn ack_one(call: &Call) -> SqlResult<Datum> {
    with_lease(call, |queue, job| {
        finish::put(queue, vec![finish::done(job, None)]);
        Ok(())
    })
}

fn ack_all(call: &Call) -> SqlResult<Datum> {
    let oid: Oid = required("queue", call.arg(0))?;
    let (ids, attempts) = (call.arg::<pgrx::Array<i64>>(1), call.arg::<pgrx::Array<i32>>(2));
    let (ids, attempts) = (required("ids", ids)?, required("attempts", attempts)?);
    let mut pairs = pairs(&ids, &attempts)?;
    // In one order everywhere, so that two calls over the same jobs cannot deadlock.
    pairs.sort_unstable();
    pairs.dedup();
    let sink = RowSink::open_scalar(call);
    spi::connect(|| {
        let queue = queue::open(oid)?;
        queue.require_consumer()?;
        let queue = queue.locked()?;
        let kept = queue.options.keep_done.is_some();
        let taken = claim::take_leases(&queue, &pairs, kept);
        if taken.len() < pairs.len() {
            for (id, _) in pairs.first().into_iter().chain(pairs.last()) {
                history::check_issued(&queue, *id)?;
            }
        }
        finish::put(&queue, taken.iter().map(|job| finish::done(job, None)).collect());
        sink.put_all(&taken.iter().map(|job| [spi::arg(job.id)]).collect::<Vec<_>>());
        Ok(call.null())
    })
}

fn pairs(ids: &pgrx::Array<i64>, attempts: &pgrx::Array<i32>) -> Result<Vec<(i64, i32)>, Error> {
    if ids.len() != attempts.len() {
        return Err(Error::ArrayMismatch(format!(
            "ids has {} elements but attempts has {}",
            ids.len(),
            attempts.len()
        )));
    }
    ids.iter()
        .zip(attempts.iter())
        .map(|(id, attempt)| {
            id.zip(attempt)
                .ok_or_else(|| Error::ArrayMismatch("ids and attempts must not contain nulls".into()))
        })
        .collect()
}

fn nack_one(call: &Call) -> SqlResult<Datum> {
    let error: Option<String> = call.arg(3);
    let delay = call.arg::<Interval>(4).as_ref().map(interval_micros);
    check_interval("delay", delay)?;
    with_lease(call, |queue, job| {
        let failure = Failure::new("P0001", error.as_deref().unwrap_or("nack without an error text"));
        finish::put(queue, vec![after_failure(queue, job, &failure, delay)]);
        Ok(())
    })
}

fn snooze_one(call: &Call) -> SqlResult<Datum> {
    let delay = interval_micros(&required("delay", call.arg::<Interval>(3))?);
    check_interval("delay", Some(delay))?;
    with_lease(call, |queue, job| {
        let limit = job.max_attempts.unwrap_or(queue.options.max_attempts);
        let back = Move {
            attempt: history::next_attempt(queue, job)?,
            max_attempts: Some(limit.saturating_add(1)),
            run_at: Some(time::after(time::now(), delay)),
            ..Move::to("scheduled", job)
        };
        finish::put(queue, vec![back]);
        Ok(())
    })
}

fn extend_one(call: &Call) -> SqlResult<Datum> {
    let lease = call.arg::<Interval>(3).as_ref().map(interval_micros);
    check_lease(lease)?;
    let (oid, id, attempt) = lease_of(call)?;
    spi::connect(|| {
        let queue = queue::open(oid)?;
        queue.require_consumer()?;
        let until = time::after(time::now(), lease.unwrap_or(queue.options.lease));
        let extended = claim::extend_lease(&queue, id, attempt, until);
        if !extended {
            history::check_issued(&queue, id)?;
        }
        Ok(Datum::from(extended))
    })
}
