//! What time does to jobs: scheduled ones become ready, leases run out, kept ones are forgotten, schedules
//! ([`crate::schedule`]) make new ones.
//!
//! Done by a worker connected as the queue's role when something is due, and by whoever takes jobs from
//! the queue: a queue needs no worker to be kept up. In a client's transaction block only if no worker can
//! ([`block`]). Never by the scheduler, which is connected as
//! superuser and must not run anything of a queue's owner.
//!
//! A row that cannot be moved (it violates a constraint added with NOT VALID, a trigger of the user's
//! refuses it, also a deferred one) is passed over for a while; all others move.

pub mod block;
mod deferred;
mod due;
mod stuck;

use crate::after::look;
use crate::claim::{self, Move, Taken};
use crate::pg::failure::{Failure, in_subtransaction};
use crate::pg::relation::Open;
use crate::pg::time::{self, Micros};
use crate::pg::{shmem, spi};
use crate::queue::Queue;
use crate::queue::statements::Which;
use crate::schedule::tick;
use crate::wake;
use crate::worker::shared::{NEVER, QueueSlot};
use crate::{after, finish, group, history, keys, limit, settings};
use deferred::Deferred;
pub use due::earliest;
use due::next_due;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;
use stuck::{Unmovable, complain};

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

const KINDS: [Which; 6] =
    [Which::Due, Which::Expired, Which::Old, Which::OldFailed, Which::OldResult, Which::Waiting];
/// The place of the last, whose rows are found in another way than by their time.
const WAITING: usize = 5;

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
    wake::slot_of(queue.oid).is_none_or(|slot| slot.next_due.load(SeqCst) <= time::now())
}

/// What a step did.
#[derive(Default)]
pub struct Step {
    pub moved: usize,
    /// There is more to do now.
    pub more: bool,
}

impl Step {
    fn add(&mut self, other: Step) {
        self.moved += other.moved;
        self.more |= other.more;
    }
}

/// The waiting jobs that are to be moved, with the job that each fails because of.
type Verdicts = BTreeMap<i64, Option<i64>>;

/// Does a bounded step. Must be called inside `spi::connect`.
pub fn step(queue: &Queue) -> Step {
    let slot = wake::slot_of(queue.oid);
    // Taken before looking: what becomes due while we look lowers it again.
    if let Some(slot) = slot {
        slot.next_due.store(NEVER, SeqCst);
    }
    let mut guard = Unfinished(slot);
    if queue.passed_over.borrow().until <= time::now() {
        queue.passed_over.take();
    }
    let deferred = Deferred::of(queue);
    let mut unmovable = Vec::new();
    let mut step = Step::default();
    for kind in 0..WAITING {
        step.add(keep_up(queue, kind, &Verdicts::new(), &deferred, &mut unmovable));
    }
    // The last: the others may have moved some among them.
    let more_waiting = free_waiting(queue, &mut step, &deferred, &mut unmovable);
    step.more |= keys::prune(queue);
    step.moved += group::sweep(queue, slot.is_none());
    let (freed, limit_due) = limit::sweep(queue);
    step.moved += freed;
    complain(queue, slot, &unmovable);
    step.add(tick::fire_due(queue));
    if let Some(slot) = slot {
        let next =
            if step.more { 0 } else { next_due(queue).min(group::next_sweep(queue.oid)).min(limit_due) };
        let stuck = next <= time::now() && step.moved == 0 && !more_waiting;
        guard.0 = None;
        slot.due_at(if stuck { time::now() + PAUSE } else { next });
        // It may have gone to sleep while no time was set.
        if let Some(shared) = shmem::get() {
            shared.wake_scheduler(slot.database.load(SeqCst));
        }
    }
    step
}

