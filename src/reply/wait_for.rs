//! `CALL queue.wait_for`: asleep until a job has ended.

use super::{End, until_ended};
use crate::error::{Error, SqlResult, required};
use crate::pg::entry::Call;
use crate::pg::time::interval_micros;
use crate::pg::{Datum, Oid, array, catalog, spi};
use crate::queue;
use crate::queue::limits::check_interval;
use crate::raw_function;
use pgrx::prelude::*;

raw_function!(wait_for, wait_for_end);

/// `queue.wait_for`
fn wait_for_end(call: &Call) -> SqlResult<Datum> {
    let oid = required("queue", call.arg::<Oid>(0))?;
    let id = required("id", call.arg::<i64>(1))?;
    let timeout = interval_micros(&required("timeout", call.arg::<Interval>(2))?);
    check_interval("timeout", Some(timeout))?;
    if !call.may_commit() {
        return Err(Error::InTransactionBlock("queue.wait_for").into());
    }
    let end = spi::connect_nonatomic(|| {
        queue::open(oid)?.require(catalog::SELECT, "SELECT")?;
        until_ended(oid, id, timeout)
    })?;
    match end {
        End::Done(result) => Ok(call.record(&[result.as_deref().map(array::jsonb_of_text)])),
        End::Gone => Ok(call.record(&[None])),
        End::Failed(error) => error.raise(),
    }
}
