//! Taking jobs out of a state and putting them into another: the only code that changes a job's state.
//!
//! A claim is a deletion that commits together with what the job did. Where that comes to the same as the
//! DELETE statement, it is done directly (`native`), from a remembered `floor` on, with a `safety` scan
//! behind it; else in SQL, where `FOR UPDATE SKIP LOCKED` lets claimers pass each other. The statements
//! run with the rights of the queue's owner, after the caller's own privileges were checked; where row
//! security applies to the caller, the take runs as the caller.

pub mod floor;
pub mod native;
pub mod safety;

use crate::pg::ready::Row;
use crate::pg::spi::{self, Arg, Rows};
use crate::pg::time::{self, Micros};
use crate::pg::{Datum, Oid, array, catalog, role};
use crate::queue::Queue;
use crate::queue::statements::{self, Which};
use crate::wake;
use floor::Keys;
use pgrx::pg_sys;
use std::cell::Cell;

/// A job that this transaction has taken out of its state. Valid within the SPI connection it was
/// taken in.
#[derive(Clone)]
pub struct Taken {
    /// The whole row, as a value of the queue's row type.
    pub row: Datum,
    pub id: i64,
    pub priority: i32,
    pub attempt: i32,
    pub max_attempts: Option<i32>,
    pub run_at: Option<Micros>,
    pub lease_until: Option<Micros>,
}

impl From<Row> for Taken {
    fn from(row: Row) -> Taken {
        Taken {
            row: row.datum,
            id: row.id,
            priority: row.priority,
            attempt: row.attempt,
            max_attempts: row.max_attempts,
            run_at: row.run_at,
            lease_until: None,
        }
    }
}

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
}

/// Takes rows; must be called inside `spi::connect`.
pub fn take(queue: &Queue, which: Which, args: &[Arg]) -> Vec<Taken> {
    let types: &[pg_sys::Oid] = match which {
        Which::Due | Which::Expired | Which::Old => &[pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID],
        Which::Lease => &[pg_sys::INT8OID, pg_sys::INT4OID],
        _ => &[pg_sys::INT8OID],
    };
    let keys = if which.state() == "ready" { floor::ALL } else { floor::NONE };
    let for_caller = matches!(which, Which::Next | Which::Lease);
    take_with(queue, statements::take(queue, which), types, args, keys, for_caller)
}

/// Takes leased rows by id and attempt; waits for a concurrent change of one of them.
pub fn take_leases(queue: &Queue, pairs: &[(i64, i32)]) -> Vec<Taken> {
    let ids: Vec<i64> = pairs.iter().map(|pair| pair.0).collect();
    let attempts: Vec<i32> = pairs.iter().map(|pair| pair.1).collect();
    let types = [pg_sys::INT8ARRAYOID, pg_sys::INT4ARRAYOID];
    let args = [spi::arg(ids), spi::arg(attempts)];
    take_with(queue, statements::take_leases(queue), &types, &args, floor::NONE, true)
}

/// Lends a leased job until then; false if this attempt does not hold it.
pub fn extend_lease(queue: &Queue, id: i64, attempt: i32, until: Micros) -> bool {
    let types = [pg_sys::INT8OID, pg_sys::INT4OID, pg_sys::TIMESTAMPTZOID];
    let args = [spi::arg(id), spi::arg(attempt), time::to_arg(Some(until))];
    let work = || {
        let (_order, _moving) = (role::Planner::by_index(), Moving::within(queue.oid));
        !queue.plan(statements::extend_lease(queue), &types).execute(&args).is_empty()
    };
    let extended = if catalog::row_security_applies(queue.oid) {
        role::pinned(work)
    } else {
        role::as_role(queue.owner, work)
    };
    if extended {
        wake::due(queue.oid, until);
    }
    extended
}

/// Takes the failed rows for which a checked expression is true.
pub fn take_failed_where(queue: &Queue, condition: &str) -> Vec<Taken> {
    take_with(queue, statements::take_failed_where(queue, condition), &[], &[], floor::NONE, false)
}

/// `keys`: from where on a rollback may bring back ready rows. `for_caller`: where row security applies
/// to the caller, only rows that the caller may delete.
fn take_with(
    queue: &Queue,
    sql: String,
    types: &[pg_sys::Oid],
    args: &[Arg],
    keys: Keys,
    for_caller: bool,
) -> Vec<Taken> {
    // Before the statement: one that is cut short may have taken rows already.
    let mut noted = wake::about_to_take(queue.oid, &keys);
    let work = || {
        let _order = role::Planner::by_index();
        let rows = queue.plan(sql, types).execute(args);
        read_taken(&rows)
    };
    let taken = if for_caller && catalog::row_security_applies(queue.oid) {
        role::pinned(work)
    } else {
        role::as_role(queue.owner, work)
    };
    if keys != floor::NONE {
        taken.iter().for_each(|job| floor::include(&mut noted, job.priority, job.id));
        wake::took(queue.oid, &noted);
    }
    taken
}

