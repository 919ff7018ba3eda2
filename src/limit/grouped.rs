//! Jobs in groups that wait because of their key: the end of a job of that key makes the first of some of
//! their groups ready.
//!
//! Which groups: those that follow, by name, the group of the job that ended, so that each gets its turn. Each
//! is looked at under its lock, as the groups' sweep does; what cannot be done here is left to that.

use super::Rooms;
use crate::group;
use crate::pg::{role, spi};
use crate::queue::Queue;
use pgrx::pg_sys::TEXTOID;

/// Groups looked at for one key. Where they are held back by something else, the sweep goes on.
const MOST_GROUPS: usize = 20;

/// Makes the first jobs of up to so many groups that have blocked jobs with this key ready; `after`: the group of
/// the job that ended. Must be called inside `spi::connect`.
pub fn bring_back(queue: &Queue, key: &str, most: i64, after: Option<&str>) {
    if most <= 0 {
        return;
    }
    let mut groups = groups_of(queue, key, after);
    if let Some(after) = after.filter(|_| groups.len() < MOST_GROUPS) {
        let first = groups_of(queue, key, None);
        // As bytes: that is their order.
        groups.extend(first.into_iter().filter(|group| group.as_bytes() <= after.as_bytes()));
    }
    if groups.is_empty() {
        return;
    }
    let mut rooms = Rooms::with(queue, key, most);
    let groups = groups.into_iter().map(String::into_bytes);
    let first = group::take_first_of(queue, groups, key, &mut rooms);
    group::put_free(queue, &first);
}

/// The groups with blocked jobs of a key, in order, each found by one look into the index.
fn groups_of(queue: &Queue, key: &str, after: Option<&str>) -> Vec<String> {
    let next = |condition: &str| {
        format!(
            "SELECT b.group_key FROM {} AS b
             WHERE b.state = 'blocked' AND b.key = $1 AND b.group_key IS NOT NULL AND b.after IS NULL AND {condition}
             ORDER BY b.group_key COLLATE pg_catalog.\"C\" LIMIT 1",
            queue.table
        )
    };
    let later_than = |group: &str| next(&format!("b.group_key COLLATE pg_catalog.\"C\" > {group}"));
    let first = if after.is_some() { later_than("$2") } else { next("$2 IS NULL") };
    let sql = format!(
        "WITH RECURSIVE g (name) AS (
             ({first}) UNION ALL SELECT ({}) FROM g WHERE g.name IS NOT NULL)
         SELECT name FROM g WHERE name IS NOT NULL LIMIT {MOST_GROUPS}",
        later_than("g.name")
    );
    let rows = role::as_role(queue.owner, || {
        let _order = role::Planner::by_index();
        queue.plan(sql, &[TEXTOID, TEXTOID]).execute(&[spi::arg(key), spi::arg(after)])
    });
    (0..rows.len()).filter_map(|row| rows.get(row, 1)).collect()
}
