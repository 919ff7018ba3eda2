//! Taking jobs out of a state and putting them into another: the only code that changes a job's state.
//!
//! A claim is a deletion that commits together with what the job did. Where that comes to the same as the
//! DELETE statement, it is done directly (`native`), from a remembered `floor` on, with a `safety` scan
//! behind it; else in SQL, where `FOR UPDATE SKIP LOCKED` lets claimers pass each other. The statements
//! run with the rights of the queue's owner, after the caller's own privileges were checked; where row
//! security applies to the caller, the take runs as the caller.

mod by_sql;
pub mod floor;
pub mod glance;
pub mod held;
pub mod native;
mod put;
pub mod safety;
pub mod telling;

use crate::pg::leased;
use crate::pg::ready::Row;
use crate::pg::spi::{self, Arg, Rows};
use crate::pg::time::{self, Micros};
use crate::pg::{Datum, Oid, catalog, role, trigger};
use crate::queue::Queue;
use crate::queue::statements::{self, Part, Which};
use crate::{after, wake};
use crate::{group, limit};
use floor::Keys;
use pgrx::pg_sys;
pub use put::{Move, Returning, put, put_returning};
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

impl Taken {
    /// Has its time not come yet?
    pub fn is_early(&self, now: Micros) -> bool {
        self.run_at.is_some_and(|at| at > now)
    }
}

impl From<leased::Row> for Taken {
    fn from(row: leased::Row) -> Taken {
        Taken {
            row: row.datum.unwrap_or(Datum::from(0)),
            id: row.id,
            priority: row.priority,
            attempt: row.attempt,
            max_attempts: row.max_attempts,
            run_at: row.run_at,
            lease_until: row.lease_until,
        }
    }
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

impl From<Taken> for Row {
    fn from(job: Taken) -> Row {
        Row {
            datum: job.row,
            id: job.id,
            priority: job.priority,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            run_at: job.run_at,
        }
    }
}

/// Takes rows; must be called inside `spi::connect`.
pub fn take(queue: &Queue, which: Which, args: &[Arg]) -> Vec<Taken> {
    let keys = if which.state() == "ready" { floor::ALL } else { floor::NONE };
    take_with(queue, statements::take(queue, which), types_of(which), args, keys, which == Which::Next)
}

fn types_of(which: Which) -> &'static [Oid] {
    const UPKEEP: [Oid; 4] =
        [pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID, pg_sys::INT8ARRAYOID, pg_sys::INT8ARRAYOID];
    match which {
        Which::Due | Which::Expired | Which::Old | Which::OldFailed | Which::OldResult => &UPKEEP[..3],
        Which::Waiting => &UPKEEP,
        Which::OfKey => &[pg_sys::INT8OID, pg_sys::TEXTOID],
        _ => &[pg_sys::INT8OID],
    }
}
/// A job by its id, if the caller may delete it.
pub fn take_for_caller(queue: &Queue, which: Which, id: i64) -> Option<Taken> {
    let keys = if which.state() == "ready" { floor::ALL } else { floor::NONE };
    let sql = statements::take(queue, which);
    take_with(queue, sql, &[pg_sys::INT8OID], &[spi::arg(id)], keys, true).into_iter().next()
}

/// The id of the first row that a take for a time would find.
pub fn first(queue: &Queue, which: Which, args: &[Arg]) -> Option<i64> {
    let rows = role::as_role(queue.owner, || {
        let _order = role::Planner::by_index();
        queue.plan(statements::find(queue, which), types_of(which)).execute(args)
    });
    (!rows.is_empty()).then(|| rows.get(0, 1)).flatten()
}

