//! The view `queue.schedules`.

use super::state_of;
use crate::error::SqlResult;
use crate::pg::entry::Call;
use crate::pg::failure::in_subtransaction;
use crate::pg::spi::{self, Rows};
use crate::pg::srf::RowSink;
use crate::pg::{Datum, Oid, catalog, lock};
use crate::{queue, raw_function};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReportable;

raw_function!(schedule_rows, schedules);

const COLUMNS: usize = 14;
const LAST_OUTCOME: usize = 12;
const LAST_JOB: usize = 13;
/// May the reader select from the queue?
const READABLE: usize = 15;

fn schedules(call: &Call) -> SqlResult<Datum> {
    const ROWS: &str = "
        SELECT t.name, t.queue, t.role, t.cron, t.timezone, t.catch_up, t.skip_if_running, t.payload,
               jsonb_strip_nulls(jsonb_build_object('priority', t.priority, 'key', t.key, 'on_conflict', t.on_conflict,
                                                    'group_key', t.group_key, 'max_attempts', t.max_attempts)),
               t.next_tick, t.last_tick, t.last_outcome, t.last_job, t.problem, s.readable
        FROM queue.timetable t JOIN pg_class c ON c.oid = t.queue,
             LATERAL (SELECT has_table_privilege($1, t.queue, 'SELECT') AS readable OFFSET 0) s
        WHERE s.readable OR pg_has_role($1, t.role, 'USAGE') ORDER BY t.name";
    let sink = RowSink::open(call);
    spi::connect(|| {
        let user = catalog::current_user();
        let rows = queue::as_extension(|| spi::run(ROWS, &[pg_sys::OIDOID], &[spi::arg(user)]));
        for row in 0..rows.len() {
            let mut columns: Vec<spi::Arg> = (1..=COLUMNS).map(|column| rows.datum(row, column)).collect();
            if let Some(outcome) = outcome(&rows, row) {
                columns[LAST_OUTCOME - 1] = spi::arg(outcome);
            }
            sink.put(&columns);
        }
        Ok(call.null())
    })
}

/// What has become of the job, if the reader may know and the table is not locked.
fn outcome(rows: &Rows, row: usize) -> Option<&'static str> {
    let is_enqueued = rows.get::<String>(row, LAST_OUTCOME).as_deref() == Some("enqueued");
    let oid: Oid = rows.get(row, 2)?;
    let job: i64 = rows.get(row, LAST_JOB).filter(|_| is_enqueued)?;
    if !rows.get(row, READABLE).unwrap_or(false) || catalog::row_security_applies(oid) {
        return None;
    }
    // One queue that cannot be read does not hide the others.
    let read = in_subtransaction(|| {
        let queue = lock::try_for_reading(oid).then(|| queue::open(oid).ok())??;
        Some(state_of(&queue, job))
    });
    let state = match read {
        Ok(read) => read?,
        Err(failure) if failure.by_interrupt => Err(failure.report()).unwrap_or_report(),
        Err(_) => return None,
    };
    Some(match state.as_deref() {
        None => "ended",
        Some("ready" | "scheduled" | "blocked") => "waiting",
        Some("running") => "running",
        Some("failed") => "failed",
        Some(_) => "done",
    })
}
