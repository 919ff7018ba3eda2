//! What the scheduler reads of the queues themselves: a glance each, as their owners and for reading only.
//! So nobody else need be woken, or even started, to find that there is nothing to do.

use crate::claim::glance;
use crate::pg::failure::Failure;
use crate::pg::time::Micros;
use crate::pg::{Oid, interrupt, lock, role, spi};
use crate::queue::{self, Queue};
use crate::run::session::{Session, Worker};
use crate::{limit, upkeep};

/// A look takes so long at most.
const MOST_MS: i32 = 200;

/// Never as superuser: planning a query runs the table owner's index expressions. `None`: it is no queue
/// any more, or it is locked; neither a lock nor the owner's code may hold up the scheduler of all.
fn look<R>(queue: Oid, read: impl FnOnce(&Queue) -> R) -> Result<Option<R>, Failure> {
    Worker.transaction(|| {
        // Before opening it, which looks at its partitions.
        let queue = lock::try_for_reading(queue).then(|| queue::open(queue).ok())??;
        let _timer = interrupt::StatementTimer::start(Some(MOST_MS));
        Some(role::as_restricted(queue.owner, || {
            let _planner = role::Planner::by_index();
            read(&queue)
        }))
    })
}

/// Ready jobs of a queue, counted up to a bound.
pub fn count_waiting(queue: Oid, bound: i64) -> Result<i64, Failure> {
    let counted = look(queue, |queue| {
        if let Some(count) = glance::count(queue, usize::try_from(bound).unwrap_or(0)) {
            return count as i64;
        }
        let sql = format!(
            "SELECT count(*) FROM (SELECT FROM {} WHERE state = 'ready' ORDER BY priority, id LIMIT $1) w",
            queue.table
        );
        queue.plan(sql, &[pgrx::pg_sys::INT8OID]).execute(&[spi::arg(bound)]).get(0, 1).unwrap_or(0)
    });
    counted.map(Option::unwrap_or_default)
}

/// Is there a job that may start now?
pub fn has_ready(queue: Oid) -> Result<Option<bool>, Failure> {
    look(queue, |queue| {
        if let Some(found) = glance::has_ready(queue) {
            return found;
        }
        let sql = format!("SELECT FROM {} WHERE state = 'ready' ORDER BY priority, id LIMIT 1", queue.table);
        !queue.plan(sql, &[]).execute(&[]).is_empty()
    })
}

/// Are there prepared transactions in this database, which will end without telling anybody?
pub fn any_prepared() -> Result<bool, Failure> {
    const PREPARED: &str =
        "SELECT EXISTS (SELECT FROM pg_prepared_xacts WHERE database = current_database())";
    Worker.transaction(|| role::pinned(|| spi::run(PREPARED, &[], &[]).get(0, 1).unwrap_or(true)))
}

/// When upkeep has something to do next.
pub fn next_due(queue: Oid) -> Result<Option<Micros>, Failure> {
    look(queue, |queue| upkeep::earliest(queue).min(limit::next_room(queue)))
}
