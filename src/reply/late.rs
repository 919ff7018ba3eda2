//! What is said of a job that was waited for in vain.

use super::read;
use crate::error::Error;
use crate::pg::time::Micros;
use crate::pg::{Oid, catalog, failure, spi};
use crate::queue;
use crate::run::processor;
use crate::worker::activity;

/// Must be called inside `spi::connect`.
pub fn not_ended(oid: Oid, id: i64, timeout: Micros) -> Error {
    Error::NotEnded {
        queue: catalog::relation_name(oid).unwrap_or_default(),
        id,
        seconds: timeout as f64 / 1e6,
        failed: failed_attempt(oid, id),
        problem: problem_of(oid),
    }
}

/// The last attempt that failed, if one did and the caller may see the job, and what it waits for now.
fn failed_attempt(oid: Oid, id: i64) -> Option<String> {
    let queue = queue::open(oid).ok()?;
    let rows = read(&queue, id);
    if rows.is_empty() {
        return None;
    }
    let text = |column| rows.get::<String>(0, column);
    let (attempt, message) = (text(8)?, text(4)?);
    let next = match (text(1)?.as_str(), text(9)) {
        ("scheduled", Some(run_at)) => format!("The next is due at {run_at}."),
        ("running", _) => "The next is under way.".into(),
        // It has ended just now.
        ("done" | "failed", _) => return None,
        _ => "The next has not ended.".into(),
    };
    Some(format!("Attempt {attempt} failed: {message}. {next}"))
}

/// Why nothing runs on the queue, as the overview says it; but for groups that stand still: the job is perhaps in
/// none of them.
fn problem_of(oid: Oid) -> Option<String> {
    if processor::registered_role(oid).is_none() {
        return Some("it has no processor, so its jobs are for clients to dequeue".into());
    }
    let row = failure::in_subtransaction(|| activity::overview_row(oid, false)).ok()??;
    row.last().copied().flatten().and_then(spi::text_of)
}
