//! What an admin sees: `queue.overview`, `queue.activity`, `queue.errors`.

use super::main_loop::STATE_NAMES;
use super::shared::{DatabaseSlot, QueueSlot, Shared};
use crate::claim::native;
use crate::error::{Error, SqlResult};
use crate::group::stuck;
use crate::pg::entry::Call;
use crate::pg::failure::{self, Failure};
use crate::pg::spi::{self, Arg, Rows};
use crate::pg::srf::RowSink;
use crate::pg::time::now;
use crate::pg::{Datum, Oid, bgworker, catalog, lock, role, shmem, xact};
use crate::queue::{self, Queue};
use crate::raw_function;
use crate::run::{next, processor};
use crate::shown;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReportable;
use pgrx::prelude::*;
use std::sync::atomic::Ordering::SeqCst;

raw_function!(overview_rows, overview);
raw_function!(activity_rows, activity);
raw_function!(error_rows, errors);

/// Places in `queue::STATES`.
const READY: usize = 0;
const BLOCKED: usize = 2;
const FAILED: usize = 4;
/// Counts up to here are exact.
const EXACT_UP_TO: i64 = 10_000;

/// The queues that the caller may select from, by name.
pub fn visible_queues() -> Vec<Oid> {
    const QUEUES: &str = "
        SELECT q.queue::oid FROM queue.queues q JOIN pg_class c ON c.oid = q.queue
        WHERE has_table_privilege($1, q.queue, 'SELECT') ORDER BY q.queue::text";
    let user = catalog::current_user();
    let rows = queue::as_extension(|| spi::run(QUEUES, &[pg_sys::OIDOID], &[spi::arg(user)]));
    (0..rows.len()).filter_map(|row| rows.get(row, 1)).collect()
}

fn overview(call: &Call) -> SqlResult<Datum> {
    let sink = RowSink::open(call);
    spi::connect(|| {
        for oid in visible_queues() {
            // One queue that cannot be read does not hide the others.
            match unless_interrupted(failure::in_subtransaction(|| overview_row(oid, true))) {
                Ok(row) => row.into_iter().for_each(|row| sink.put(&row)),
                Err(failure) => {
                    sink.put(&row_without_counts(oid, format!("cannot be read: {}", failure.message)))
                }
            }
        }
        Ok(call.null())
    })
}

/// The failure of one queue is not the view's, but the end of the statement is.
fn unless_interrupted<T>(outcome: Result<T, Failure>) -> Result<T, Failure> {
    match outcome {
        Err(failure) if failure.by_interrupt => Err(failure.report()).unwrap_or_report(),
        outcome => outcome,
    }
}

fn row_without_counts(queue: Oid, problem: String) -> Vec<Arg> {
    const COLUMNS: usize = 20;
    let mut row = vec![None; COLUMNS];
    row[0] = spi::arg(queue);
    row[COLUMNS - 1] = spi::arg(problem);
    row
}

/// `None`: no queue any more. `groups`: a group that stands still is a problem, too, if there is no other.
pub fn overview_row(oid: Oid, groups: bool) -> Option<Vec<Arg>> {
    // Nobody waits here for whoever has a table to himself, and hides the other queues meanwhile.
    let queue = match lock::try_for_reading(oid).then(|| queue::open(oid)) {
        Some(Err(Error::HeaderChanged { column, definition, .. })) => {
            let problem = format!("column \"{column}\" was dropped or changed: it must be {definition}");
            return Some(row_without_counts(oid, problem));
        }
        Some(queue) => Some(queue.ok()?),
        None => None,
    };
    let processor = processor::find(oid);
    let registered = processor::registered_role(oid);
    let shared = shmem::get();
    let database = shared.and_then(|s| s.database(catalog::my_database().to_u32()));
    let slot = shared.and_then(|s| {
        s.find_queue(catalog::my_database().to_u32(), oid.to_u32()).map(|place| &s.queues[place])
    });
    // Policies say which rows the reader may see; counts over all would tell more.
    let visible = !catalog::row_security_applies(oid);
    let counted = queue.as_ref().map(|queue| counts(queue));
    let mut row = vec![
        spi::arg(oid),
        spi::arg(processor.as_ref().map(|p| p.function.clone())),
        spi::arg(registered),
        spi::arg(queue.as_ref().map_or_else(|| is_paused(oid), |queue| queue.options.paused)),
    ];
    let counts = |state: usize| counted.filter(|_| visible).map(|(counts, _)| counts[state]);
    row.extend((0..queue::STATES.len()).map(|state| spi::arg(counts(state))));
    let workers = slot.map(|s| s.active.load(SeqCst) as i32);
    row.extend([
        spi::arg(counted.map(|(_, estimated)| estimated)),
        queue.as_ref().filter(|_| visible).and_then(|queue| oldest(queue)),
        spi::arg(slot.map(|s| s.done.per_minute() as i64)),
        spi::arg(slot.map(|s| s.failed.per_minute() as i64)),
        spi::arg(workers),
        spi::arg(slot.map(|s| s.target.load(SeqCst) as i32)),
        spi::arg(queue.as_ref().filter(|_| counted.is_some()).map(|queue| native::path(queue))),
        slot.map(|s| s.safety.ended.load(SeqCst)).filter(|at| *at > 0).map(Datum::from),
        spi::arg(slot.map(|s| s.safety.found.load(SeqCst) as i64)),
        spi::arg(match (&queue, counted) {
            (Some(queue), Some((counts, _))) => {
                // Only where there are jobs of both kinds; it names rows.
                let look = groups && visible && counts[FAILED] > 0 && counts[READY] + counts[BLOCKED] > 0;
                problem(queue, counts[READY], processor.is_some(), registered, shared, database, slot)
                    .or_else(|| look.then(|| stuck::problem(queue)).flatten())
            }
            _ => Some("locked by another session: its jobs cannot be counted".into()),
        }),
    ]);
    Some(row)
}

