//! Which groups an error row holds back: nothing goes on there until somebody deals with it.

use crate::pg::{role, spi};
use crate::queue::Queue;
use pgrx::pg_sys;

/// Looks into the indexes, at the most: there may be many groups with error rows, and as many that wait, and
/// few in both.
const MOST_LOOKS: usize = 100;
/// Characters of a group's name that are shown.
const MOST_SHOWN: usize = 64;

/// Says it, if there is one. Must be called inside `spi::connect`.
pub fn problem(queue: &Queue) -> Option<String> {
    if queue.options.group_continues {
        return None;
    }
    // Without the indexes jobs of groups are not taken at all, and `queue::indexes` says so.
    queue.layout.as_ref()?.groups()?;
    let (mut first, mut groups, mut is_all) = (None, 0, false);
    let mut from = String::new();
    for _ in 0..MOST_LOOKS {
        // Whichever of the two is behind goes on from where the other is.
        let Some((failed, id, Some(waiting))) = look(queue, &from) else {
            is_all = true;
            break;
        };
        if failed == waiting {
            groups += 1;
            // No text is between it and this one.
            from = format!("{waiting}\u{1}");
            first.get_or_insert((failed, id));
        } else {
            from = waiting;
        }
    }
    let (group, id) = first?;
    let group = match group.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", &group[..end]),
        None => group,
    };
    Some(match (groups, is_all) {
        (1, true) => {
            format!("group \"{group}\" is held back by failed job {id}: resubmit, move or delete it")
        }
        _ => {
            let at_least = if is_all { "" } else { "at least " };
            format!(
                "{at_least}{groups} groups are held back by failed jobs, \"{group}\" by job {id}: resubmit, move or delete them"
            )
        }
    })
}

/// The first group from there on that has an error row, which one, and the first from that on with a job that
/// waits for its turn.
fn look(queue: &Queue, from: &str) -> Option<(String, i64, Option<String>)> {
    let first = |columns: &str, state: &str, condition: &str| {
        format!(
            "SELECT {columns} FROM {} AS b WHERE b.state = '{state}' AND b.group_key IS NOT NULL
                 AND b.group_key COLLATE \"C\" >= {condition} ORDER BY b.group_key COLLATE \"C\" LIMIT 1",
            queue.table
        )
    };
    let sql = format!(
        "SELECT f.group_key, f.id, least(({}) COLLATE \"C\", ({}) COLLATE \"C\") FROM ({}) f",
        first("b.group_key", "ready", "f.group_key"),
        first("b.group_key", "blocked", "f.group_key AND b.after IS NULL"),
        first("b.group_key, b.id", "failed", "$1"),
    );
    let rows = role::as_restricted(queue.owner, || {
        let _order = role::Planner::by_index();
        queue.plan(sql, &[pg_sys::TEXTOID]).execute(&[spi::arg(from)])
    });
    if rows.is_empty() {
        return None;
    }
    Some((rows.get(0, 1)?, rows.get(0, 2)?, rows.get(0, 3)))
}
