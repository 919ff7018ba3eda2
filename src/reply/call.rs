//! `CALL queue.call`: enqueue, commit, wait, and take the result.

use super::{End, hidden, read, until_ended};
use crate::claim;
use crate::enqueue::{Header, More, payload};
use crate::error::{Error, SqlResult, required};
use crate::pg::entry::Call;
use crate::pg::time::{self, interval_micros};
use crate::pg::{Datum, Oid, array, catalog, spi, xact};
use crate::queue;
use crate::queue::limits::{check_interval, check_key, check_max_attempts, check_priority};
use crate::queue::statements::Which;
use crate::raw_function;
use pgrx::prelude::*;

raw_function!(call, call_and_wait);

/// `queue.call`
fn call_and_wait(call: &Call) -> SqlResult<Datum> {
    let oid = required("queue", call.arg::<Oid>(0))?;
    let payload = array::detoasted(required("payload", call.datum(1))?);
    let timeout = interval_micros(&required("timeout", call.arg::<Interval>(2))?);
    // The fourth is the result, which is not read.
    let (priority, max_attempts) = (call.arg(4), call.arg(5));
    let correlation_id: Option<String> = call.arg(6);
    check_interval("timeout", Some(timeout))?;
    check_priority(priority)?;
    check_max_attempts(max_attempts)?;
    check_key("correlation_id", correlation_id.as_deref())?;
    if !call.may_commit() {
        return Err(Error::InTransactionBlock("queue.call").into());
    }
    let more = More {
        correlation_id: correlation_id.or_else(|| Some(time::random_uuid())),
        keep_result: true,
        ..More::default()
    };
    let header = Header { priority, max_attempts, more: Some(Box::new(more)), ..Header::default() };
    let end = spi::connect_nonatomic(|| -> SqlResult<End> {
        queue::open(oid)?.require(catalog::SELECT | catalog::INSERT, "SELECT and INSERT")?;
        let ids = payload::insert(oid, &[payload], &header)?;
        spi::connect(|| require_sight(oid, ids[0]))?;
        spi::commit();
        let end = until_ended(oid, ids[0], timeout)?;
        if let End::Done(_) = end {
            spi::connect(|| forget(oid, ids[0]))?;
        }
        Ok(end)
    })?;
    match end {
        End::Done(result) => Ok(call.record(&[result.as_deref().map(array::jsonb_of_text)])),
        End::Gone => Ok(call.record(&[None])),
        End::Failed(error) => error.raise(),
    }
}

/// Raises, and takes back the job, if the caller does not see what he has just enqueued: as INSERT … RETURNING
/// does.
fn require_sight(oid: Oid, id: i64) -> SqlResult<()> {
    if !catalog::row_security_applies(oid) {
        return Ok(());
    }
    xact::next_command();
    let queue = queue::open(oid)?;
    if read(&queue, id).is_empty() { Err(hidden(&queue, id).into()) } else { Ok(()) }
}

/// Removes the caller's own job, whose result has arrived, where the queue keeps no done jobs. It was
/// allowed to enqueue it, and nobody else was told its id.
fn forget(oid: Oid, id: i64) -> SqlResult<()> {
    let queue = queue::open(oid)?.locked()?;
    if queue.options.keep_done.is_none() {
        claim::take(&queue, Which::DoneJob, &[spi::arg(id)]);
    }
    Ok(())
}
