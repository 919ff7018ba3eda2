//! Rows that upkeep cannot move: said once in a while, so that somebody mends them.

use super::{BACK_OFF, KINDS};
use crate::pg::Oid;
use crate::pg::failure::Failure;
use crate::pg::time::{self, Micros};
use crate::queue::Queue;
use crate::worker::shared::QueueSlot;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;

/// A row that could not be moved, and why.
pub(super) struct Unmovable {
    pub id: i64,
    /// Its place in `KINDS`.
    pub kind: usize,
    pub failure: Failure,
}

thread_local! {
    /// Without shared memory: until when nothing is said again, of each queue.
    static TOLD: RefCell<HashMap<Oid, Micros>> = RefCell::new(HashMap::new());
}

/// Says which jobs cannot be moved, once in a while for all sessions together.
pub(super) fn complain(queue: &Queue, slot: Option<&QueueSlot>, unmovable: &[Unmovable]) {
    const MOST_NAMED: usize = 10;
    let Some(Unmovable { kind, failure, .. }) = unmovable.first() else { return };
    let now = time::now();
    let quiet_until = match slot {
        // Only one of those who find the time over sets it anew.
        Some(slot) => slot
            .quiet_until
            .fetch_update(SeqCst, SeqCst, |until| (until <= now).then_some(now + BACK_OFF))
            .unwrap_or_else(|until| until),
        None => TOLD.with(|told| {
            let until = told.borrow().get(&queue.oid).copied().unwrap_or(0);
            if until <= now {
                told.borrow_mut().insert(queue.oid, now + BACK_OFF);
            }
            until
        }),
    };
    if quiet_until > now {
        return;
    }
    let ids: Vec<String> = unmovable.iter().take(MOST_NAMED).map(|row| row.id.to_string()).collect();
    let others = match unmovable.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    let what = format!(
        "queue \"{}\": cannot move job {}{others} out of state {}: {} (SQLSTATE {})",
        queue.name,
        ids.join(", "),
        KINDS[*kind].state(),
        failure.message,
        failure.sqlstate
    );
    ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, what, "queue_ext")
        .set_hint("The other jobs go on. This is tried again after a minute, or when the table was altered.")
        .report(PgLogLevel::WARNING);
}
