//! `move`: a job leaves its queue and is enqueued on another one, in one transaction. There it is a new job
//! with an id of its own; what does not go with it is its place among the old queue's ids: jobs that waited
//! for it find it gone, and a job that waits for others stays, for its `after` names jobs of the old queue.

use super::{Condition, WAITING, each, take};
use crate::claim::Taken;
use crate::enqueue::{Header, More, payload};
use crate::error::{Error, SqlResult, required};
use crate::finish;
use crate::pg::{Datum, Oid, array, catalog, role, row, spi, time};
use crate::queue::limits::check_movable_state;
use crate::queue::{self, Queue, STATES, statements};
use crate::sql_function;

sql_function!(move_job);
sql_function!(move_all);

/// `queue.move`
fn move_job(queue: Option<Oid>, id: Option<i64>, to_queue: Option<Oid>) -> SqlResult<Option<i64>> {
    let (oid, id, target) = (required("queue", queue)?, required("id", id)?, required("to_queue", to_queue)?);
    spi::connect(|| {
        let queue = queue::open_owned(oid)?;
        let target = open_target(&queue, target)?;
        let queue = queue.locked()?;
        let states = [WAITING[0], WAITING[1], WAITING[2], "failed"];
        let Some((state, job)) = take(&queue, id, &states)? else { return Ok(None) };
        let after = catalog::column_number(queue.oid, c"after");
        if state == "blocked" && row::any_filled(job.row, &[after]) {
            return Err(Error::WaitsForOthers { queue: queue.name.clone(), id }.into());
        }
        Ok(transfer(&queue, state, &[job], target)?.into_iter().next())
    })
}

/// `queue.move_all`
fn move_all(
    queue: Option<Oid>,
    to_queue: Option<Oid>,
    condition: Option<&str>,
    states: Option<Vec<Option<String>>>,
) -> SqlResult<i64> {
    let (oid, target) = (required("queue", queue)?, required("to_queue", to_queue)?);
    let wanted = required("states", states)?
        .into_iter()
        .map(|state| required("states", state))
        .collect::<Result<Vec<_>, _>>()?;
    for state in &wanted {
        check_movable_state(state)?;
    }
    let states: Vec<&str> = STATES.into_iter().filter(|state| wanted.iter().any(|w| w == state)).collect();
    let condition = Condition::of(condition)?.and("state <> 'blocked' OR after IS NULL");
    let queue = queue::open_owned(oid)?;
    let target = open_target(&queue, target)?;
    each(oid, &states, &condition, &mut |queue, state, taken| {
        transfer(queue, state, &taken, target).map(drop)
    })
}

/// The other queue, if the caller may put jobs on it.
fn open_target(queue: &Queue, target: Oid) -> Result<Oid, Error> {
    if target == queue.oid {
        return Err(Error::out_of_range("to_queue must be another queue"));
    }
    queue::open(target)?.require(catalog::INSERT, "INSERT")?;
    Ok(target)
}

/// Enqueues jobs taken out of this state, and returns their new ids. Error rows start at once, as if resubmitted.
fn transfer(queue: &Queue, state: &str, taken: &[Taken], target: Oid) -> SqlResult<Vec<i64>> {
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Datum> = taken.iter().map(|job| job.row).collect();
    let args = [Some(array::of_rows(queue.row_type, &rows))];
    // The owner's types may have casts of the owner's: not to run with the caller's rights.
    let contents = role::as_restricted(queue.owner, || {
        queue.plan(statements::contents(queue), &[queue.row_array_type]).execute(&args)
    });
    finish::removed(queue, taken);
    let started = time::transaction_start();
    let mut ids = Vec::with_capacity(taken.len());
    for (place, job) in taken.iter().enumerate() {
        let text = |column| contents.get::<String>(place, column);
        let header = Header {
            priority: Some(job.priority),
            run_at: job.run_at.filter(|at| *at > started && state != "failed"),
            key: text(2),
            max_attempts: job.max_attempts,
            more: Some(Box::new(More {
                group_key: text(3),
                once: contents.datum(place, 4),
                correlation_id: text(5),
                topic: text(6),
                errors: contents.datum(place, 7),
                ..More::default()
            })),
        };
        let payload = match contents.datum(place, 1) {
            Some(payload) => array::detoasted(payload),
            None => array::jsonb_of_text("{}"),
        };
        ids.extend(payload::insert(target, &[payload], &header)?);
    }
    Ok(ids)
}
