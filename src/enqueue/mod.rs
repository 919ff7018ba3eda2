//! Putting jobs on a queue: by function, by plain INSERT, from a trigger.

pub mod attach;
pub mod circle;
pub mod columns;
pub mod direct;
mod expected;
pub mod fire;
pub mod nesting;
pub mod payload;
pub mod plain;
pub mod planned;
pub mod source;
pub mod spec;
pub mod stale;
pub mod statement;

use crate::error::{Error, SqlResult, required};
use crate::pg::entry::Call;
use crate::pg::srf::RowSink;
use crate::pg::time::{self, Micros, interval_micros};
use crate::pg::{Datum, array};
use crate::queue::Queue;
use crate::queue::limits::{
    OnConflict, check_after_failure, check_interval, check_key, check_max_attempts, check_on_conflict,
    check_priority,
};
use crate::{correlation, raw_function};
use pgrx::prelude::*;

/// What a caller may say about a job besides its content.
#[derive(Default, Clone)]
pub struct Header {
    pub priority: Option<i32>,
    pub run_at: Option<Micros>,
    pub key: Option<String>,
    pub max_attempts: Option<i32>,
    pub more: Option<Box<More>>,
}

/// What few jobs have.
#[derive(Default, Clone)]
pub struct More {
    pub on_conflict: Option<OnConflict>,
    pub group_key: Option<String>,
    /// An interval.
    pub once: Option<Datum>,
    pub after: Option<Vec<i64>>,
    pub after_failure: Option<String>,
    pub correlation_id: Option<String>,
    pub topic: Option<String>,
    pub keep_result: bool,
    /// The failures it has had on another queue, as jsonb.
    pub errors: Option<Datum>,
}

/// The arguments of `enqueue` from this one on make up the header.
const FIRST: usize = 2;

/// Where a function takes the arguments that not all have at the same place.
#[derive(Clone, Copy)]
pub struct Place {
    /// `after`, followed by `after_failure`.
    after: Option<usize>,
    correlation_id: usize,
    keep_result: Option<usize>,
}

impl Place {
    const ENQUEUE: Place =
        Place { after: Some(FIRST + 8), correlation_id: FIRST + 10, keep_result: Some(FIRST + 11) };
    /// Ids are a queue's own, so what is published waits for none.
    pub const PUBLISH: Place = Place { after: None, correlation_id: FIRST + 8, keep_result: None };
}

impl Header {
    /// The arguments that these functions take from their third on.
    pub fn of_call(call: &Call, place: Place) -> Result<Header, Error> {
        let priority = call.arg(FIRST);
        let run_at: Option<TimestampWithTimeZone> = call.arg(FIRST + 1);
        let delay: Option<Interval> = call.arg(FIRST + 2);
        let key: Option<String> = call.arg(FIRST + 3);
        let max_attempts = call.arg(FIRST + 6);
        check_priority(priority)?;
        check_max_attempts(max_attempts)?;
        check_key("key", key.as_deref())?;
        let delay = delay.as_ref().map(interval_micros);
        check_interval("delay", delay)?;
        if run_at.is_some() && delay.is_some() {
            return Err(Error::out_of_range("only one of run_at and delay may be given"));
        }
        let run_at =
            run_at.map(Micros::from).or(delay.map(|micros| time::after(time::transaction_start(), micros)));
        // A time that has come is no time to wait for.
        let run_at = run_at.filter(|at| *at > time::transaction_start());
        let more = More::of_call(call, place, key.is_some())?;
        Ok(Header { priority, run_at, key, max_attempts, more })
    }

    /// The jobs that have to end first.
    fn waits_for(&self) -> Option<&[i64]> {
        self.more.as_ref()?.after.as_deref()
    }

    /// What the jobs do about another with their key.
    fn on_conflict(&self, queue: &Queue) -> Option<OnConflict> {
        self.more.as_ref().and_then(|more| more.on_conflict).or(queue.options.on_conflict)
    }

