//! When a queue is to be looked after next.

use super::KINDS;
use crate::pg::time::Micros;
use crate::pg::{role, spi};
use crate::queue::Queue;
use crate::schedule::tick;
use crate::worker::shared::NEVER;
use crate::{group, keys, limit, settings, wake};

/// When the next row of any kind becomes due, or those passed over are tried again.
pub fn next_due(queue: &Queue) -> Micros {
    role::as_role(queue.owner, || {
        let _order = role::Planner::by_index();
        earliest(queue)
    })
}

/// The same; to be called as the queue's owner.
pub fn earliest(queue: &Queue) -> Micros {
    let passed_over = queue.passed_over.borrow();
    let first = |number: usize, column: &str| {
        let condition = if number == 5 { " AND keep_result IS NOT NULL" } else { "" };
        format!(
            "(SELECT {column} FROM {} WHERE state = '{}' AND id NOT IN (SELECT unnest(${number})){condition}
              ORDER BY {column} LIMIT 1)",
            queue.table,
            KINDS[number - 1].state()
        )
    };
    let sql = format!(
        "SELECT {}, {}, {}, {}, {},
                (SELECT true FROM {} WHERE state = 'blocked' AND after IS NOT NULL ORDER BY id LIMIT 1),
                (SELECT true FROM {} WHERE state = 'blocked' AND group_key IS NOT NULL AND after IS NULL
                 ORDER BY group_key COLLATE \"C\", id LIMIT 1),
                (SELECT true FROM {} WHERE state = 'blocked' AND key IS NOT NULL AND group_key IS NULL AND after IS NULL
                 ORDER BY key, id LIMIT 1)",
        first(1, "run_at"),
        first(2, "lease_until"),
        first(3, "finished_at"),
        first(4, "finished_at"),
        first(5, "finished_at"),
        queue.table,
        queue.table,
        queue.table
    );
    let args = passed_over.ids.each_ref().map(|ids| spi::arg(ids.clone()));
    let slot = wake::slot_of(queue.oid);
    let added = slot.map(|slot| slot.waits.added_so_far());
    let sweep = group::Look::begin(queue.oid);
    let rows = queue.plan(sql, &[pgrx::pg_sys::INT8ARRAYOID; KINDS.len()]).execute(&args);
    let waiting = slot.zip(added).map_or(NEVER, |(slot, added)| {
        slot.waits.seen(rows.get(0, 6).unwrap_or(false), added);
        slot.waits.due()
    });
    let sweep = sweep.end(rows.get(0, 7) == Some(true));
    let limited = if rows.get(0, 8) == Some(true) { limit::next_look(queue.oid) } else { NEVER };
    let at = |column: usize| rows.datum(0, column).map_or(NEVER, |d| d.value() as Micros);
    let forgotten =
        |keep: Option<Micros>, first: Micros| keep.map_or(NEVER, |keep| first.saturating_add(keep));
    let (done, failed) =
        (forgotten(queue.options.keep_done, at(3)), forgotten(queue.options.keep_failed, at(4)));
    let result_until = match queue.options.keep_done {
        Some(_) => NEVER,
        None => at(5).saturating_add(settings::keep_results()),
    };
    at(1)
        .min(at(2))
        .min(waiting)
        .min(done)
        .min(failed)
        .min(result_until)
        .min(passed_over.until)
        .min(tick::next_due(queue))
        .min(keys::next_prune(queue))
        .min(sweep)
        .min(limited)
}
