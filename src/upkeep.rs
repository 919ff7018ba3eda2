//! What time does to jobs: scheduled ones become ready, leases run out, kept ones are forgotten, schedules
//! ([`crate::schedule`]) make new ones.
//!
//! Done by a worker connected as the queue's role when something is due, and by whoever takes jobs from
//! the queue: a queue needs no worker to be kept up. Never by the scheduler, which is connected as
//! superuser and must not run anything of a queue's owner.
//!
//! A row that cannot be moved (it violates a constraint added with NOT VALID, a trigger of the user's
//! refuses it) is passed over for a while; all others move.

use crate::claim::{self, Move, Taken};
use crate::pg::failure::{Failure, in_subtransaction};
use crate::pg::time::{self, Micros};
use crate::pg::{Oid, role, shmem, spi};
use crate::queue::Queue;
use crate::queue::statements::Which;
use crate::schedule::tick;
use crate::wake;
use crate::worker::shared::{NEVER, QueueSlot};
use crate::{finish, history};
use pgrx::pg_sys::panic::{ErrorReport, ErrorReportable};
use pgrx::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;

/// Most rows moved by one kind of upkeep in one transaction.
const STEP: i64 = 1000;
/// After a step that found only rows locked by others, the next one waits at least so long.
const PAUSE: Micros = 200_000;
/// A row that cannot be moved is tried again after so long.
pub const BACK_OFF: Micros = 60_000_000;
/// Subtransactions that one kind of upkeep may keep in one step: over 64 in a transaction slow down every
/// session of the server.
const MOST_PARTS: usize = 20;
/// Subtransactions rolled back in one step.
const MOST_FAILURES: usize = 100;
/// With more rows than this that cannot be moved, the rest of their kind waits, too.
const MOST_PASSED_OVER: usize = 100_000;

const KINDS: [Which; 4] = [Which::Due, Which::Expired, Which::Old, Which::OldFailed];

/// The rows that this session found it cannot move, of each kind, for a while. Kept with what is known of
/// the queue: when the table is altered, which may be the remedy, they are tried again at once.
pub struct PassedOver {
    ids: [Vec<i64>; KINDS.len()],
    /// How many rows are moved at a time.
    parts: [i64; KINDS.len()],
    until: Micros,
}

impl Default for PassedOver {
    fn default() -> PassedOver {
        PassedOver { ids: Default::default(), parts: [STEP; KINDS.len()], until: NEVER }
    }
}

impl PassedOver {
    fn add(&mut self, kind: usize, id: i64) {
        self.until = self.until.min(time::now() + BACK_OFF);
        self.ids[kind].push(id);
    }
}

/// Is there anything to do, as far as is known? Without shared memory nothing is known.
pub fn is_due(queue: &Queue) -> bool {
    place(queue).is_none_or(|slot| slot.next_due.load(SeqCst) <= time::now())
}

fn place(queue: &Queue) -> Option<&'static QueueSlot> {
    Some(&shmem::get()?.queues[wake::place_of(queue.oid)?])
}

/// What a step did.
#[derive(Default)]
pub struct Step {
    pub moved: usize,
    /// There is more to do now.
    pub more: bool,
}

/// A row that could not be moved, and why.
struct Unmovable {
    id: i64,
    kind: usize,
    failure: Failure,
}

/// Does a bounded step. Must be called inside `spi::connect`.
pub fn step(queue: &Queue) -> Step {
    let slot = place(queue);
    // Taken before looking: what becomes due while we look lowers it again.
    if let Some(slot) = slot {
        slot.next_due.store(NEVER, SeqCst);
    }
    let mut guard = Unfinished(slot);
    if queue.passed_over.borrow().until <= time::now() {
        queue.passed_over.take();
    }
    let mut unmovable = Vec::new();
    let mut step = Step::default();
    for kind in 0..KINDS.len() {
        let Step { moved, more } = keep_up(queue, kind, &mut unmovable);
        step.moved += moved;
        step.more |= more;
    }
    complain(queue, slot, &unmovable);
    let Step { moved, more } = tick::fire_due(queue);
    step.moved += moved;
    step.more |= more;
    if let Some(slot) = slot {
        let next = if step.more { 0 } else { next_due(queue) };
        let stuck = next <= time::now() && step.moved == 0;
        guard.0 = None;
        slot.due_at(if stuck { time::now() + PAUSE } else { next });
        // It may have gone to sleep while no time was set.
        if let Some(shared) = shmem::get() {
            shared.wake_scheduler(slot.database.load(SeqCst));
        }
    }
    step
}

/// Puts the due time back if a step does not come to its end.
struct Unfinished(Option<&'static QueueSlot>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            slot.due_at(time::now() + PAUSE);
        }
    }
}

