//! After a crash of the server, or the end of a worker in the middle of a batch: one job at a time, each
//! marked before it runs, until the culprit is an error row.
//!
//! The mark is committed before the run and removed with it. A mark that outlives a crash names the job
//! that ran alone in its database when the server went down. In one database only one worker runs
//! marked jobs at a time, so the mark is never that of a bystander. If only the worker was terminated
//! while it ran a marked job, that is a failed attempt like any other: it may have been an admin.

use super::shared::{DatabaseSlot, QueueSlot, Shared};
use crate::claim::{self, Move};
use crate::history::{after_failure, give_up};
use crate::pg::failure::Failure;
use crate::pg::time::{self, Micros};
use crate::pg::{Oid, role, spi};
use crate::queue::statements::Which;
use crate::queue::{self, Queue};
use crate::run::batch::{Observer, Report};
use crate::run::session::{self, Session, Worker};
use crate::{finish, limit};
use pgrx::pg_sys;
use std::sync::atomic::Ordering::SeqCst;

const SERVER_DIED: &str = "the server went down while this job ran alone";
const WORKER_DIED: &str = "the worker was terminated while this job ran alone";
const NEXT: &str = "ORDER BY priority, id LIMIT 1";
/// Jobs that could not run, looked at one after the other before this worker has a look round.
const MOST_TRIED: usize = 100;

/// Runs the next job alone. Claims nothing while another worker of the database is doing so. `None`: the
/// queue is not ours to run.
pub fn run_one(
    shared: &Shared,
    place: usize,
    slot: &QueueSlot,
    oid: Oid,
    observer: &mut dyn Observer,
) -> Result<Option<Report>, Failure> {
    let is_mine = Worker
        .transaction(|| queue::open(oid).is_ok_and(|queue| session::processor_of_mine(&queue).is_some()))?;
    let Some(database) = shared.database(slot.database.load(SeqCst)).filter(|_| is_mine) else {
        return Ok(None);
    };
    if database.careful_owner.compare_exchange(0, place as u32 + 1, SeqCst, SeqCst).is_err() {
        crate::pg::latch::sleep(Some(10));
        // Not empty, only not ours to run now.
        return Ok(Some(Report { claimed: 1, returned: 1, ..Report::default() }));
    }
    let since_start = (database.careful_queue.load(SeqCst) == oid.to_u32()).then(|| Suspect {
        id: database.careful_job.load(SeqCst),
        worker_died: database.careful_died.swap(false, SeqCst),
    });
    let outcome = convict(oid, shared.made_at.load(SeqCst), since_start).and_then(|convicted| {
        let mut report = run_first(database, oid, observer)?;
        report.failed += convicted.failed;
        Ok(report)
    });
    // One that was met and could not run is none of those that may have caused the crash.
    if outcome.as_ref().map_or(true, |report| report.claimed > report.returned) {
        slot.careful_left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).ok();
    }
    database.careful_owner.store(0, SeqCst);
    outcome.map(Some)
}

/// Runs the first job that can be had. Others are held back by their groups or the queue's limits, which moves
/// them out of the way, or a client has them.
fn run_first(database: &DatabaseSlot, oid: Oid, observer: &mut dyn Observer) -> Result<Report, Failure> {
    if Worker.transaction(|| queue::open(oid).is_ok_and(|queue| limit::rate::holds(&queue)))? {
        // Nothing may start, so nothing is to be marked.
        return Ok(Report::default());
    }
    let mut behind = None;
    for _ in 0..MOST_TRIED {
        let Some((priority, id)) = next_job(oid, behind)? else { return Ok(Report::default()) };
        database.careful_queue.store(oid.to_u32(), SeqCst);
        database.careful_job.store(id, SeqCst);
        mark(oid, id)?;
        let report = session::run_alone(&Worker, oid, id, observer)?;
        unmark(oid, id)?;
        if report.claimed > 0 {
            return Ok(report);
        }
        if is_full(oid)? {
            // Whoever makes room tells.
            return Ok(Report::default());
        }
        behind = Some((priority, id));
    }
    crate::pg::latch::sleep(Some(100));
    // There are more to look at.
    Ok(Report { claimed: 1, returned: 1, ..Report::default() })
}