/// The rows a take returned, most urgent first.
pub fn read_taken(rows: &Rows) -> Vec<Taken> {
    let mut taken: Vec<Taken> = (0..rows.len())
        .filter_map(|row| {
            Some(Taken {
                row: rows.datum(row, 1)?,
                id: rows.get(row, 2)?,
                priority: rows.get(row, 3)?,
                attempt: rows.get(row, 4)?,
                max_attempts: rows.get(row, 5),
                run_at: rows.datum(row, 6).map(|at| at.value() as Micros),
                lease_until: rows.datum(row, 7).map(|at| at.value() as Micros),
            })
        })
        .collect();
    taken.sort_by_key(|job| (job.priority, job.id));
    taken
}

/// Takes up to `limit` ready jobs that may start now. One whose time has not come, which can only be
/// among the ready ones if the queue's triggers did not run (logical replication), is put among the
/// scheduled ones instead.
pub fn next(queue: &Queue, limit: i64) -> Vec<Taken> {
    if queue.options.paused {
        return Vec::new();
    }
    let taken = match native::open(queue) {
        Some(direct) => native::take(queue, &direct, usize::try_from(limit).unwrap_or(usize::MAX)),
        None => take(queue, Which::Next, &[spi::arg(limit)]),
    };
    let now = time::now();
    let is_early = |job: &Taken| job.run_at.is_some_and(|at| at > now);
    let (early, due): (Vec<Taken>, Vec<Taken>) = taken.into_iter().partition(is_early);
    put(queue, &early.iter().map(|job| Move::to("scheduled", job)).collect::<Vec<_>>());
    due
}

thread_local! {
    static MOVING: Cell<Option<Oid>> = const { Cell::new(None) };
}

/// Is the insert being executed one of `put` into this queue? Its insert triggers have nothing to do then.
pub fn is_moving(queue: Oid) -> bool {
    MOVING.get() == Some(queue)
}

struct Moving(Option<Oid>);
impl Moving {
    fn within(queue: Oid) -> Moving {
        Moving(MOVING.replace(Some(queue)))
    }
}
impl Drop for Moving {
    fn drop(&mut self) {
        MOVING.set(self.0);
    }
}

/// Puts taken jobs into their next states; must be called inside `spi::connect`.
pub fn put(queue: &Queue, moves: &[Move]) {
    put_with(queue, moves, false);
}

/// The same, returning the rows as they now are, in the same order.
pub fn put_returning(queue: &Queue, moves: &[Move]) -> Vec<Datum> {
    put_with(queue, moves, true)
}

fn put_with(queue: &Queue, moves: &[Move], returning: bool) -> Vec<Datum> {
    if moves.is_empty() {
        return Vec::new();
    }
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
        spi::arg(times(moves.iter().map(|m| m.run_at))),
        spi::arg(times(moves.iter().map(|m| m.lease_until))),
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
    announce(queue, moves);
    if !returning {
        return Vec::new();
    }
    (0..rows.len()).filter_map(|row| rows.datum(row, 1)).collect()
}

/// Times as an array argument can carry them.
pub fn times(list: impl Iterator<Item = Option<Micros>>) -> Vec<Option<pgrx::datum::TimestampWithTimeZone>> {
    list.map(|time| time.and_then(|micros| pgrx::datum::TimestampWithTimeZone::try_from(micros).ok()))
        .collect()
}

fn announce(queue: &Queue, moves: &[Move]) {
    let mut keys = floor::NONE;
    for back in moves.iter().filter(|m| m.state == "ready") {
        floor::include(&mut keys, back.job.priority, back.job.id);
    }
    if keys != floor::NONE {
        wake::enqueued(queue.oid, &keys);
    }
    let kept_until = queue.options.keep_done.map(|keep| time::now().saturating_add(keep));
    let due = moves.iter().filter_map(|m| match m.state {
        "scheduled" => m.run_at,
        "running" => m.lease_until,
        "done" => kept_until,
        _ => None,
    });
    if let Some(earliest) = due.min() {
        wake::due(queue.oid, earliest);
    }
}

/// Removes all rows of a state that nobody else is just taking, and says how many.
pub fn remove_all(queue: &Queue, state: &str) -> i64 {
    wake::taken(queue.oid, if state == "ready" { &floor::ALL } else { &floor::NONE });
    role::as_role(queue.owner, || spi::run(&statements::remove_all(queue, state), &[], &[]).len() as i64)
}
