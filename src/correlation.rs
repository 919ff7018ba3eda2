//! Correlation ids: which jobs belong to one request.
//!
//! A job has the id that it was given. One that a processor puts on a queue while it runs a job, by whatever
//! way, and that was given none, has that of the job it came from; if that has none either, the job it came
//! from is the request, and its name is `schema.table:id`. The root is not written to again: it is found by
//! that name.
//!
//! Of a batch that one call works on (`f(mail[])`), nobody knows which job a new one came from: it inherits
//! what all of the batch have in common, a correlation_id or being the only job, else nothing.

use crate::claim::{Moving, Taken};
use crate::error::{SqlResult, required};
use crate::pg::entry::Call;
use crate::pg::failure::{self, Failure};
use crate::pg::spi::{self, Plan};
use crate::pg::srf::RowSink;
use crate::pg::{Datum, catalog, role, row};
use crate::queue::{self, Queue};
use crate::raw_function;
use crate::run::processor::Shape;
use crate::run::{self, Present};
use crate::worker::activity::visible_queues;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReportable;
use std::rc::Rc;

raw_function!(trace, trace_request);

fn present(queue: &Queue, job: &Taken) -> Present {
    Present { queue: queue.oid, id: job.id, row: job.row }
}

/// A chunk of jobs begins to run.
pub fn begin(queue: &Queue, shape: Shape, jobs: &[&Taken]) {
    let speaker = match shape {
        Shape::Job => jobs.first().copied(),
        Shape::Batch => common(jobs),
    };
    run::set_present(speaker.map(|job| present(queue, job)));
}

/// The next job of the chunk begins to run.
pub fn go_on(queue: &Queue, shape: Shape, job: &Taken) {
    if shape == Shape::Job {
        run::set_present(Some(present(queue, job)));
    }
}

/// The job, of several that run together, from which a new one inherits.
fn common<'a>(jobs: &[&'a Taken]) -> Option<&'a Taken> {
    let (first, others) = jobs.split_first()?;
    if others.is_empty() {
        return Some(first);
    }
    let id = given(first.row)?;
    others.iter().all(|job| given(job.row).as_ref() == Some(&id)).then_some(first)
}

fn given(row: Datum) -> Option<String> {
    row::named_column(row, c"correlation_id")
}

/// What a job that is enqueued now inherits from the one that a processor is running, if it is.
pub fn inherited() -> Option<String> {
    let job = run::present_job()?;
    Some(given(job.row).unwrap_or_else(|| format!("{}:{}", catalog::qualified_name(job.queue), job.id)))
}

/// A row at this place, just inserted by a plain INSERT without a correlation_id, inherits one. Returns its
/// new place. Must be called inside `spi::connect`.
pub fn stamp(queue: &Queue, place: Datum) -> Option<Datum> {
    let inherited = inherited()?;
    let sql = format!(
        "UPDATE {} AS {row} SET correlation_id = $2 WHERE {row}.state = 'ready' AND {row}.ctid = $1 RETURNING {row}.ctid",
        queue.table,
        row = queue.alias
    );
    role::as_role(queue.owner, || {
        let _moving = Moving::within(queue.oid);
        let types = [pg_sys::TIDOID, pg_sys::TEXTOID];
        let rows = queue.plan(sql, &types).execute(&[Some(place), spi::arg(inherited)]);
        (!rows.is_empty()).then(|| rows.datum(0, 1)).flatten()
    })
}

/// `queue.trace`
fn trace_request(call: &Call) -> SqlResult<Datum> {
    let id: String = required("correlation_id", call.arg(0))?;
    let sink = RowSink::open(call);
    spi::connect(|| {
        for oid in visible_queues() {
            let Ok(queue) = queue::open(oid) else { continue };
            // Policies say which rows the reader may see, and must not run with the reader's rights here.
            if catalog::row_security_applies(oid) {
                continue;
            }
            let read = || role::as_restricted(queue.owner, || put_rows(&queue, &id, &sink));
            // One queue that cannot be read does not hide the others; the overview says why.
            if let Err(failure) = failure::in_subtransaction(read) {
                unless_interrupted(failure);
            }
        }
        Ok(call.null())
    })
}

fn unless_interrupted(failure: Failure) {
    if failure.by_interrupt {
        Err(failure.report()).unwrap_or_report()
    }
}

/// The number of the job that a name of this queue's jobs names.
fn root_id(queue: &Queue, id: &str) -> Option<i64> {
    id.strip_prefix(&queue.table)?.strip_prefix(':')?.parse().ok()
}

fn put_rows(queue: &Queue, id: &str, sink: &RowSink) {
    let select = format!(
        "SELECT '{oid}'::oid::regclass, id, state, attempt, correlation_id, key, topic, enqueued_at, finished_at,
                errors -> -1 ->> 'sqlstate', errors -> -1 ->> 'message', result
         FROM {table}",
        oid = queue.oid,
        table = queue.table
    );
    let put = |plan: &Rc<Plan>, args: &[spi::Arg]| plan.for_each(args, &mut |row| sink.put(row));
    // The jobs that have ended are found by an index; of those that wait, all are looked at.
    let ended = {
        let _order = role::Planner::by_index();
        let of = |state: &str| {
            format!("{select} WHERE state = '{state}' AND correlation_id = $1 AND correlation_id IS NOT NULL")
        };
        queue.plan(format!("{} UNION ALL {}", of("failed"), of("done")), &[pg_sys::TEXTOID])
    };
    put(&ended, &[spi::arg(id)]);
    let waiting = "state IN ('ready', 'scheduled', 'blocked', 'running') AND correlation_id = $1";
    put(&queue.plan(format!("{select} WHERE {waiting}"), &[pg_sys::TEXTOID]), &[spi::arg(id)]);
    if let Some(root) = root_id(queue, id) {
        let sql = format!("{select} WHERE id = $1 AND correlation_id IS DISTINCT FROM $2");
        put(&queue.plan(sql, &[pg_sys::INT8OID, pg_sys::TEXTOID]), &[spi::arg(root), spi::arg(id)]);
    }
}
