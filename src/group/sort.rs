//! Moves jobs that cannot run because of their groups from among the ready to the blocked ones.

use super::gate::{Keeper, open_tables};
use crate::claim::{self, Move, Taken, native};
use crate::pg::{role, spi};
use crate::queue::Queue;
use crate::queue::statements::Which;
use crate::wake;
use pgrx::pg_sys;
use std::cell::OnceCell;

/// Most jobs moved at once.
const MOST_MOVED: usize = 1000;
/// Most jobs looked at.
const MOST_LOOKED_AT: usize = 20_000;

/// Moves some; returns how many. The claims that come after do not meet them.
pub fn sort(queue: &Queue) -> usize {
    let tables = OnceCell::new();
    if tables.get_or_init(|| open_tables(queue)).is_none() {
        return 0;
    }
    let mut keeper = Keeper::new(queue, &tables, false, None);
    let taken = match native::open(queue) {
        Some(direct) => native::take_closed(queue, &direct, MOST_MOVED, MOST_LOOKED_AT, &mut |group| {
            !keeper.is_open(group)
        }),
        None => by_sql(queue, &mut keeper),
    };
    claim::put(queue, &taken.iter().map(|job| Move::to("blocked", job)).collect::<Vec<_>>());
    if !taken.is_empty() {
        wake::sorted(queue.oid);
    }
    taken.len()
}

fn by_sql(queue: &Queue, keeper: &mut Keeper) -> Vec<Taken> {
    let sql = format!(
        "SELECT id, pg_catalog.textsend(group_key) FROM {} WHERE state = 'ready' AND group_key IS NOT NULL
         ORDER BY group_key COLLATE \"C\", id LIMIT $1",
        queue.table
    );
    let found = role::as_role(queue.owner, || {
        let _order = role::Planner::by_index();
        let most = spi::arg(MOST_LOOKED_AT as i64);
        queue.plan(sql, &[pg_sys::INT8OID]).execute(&[most])
    });
    let mut taken = Vec::new();
    for row in 0..found.len() {
        if taken.len() >= MOST_MOVED {
            break;
        }
        let (Some(id), Some(group)) = (found.get::<i64>(row, 1), found.get::<Vec<u8>>(row, 2)) else {
            continue;
        };
        if !keeper.is_open(&group) {
            taken.extend(claim::take(queue, Which::ReadyJob, &[spi::arg(id)]));
        }
    }
    taken
}
