//! Recurring jobs: `queue.schedule`, `queue.unschedule`, `queue.next_runs`.
//!
//! A schedule is a row of queue.timetable with its first tick that is not dealt with yet, `next_tick`. A tick
//! is fired by the upkeep of the queue ([`tick`]): the row is locked FOR UPDATE SKIP LOCKED, the job is
//! enqueued and `next_tick` moved on, in one transaction. So:
//!
//! - A tick fires at most once: whoever else wants to fire it finds the row locked, or finds `next_tick` later.
//!   A crash or a rollback takes back both the job and the record; a failover, and a dump, has both or
//!   neither. `next_tick` never moves back, whatever the clock does.
//! - No tick is lost: until its record is committed it is due, and whoever looks at the queue next fires it. How
//!   late that may be, and what happens to several ticks of which nobody took notice, is what `catch_up` says.
//! - Nobody deadlocks: upkeep waits for no row of the timetable. schedule() and unschedule() wait for the row
//!   of their own name only, and the lock that schedule() holds on the queue's table is in the way of nobody
//!   but who changes the table's definition.
//!
//! The job is enqueued with the rights of the queue's owner, like all that upkeep does: code of the owner's
//! (triggers, defaults, checks) must not run with the rights of a role that once made a schedule. That role
//! must have INSERT, at the tick as it had when it made the schedule, and row security must not apply to it.

pub mod cron;
pub mod tick;
mod view;

use crate::enqueue::{columns, payload};
use crate::error::{Error, SqlResult, required};
use crate::pg::entry::Call;
use crate::pg::spi::{self, Rows};
use crate::pg::srf::RowSink;
use crate::pg::time::{self, Micros};
use crate::pg::trigger::{Event, Firing};
use crate::pg::{Datum, Oid, array, catalog};
use crate::queue::limits::{check_key, check_max_attempts, check_on_conflict, check_priority};
use crate::queue::{self, Queue};
use crate::{raw_function, settings, sql_function, wake};
use cron::{CatchUp, Invalid, Schedule};
use pgrx::pg_sys;
use pgrx::prelude::*;

const MOST_NAME_BYTES: usize = 200;
const MOST_RUNS: i32 = 1_000;

sql_function!(unschedule);
raw_function!(schedule, schedule_jobs);
raw_function!(next_runs, list_next_runs);
raw_function!(schedule_added, after_insert);

/// What schedules take it to be: the time by the clock, or what a test says.
fn now() -> Micros {
    let test = settings::test_clock();
    if test.is_empty() { time::now() } else { time::of_text(&test) }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Error {
        let (message, hint) = match invalid {
            Invalid::Cron { cron, cause } => (
                format!("invalid cron expression \"{cron}\": {cause}"),
                "Fields: [second] minute hour day-of-month month day-of-week; for example '30 2 * * MON-FRI', '*/15 * * * *', '@daily'.",
            ),
            Invalid::NeverRuns(cron) => (
                format!("cron expression \"{cron}\" never runs: no such day comes within 100 years"),
                "For the last day of each month write '0 0 L * *'.",
            ),
            Invalid::TimeZone(name) => (
                format!("unknown time zone \"{name}\""),
                "Name one of the IANA time zone database, for example 'Europe/Berlin' or 'UTC'.",
            ),
            Invalid::CatchUp(word) => (
                format!("catch_up must be one of none, one, all, not \"{word}\""),
                "For example catch_up => 'one': one run stands for all that were missed.",
            ),
            Invalid::Time => (
                "after must be a time between the years 1 and 4799".into(),
                "For example after => '2030-01-01 00:00 UTC'.",
            ),
        };
        Error::BadOption { message, hint: hint.into() }
    }
}

/// A schedule that runs at all, and when next.
fn checked(cron: &str, timezone: &str, after: Micros) -> Result<(Schedule, Micros), Invalid> {
    let schedule = Schedule::new(cron, timezone)?;
    let next = schedule.next(after)?.ok_or_else(|| Invalid::NeverRuns(cron.into()))?;
    Ok((schedule, next))
}

fn check_name(name: &str) -> Result<(), Error> {
    if (1..=MOST_NAME_BYTES).contains(&name.len()) {
        return Ok(());
    }
    Err(Error::BadOption {
        message: format!("name of a schedule must be 1 to {MOST_NAME_BYTES} bytes long"),
        hint: "For example 'nightly report'.".into(),
    })
}

