//! What is remembered about a queue goes with its table.
//!
//! The tables have no foreign key to queue.queues (sql/03_tables.sql says why). In its place: who attaches,
//! registers, schedules or subscribes has the queue's definition locked until its transaction ends, so DROP TABLE
//! waits for it, and what it wrote is there to be deleted when the table is gone.

use crate::error::{SqlResult, required};
use crate::pg::{Oid, spi, xact};
use crate::{queue, sql_function};
use pgrx::pg_sys;

sql_function!(forget_queue);

const TABLES: [&str; 7] =
    ["attachments", "processors", "timetable", "subscriptions", "keys", "done_keys", "rates"];

/// `queue.forget_queue`
fn forget_queue(dropped: Option<Oid>) -> SqlResult<()> {
    let dropped = required("dropped", dropped)?;
    const TYPES: [Oid; 1] = [pg_sys::OIDOID];
    spi::connect(|| {
        queue::as_extension(|| {
            for table in TABLES {
                let any = format!("SELECT FROM queue.{table} WHERE queue = $1 LIMIT 1");
                let delete = format!("DELETE FROM queue.{table} WHERE queue = $1");
                // A snapshot from before the lock does not show what was written meanwhile.
                let run: fn(&str, &[Oid], &[spi::Arg]) -> spi::Rows =
                    if xact::sees_only_the_past() { spi::run_in_the_present } else { spi::run };
                // A deletion of no rows would fire the statement triggers of queue.subscriptions.
                if !run(&any, &TYPES, &[spi::arg(dropped)]).is_empty() {
                    run(&delete, &TYPES, &[spi::arg(dropped)]);
                }
            }
        });
        Ok(())
    })
}
