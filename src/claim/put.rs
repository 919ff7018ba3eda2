//! Putting taken jobs into their next states: directly where that comes to the same as the INSERT
//! statement, else in SQL.

use super::floor;
use super::{Moving, Taken};
use crate::pg::insert::{Desc, Inserter, Target};
use crate::pg::spi::{self};
use crate::pg::time::{self, Micros};
use crate::pg::{Datum, array, catalog, role};
use crate::queue::layout::Col;
use crate::queue::statements;
use crate::queue::{Queue, STATES};
use crate::{settings, wake};
use pgrx::{IntoDatum, pg_sys};

/// Where a taken job goes next.
pub struct Move<'a> {
    pub job: &'a Taken,
    pub state: &'static str,
    pub attempt: i32,
    pub max_attempts: Option<i32>,
    pub run_at: Option<Micros>,
    pub lease_until: Option<Micros>,
    pub error: Option<String>,
    pub result: Option<String>,
}

impl<'a> Move<'a> {
    /// To a state, everything else as it is.
    pub fn to(state: &'static str, job: &'a Taken) -> Move<'a> {
        Move {
            job,
            state,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            run_at: job.run_at,
            lease_until: None,
            error: None,
            result: None,
        }
    }

    /// Among the ready ones or, as long as its time has not come, among the scheduled ones: it may have been put
    /// off while it waited for something else.
    pub fn back(job: &'a Taken) -> Move<'a> {
        Move::to(if job.is_early(time::now()) { "scheduled" } else { "ready" }, job)
    }
}

/// Puts taken jobs into their next states; must be called inside `spi::connect`.
pub fn put(queue: &Queue, moves: &[Move]) {
    put_with(queue, moves, Returning::Nothing);
}

/// Which rows are returned, as they now are, in the order of the moves.
#[derive(Clone, Copy, PartialEq)]
pub enum Returning {
    Nothing,
    All,
    /// None if they are sure to be as the jobs were, but for what the moves say: then nothing of the user's,
    /// a trigger say, has seen them.
    Changed,
}

/// The same, returning rows.
pub fn put_returning(queue: &Queue, moves: &[Move], returning: Returning) -> Vec<Datum> {
    put_with(queue, moves, returning)
}

fn put_with(queue: &Queue, moves: &[Move], returning: Returning) -> Vec<Datum> {
    if moves.is_empty() {
        return Vec::new();
    }
    let direct =
        role::with_rights_of(queue.owner, || put_directly(queue, moves, returning == Returning::All));
    let mut keys = ready_keys(moves);
    let rows = direct.unwrap_or_else(|| {
        // A trigger of the user's may give a row another priority.
        keys = [keys.iter().copied().min().unwrap_or(floor::TOP); floor::PRIORITIES];
        put_by_sql(queue, moves, returning != Returning::Nothing)
    });
    announce(queue, moves, &keys);
    rows
}

/// `None`, with nothing done, if it must be done in SQL.
fn put_directly(queue: &Queue, moves: &[Move], returning: bool) -> Option<Vec<Datum>> {
    let layout = queue.layout.as_ref()?;
    // Errors are added to a list in the row, which is SQL's business, and rare.
    if moves.iter().any(|m| m.error.is_some()) || catalog::row_security_applies(queue.oid) {
        return None;
    }
    let is_wanted = |state: &&&str| moves.iter().any(|m| m.state == **state);
    let mut targets = Vec::new();
    for state in STATES.iter().filter(is_wanted) {
        targets.push((*state, Target::open(queue.oid, layout.partition(state)?)?));
    }
    let desc = Desc::of(layout.row_type);
    let mut rows = vec![Datum::from(0); if returning { moves.len() } else { 0 }];
    for (state, target) in targets {
        let mut inserter = Inserter::open(target);
        let name = state.into_datum();
        let finished_at = matches!(state, "done" | "failed").then(|| Datum::from(time::now()));
        for (place, m) in moves.iter().enumerate().filter(|(_, m)| m.state == state) {
            let result = m.result.as_deref().map(array::jsonb_of_text);
            let row = inserter.add(returning.then_some(&desc), |cells| {
                cells.copy(m.job.row, &desc);
                cells.set(layout.number(Col::State), name);
                let priority = within_range(m.job.priority) as i16;
                cells.set(layout.number(Col::Priority), Some(Datum::from(priority)));
                cells.set(layout.number(Col::Attempt), Some(Datum::from(m.attempt)));
                cells.set(layout.number(Col::MaxAttempts), m.max_attempts.map(Datum::from));
                cells.set(layout.number(Col::RunAt), m.run_at.map(Datum::from));
                cells.set(layout.number(Col::LeaseUntil), m.lease_until.map(Datum::from));
                cells.set(layout.number(Col::Result), result);
                cells.set(layout.number(Col::FinishedAt), finished_at);
            });
            if let Some(row) = row {
                rows[place] = row;
            }
        }
        inserter.finish();
    }
    Some(rows)
}

