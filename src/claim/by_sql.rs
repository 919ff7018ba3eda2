//! A claim in SQL, where a direct one is not possible.

use super::{Next, Taken, held};
use crate::group::gate::{Keeper, MOST_PASSED, open_tables};
use crate::pg::group::Looker;
use crate::pg::ready::{Gate, Passage, Row};
use crate::pg::{role, spi};
use crate::queue::Queue;
use crate::queue::statements::Which;
use pgrx::pg_sys;
use std::cell::OnceCell;

/// Takes up to `limit` rows, most urgent first.
pub fn take(queue: &Queue, limit: i64, one_each: bool) -> Next {
    let tables = OnceCell::new();
    let has_groups = tables
        .get_or_init(|| open_tables(queue))
        .as_ref()
        .is_some_and(|tables| Looker::of(tables).has_ready_groups());
    if !has_groups {
        return Next { taken: plain_ones(queue, limit), more: false };
    }
    let mut keeper = Keeper::new(queue, &tables, one_each, None);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (mut rows, mut plain): (Vec<Row>, usize) = (Vec::new(), 0);
    // Where each was met: that is its place among the plain ones.
    let mut met_at: Vec<(i32, i64)> = Vec::new();
    let mut is_over = true;
    for (id, priority, group) in first(queue, limit.saturating_add(MOST_PASSED)) {
        // Room is left for the plain ones met so far, which are taken at the end.
        let room = limit - plain;
        let enough = rows.len() >= room
            || keeper.fill((priority, id), &mut rows, room)
            || match group {
                None => {
                    plain += 1;
                    false
                }
                Some(group) => {
                    matches!(keeper.meet(group, 0, id, &mut rows, room), Passage::Enough { .. })
                }
            };
        met_at.resize(rows.len(), (priority, id));
        if enough {
            is_over = false;
            break;
        }
    }
    if is_over {
        keeper.fill((i32::MAX, i64::MAX), &mut rows, limit - plain);
        met_at.resize(rows.len(), (i32::MAX, i64::MAX));
    }
    let more = keeper.is_crowded();
    keeper.close();
    let of_groups = rows.into_iter().map(Taken::from).zip(met_at);
    let plain = if plain > 0 { plain_ones(queue, plain as i64) } else { Vec::new() };
    Next { taken: merge(of_groups, plain), more }
}

fn plain_ones(queue: &Queue, limit: i64) -> Vec<Taken> {
    let args = [spi::arg(limit)];
    let taken = super::take(queue, Which::Next, &args);
    if (taken.len() as i64) < limit {
        held::note(queue, Which::Next, &args);
    }
    taken
}

/// The first ready rows, without taking them.
fn first(queue: &Queue, most: usize) -> Vec<(i64, i32, Option<Vec<u8>>)> {
    let sql = format!(
        "SELECT id, priority::integer, pg_catalog.textsend(group_key) FROM {} WHERE state = 'ready'
         ORDER BY priority, id LIMIT $1",
        queue.table
    );
    let rows = role::as_role(queue.owner, || {
        let _order = role::Planner::by_index();
        queue.plan(sql, &[pg_sys::INT8OID]).execute(&[spi::arg(i64::try_from(most).unwrap_or(i64::MAX))])
    });
    (0..rows.len()).filter_map(|row| Some((rows.get(row, 1)?, rows.get(row, 2)?, rows.get(row, 3)))).collect()
}

/// The most urgent first, but those of groups among themselves as they are, each at its place.
fn merge(of_groups: impl Iterator<Item = (Taken, (i32, i64))>, plain: Vec<Taken>) -> Vec<Taken> {
    let mut merged = Vec::with_capacity(plain.len());
    let mut plain = plain.into_iter().peekable();
    for (job, place) in of_groups {
        while let Some(other) = plain.next_if(|other| (other.priority, other.id) < place) {
            merged.push(other);
        }
        merged.push(job);
    }
    merged.extend(plain);
    merged
}