    /// With the correlation_id of the job that a processor runs just now, if none was given.
    pub fn correlated(&self) -> Header {
        let mut header = self.clone();
        if let Some(inherited) = correlation::inherited() {
            header.more.get_or_insert_default().correlation_id.get_or_insert(inherited);
        }
        header
    }

    fn state(&self) -> &'static str {
        match self {
            _ if self.waits_for().is_some() => "blocked",
            Header { run_at: Some(_), .. } => "scheduled",
            _ => "ready",
        }
    }
}

impl More {
    fn of_call(call: &Call, place: Place, has_key: bool) -> Result<Option<Box<More>>, Error> {
        let after = place.after;
        let keep_result = place.keep_result.and_then(|place| call.arg(place)).unwrap_or(false);
        let places = [FIRST + 4, FIRST + 5, FIRST + 7, place.correlation_id].into_iter();
        let mut places = places.chain(after).chain(after.map(|after| after + 1));
        if !keep_result && places.all(|place| call.datum(place).is_none()) {
            return Ok(None);
        }
        let on_conflict: Option<String> = call.arg(FIRST + 4);
        let group_key: Option<String> = call.arg(FIRST + 5);
        let once: Option<Interval> = call.arg(FIRST + 7);
        let after_failure: Option<String> = after.and_then(|after| call.arg(after + 1));
        let after: Option<Vec<Option<i64>>> = after.and_then(|after| call.arg(after));
        let correlation_id: Option<String> = call.arg(place.correlation_id);
        check_on_conflict(on_conflict.as_deref(), false)?;
        check_key("group_key", group_key.as_deref())?;
        check_interval("once", once.as_ref().map(interval_micros))?;
        check_after_failure(after_failure.as_deref())?;
        check_key("correlation_id", correlation_id.as_deref())?;
        for (name, is_given) in [("on_conflict", on_conflict.is_some()), ("once", once.is_some())] {
            if is_given && !has_key {
                return Err(Error::out_of_range(format!("{name} needs a key")));
            }
        }
        if after_failure.is_some() && after.is_none() {
            return Err(Error::out_of_range("after_failure needs after"));
        }
        let after = after
            .map(|ids| ids.into_iter().collect::<Option<Vec<i64>>>())
            .map(|ids| ids.ok_or_else(|| Error::ArrayMismatch("after must not contain nulls".into())))
            .transpose()?;
        Ok(Some(Box::new(More {
            on_conflict: on_conflict.as_deref().and_then(OnConflict::of),
            group_key,
            once: call.datum(FIRST + 7),
            after,
            after_failure,
            correlation_id,
            topic: None,
            keep_result,
            errors: None,
        })))
    }
}

raw_function!(enqueue, enqueue_one);
raw_function!(enqueue_many, enqueue_all);

/// `queue.enqueue`
fn enqueue_one(call: &Call) -> SqlResult<Datum> {
    let oid = required("queue", call.arg(0))?;
    let header = Header::of_call(call, Place::ENQUEUE)?;
    let payload = array::detoasted(required("payload", call.datum(1))?);
    let ids = payload::insert(oid, &[payload], &header)?;
    Ok(Datum::from(ids[0]))
}

/// `queue.enqueue_many`
fn enqueue_all(call: &Call) -> SqlResult<Datum> {
    let oid = required("queue", call.arg(0))?;
    let header = Header::of_call(call, Place::ENQUEUE)?;
    let payloads = array::jsonb_elements(required("payloads", call.datum(1))?)
        .ok_or_else(|| Error::ArrayMismatch("payloads must not contain nulls".into()))?;
    let sink = RowSink::open_scalar(call);
    let ids = payload::insert(oid, &payloads, &header)?;
    sink.put_all(&ids.into_iter().map(|id| [Some(Datum::from(id))]).collect::<Vec<_>>());
    Ok(call.null())
}