/// `queue.schedule`
fn schedule_jobs(call: &Call) -> SqlResult<Datum> {
    let name: String = required("name", call.arg(0))?;
    let cron: String = required("cron", call.arg(1))?;
    let oid: Oid = required("queue", call.arg(2))?;
    let payload = array::detoasted(required("payload", call.datum(3))?);
    let timezone: String = required("timezone", call.arg(4))?;
    let catch_up: String = required("catch_up", call.arg(5))?;
    let skip_if_running: bool = required("skip_if_running", call.arg(6))?;
    let priority: Option<i32> = call.arg(7);
    let key: Option<String> = call.arg(8);
    let on_conflict: Option<String> = call.arg(9);
    let group_key: Option<String> = call.arg(10);
    let max_attempts: Option<i32> = call.arg(11);
    check_name(&name)?;
    let (schedule, next) = checked(&cron, &timezone, now()).map_err(Error::from)?;
    CatchUp::of(&catch_up).map_err(Error::from)?;
    check_priority(priority)?;
    check_key("key", key.as_deref())?;
    check_on_conflict(on_conflict.as_deref(), false)?;
    check_key("group_key", group_key.as_deref())?;
    check_max_attempts(max_attempts)?;
    if on_conflict.is_some() && key.is_none() {
        return Err(Error::out_of_range("on_conflict needs a key").into());
    }
    spi::connect(|| {
        let queue = queue::open(oid)?;
        queue.require(catalog::INSERT, "INSERT")?;
        let role = catalog::current_user();
        if catalog::row_security_applies(oid) {
            let role = catalog::role_name(role);
            return Err(Error::ScheduleRowSecurity { queue: queue.name.clone(), role }.into());
        }
        payload::check_payload(&queue, payload)?;
        columns::check(&queue, payload);
        // Locked: it cannot be dropped before its schedule is there to go with it.
        let queue = queue.locked()?;
        let entry = [
            spi::arg(name.as_str()),
            spi::arg(oid),
            spi::arg(role),
            spi::arg(cron),
            spi::arg(schedule.zone()),
            Some(payload),
            spi::arg(catch_up),
            spi::arg(skip_if_running),
            spi::arg(priority),
            spi::arg(key),
            spi::arg(on_conflict),
            spi::arg(group_key),
            spi::arg(max_attempts),
            time::to_arg(Some(next)),
        ];
        let next = put(&queue, &name, &entry)?;
        announce(oid, next);
        Ok(Datum::from(next))
    })
}

const TYPES: [Oid; 14] = [
    pg_sys::TEXTOID,
    pg_sys::REGCLASSOID,
    pg_sys::OIDOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::JSONBOID,
    pg_sys::TEXTOID,
    pg_sys::BOOLOID,
    pg_sys::INT4OID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::INT4OID,
    pg_sys::TIMESTAMPTZOID,
];

/// Makes the schedule, or changes the one of its name, and says when it runs next.
fn put(queue: &Queue, name: &str, entry: &[spi::Arg; TYPES.len()]) -> SqlResult<Micros> {
    const INSERT: &str = "
        INSERT INTO queue.timetable
            (name, queue, role, cron, timezone, payload, catch_up, skip_if_running, priority, key, on_conflict,
             group_key, max_attempts, next_tick)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
        ON CONFLICT (name) DO NOTHING RETURNING next_tick";
    // Whoever repeats what is there must not make ticks come again, or get lost.
    const UPDATE: &str = "
        UPDATE queue.timetable SET
            queue = $2, role = $3, cron = $4, timezone = $5, payload = $6, catch_up = $7, skip_if_running = $8,
            priority = $9, key = $10, on_conflict = $11, group_key = $12, max_attempts = $13, problem = NULL,
            next_tick = CASE WHEN (cron, timezone, queue) = ($4, $5, $2) THEN next_tick ELSE $14 END,
            last_tick = CASE WHEN queue = $2 THEN last_tick END, last_job = CASE WHEN queue = $2 THEN last_job END,
            last_outcome = CASE WHEN queue = $2 THEN last_outcome END
        WHERE name = $1 RETURNING next_tick";
    let run = |sql| queue::as_extension(|| returned(spi::run(sql, &TYPES, entry)));
    // Twice: the one of that name may have been removed since.
    for _ in 0..2 {
        if let Some(next) = run(INSERT) {
            return Ok(next);
        }
        if lock_own(name)?
            && let Some(next) = run(UPDATE)
        {
            return Ok(next);
        }
    }
    Err(Error::ChangedMeanwhile(queue.name.clone()).into())
}

