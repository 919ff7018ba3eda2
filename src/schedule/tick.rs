//! Firing the ticks of a queue that are due. Called by upkeep; see the rules in [`super`].

use super::cron::{CatchUp, Firing, Schedule};
use super::{now, state_of};
use crate::claim::floor;
use crate::enqueue::{Header, More, payload};
use crate::error::{Error, SqlResult};
use crate::pg::failure::{Failure, in_subtransaction};
use crate::pg::spi::{self, Rows};
use crate::pg::time::{self, Micros};
use crate::pg::{Datum, Oid, array, catalog, role, xact};
use crate::queue::limits::OnConflict;
use crate::queue::{self, Queue};
use crate::upkeep::{BACK_OFF, Step};
use crate::wake;
use crate::worker::shared::NEVER;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::{ErrorReport, ErrorReportable};
use pgrx::prelude::*;

/// Schedules fired in one step, each in a subtransaction: over 64 of these slow down every session.
const MOST_SCHEDULES: i64 = 20;
/// Ticks of one schedule caught up with in one step.
const MOST_TICKS: usize = 1_000;
/// A deadlock, say, is no reason to lose a tick: it is tried so often.
const MOST_TRIES: usize = 3;

/// A schedule that is due.
struct Entry {
    name: String,
    role: Oid,
    cron: String,
    timezone: String,
    payload: Datum,
    catch_up: String,
    skip_if_running: bool,
    header: Header,
    next_tick: Micros,
    last_job: Option<i64>,
    problem: Option<String>,
}

/// What came of a tick.
struct Fired {
    outcome: &'static str,
    jobs: Vec<i64>,
    tick: Micros,
    next: Micros,
    problem: Option<String>,
}

/// Fires what is due, in a bounded step. Must be called inside `spi::connect`, with the queue's definition
/// locked. A schedule that fails says so in its row and keeps nobody else from anything.
pub fn fire_due(queue: &Queue) -> Step {
    let mut step = Step::default();
    if xact::sees_only_the_past() || !queue.has_schedules() {
        return step;
    }
    let now = now();
    let mut entries = lock_due(queue, now);
    if entries.is_empty() {
        return step;
    }
    // Keys are locked in one order everywhere.
    entries.sort_by(|a, b| a.header.key.cmp(&b.header.key));
    // If this transaction rolls back, they are due again.
    wake::taken(queue.oid, &floor::NONE);
    for entry in &entries {
        let fired = fire(queue, entry, now);
        complain(queue, entry, &fired);
        record(entry, &fired);
        step.moved += fired.jobs.len();
        step.more |= fired.next <= now;
    }
    step.more |= entries.len() as i64 == MOST_SCHEDULES;
    step
}

/// When the next tick is due; to be called inside `spi::connect`.
pub fn next_due(queue: &Queue) -> Micros {
    if !queue.has_schedules() {
        return NEVER;
    }
    const NEXT: &str = "SELECT min(next_tick) FROM queue.timetable WHERE queue = $1";
    let rows = queue::as_extension(|| spi::run_kept(NEXT, &[pg_sys::REGCLASSOID], &[spi::arg(queue.oid)]));
    rows.datum(0, 1).map_or(NEVER, |at| at.value() as Micros)
}

/// Those that somebody else is just firing are left to him.
fn lock_due(queue: &Queue, now: Micros) -> Vec<Entry> {
    const DUE: &str = "
        SELECT name, role::oid, cron, timezone, payload, catch_up, skip_if_running, priority, key, on_conflict,
               group_key, max_attempts, next_tick, last_job, problem
        FROM queue.timetable WHERE queue = $1 AND next_tick <= $2
        ORDER BY next_tick, name LIMIT $3 FOR UPDATE SKIP LOCKED";
    let types = [pg_sys::REGCLASSOID, pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID];
    let args = [spi::arg(queue.oid), time::to_arg(Some(now)), spi::arg(MOST_SCHEDULES)];
    let rows = queue::as_extension(|| spi::run_kept(DUE, &types, &args));
    (0..rows.len()).filter_map(|row| entry(&rows, row)).collect()
}

fn entry(rows: &Rows, row: usize) -> Option<Entry> {
    let text = |column| rows.get::<String>(row, column);
    let (on_conflict, group_key) = (text(10), text(11));
    let more = (on_conflict.is_some() || group_key.is_some()).then(|| {
        let on_conflict = on_conflict.as_deref().and_then(OnConflict::of);
        Box::new(More { on_conflict, group_key, ..More::default() })
    });
    Some(Entry {
        name: text(1)?,
        role: rows.get(row, 2)?,
        cron: text(3)?,
        timezone: text(4)?,
        payload: array::detoasted(rows.datum(row, 5)?),
        catch_up: text(6)?,
        skip_if_running: rows.get(row, 7)?,
        header: Header {
            priority: rows.get(row, 8),
            run_at: None,
            key: text(9),
            max_attempts: rows.get(row, 12),
            more,
        },
        next_tick: rows.datum(row, 13)?.value() as Micros,
        last_job: rows.get(row, 14),
        problem: text(15),
    })
}