/// Does the queue's limit keep all of its jobs from running?
fn is_full(oid: Oid) -> Result<bool, Failure> {
    Worker.transaction(|| queue::open(oid).is_ok_and(|queue| limit::problem(&queue).is_some()))
}

/// The job last marked since the server started.
struct Suspect {
    id: i64,
    worker_died: bool,
}

/// Deals with marks left behind: one from before the start outlived a crash and names a culprit.
fn convict(oid: Oid, made_at: Micros, since_start: Option<Suspect>) -> Result<Report, Failure> {
    let types = [pg_sys::REGCLASSOID, pg_sys::TIMESTAMPTZOID];
    const MARKED: &str = "DELETE FROM queue.crash_marks WHERE queue = $1 RETURNING id, started < $2";
    Worker.transaction(|| {
        let Ok(queue) = queue::open(oid).and_then(Queue::locked) else { return Report::default() };
        let rows =
            queue::as_extension(|| spi::run(MARKED, &types, &[spi::arg(oid), time::to_arg(Some(made_at))]));
        let marks: Vec<(i64, bool)> =
            (0..rows.len()).filter_map(|row| Some((rows.get(row, 1)?, rows.get(row, 2)?))).collect();
        let mut report = Report::default();
        for (id, before_start) in marks {
            let suspect = since_start.as_ref().filter(|suspect| suspect.id == id && !before_start);
            if !before_start && !suspect.is_some_and(|suspect| suspect.worker_died) {
                continue;
            }
            let jobs = claim::take(&queue, Which::ReadyJob, &[spi::arg(id)]);
            let moves: Vec<Move> = jobs
                .iter()
                .map(|job| match suspect {
                    Some(_) => after_failure(&queue, job, &Failure::new("57P01", WORKER_DIED), None),
                    None => give_up(job, &Failure::new("57P02", SERVER_DIED)),
                })
                .collect();
            finish::put(&queue, moves);
            report.failed += jobs.len();
        }
        report
    })
}

/// Priority and id of the first ready job behind another one.
fn next_job(oid: Oid, behind: Option<(i32, i64)>) -> Result<Option<(i32, i64)>, Failure> {
    let (priority, id) = behind.unwrap_or((-1, 0));
    Worker.transaction(|| {
        let queue = queue::open(oid).ok().filter(|queue| !queue.options.paused)?;
        let sql = format!(
            "SELECT priority::integer, id FROM {} WHERE state = 'ready' AND (priority, id) > ($1::smallint, $2) {NEXT}",
            queue.table
        );
        let rows = role::as_role(queue.owner, || {
            let _planner = role::Planner::by_index();
            queue.plan(sql, &[pg_sys::INT4OID, pg_sys::INT8OID]).execute(&[spi::arg(priority), spi::arg(id)])
        });
        (!rows.is_empty()).then(|| Some((rows.get(0, 1)?, rows.get(0, 2)?))).flatten()
    })
}

fn mark(oid: Oid, id: i64) -> Result<(), Failure> {
    change_mark(oid, id, "INSERT INTO queue.crash_marks (queue, id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
}

fn unmark(oid: Oid, id: i64) -> Result<(), Failure> {
    change_mark(oid, id, "DELETE FROM queue.crash_marks WHERE queue = $1 AND id = $2")
}

fn change_mark(oid: Oid, id: i64, sql: &str) -> Result<(), Failure> {
    Worker.transaction(|| {
        queue::as_extension(|| {
            // A mark that is still in the buffers when the server goes down would mark nothing.
            spi::run("SET LOCAL synchronous_commit = on", &[], &[]);
            spi::run(sql, &[pg_sys::REGCLASSOID, pg_sys::INT8OID], &[spi::arg(oid), spi::arg(id)]);
        });
    })
}