/// The tick that a statement returns, if it did anything.
fn returned(rows: Rows) -> Option<Micros> {
    (!rows.is_empty()).then(|| rows.datum(0, 1)).flatten().map(|at| at.value() as Micros)
}

/// Locks a schedule that the caller may change; false if there is none of that name.
fn lock_own(name: &str) -> Result<bool, Error> {
    const LOCK: &str = "SELECT role::oid, queue::oid FROM queue.timetable WHERE name = $1 FOR UPDATE";
    let rows = queue::as_extension(|| spi::run(LOCK, &[pg_sys::TEXTOID], &[spi::arg(name)]));
    if rows.is_empty() {
        return Ok(false);
    }
    let oid = |column| rows.get::<Oid>(0, column).unwrap_or(Oid::INVALID);
    if !catalog::acts_for(oid(1)) && !catalog::acts_for(catalog::owner_of(oid(2))) {
        return Err(Error::ForeignSchedule(name.into()));
    }
    Ok(true)
}

/// When this transaction commits, every session knows that the queue has a schedule, and somebody wakes at
/// its time.
fn announce(queue: Oid, next: Micros) {
    wake::redefined(queue);
    wake::due(queue, next);
}

/// `queue.schedule_added`
fn after_insert(call: &Call) -> SqlResult<Datum> {
    let firing = Firing::of(call)
        .filter(|firing| firing.for_each_row() && firing.event() == Event::Insert)
        .ok_or_else(|| {
        Error::TriggerUse("queue.schedule_added is a trigger of queue.timetable".into())
    })?;
    let next: Option<TimestampWithTimeZone> = firing.new_column(c"next_tick");
    if let (Some(queue), Some(next)) = (firing.new_column(c"queue"), next) {
        announce(queue, Micros::from(next));
    }
    Ok(call.no_row())
}

/// `queue.unschedule`
fn unschedule(name: Option<&str>) -> SqlResult<()> {
    let name = required("name", name)?;
    spi::connect(|| {
        if !lock_own(name)? {
            return Err(Error::NoSchedule(name.into()).into());
        }
        const REMOVE: &str = "DELETE FROM queue.timetable WHERE name = $1";
        queue::as_extension(|| spi::run(REMOVE, &[pg_sys::TEXTOID], &[spi::arg(name)]));
        Ok(())
    })
}

/// `queue.next_runs`
fn list_next_runs(call: &Call) -> SqlResult<Datum> {
    let cron: String = required("cron", call.arg(0))?;
    let timezone: String = required("timezone", call.arg(1))?;
    let after: TimestampWithTimeZone = required("after", call.arg(2))?;
    let count: i32 = required("count", call.arg(3))?;
    if !(1..=MOST_RUNS).contains(&count) {
        return Err(Error::out_of_range(format!("count must be between 1 and {MOST_RUNS}")).into());
    }
    let after = Micros::from(after);
    let ticks = checked(&cron, &timezone, after)
        .and_then(|(schedule, _)| schedule.run(after, count as usize))
        .map_err(Error::from)?;
    let sink = RowSink::open_scalar(call);
    ticks.into_iter().for_each(|tick| sink.put(&[time::to_arg(Some(tick))]));
    Ok(call.null())
}

/// The state of a job, `None` if it is gone. With the rights of the queue's owner, for reading.
fn state_of(queue: &Queue, id: i64) -> Option<String> {
    use crate::pg::role;
    // The ready ones are found by priority and id.
    let sql = format!(
        "SELECT state FROM {table} WHERE state = 'ready' AND priority = ANY ('{{0,1,2,3,4,5,6,7,8,9}}'::int2[]) AND id = $1
         UNION ALL SELECT state FROM {table} WHERE state IN ('scheduled', 'blocked', 'running', 'failed', 'done') AND id = $1
         LIMIT 1",
        table = queue.table
    );
    let rows = role::as_restricted(queue.owner, || {
        let _order = role::Planner::by_index();
        queue.plan(sql, &[pg_sys::INT8OID]).execute(&[spi::arg(id)])
    });
    if rows.is_empty() { None } else { rows.get(0, 1) }
}
