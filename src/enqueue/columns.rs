//! Does a payload fit the queue's columns? For who does not put it at once.

use super::payload;
use crate::pg::{Datum, role, spi};
use crate::queue::{Column, HEADER, Queue};
use pgrx::pg_sys::JSONBOID;

/// Raises what an enqueue of this payload by the caller would raise about the values of the columns. What
/// constraints and triggers say is not asked: that may be another thing when the time comes.
pub fn check(queue: &Queue, payload: Datum) {
    let columns: Vec<&Column> = payload::filled(queue, payload).collect();
    if columns.is_empty() {
        return;
    }
    let table = &queue.table;
    let sql = format!(
        "SELECT pg_catalog.jsonb_populate_record(NULL::{table}, $1 - '{{{}}}'::pg_catalog.text[])",
        HEADER.join(",")
    );
    role::pinned(|| spi::run(&sql, &[JSONBOID], &[Some(payload)]));
}
