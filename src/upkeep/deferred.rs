//! Deferred constraints and triggers of the user's, which would fail the commit with all that upkeep moved:
//! they are tried out while the rows moved can still be told apart. Tried out only: at the commit they are
//! checked as ever.

use crate::pg::failure::{Failure, try_out};
use crate::pg::spi;
use crate::pg::{Oid, role};
use crate::queue::Queue;
use pgrx::pg_sys;

/// What may be deferred of a queue's partitions; a name may stand for several.
const NAMES: &str = "
    SELECT DISTINCT quote_ident(n.nspname) || '.' || quote_ident(c.conname)
    FROM pg_inherits h
    JOIN pg_trigger t ON t.tgrelid = h.inhrelid AND t.tgdeferrable
    JOIN pg_constraint c ON c.oid = t.tgconstraint
    JOIN pg_namespace n ON n.oid = c.connamespace
    WHERE h.inhparent = $1 ORDER BY 1";

/// The statement that has what is deferred of a queue checked at once, if anything may be. To be asked for
/// once, when the queue is as it is. Must be called inside `spi::connect`.
fn statement(queue: Oid) -> Option<String> {
    let rows = role::pinned(|| spi::run(NAMES, &[pg_sys::OIDOID], &[spi::arg(queue)]));
    let names: Vec<String> = (0..rows.len()).filter_map(|row| rows.get(row, 1)).collect();
    (!names.is_empty()).then(|| format!("SET CONSTRAINTS {} IMMEDIATE", names.join(", ")))
}

/// Of one step of upkeep.
pub struct Deferred<'a>(Option<&'a str>);

impl<'a> Deferred<'a> {
    /// Before rows are moved. What the transaction has left to be checked before that is no fault of theirs: if
    /// it would fail, nothing is tried out.
    pub fn of(queue: &'a Queue) -> Deferred<'a> {
        let sql = queue.deferred.get_or_init(|| statement(queue.oid)).as_deref();
        Deferred(sql.filter(|sql| try_commit(sql).is_ok()))
    }

    /// Raises what the commit would raise because of the rows moved since.
    pub fn check(&self) {
        if let Some(Err(failure)) = self.0.map(try_commit) {
            failure.raise();
        }
    }
}

/// With the rights of who would commit.
fn try_commit(sql: &str) -> Result<(), Failure> {
    try_out(|| spi::run(sql, &[], &[])).map(drop)
}
