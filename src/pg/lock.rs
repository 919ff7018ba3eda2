//! Locks that are not waited for.

use super::{role, spi};
use pgrx::pg_sys::{self, Oid};

/// Locks a table, its partitions and all their indexes for reading, if that needs no waiting. Must be
/// called inside `spi::connect`.
pub fn try_for_reading(relation: Oid) -> bool {
    // OFFSET 0: found by index for each table, never by reading the whole catalog to hash it.
    const ALL: &str = "
        WITH RECURSIVE tables (oid) AS (
            SELECT $1 UNION ALL SELECT i.inhrelid FROM tables t,
                LATERAL (SELECT inhrelid FROM pg_inherits WHERE inhparent = t.oid OFFSET 0) i)
        SELECT oid FROM tables
        UNION ALL SELECT x.indexrelid FROM tables t,
            LATERAL (SELECT indexrelid FROM pg_index WHERE indrelid = t.oid OFFSET 0) x";
    let rows = role::pinned(|| {
        let _planner = role::Planner::by_index();
        spi::run_kept(ALL, &[pg_sys::OIDOID], &[spi::arg(relation)])
    });
    (0..rows.len()).filter_map(|row| rows.get(row, 1)).all(|oid: Oid| {
        // SAFETY: an ordinary lock, released at the transaction's end.
        unsafe { pg_sys::ConditionalLockRelationOid(oid, pg_sys::AccessShareLock as i32) }
    })
}
