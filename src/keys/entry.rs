//! The entries of keys and the marks of done ones, in the extension's own tables. Each function is one
//! statement, and must be called inside `spi::connect`.

use super::{Keyed, queue_arg};
use crate::pg::Oid;
use crate::pg::spi::{self, arg};
use crate::pg::time::{self, Micros};
use crate::queue::as_extension;
use pgrx::pg_sys::{
    BOOLARRAYOID, BOOLOID, INT8ARRAYOID, INT8OID, REGCLASSOID, TEXTARRAYOID, TEXTOID, TIMESTAMPTZOID,
};

pub struct Entry {
    pub id: i64,
    /// Its job is not to be done again for a while.
    pub once: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    No,
    /// So that nobody else points it elsewhere; waits for who has it.
    Yes,
    /// The same, if nobody has it.
    IfFree,
}

/// Makes the entry; false if there is one. Waits for a transaction that is making or removing it.
pub fn make(queue: Oid, row: &Keyed) -> bool {
    const MAKE: &str = "
        INSERT INTO queue.keys (queue, key, id, once) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    let types = [REGCLASSOID, TEXTOID, INT8OID, BOOLOID];
    let args = [queue_arg(queue), arg(row.key.as_str()), arg(row.id), arg(row.once)];
    !as_extension(|| spi::run_kept(MAKE, &types, &args)).is_empty()
}

/// Makes those that are not there, and returns the ids they name, in order. The rows are sorted by key: all
/// who make many make them in one order.
pub fn make_all(queue: Oid, rows: &[Keyed]) -> Vec<i64> {
    const MAKE: &str = "
        INSERT INTO queue.keys (queue, key, id, once)
        SELECT $1, u.key, u.id, u.once FROM ROWS FROM (unnest($2), unnest($3), unnest($4)) AS u (key, id, once)
        ON CONFLICT DO NOTHING RETURNING id";
    let types = [REGCLASSOID, TEXTARRAYOID, INT8ARRAYOID, BOOLARRAYOID];
    let args = [
        queue_arg(queue),
        arg(rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>()),
        arg(rows.iter().map(|row| row.id).collect::<Vec<_>>()),
        arg(rows.iter().map(|row| row.once).collect::<Vec<_>>()),
    ];
    let made = as_extension(|| spi::run_kept(MAKE, &types, &args));
    let mut ids: Vec<i64> = (0..made.len()).filter_map(|row| made.get(row, 1)).collect();
    ids.sort_unstable();
    ids
}

/// The entry as it is now; `None` if there is none, or not to be had.
pub fn read(queue: Oid, key: &str, lock: Lock) -> Option<Entry> {
    const READ: &str = "SELECT id, once FROM queue.keys WHERE queue = $1 AND key = $2";
    const LOCK: &str = "SELECT id, once FROM queue.keys WHERE queue = $1 AND key = $2 FOR NO KEY UPDATE";
    const TRY: &str =
        "SELECT id, once FROM queue.keys WHERE queue = $1 AND key = $2 FOR NO KEY UPDATE SKIP LOCKED";
    let sql = match lock {
        Lock::No => READ,
        Lock::Yes => LOCK,
        Lock::IfFree => TRY,
    };
    let rows = as_extension(|| spi::run_kept(sql, &[REGCLASSOID, TEXTOID], &[queue_arg(queue), arg(key)]));
    (!rows.is_empty()).then(|| Some(Entry { id: rows.get(0, 1)?, once: rows.get(0, 2)? })).flatten()
}

/// Has the entry, which is locked, name a job.
pub fn point(queue: Oid, row: &Keyed, id: i64) {
    const POINT: &str = "UPDATE queue.keys SET id = $3, once = $4 WHERE queue = $1 AND key = $2";
    let types = [REGCLASSOID, TEXTOID, INT8OID, BOOLOID];
    as_extension(|| {
        spi::run_kept(POINT, &types, &[queue_arg(queue), arg(row.key.as_str()), arg(id), arg(row.once)]);
    });
}

/// Was a job with this key done, so that none is accepted now? Which one, and until when, for people.
pub fn marked_until(queue: Oid, key: &str) -> Option<(i64, String)> {
    const MARKED: &str =
        "SELECT id, done_until::text FROM queue.done_keys WHERE queue = $1 AND key = $2 AND done_until > $3";
    let types = [REGCLASSOID, TEXTOID, TIMESTAMPTZOID];
    let args = [queue_arg(queue), arg(key), time::to_arg(Some(time::now()))];
    let rows = as_extension(|| spi::run_kept(MARKED, &types, &args));
    (!rows.is_empty()).then(|| Some((rows.get(0, 1)?, rows.get(0, 2)?))).flatten()
}

/// Accepts no job with this key until then.
pub fn mark(queue: Oid, key: &str, id: i64, until: Micros) {
    const MARK: &str = "
        INSERT INTO queue.done_keys AS d (queue, key, id, done_until) VALUES ($1, $2, $3, $4)
        ON CONFLICT (queue, key) DO UPDATE SET id = excluded.id, done_until = greatest(d.done_until, excluded.done_until)";
    let types = [REGCLASSOID, TEXTOID, INT8OID, TIMESTAMPTZOID];
    as_extension(|| {
        let args = [queue_arg(queue), arg(key), arg(id), time::to_arg(Some(until))];
        spi::run_kept(MARK, &types, &args);
    });
}

/// Removes entries that name these jobs and that nobody has locked. Says how many.
pub fn remove(queue: Oid, keys: &[String], ids: &[i64]) -> usize {
    const REMOVE: &str = "
        DELETE FROM queue.keys WHERE ctid = ANY (ARRAY(
            SELECT k.ctid FROM ROWS FROM (unnest($2), unnest($3)) AS u (key, id), queue.keys k
            WHERE k.queue = $1 AND k.key = u.key AND k.id = u.id FOR UPDATE OF k SKIP LOCKED))";
    let types = [REGCLASSOID, TEXTARRAYOID, INT8ARRAYOID];
    let args =
        [queue_arg(queue), arg(keys.iter().map(String::as_str).collect::<Vec<_>>()), arg(ids.to_vec())];
    as_extension(|| {
        let _order = crate::pg::role::Planner::by_index();
        spi::run_kept(REMOVE, &types, &args).len()
    })
}