fn is_paused(queue: Oid) -> bool {
    const PAUSED: &str = "SELECT coalesce(bool_or(paused), false) FROM queue.queues WHERE queue = $1";
    let rows = queue::as_extension(|| spi::run_kept(PAUSED, &[pg_sys::REGCLASSOID], &[spi::arg(queue)]));
    rows.get(0, 1).unwrap_or(false)
}

/// Jobs in each state, and whether one of the counts is an estimate.
fn counts(queue: &Queue) -> ([i64; queue::STATES.len()], bool) {
    let mut estimated = false;
    let counts = queue::STATES.map(|state| {
        let sql = format!(
            "SELECT count(*), (SELECT max(c.reltuples)::bigint FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                               WHERE i.inhparent = $1
                                 AND pg_get_expr(c.relpartbound, c.oid) = 'FOR VALUES IN (''{state}'')')
             FROM (SELECT FROM {} WHERE state = '{state}' LIMIT {}) s",
            queue.table,
            EXACT_UP_TO + 1
        );
        let rows = role::as_restricted(queue.owner, || {
            queue.plan(sql, &[pg_sys::OIDOID]).execute(&[spi::arg(queue.oid)])
        });
        let count: i64 = rows.get(0, 1).unwrap_or(0);
        if count <= EXACT_UP_TO {
            return count;
        }
        estimated = true;
        rows.get::<i64>(0, 2).unwrap_or(0).max(count)
    });
    (counts, estimated)
}

fn oldest(queue: &Queue) -> Arg {
    let sql = format!(
        "SELECT CASE WHEN isfinite(enqueued_at) THEN clock_timestamp() - enqueued_at END
         FROM {} WHERE state = 'ready' ORDER BY priority, id LIMIT 1",
        queue.table
    );
    let rows: Rows = role::as_restricted(queue.owner, || {
        let _planner = role::Planner::by_index();
        queue.plan(sql, &[]).execute(&[])
    });
    if rows.is_empty() { None } else { rows.datum(0, 1) }
}

/// Why nothing runs, if nothing runs: the first reason that applies.
fn problem(
    queue: &Queue,
    ready: i64,
    has_function: bool,
    registered: Option<Oid>,
    shared: Option<&Shared>,
    database: Option<&DatabaseSlot>,
    slot: Option<&QueueSlot>,
) -> Option<String> {
    if queue.options.paused {
        return Some("paused".into());
    }
    if let Some(broken) = queue::indexes::problem(queue) {
        return Some(broken);
    }
    if ready > 0
        && let Some(limit) = crate::limit::problem(queue)
    {
        return Some(limit);
    }
    let role = registered?;
    if next::is_gone(queue.oid) {
        return Some("the queue that its processor feeds does not exist any more".into());
    }
    if !has_function {
        let why = processor::why_not_found(queue.oid);
        return why.or_else(|| Some("the registered processor does not exist any more".into()));
    }
    if !catalog::role_acts_for(role, queue.owner) {
        let role = catalog::role_name(role);
        return Some(format!("role \"{role}\", which registered the processor, no longer owns the queue"));
    }
    // No workers run on a standby, nor should they.
    if xact::in_recovery() {
        return None;
    }
    if shared.is_none() {
        return unshared_problem();
    }
    let role = catalog::role_name(role);
    let set = |flag: fn(&DatabaseSlot) -> bool| database.is_some_and(flag);
    if set(|d| d.stopped.load(SeqCst)) {
        return Some("workers were stopped by queue.stop_workers".into());
    }
    // Or there is something due that no worker has moved yet, nor who takes jobs himself.
    let is_due = |slot: &QueueSlot| slot.upkeep_wanted.load(SeqCst) && slot.next_due.load(SeqCst) <= now();
    let waits = ready > 0 || slot.is_some_and(is_due);
    if waits && set(|d| d.out_of_slots.load(SeqCst)) {
        return Some("no free worker slot: raise max_worker_processes".into());
    }
    if !database.is_some_and(|d| bgworker::is_alive(d.scheduler_pid.load(SeqCst))) {
        return Some("no scheduler runs in this database: see queue_ext.databases and the server log".into());
    }
    let slot = slot?;
    if slot.worker_failed.load(SeqCst) {
        return Some(format!("no worker can connect as role \"{role}\": see the server log"));
    }
    if ready > 0
        && let Some(job) = database.and_then(|d| runs_alone(d, slot, queue.oid))
    {
        return Some(format!("waiting for {job}, which runs alone after a crash"));
    }
    let all_taken = shared.is_some_and(|s| s.workers_in_use() >= crate::settings::max_workers());
    if waits && slot.active.load(SeqCst) == 0 && all_taken {
        return Some("all workers are taken: raise queue_ext.max_workers".into());
    }
    None
}

