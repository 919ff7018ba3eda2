//! The end of an attempt: what it sets off besides the job's own move.

use crate::after;
use crate::claim::{self, Move, Taken};
use crate::group;
use crate::keys;
use crate::limit;
use crate::pg::row;
use crate::queue::Queue;
use crate::queue::layout::Col;

/// Puts jobs where their attempts have brought them: `done`, `failed`, `scheduled` for a retry, or back.
/// What is done goes away unless it is to be kept. Must be called inside `spi::connect`.
pub fn put(queue: &Queue, moves: Vec<Move>) {
    put_all(queue, moves, false);
}

/// The same for jobs that this transaction has itself claimed, to run them.
pub fn put_own(queue: &Queue, moves: Vec<Move>) {
    put_all(queue, moves, true);
}

fn put_all(queue: &Queue, moves: Vec<Move>, own: bool) {
    let ended = moves.iter().filter(|m| matches!(m.state, "done" | "failed"));
    after::notes::ended(queue.oid, ended.map(|m| m.job.id));
    keys::ended(queue, &moves);
    let (kept, gone): (Vec<Move>, Vec<Move>) =
        moves.into_iter().partition(|m| m.state != "done" || is_kept(queue, m.job));
    claim::put(queue, &kept);
    let ended =
        kept.iter().map(|m| (m.job, group::holds(queue, m))).chain(gone.iter().map(|m| (m.job, false)));
    if !own || !group::released::all_settled() {
        group::ended(queue, ended);
    }
    limit::ended(queue, kept.iter().chain(&gone).map(|m| m.job), own);
}

/// Jobs that this transaction has taken off the queue for good without their having been done: expired error
/// rows, and what was moved to another queue.
pub fn removed(queue: &Queue, taken: &[Taken]) {
    after::notes::ended(queue.oid, taken.iter().map(|job| job.id));
    group::gone(queue, taken);
}

/// Jobs that a client has taken for good: done, as soon as it commits.
pub fn popped(queue: &Queue, taken: &[Taken]) {
    after::notes::ended(queue.oid, taken.iter().map(|job| job.id));
    if !group::released::all_settled() {
        group::gone(queue, taken);
    }
    limit::ended(queue, taken.iter(), true);
}

/// A job that was done well.
pub fn done(job: &Taken, result: Option<String>) -> Move<'_> {
    Move { run_at: None, result, ..Move::to("done", job) }
}

/// Is the job, and its result, kept once it is done?
pub fn is_kept(queue: &Queue, job: &Taken) -> bool {
    queue.options.keep_done.is_some()
        || queue.layout.as_ref().is_some_and(|l| row::is_true(job.row, l.number(Col::KeepResult)))
}

/// Has the job a key, a group, jobs that it waited for, or somebody who waits for its result?
pub fn is_special(queue: &Queue, job: &Taken) -> bool {
    queue.layout.as_ref().is_none_or(|layout| row::any_filled(job.row, &layout.special()))
}
