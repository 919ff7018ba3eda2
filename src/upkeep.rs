//! What time does to jobs: scheduled ones become ready, leases run out, kept ones are forgotten.
//!
//! Done by a worker connected as the queue's role when something is due, and by whoever takes jobs from
//! the queue: a queue needs no worker to be kept up. Never by the scheduler, which is connected as
//! superuser and must not run anything of a queue's owner.

use crate::claim::{self, Move};
use crate::history;
use crate::pg::failure::Failure;
use crate::pg::time::{self, Micros};
use crate::pg::{role, shmem, spi};
use crate::queue::Queue;
use crate::queue::statements::Which;
use crate::wake;
use crate::worker::shared::{NEVER, QueueSlot};
use std::sync::atomic::Ordering::SeqCst;

/// Most rows moved by one kind of upkeep in one transaction.
const STEP: i64 = 1000;
/// After a step that found only rows locked by others, the next one waits at least so long.
const PAUSE: Micros = 200_000;

/// Is there anything to do, as far as is known? Without shared memory nothing is known.
pub fn is_due(queue: &Queue) -> bool {
    place(queue).is_none_or(|slot| slot.next_due.load(SeqCst) <= time::now())
}

fn place(queue: &Queue) -> Option<&'static QueueSlot> {
    Some(&shmem::get()?.queues[wake::place_of(queue.oid)?])
}

/// What a step did.
pub struct Step {
    pub moved: usize,
    /// There is more to do now.
    pub more: bool,
}

/// Does a bounded step. Must be called inside `spi::connect`.
pub fn step(queue: &Queue) -> Step {
    let slot = place(queue);
    // Taken before looking: what becomes due while we look lowers it again.
    if let Some(slot) = slot {
        slot.next_due.store(NEVER, SeqCst);
    }
    let mut guard = Unfinished(slot);
    let moved = [wake_scheduled(queue), return_expired(queue), forget_old(queue)];
    let more = moved.iter().any(|count| *count as i64 >= STEP);
    if let Some(slot) = slot {
        let next = if more { 0 } else { next_due(queue) };
        let stuck = next <= time::now() && moved.iter().sum::<usize>() == 0;
        guard.0 = None;
        slot.due_at(if stuck { time::now() + PAUSE } else { next });
        // It may have gone to sleep while no time was set.
        if let Some(shared) = shmem::get() {
            shared.wake_scheduler(slot.database.load(SeqCst));
        }
    }
    Step { moved: moved.iter().sum(), more }
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

fn now() -> spi::Arg {
    time::to_arg(Some(time::now()))
}

fn wake_scheduled(queue: &Queue) -> usize {
    let due = claim::take(queue, Which::Due, &[spi::arg(STEP), now()]);
    claim::put(queue, &due.iter().map(|job| Move::to("ready", job)).collect::<Vec<_>>());
    due.len()
}

fn return_expired(queue: &Queue) -> usize {
    let expired = claim::take(queue, Which::Expired, &[spi::arg(STEP), now()]);
    let failure = Failure::new("57014", "lease ran out");
    let moves: Vec<Move> = expired
        .iter()
        .map(|job| match history::after_failure(queue, job, &failure, None) {
            // Nothing was found wrong with the job, so it need not wait.
            retry if retry.state == "scheduled" => Move { state: "ready", run_at: None, ..retry },
            failed => failed,
        })
        .collect();
    claim::put(queue, &moves);
    expired.len()
}

fn forget_old(queue: &Queue) -> usize {
    let Some(keep) = queue.options.keep_done else {
        return 0;
    };
    let before = time::to_arg(Some(time::now().saturating_sub(keep)));
    claim::take(queue, Which::Old, &[spi::arg(STEP), before]).len()
}

/// When the next row of any kind becomes due.
pub fn next_due(queue: &Queue) -> Micros {
    let table = &queue.table;
    let sql = format!(
        "SELECT (SELECT min(run_at) FROM {table} WHERE state = 'scheduled'),
                (SELECT min(lease_until) FROM {table} WHERE state = 'running'),
                (SELECT min(finished_at) FROM {table} WHERE state = 'done')"
    );
    role::as_role(queue.owner, || {
        let _order = role::Planner::by_index();
        let rows = queue.plan(sql, &[]).execute(&[]);
        let at = |column: usize| rows.datum(0, column).map_or(NEVER, |d| d.value() as Micros);
        let forgotten = queue.options.keep_done.map_or(NEVER, |keep| at(3).saturating_add(keep));
        at(1).min(at(2)).min(forgotten)
    })
}