/// Takes leased rows by id and attempt; waits for a concurrent change of one of them. Without `with_rows`
/// the rows themselves may be left out: there is nothing to do with them but count.
pub fn take_leases(queue: &Queue, pairs: &[(i64, i32)], with_rows: bool) -> Vec<Taken> {
    let mut taken = Vec::new();
    let mut left = pairs.to_vec();
    if let Some(ended) = native::end_leases(queue, pairs, with_rows) {
        taken = ended.rows.into_iter().map(Taken::from).collect();
        left = ended.busy;
    }
    if left.is_empty() {
        return taken;
    }
    let ids: Vec<i64> = left.iter().map(|pair| pair.0).collect();
    let attempts: Vec<i32> = left.iter().map(|pair| pair.1).collect();
    let types = [pg_sys::INT8ARRAYOID, pg_sys::INT4ARRAYOID];
    let args = [spi::arg(ids), spi::arg(attempts)];
    taken.extend(take_with(queue, statements::take_leases(queue), &types, &args, floor::NONE, true));
    taken
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

/// Takes the first rows of a part, with ids above `after` up to `last`, for which a checked expression is true.
pub fn take_where(
    queue: &Queue,
    part: Part,
    condition: &str,
    after: i64,
    last: i64,
    most: i64,
) -> Vec<Taken> {
    let args = [spi::arg(after), spi::arg(last), spi::arg(most)];
    let keys = if part.state == "ready" { floor::ALL } else { floor::NONE };
    take_with(
        queue,
        statements::take_where(queue, part, condition),
        &[pg_sys::INT8OID; 3],
        &args,
        keys,
        false,
    )
}

/// `keys`: from where on a rollback may bring back ready rows. `for_caller`: where row security applies
/// to the caller, only rows that the caller may delete.
pub fn take_with(
    queue: &Queue,
    sql: String,
    types: &[pg_sys::Oid],
    args: &[Arg],
    keys: Keys,
    for_caller: bool,
) -> Vec<Taken> {
    // Before the statement: one that is cut short may have taken rows already.
    let before = wake::about_to_take(queue.oid, &keys);
    let work = || {
        let (_order, _moving) = (role::Planner::by_index(), Moving::within(queue.oid));
        let rows = queue.plan(sql, types).execute(args);
        read_taken(&rows)
    };
    let taken = if for_caller && catalog::row_security_applies(queue.oid) {
        role::pinned(work)
    } else {
        role::as_role(queue.owner, work)
    };
    let mut mine = floor::NONE;
    if keys != floor::NONE {
        taken.iter().for_each(|job| floor::include(&mut mine, job.priority, job.id));
    }
    wake::took(queue.oid, &mine, &before);
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

/// What a claim took.
pub struct Next {
    pub taken: Vec<Taken>,
    /// It ended early: there may be more, even if it took nothing.
    pub more: bool,
}

/// What is done with the jobs of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Run one after the other in this transaction, which does other work only then.
    Run,
    /// Handed out for good, one after the other.
    Pop,
    /// Lent; perhaps worked on all at the same time.
    Lease,
}

/// Takes up to `limit` ready jobs that may start now. One whose time has not come, which can only be
/// among the ready ones if the queue's triggers did not run (logical replication), is put among the
/// scheduled ones instead.
pub fn next(queue: &Queue, limit: i64, used: Use) -> Next {
    if queue.options.paused {
        return Next { taken: Vec::new(), more: false };
    }
    if limit::applies(queue) {
        return limit::next(queue, limit, used);
    }
    next_of_all(queue, limit, used)
}

/// The same, whatever the queue's limits.
pub fn next_of_all(queue: &Queue, limit: i64, used: Use) -> Next {
    loop {
        let one_each = used == Use::Lease;
        let mut next = match native::open(queue) {
            Some(direct) => {
                native::take(queue, &direct, usize::try_from(limit).unwrap_or(usize::MAX), one_each)
            }
            None => by_sql::take(queue, limit, one_each),
        };
        let now = time::now();
        let is_early = |job: &Taken| job.is_early(now);
        if next.taken.iter().any(is_early) {
            let (early, due) = next.taken.into_iter().partition(is_early);
            next.taken = due;
            let early: Vec<Taken> = early;
            group::put(queue, &early.iter().map(|job| Move::to("scheduled", job)).collect::<Vec<_>>());
        }
        // Jobs that cannot run are in the way. A worker sorts them out in a transaction that does only
        // that: while it runs jobs they would be out of everybody's sight.
        if !next.taken.is_empty() || !next.more || group::sort(queue) == 0 || used == Use::Run {
            return next;
        }
    }
}

thread_local! {
    static MOVING: Cell<Option<Ours>> = const { Cell::new(None) };
    static CHOOSING: Cell<Option<Ours>> = const { Cell::new(None) };
}

/// The queue that a statement of ours is about, and how deep in triggers the statement is.
type Ours = (Oid, i32);

/// Does the trigger that asks belong to the statement itself, not to one that a trigger of a user's runs?
fn is_of(ours: Option<Ours>, queue: Oid) -> bool {
    ours.is_some_and(|(oid, depth)| oid == queue && trigger::depth() == depth + 1)
}

/// Asked by a trigger of the queue: is the statement being executed one of ours, moving rows of it? There
/// is nothing to do then.
pub fn is_moving(queue: Oid) -> bool {
    is_of(MOVING.get(), queue)
}

/// Is the statement being executed one of ours, which may insert rows in any state?
pub fn may_choose_state(queue: Oid) -> bool {
    is_moving(queue) || is_of(CHOOSING.get(), queue)
}

/// While it lives, statements on the queue are ours.
pub struct Moving(Option<Ours>);

impl Moving {
    pub fn within(queue: Oid) -> Moving {
        Moving(MOVING.replace(Some((queue, trigger::depth()))))
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        MOVING.set(self.0);
    }
}

/// While it lives, rows may be inserted in any state.
pub struct ChoosingState(Option<Ours>);

impl ChoosingState {
    pub fn within(queue: Oid) -> ChoosingState {
        ChoosingState(CHOOSING.replace(Some((queue, trigger::depth()))))
    }
}

impl Drop for ChoosingState {
    fn drop(&mut self) {
        CHOOSING.set(self.0);
    }
}

/// Times as an array argument can carry them.
pub fn times(list: impl Iterator<Item = Option<Micros>>) -> Vec<Option<pgrx::datum::TimestampWithTimeZone>> {
    list.map(|time| time.and_then(|micros| pgrx::datum::TimestampWithTimeZone::try_from(micros).ok()))
        .collect()
}

/// Removes all rows of a state that nobody else is just taking, and says how many.
pub fn remove_all(queue: &Queue, state: &str) -> i64 {
    after::notes::ended_some(queue.oid);
    wake::taken(queue.oid, if state == "ready" { &floor::ALL } else { &floor::NONE });
    role::as_role(queue.owner, || {
        let _moving = Moving::within(queue.oid);
        spi::run(&statements::remove_all(queue, state), &[], &[]).len() as i64
    })
}
