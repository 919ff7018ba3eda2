//! Rows of a queue as `queue.job`: the common header, with the queue's own columns folded into the payload.

use crate::claim::{self, Taken};
use crate::pg::insert::Desc;
use crate::pg::spi::{self, Arg};
use crate::pg::srf::RowSink;
use crate::pg::{Datum, array, json, role};
use crate::queue::layout::{Col, Layout};
use crate::queue::{Queue, statements};
use pgrx::pg_sys;

const COLUMNS: usize = 13;

/// Hands the jobs over.
pub fn put(queue: &Queue, taken: &[Taken], sink: &RowSink) {
    if taken.is_empty() {
        return;
    }
    let jobs = queue.layout.as_ref().and_then(|layout| directly(queue, layout, taken));
    for job in jobs.unwrap_or_else(|| by_sql(queue, taken)) {
        sink.put(&job);
    }
}

/// `None` if a value is one that only SQL can write.
fn directly(queue: &Queue, layout: &Layout, taken: &[Taken]) -> Option<Vec<[Arg; COLUMNS]>> {
    let own = queue.columns.iter().map(|c| Some((c, c.kind?))).collect::<Option<Vec<_>>>()?;
    let desc = Desc::of(layout.row_type);
    let mut values = vec![Datum::from(0); desc.columns()];
    let mut nulls = vec![true; desc.columns()];
    let mut jobs = Vec::with_capacity(taken.len());
    for job in taken {
        desc.read(job.row, &mut values, &mut nulls);
        let value = |number: i16| (!nulls[number as usize - 1]).then(|| values[number as usize - 1]);
        let of = |column| value(layout.number(column));
        let payload = if own.is_empty() {
            of(Col::Payload)
        } else {
            let columns =
                own.iter().map(|(column, kind)| (column.name.as_str(), *kind, value(column.number)));
            Some(json::object(of(Col::Payload), columns)?)
        };
        jobs.push([
            Some(Datum::from(job.id)),
            Some(Datum::from(queue.oid)),
            Some(Datum::from(job.priority)),
            of(Col::RunAt),
            Some(Datum::from(job.attempt)),
            Some(Datum::from(job.max_attempts.unwrap_or(queue.options.max_attempts))),
            of(Col::Key),
            of(Col::GroupKey),
            payload,
            of(Col::EnqueuedAt),
            job.lease_until.map(Datum::from),
            of(Col::CorrelationId),
            of(Col::Topic),
        ]);
    }
    Some(jobs)
}

fn by_sql(queue: &Queue, taken: &[Taken]) -> Vec<[Arg; COLUMNS]> {
    let rows: Vec<Datum> = taken.iter().map(|job| job.row).collect();
    let args = [
        Some(array::of_rows(queue.row_type, &rows)),
        spi::arg(claim::times(taken.iter().map(|job| job.lease_until))),
    ];
    let types = [queue.row_array_type, pg_sys::TIMESTAMPTZARRAYOID];
    // The owner's types may have casts of the owner's: not to run with the caller's rights.
    let jobs =
        role::as_restricted(queue.owner, || queue.plan(statements::as_jobs(queue), &types).execute(&args));
    (0..jobs.len()).map(|row| std::array::from_fn(|column| jobs.datum(row, column + 1))).collect()
}