/// Moves waiting jobs that need not wait any more. Says whether there are more to look at now.
fn free_waiting(queue: &Queue, step: &mut Step, deferred: &Deferred, unmovable: &mut Vec<Unmovable>) -> bool {
    if queue.passed_over.borrow().ids[WAITING].is_empty() {
        look::try_stuck(queue.oid);
    }
    let looked = look::look(queue);
    let freed = keep_up(queue, WAITING, &looked.verdicts, deferred, unmovable);
    if unmovable.iter().any(|row| row.kind == WAITING) {
        look::leave_stuck(queue.oid);
    }
    let passed_over = queue.passed_over.borrow().ids[WAITING].len();
    if freed.moved + passed_over < looked.verdicts.len() {
        look::look_again(queue.oid);
    }
    step.add(freed);
    step.more |= looked.more;
    looked.more
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
fn keep_up(
    queue: &Queue,
    kind: usize,
    verdicts: &Verdicts,
    deferred: &Deferred,
    unmovable: &mut Vec<Unmovable>,
) -> Step {
    if kind == WAITING && verdicts.is_empty() {
        return Step::default();
    }
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
        let args = |most: i64| {
            let mut args = vec![spi::arg(most), time::to_arg(Some(before)), spi::arg(ids.clone())];
            if kind == WAITING {
                args.push(spi::arg(verdicts.keys().copied().collect::<Vec<i64>>()));
            }
            args
        };
        let taken = Taking::default();
        let outcome =
            in_subtransaction(|| move_part(queue, KINDS[kind], &args(part), verdicts, deferred, &taken));
        match outcome {
            Ok(count) => {
                moved += count;
                kept += 1;
                if (count as i64) < part {
                    if matches!(KINDS[kind], Which::Due | Which::Waiting) {
                        claim::held::note(queue, KINDS[kind], &args(part));
                    }
                    break false;
                }
                part = (part * 2).min(STEP);
            }
            Err(failure) if failure.is_of_the_moment() => failure.raise(),
            Err(failure) => {
                failures += 1;
                part = part.min(taken.count.get().unwrap_or(part)).max(1);
                if part == 1 {
                    // If it was not even taken: locked by somebody in the meantime, one is not to blame.
                    let found = || claim::first(queue, KINDS[kind], &args(1));
                    let Some(id) = taken.first.get().or_else(found) else { break false };
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
        Which::OldResult => {
            let partition = queue.layout.as_ref().and_then(|layout| layout.partition("done"));
            let none = partition.is_some_and(|oid| Open::for_reading(oid).is_empty());
            (queue.options.keep_done.is_none() && !none)
                .then(|| time::now().saturating_sub(settings::keep_results()))
        }
        _ => Some(time::now()),
    }
}

/// What was taken of a part that perhaps cannot be moved.
#[derive(Default)]
struct Taking {
    count: Cell<Option<i64>>,
    first: Cell<Option<i64>>,
}

fn move_part(
    queue: &Queue,
    which: Which,
    args: &[spi::Arg],
    verdicts: &Verdicts,
    deferred: &Deferred,
    taking: &Taking,
) -> usize {
    let mut taken = claim::take(queue, which, args);
    taking.count.set(Some(taken.len() as i64));
    taking.first.set(taken.first().map(|job| job.id));
    if which == Which::Waiting {
        let failed = |job: &Taken| verdicts.get(&job.id).copied().flatten();
        taken.iter_mut().filter(|job| failed(job).is_none()).for_each(|job| *job = after::freed(queue, job));
    }
    let moves: Vec<Move> = match which {
        Which::Due => taken.iter().map(|job| after::due(queue, job)).collect(),
        Which::Expired => taken.iter().map(|job| returned(queue, job)).collect(),
        Which::OldFailed => {
            finish::removed(queue, &taken);
            Vec::new()
        }
        Which::Waiting => {
            let failed = |job: &Taken| verdicts.get(&job.id).copied().flatten();
            taken.iter().map(|job| after::verdict(job, failed(job))).collect()
        }
        _ => Vec::new(),
    };
    finish::put(queue, moves);
    if !taken.is_empty() {
        deferred.check();
    }
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