fn fire(queue: &Queue, entry: &Entry, now: Micros) -> Fired {
    let read = Schedule::new(&entry.cron, &entry.timezone)
        .and_then(|schedule| Ok((schedule, CatchUp::of(&entry.catch_up)?)));
    let (schedule, catch_up) = match read {
        Ok(read) => read,
        // Written by another version of the extension, say.
        Err(invalid) => {
            let raised =
                in_subtransaction(|| SqlResult::<()>::Err(Error::from(invalid).into()).unwrap_or_report());
            return refused(entry.next_tick, now.saturating_add(BACK_OFF), raised.err().as_ref());
        }
    };
    let Firing { jobs, tick, next } = schedule.fire(catch_up, entry.next_tick, now, MOST_TICKS);
    if jobs == 0 {
        return Fired { outcome: "missed", jobs: Vec::new(), tick, next, problem: None };
    }
    let mut tries = 0;
    loop {
        tries += 1;
        match in_subtransaction(|| enqueue(queue, entry, jobs)) {
            // The first of several was put on the queue, and waits.
            Ok(ids) if entry.skip_if_running && jobs > ids.len() => {
                return Fired { outcome: "skipped", jobs: ids, tick, next, problem: None };
            }
            Ok(ids) => return Fired { outcome: "enqueued", jobs: ids, tick, next, problem: None },
            Err(failure) if failure.by_interrupt => Err(failure.report()).unwrap_or_report(),
            Err(failure) if failure.is_of_the_moment() && tries < MOST_TRIES => {}
            Err(failure) => return refused(tick, next, Some(&failure)),
        }
    }
}

fn refused(tick: Micros, next: Micros, failure: Option<&Failure>) -> Fired {
    let problem = failure.map(|failure| format!("{} (SQLSTATE {})", failure.message, failure.sqlstate));
    Fired { outcome: "refused", jobs: Vec::new(), tick, next, problem }
}

/// The ids of the jobs; as many as there were ticks, unless there is to be one at a time. Raises.
fn enqueue(queue: &Queue, entry: &Entry, ticks: usize) -> Vec<i64> {
    check_role(queue, entry.role).unwrap_or_report();
    let jobs = if entry.skip_if_running { 1 } else { ticks };
    if entry.skip_if_running && entry.last_job.is_some_and(|id| is_under_way(queue, id)) {
        return Vec::new();
    }
    role::as_role(queue.owner, || payload::insert(queue.oid, &vec![entry.payload; jobs], &entry.header))
        .unwrap_or_report()
}

/// May the role still do what it once asked for?
fn check_role(queue: &Queue, role: Oid) -> SqlResult<()> {
    let names = || (queue.name.clone(), catalog::role_name(role));
    if !catalog::role_may(role, queue.oid, catalog::INSERT) {
        let (queue, role) = names();
        return Err(Error::ScheduleRole { queue, role }.into());
    }
    if catalog::row_security_applies_to(role, queue.oid) {
        let (queue, role) = names();
        return Err(Error::ScheduleRowSecurity { queue, role }.into());
    }
    Ok(())
}

fn is_under_way(queue: &Queue, id: i64) -> bool {
    !matches!(state_of(queue, id).as_deref(), None | Some("done" | "failed"))
}

fn record(entry: &Entry, fired: &Fired) {
    const RECORD: &str = "
        UPDATE queue.timetable SET last_tick = $2, next_tick = $3, last_outcome = $4,
            last_job = coalesce($5, last_job), problem = $6
        WHERE name = $1";
    let types = [
        pg_sys::TEXTOID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::TEXTOID,
        pg_sys::INT8OID,
        pg_sys::TEXTOID,
    ];
    let args = [
        spi::arg(entry.name.as_str()),
        time::to_arg(Some(fired.tick)),
        time::to_arg(Some(fired.next)),
        spi::arg(fired.outcome),
        spi::arg(fired.jobs.last().copied()),
        spi::arg(fired.problem.as_deref()),
    ];
    queue::as_extension(|| spi::run_kept(RECORD, &types, &args));
}

/// Says that a schedule is refused, once for each reason.
fn complain(queue: &Queue, entry: &Entry, fired: &Fired) {
    let Some(problem) = &fired.problem else { return };
    if entry.problem.as_ref() == Some(problem) {
        return;
    }
    let what = format!("schedule \"{}\" cannot put a job on queue \"{}\": {problem}", entry.name, queue.name);
    ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, what, "queue_ext")
        .set_hint("It is tried again at its next tick; queue.schedules shows the problem until then.")
        .report(PgLogLevel::WARNING);
}