/// Moves what is due of one kind, all at once; if that fails, in smaller and smaller parts, until the row
/// that cannot be moved is alone in one.
fn keep_up(queue: &Queue, kind: usize, unmovable: &mut Vec<Unmovable>) -> Step {
    let Some(before) = time_of(queue, KINDS[kind]) else { return Step::default() };
    let mut part = queue.passed_over.borrow().parts[kind];
    let (mut moved, mut kept, mut failures) = (0, 0, 0);
    let more = loop {
        if moved as i64 >= STEP || kept >= MOST_PARTS || failures >= MOST_FAILURES {
            break true;
        }
        let ids = queue.passed_over.borrow().ids[kind].clone();
        if ids.len() >= MOST_PASSED_OVER {
            break false;
        }
        let args = |most: i64| [spi::arg(most), time::to_arg(Some(before)), spi::arg(ids.clone())];
        match in_subtransaction(|| move_part(queue, KINDS[kind], &args(part))) {
            Ok(count) => {
                moved += count;
                kept += 1;
                if (count as i64) < part {
                    break false;
                }
                part = (part * 2).min(STEP);
            }
            Err(failure) if failure.is_of_the_moment() => Err(failure.report()).unwrap_or_report(),
            Err(failure) => {
                failures += 1;
                if part == 1 {
                    // Locked by somebody in the meantime: that one is not to blame.
                    let Some(id) = claim::first(queue, KINDS[kind], &args(1)) else { break false };
                    queue.passed_over.borrow_mut().add(kind, id);
                    unmovable.push(Unmovable { id, kind, failure });
                }
                part = (part / 4).max(1);
            }
        }
    };
    queue.passed_over.borrow_mut().parts[kind] = if more { part } else { STEP };
    Step { moved, more }
}

/// Rows that were due before this time; `None` if this queue has none of the kind.
fn time_of(queue: &Queue, which: Which) -> Option<Micros> {
    match which {
        Which::Old => queue.options.keep_done.map(|keep| time::now().saturating_sub(keep)),
        Which::OldFailed => queue.options.keep_failed.map(|keep| time::now().saturating_sub(keep)),
        _ => Some(time::now()),
    }
}

fn move_part(queue: &Queue, which: Which, args: &[spi::Arg]) -> usize {
    let taken = claim::take(queue, which, args);
    let moves: Vec<Move> = match which {
        Which::Due => taken.iter().map(|job| Move::to("ready", job)).collect(),
        Which::Expired => taken.iter().map(|job| returned(queue, job)).collect(),
        Which::OldFailed => {
            finish::removed(queue, &taken);
            Vec::new()
        }
        _ => Vec::new(),
    };
    finish::put(queue, moves);
    taken.len()
}

/// A job whose lease ran out.
fn returned<'a>(queue: &Queue, job: &'a Taken) -> Move<'a> {
    match history::after_failure(queue, job, &Failure::new("57014", "lease ran out"), None) {
        // Nothing was found wrong with the job, so it need not wait.
        retry if retry.state == "scheduled" => Move { state: "ready", run_at: None, ..retry },
        failed => failed,
    }
}

thread_local! {
    /// Without shared memory: until when nothing is said again, of each queue.
    static TOLD: RefCell<HashMap<Oid, Micros>> = RefCell::new(HashMap::new());
}

/// Says which jobs cannot be moved, once in a while for all sessions together.
fn complain(queue: &Queue, slot: Option<&QueueSlot>, unmovable: &[Unmovable]) {
    const MOST_NAMED: usize = 10;
    let Some(Unmovable { kind, failure, .. }) = unmovable.first() else { return };
    let now = time::now();
    let quiet_until = match slot {
        // Only one of those who find the time over sets it anew.
        Some(slot) => slot
            .quiet_until
            .fetch_update(SeqCst, SeqCst, |until| (until <= now).then_some(now + BACK_OFF))
            .unwrap_or_else(|until| until),
        None => TOLD.with(|told| {
            let until = told.borrow().get(&queue.oid).copied().unwrap_or(0);
            if until <= now {
                told.borrow_mut().insert(queue.oid, now + BACK_OFF);
            }
            until
        }),
    };
    if quiet_until > now {
        return;
    }
    let ids: Vec<String> = unmovable.iter().take(MOST_NAMED).map(|row| row.id.to_string()).collect();
    let others = match unmovable.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    let what = format!(
        "queue \"{}\": cannot move job {}{others} out of state {}: {} (SQLSTATE {})",
        queue.name,
        ids.join(", "),
        KINDS[*kind].state(),
        failure.message,
        failure.sqlstate
    );
    ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, what, "queue_ext")
        .set_hint("The other jobs go on. This is tried again after a minute, or when the table was altered.")
        .report(PgLogLevel::WARNING);
}

/// When the next row of any kind becomes due, or those passed over are tried again.
fn next_due(queue: &Queue) -> Micros {
    role::as_role(queue.owner, || {
        let _order = role::Planner::by_index();
        earliest(queue)
    })
}

/// The same; to be called as the queue's owner.
pub fn earliest(queue: &Queue) -> Micros {
    let passed_over = queue.passed_over.borrow();
    let first = |number: usize, column: &str| {
        format!(
            "(SELECT {column} FROM {} WHERE state = '{}' AND id NOT IN (SELECT unnest(${number}))
              ORDER BY {column} LIMIT 1)",
            queue.table,
            KINDS[number - 1].state()
        )
    };
    let sql = format!(
        "SELECT {}, {}, {}, {}",
        first(1, "run_at"),
        first(2, "lease_until"),
        first(3, "finished_at"),
        first(4, "finished_at")
    );
    let args = passed_over.ids.each_ref().map(|ids| spi::arg(ids.clone()));
    let rows = queue.plan(sql, &[pgrx::pg_sys::INT8ARRAYOID; KINDS.len()]).execute(&args);
    let at = |column: usize| rows.datum(0, column).map_or(NEVER, |d| d.value() as Micros);
    let forgotten =
        |keep: Option<Micros>, first: Micros| keep.map_or(NEVER, |keep| first.saturating_add(keep));
    let (done, failed) =
        (forgotten(queue.options.keep_done, at(3)), forgotten(queue.options.keep_failed, at(4)));
    at(1).min(at(2)).min(done).min(failed).min(passed_over.until).min(tick::next_due(queue))
}