fn put_by_sql(queue: &Queue, moves: &[Move], returning: bool) -> Vec<Datum> {
    let rows: Vec<Datum> = moves.iter().map(|m| m.job.row).collect();
    let states: Vec<&str> = moves.iter().map(|m| m.state).collect();
    let attempts: Vec<i32> = moves.iter().map(|m| m.attempt).collect();
    let limits: Vec<Option<i32>> = moves.iter().map(|m| m.max_attempts).collect();
    let errors: Vec<Option<&str>> = moves.iter().map(|m| m.error.as_deref()).collect();
    let results: Vec<Option<&str>> = moves.iter().map(|m| m.result.as_deref()).collect();
    let args = [
        Some(array::of_rows(queue.row_type, &rows)),
        spi::arg(states),
        spi::arg(attempts),
        spi::arg(limits),
        spi::arg(super::times(moves.iter().map(|m| m.run_at))),
        spi::arg(super::times(moves.iter().map(|m| m.lease_until))),
        spi::arg(errors),
        spi::arg(results),
    ];
    let types = [
        queue.row_array_type,
        pg_sys::TEXTARRAYOID,
        pg_sys::INT4ARRAYOID,
        pg_sys::INT4ARRAYOID,
        pg_sys::TIMESTAMPTZARRAYOID,
        pg_sys::TIMESTAMPTZARRAYOID,
        pg_sys::TEXTARRAYOID,
        pg_sys::TEXTARRAYOID,
    ];
    let rows = role::as_role(queue.owner, || {
        let plan = queue.plan(statements::put(queue, returning), &types);
        let _moving = Moving::within(queue.oid);
        plan.execute(&args)
    });
    if !returning {
        return Vec::new();
    }
    (0..rows.len()).filter_map(|row| rows.datum(row, 1)).collect()
}

/// A priority that is out of range was set by hand while the job was not ready: nobody would find it there.
fn within_range(priority: i32) -> i32 {
    priority.clamp(0, floor::PRIORITIES as i32 - 1)
}

fn ready_keys(moves: &[Move]) -> floor::Keys {
    let mut keys = floor::NONE;
    for back in moves.iter().filter(|m| m.state == "ready") {
        floor::include(&mut keys, within_range(back.job.priority), back.job.id);
    }
    keys
}

fn announce(queue: &Queue, moves: &[Move], keys: &floor::Keys) {
    if *keys != floor::NONE {
        wake::enqueued(queue.oid, keys);
    }
    let until = |keep: Option<Micros>| keep.map(|keep| time::now().saturating_add(keep));
    // Without keep_done it is there for somebody who wants its result.
    let keep_done = moves
        .iter()
        .any(|m| m.state == "done")
        .then(|| queue.options.keep_done.unwrap_or_else(settings::keep_results));
    let (done_until, failed_until) = (until(keep_done), until(queue.options.keep_failed));
    let due = moves.iter().filter_map(|m| match m.state {
        "scheduled" => m.run_at,
        "running" => m.lease_until,
        "done" => done_until,
        "failed" => failed_until,
        _ => None,
    });
    if let Some(earliest) = due.min() {
        wake::due(queue.oid, earliest);
    }
}
