//! `queue.history`: what is kept of jobs that have ended, done ones and error rows, newest first.
//!
//! Each of the two partitions has an index on `finished_at`; read backwards and merged, they give the rows in
//! order, so that a look at the latest costs the same however many are kept.

use crate::error::{Error, SqlResult, required};
use crate::pg::entry::Call;
use crate::pg::spi::{self, Arg};
use crate::pg::srf::RowSink;
use crate::pg::{Datum, Oid, catalog, role};
use crate::queue::limits::check_ended_state;
use crate::queue::{self, Queue};
use crate::{raw_function, shown};
use pgrx::pg_sys;

const MOST_JOBS: i32 = 1_000_000;

raw_function!(history, history_rows);

fn history_rows(call: &Call) -> SqlResult<Datum> {
    let oid: Oid = required("queue", call.arg(0))?;
    let state: Option<String> = call.arg(1);
    let max_jobs: i32 = required("max_jobs", call.arg(4))?;
    check_ended_state(state.as_deref())?;
    if !(1..=MOST_JOBS).contains(&max_jobs) {
        return Err(Error::out_of_range(format!("max_jobs must be between 1 and {MOST_JOBS}")).into());
    }
    let sink = RowSink::open(call);
    spi::connect(|| {
        let queue = queue::open(oid)?;
        queue.require(catalog::SELECT, "SELECT")?;
        let args = [spi::arg(i64::from(max_jobs)), call.datum(2), call.datum(3)];
        let types = [pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID, pg_sys::TEXTOID];
        let sql = |whole: &str| statement(&queue, state.as_deref(), &args, whole);
        let work = || {
            let _order = role::Planner::by_index();
            shown::put(&queue, &sql, &types, &args, &sink);
        };
        // As for `status`: policies are the reader's, and the owner's code does not run with his rights.
        if catalog::row_security_applies(oid) {
            role::pinned(work);
        } else {
            role::as_restricted(queue.owner, work);
        }
        Ok(call.null())
    })
}

/// Conditions are in it only if they are asked for: the plan is made without knowing the arguments.
fn statement(queue: &Queue, state: Option<&str>, args: &[Arg; 3], whole: &str) -> String {
    let row = &queue.alias;
    let states = state.map_or_else(|| "'done', 'failed'".into(), pgrx::spi::quote_literal);
    let since = args[1].map_or("", |_| "AND finished_at >= $2");
    let key = args[2].map_or("", |_| "AND key = $3");
    format!(
        "SELECT id, state, key, group_key, attempt, enqueued_at, finished_at,
                CASE WHEN isfinite(finished_at) AND isfinite(enqueued_at) THEN finished_at - enqueued_at END, result,
                CASE WHEN state = 'failed' THEN errors -> -1 ->> 'message' END,
                CASE WHEN state = 'failed' THEN errors -> -1 ->> 'sqlstate' END,
                correlation_id, topic, {whole}
         FROM {} AS {row} WHERE state IN ({states}) {since} {key} ORDER BY finished_at DESC LIMIT $1",
        queue.table,
    )
}
