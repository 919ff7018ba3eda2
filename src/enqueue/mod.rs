//! Putting jobs on a queue: by function, by plain INSERT, from a trigger.

pub mod attach;
mod direct;
pub mod fire;
mod payload;
pub mod plain;
pub mod spec;
pub mod statement;

use crate::error::{Error, SqlResult, required};
use crate::pg::entry::Call;
use crate::pg::srf::RowSink;
use crate::pg::time::{self, Micros, interval_micros};
use crate::pg::{Datum, array};
use crate::queue::limits::{check_interval, check_max_attempts, check_priority};
use crate::raw_function;
use pgrx::prelude::*;

/// What a caller may say about a job besides its content.
struct Header {
    priority: Option<i32>,
    run_at: Option<Micros>,
    key: Option<String>,
    max_attempts: Option<i32>,
}

impl Header {
    fn new(
        priority: Option<i32>,
        run_at: Option<TimestampWithTimeZone>,
        delay: Option<Interval>,
        key: Option<String>,
        max_attempts: Option<i32>,
    ) -> Result<Header, Error> {
        check_priority(priority)?;
        check_max_attempts(max_attempts)?;
        let delay = delay.as_ref().map(interval_micros);
        check_interval("delay", delay)?;
        if run_at.is_some() && delay.is_some() {
            return Err(Error::out_of_range("only one of run_at and delay may be given"));
        }
        let run_at =
            run_at.map(Micros::from).or(delay.map(|micros| time::after(time::transaction_start(), micros)));
        // A time that has come is no time to wait for.
        let run_at = run_at.filter(|at| *at > time::transaction_start());
        Ok(Header { priority, run_at, key, max_attempts })
    }

    fn state(&self) -> &'static str {
        if self.run_at.is_some() { "scheduled" } else { "ready" }
    }
}

raw_function!(enqueue, enqueue_one);
raw_function!(enqueue_many, enqueue_all);

/// The arguments that both functions take from their third on.
fn header_of(call: &Call) -> Result<Header, Error> {
    Header::new(call.arg(2), call.arg(3), call.arg(4), call.arg(5), call.arg(6))
}

/// `queue.enqueue`
fn enqueue_one(call: &Call) -> SqlResult<Datum> {
    let oid = required("queue", call.arg(0))?;
    let header = header_of(call)?;
    let payload = array::detoasted(required("payload", call.datum(1))?);
    let ids = payload::insert(oid, &[payload], &header)?;
    Ok(Datum::from(ids[0]))
}

/// `queue.enqueue_many`
fn enqueue_all(call: &Call) -> SqlResult<Datum> {
    let oid = required("queue", call.arg(0))?;
    let header = header_of(call)?;
    let payloads = array::jsonb_elements(required("payloads", call.datum(1))?)
        .ok_or_else(|| Error::ArrayMismatch("payloads must not contain nulls".into()))?;
    let sink = RowSink::open_scalar(call);
    for id in payload::insert(oid, &payloads, &header)? {
        sink.put(&[Some(Datum::from(id))]);
    }
    Ok(call.null())
}
