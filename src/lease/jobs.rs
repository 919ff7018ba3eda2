//! Rows of a queue as `queue.job`: the common header, with the queue's own columns folded into the payload.
//!
//! Not every row can be written so (see `shown`). Whoever may insert could stop all who take jobs with one such job, so
//! it costs itself alone: it becomes an error row.

use crate::claim::{self, Taken};
use crate::group;
use crate::pg::failure::{self, Failure};
use crate::pg::insert::Desc;
use crate::pg::spi::{self, Arg};
use crate::pg::srf::RowSink;
use crate::pg::{Datum, array, json, role};
use crate::queue::layout::{Col, Layout};
use crate::queue::{Queue, statements};
use crate::shown;
use pgrx::pg_sys;

const COLUMNS: usize = 13;

/// Jobs that are made ready before they are handed over together.
const AT_ONCE: usize = 32;

/// Rows with more content are left to SQL: they may be too large for an object.
const MOST_BYTES: usize = 50_000_000;

/// Columns that are handed over as they stand in the row.
const COPIED: [Col; 7] =
    [Col::RunAt, Col::Key, Col::GroupKey, Col::Payload, Col::EnqueuedAt, Col::CorrelationId, Col::Topic];

/// A job that was not handed over.
pub struct Unfit {
    /// Among those taken.
    pub place: usize,
    /// Why it cannot be written; `None` for one that comes after such a job in its group.
    pub failure: Option<Failure>,
}

/// Hands the jobs over, in order, but for those that cannot be.
pub fn put(queue: &Queue, taken: &[Taken], sink: &RowSink) -> Vec<Unfit> {
    let layout = queue.layout.as_ref();
    let put = layout.map_or(0, |layout| put_directly(queue, layout, taken, sink).unwrap_or(0));
    if put == taken.len() {
        return Vec::new();
    }
    if let Ok(jobs) = by_sql(queue, &taken[put..]) {
        jobs.iter().for_each(|job| sink.put(job));
        return Vec::new();
    }
    let mut held = Vec::new();
    let mut unfit = Vec::new();
    for (place, job) in taken.iter().enumerate().skip(put) {
        let group = group::of(queue, job);
        if group.as_ref().is_some_and(|group| held.contains(group)) {
            unfit.push(Unfit { place, failure: None });
            continue;
        }
        match by_sql(queue, std::slice::from_ref(job)) {
            Ok(jobs) => jobs.iter().for_each(|job| sink.put(job)),
            Err(failure) => {
                held.extend(group.filter(|_| !queue.options.group_continues));
                unfit.push(Unfit { place, failure: Some(not_json(&failure)) });
            }
        }
    }
    unfit
}

fn not_json(cause: &Failure) -> Failure {
    Failure {
        detail: Some(cause.message.clone()),
        hint: Some("queue.dequeue_as and queue.pop_as hand the row out as it is.".into()),
        ..Failure::new(&cause.sqlstate, "the job cannot be handed out as JSON")
    }
}

/// Hands over as many jobs as it can, in order, and returns how many: the next has a value that only SQL can
/// write. `None` for a column of a type that only SQL can write.
fn put_directly(queue: &Queue, layout: &Layout, taken: &[Taken], sink: &RowSink) -> Option<usize> {
    let own = queue.columns.iter().map(|c| Some((c, c.kind?))).collect::<Option<Vec<_>>>()?;
    let mut plain = json::Plain::of(own.iter().map(|(column, _)| column.name.as_str()));
    let desc = Desc::of(layout.row_type);
    let mut values = vec![Datum::from(0); desc.columns()];
    let mut nulls = vec![true; desc.columns()];
    let numbers = COPIED.map(|column| layout.number(column));
    let mut jobs: Vec<[Arg; COLUMNS]> = Vec::with_capacity(AT_ONCE.min(taken.len()));
    for (place, job) in taken.iter().enumerate() {
        if jobs.len() == AT_ONCE {
            sink.put_all(&jobs);
            jobs.clear();
            plain.forget();
        }
        desc.read(job.row, &mut values, &mut nulls);
        let value = |number: i16| (!nulls[number as usize - 1]).then(|| values[number as usize - 1]);
        let [run_at, key, group_key, payload, enqueued_at, correlation_id, topic] = numbers.map(value);
        let mut whole = || {
            let columns = || own.iter().map(|(column, kind)| (*kind, value(column.number)));
            if own.is_empty() {
                return Some(payload);
            }
            let in_json = own.iter().filter(|(_, kind)| kind.varies()).filter_map(|(c, _)| value(c.number));
            if in_json.chain(payload).map(array::stored_bytes).sum::<usize>() > MOST_BYTES {
                return None;
            }
            let is_plain = payload.is_none_or(json::is_empty_object);
            let made = if is_plain { plain.object(columns()) } else { None };
            let named = || own.iter().map(|(c, kind)| (c.name.as_str(), *kind, value(c.number)));
            made.or_else(|| json::object(payload, named())).map(Some)
        };
        let Some(payload) = whole() else {
            sink.put_all(&jobs);
            return Some(place);
        };
        jobs.push([
            Some(Datum::from(job.id)),
            Some(Datum::from(queue.oid)),
            Some(Datum::from(job.priority)),
            run_at,
            Some(Datum::from(job.attempt)),
            Some(Datum::from(job.max_attempts.unwrap_or(queue.options.max_attempts))),
            key,
            group_key,
            payload,
            enqueued_at,
            job.lease_until.map(Datum::from),
            correlation_id,
            topic,
        ]);
    }
    sink.put_all(&jobs);
    Some(taken.len())
}

/// `Err` if one of them cannot be written.
fn by_sql(queue: &Queue, taken: &[Taken]) -> Result<Vec<[Arg; COLUMNS]>, Failure> {
    let rows: Vec<Datum> = taken.iter().map(|job| job.row).collect();
    let args = [
        Some(array::of_rows(queue.row_type, &rows)),
        spi::arg(claim::times(taken.iter().map(|job| job.lease_until))),
    ];
    let types = [queue.row_array_type, pg_sys::TIMESTAMPTZARRAYOID];
    // The owner's types may have casts of the owner's: not to run with the caller's rights.
    let read =
        || role::as_restricted(queue.owner, || queue.plan(statements::as_jobs(queue), &types).execute(&args));
    let jobs = match failure::in_subtransaction(read) {
        Err(failure) if !shown::is_of_a_row(&failure) => failure.raise(),
        outcome => outcome?,
    };
    Ok((0..jobs.len()).map(|row| std::array::from_fn(|column| jobs.datum(row, column + 1))).collect())
}
