//! Jobs that could not be taken because enqueuers hold them: these are told, see `keys::wanted`.

use super::types_of;
use crate::keys;
use crate::pg::held::is_held;
use crate::pg::relation::Open;
use crate::pg::role;
use crate::pg::spi::{self, Arg};
use crate::queue::Queue;
use crate::queue::statements::{self, Which};

/// Rows looked at: no more are remembered.
const MOST: i64 = 8;

/// A take with these arguments found fewer jobs than it was to take. Those that are held are wanted. Costs an
/// atomic read if nobody has held any job of the queue for a while.
pub fn note(queue: &Queue, which: Which, args: &[Arg]) {
    if !keys::any_held(queue.oid) {
        return;
    }
    let Some(table) = queue.layout.as_ref().and_then(|layout| layout.partition(which.state())) else {
        return;
    };
    let mut args = args.to_vec();
    args[0] = spi::arg(MOST);
    let rows = role::as_role(queue.owner, || {
        let _order = role::Planner::by_index();
        queue.plan(statements::left_over(queue, which), types_of(which)).execute(&args)
    });
    if rows.is_empty() {
        return;
    }
    let table = Open::for_reading(table);
    let is_wanted = |row: &usize| rows.datum(*row, 2).is_some_and(|place| is_held(&table, place));
    keys::want(queue.oid, (0..rows.len()).filter(is_wanted).filter_map(|row| rows.get(row, 1)));
}