/// The job of another queue that must come to its end before this one goes on.
fn runs_alone(database: &DatabaseSlot, slot: &QueueSlot, queue: Oid) -> Option<String> {
    let other = Oid::from(database.careful_queue.load(SeqCst));
    if slot.careful_left.load(SeqCst) == 0 || database.careful_owner.load(SeqCst) == 0 || other == queue {
        return None;
    }
    let name = catalog::relation_name(other)?;
    if !catalog::may(other, catalog::SELECT) {
        return Some("a job of another queue".into());
    }
    Some(format!("job {} of queue \"{name}\"", database.careful_job.load(SeqCst)))
}

fn unshared_problem() -> Option<String> {
    if super::unshared::running_scheduler().is_some() {
        return None;
    }
    Some(
        "queue_ext is not in shared_preload_libraries: CALL queue.run, or SELECT queue.start_workers()"
            .into(),
    )
}

fn activity(call: &Call) -> SqlResult<Datum> {
    let sink = RowSink::open(call);
    let Some(shared) = shmem::get() else {
        return Ok(call.null());
    };
    spi::connect(|| {
        let visible = visible_queues();
        for (_, worker) in shared.workers_of(catalog::my_database().to_u32()) {
            let pid = worker.pid.load(SeqCst);
            let role = Oid::from(worker.role.load(SeqCst));
            let queue = match worker.queue_place.load(SeqCst) as usize {
                0 => None,
                place => Some(Oid::from(shared.queues[place - 1].queue.load(SeqCst))),
            };
            let may_see = queue.map_or_else(|| catalog::acts_for(role), |queue| visible.contains(&queue));
            if pid == 0 || !may_see {
                continue;
            }
            let state = queue.map_or(STATE_NAMES[0], |_| STATE_NAMES[worker.state.load(SeqCst) as usize % 4]);
            let job = worker.job.load(SeqCst);
            let since = worker.since.load(SeqCst);
            let running_for = queue.map(|_| Interval::from_micros((now() - since).max(0)));
            sink.put(&[
                spi::arg(pid),
                spi::arg(queue),
                spi::arg(role),
                spi::arg(state),
                spi::arg((job != 0).then_some(job)),
                spi::arg(queue.map(|_| worker.batch.load(SeqCst) as i32)),
                spi::arg(running_for),
                spi::arg(worker.done.load(SeqCst) as i64),
                spi::arg(worker.failed.load(SeqCst) as i64),
            ]);
        }
        Ok(call.null())
    })
}

fn errors(call: &Call) -> SqlResult<Datum> {
    let sink = RowSink::open(call);
    spi::connect(|| {
        for oid in visible_queues() {
            let Ok(queue) = queue::open(oid) else {
                continue;
            };
            // Policies say which rows the reader may see, and must not run with the reader's rights here.
            if catalog::row_security_applies(oid) {
                continue;
            }
            let sql = |whole: &str| {
                format!(
                "SELECT '{oid}'::oid::regclass, id, attempt, errors -> -1 ->> 'sqlstate', errors -> -1 ->> 'message',
                        errors -> -1 ->> 'detail', errors -> -1 ->> 'hint', errors -> -1 ->> 'context',
                        finished_at, {whole}
                 FROM {} AS {row} WHERE state = 'failed' ORDER BY id",
                queue.table,
                row = queue.alias,
            )
            };
            let read = || {
                let _order = role::Planner::by_index();
                shown::put(&queue, &sql, &[], &[], &sink);
            };
            // One that cannot be read to its end says so in the overview.
            let _ = unless_interrupted(failure::in_subtransaction(|| role::as_restricted(queue.owner, read)));
        }
        Ok(call.null())
    })
}
