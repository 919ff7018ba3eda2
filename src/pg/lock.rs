//! Locks that are not waited for.

use super::{role, spi};
use pgrx::pg_sys::{self, Oid};

/// Locks a table, its partitions and all their indexes for reading, if that needs no waiting. Must be
/// called inside `spi::connect`.
pub fn try_for_reading(relation: Oid) -> bool {
    const ALL: &str = "
        WITH RECURSIVE tables (oid) AS (
            SELECT $1 UNION ALL SELECT i.inhrelid FROM pg_inherits i JOIN tables t ON i.inhparent = t.oid)
        SELECT oid FROM tables
        UNION ALL SELECT x.indexrelid FROM pg_index x JOIN tables t ON x.indrelid = t.oid";
    let rows = role::pinned(|| spi::run_kept(ALL, &[pg_sys::OIDOID], &[spi::arg(relation)]));
    (0..rows.len()).filter_map(|row| rows.get(row, 1)).all(|oid: Oid| {
        // SAFETY: an ordinary lock, released at the transaction's end.
        unsafe { pg_sys::ConditionalLockRelationOid(oid, pg_sys::AccessShareLock as i32) }
    })
}
