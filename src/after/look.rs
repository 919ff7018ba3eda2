//! Upkeep's part: which waiting jobs need not wait any more, or cannot come to run.

use super::{notes, some_unfinished};
use crate::pg::spi::{self, Arg};
use crate::pg::{Oid, catalog, role, time, xact};
use crate::queue::Queue;
use crate::wake;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

/// Most waiting jobs looked at in one step.
const STEP: usize = 1000;

/// What a look found.
#[derive(Default)]
pub struct Looked {
    /// Waiting jobs that are to be moved: those that may run, and those that fail because of this one.
    pub verdicts: BTreeMap<i64, Option<i64>>,
    /// There is more to look at now.
    pub more: bool,
}

/// Looks at a bounded number of waiting jobs. Must be called inside `spi::connect`.
pub fn look(queue: &Queue) -> Looked {
    let (found, more) = match wake::slot_of(queue.oid) {
        Some(slot) if slot.waits.is_none() => return Looked::default(),
        // What it was told of may be later than what it sees: that is left for others.
        Some(_) if xact::sees_only_the_past() => return Looked::default(),
        Some(_) => as_told(queue),
        None => one_after_the_other(queue),
    };
    Looked { verdicts: if found.is_empty() { BTreeMap::new() } else { judge(queue, found) }, more }
}

/// Some that should have been moved were locked by somebody.
pub fn look_again(queue: Oid) {
    if let Some(slot) = wake::slot_of(queue) {
        slot.waits.ask_for_all();
    }
}

/// Some could not be moved, and are passed over by this session for a while.
pub fn leave_stuck(queue: Oid) {
    if let Some(slot) = wake::slot_of(queue) {
        slot.waits.leave_stuck();
    }
}

/// This session passes over none: those that others have left are for it to try.
pub fn try_stuck(queue: Oid) {
    if let Some(slot) = wake::slot_of(queue).filter(|slot| slot.waits.take_stuck()) {
        slot.waits.ask_for_all();
    }
}

/// Those that wait for jobs that have ended, and the next part of all if all are to be looked at.
fn as_told(queue: &Queue) -> (Vec<i64>, bool) {
    let Some(slot) = wake::slot_of(queue.oid) else { return (Vec::new(), false) };
    // Before anything is taken: an error from here on leaves all to be looked at.
    notes::looking(queue.oid);
    let ended = slot.waits.take();
    let mut found = if ended.is_empty() { Vec::new() } else { dependants(queue, ended) };
    if found.len() > STEP {
        found.clear();
        slot.waits.ask_for_all_now();
    }
    if let Some(pass) = slot.waits.begin(time::now()) {
        let next = waiting_after(queue, pass.from);
        match next.last() {
            Some(last) if next.len() == STEP => slot.waits.advance(&pass, *last),
            last => {
                slot.waits.finish(&pass, time::now());
                if last.is_none() && pass.from == i64::MIN {
                    slot.waits.seen(false, pass.added);
                }
            }
        }
        found.extend(next);
    }
    (found, slot.waits.due() == 0)
}

thread_local! {
    /// Without shared memory: how far this session has come on each queue.
    static CURSORS: RefCell<HashMap<Oid, i64>> = RefCell::new(HashMap::new());
}

/// Nobody tells: the next part of all, each time.
fn one_after_the_other(queue: &Queue) -> (Vec<i64>, bool) {
    let blocked = queue.layout.as_ref().and_then(|layout| layout.partition("blocked"));
    if blocked.is_some_and(catalog::has_no_pages) {
        return (Vec::new(), false);
    }
    let from = CURSORS.with_borrow(|cursors| cursors.get(&queue.oid).copied()).unwrap_or(i64::MIN);
    let found = waiting_after(queue, from);
    let last = found.last().filter(|_| found.len() == STEP);
    CURSORS.with_borrow_mut(|cursors| match last {
        Some(last) => cursors.insert(queue.oid, *last),
        None => cursors.remove(&queue.oid),
    });
    let more = last.is_some();
    (found, more)
}

fn ids_of(
    queue: &Queue,
    sql: String,
    types: &[Oid],
    args: &[Arg],
    planner: fn() -> role::Planner,
) -> Vec<i64> {
    let rows = role::as_role(queue.owner, || {
        let _planner = planner();
        queue.plan(sql, types).execute(args)
    });
    (0..rows.len()).filter_map(|row| rows.get(row, 1)).collect()
}

/// Jobs that wait for one of these: one more than a step at most. By the index on `after`.
fn dependants(queue: &Queue, ended: Vec<i64>) -> Vec<i64> {
    let sql = format!(
        "SELECT id FROM {} WHERE state = 'blocked' AND after IS NOT NULL AND after && $1 LIMIT {}",
        queue.table,
        STEP + 1
    );
    ids_of(queue, sql, &[pg_sys::INT8ARRAYOID], &[spi::arg(ended)], role::Planner::by_index_in_any_order)
}

/// The next jobs that wait.
fn waiting_after(queue: &Queue, from: i64) -> Vec<i64> {
    let sql = format!(
        "SELECT id FROM {} WHERE state = 'blocked' AND after IS NOT NULL AND id > $1 ORDER BY id LIMIT {STEP}",
        queue.table
    );
    ids_of(queue, sql, &[pg_sys::INT8OID], &[spi::arg(from)], role::Planner::by_index)
}

/// Those of the waiting jobs that do not wait any more, each with the job it fails because of.
fn judge(queue: &Queue, ids: Vec<i64>) -> BTreeMap<i64, Option<i64>> {
    let table = &queue.table;
    let sql = format!(
        "SELECT d.id, d.failed FROM (
             SELECT w.id, w.after,
                    CASE WHEN w.after_failure IS DISTINCT FROM 'release' THEN (
                        SELECT min(i.x) FROM unnest(w.after) AS i (x)
                        WHERE (SELECT true FROM {table} AS f WHERE f.state = 'failed' AND f.id = i.x LIMIT 1)) END AS failed
             FROM {table} AS w WHERE w.state = 'blocked' AND w.after IS NOT NULL AND w.id = ANY ($1) OFFSET 0) AS d
         WHERE d.failed IS NOT NULL OR NOT {}",
        some_unfinished(queue, "d.after"),
    );
    let rows = role::as_role(queue.owner, || {
        let _order = role::Planner::by_index_in_any_order();
        queue.plan(sql, &[pg_sys::INT8ARRAYOID]).execute(&[spi::arg(ids)])
    });
    (0..rows.len()).filter_map(|row| Some((rows.get(row, 1)?, rows.get(row, 2)))).collect()
}
