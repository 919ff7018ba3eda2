//! Keys: what coalesces, and what happens once.
//!
//! `queue.keys` has, for each key that was ever to coalesce, an entry that names the newest job with it. It is
//! not the truth: the job is looked up each time, and an entry whose job has started or is gone is pointed at
//! the next one. `queue.done_keys` has the marks of keys that must not be done again for a while.
//!
//! A new job is inserted first, as any other, and then *settled*: its key's entry is made, or the job that the
//! entry names (its *twin*) is looked up. A twin that waits takes the new job in, which is removed again.
//!
//! # Locks
//!
//! - Making an entry, and pointing it elsewhere, wait for other enqueuers of the same key, as any unique index
//!   does. Statements and functions of ours that put many jobs settle them in the order of their keys, at their
//!   end (`gather`), so that two of them do not deadlock. A plain INSERT or COPY of keyed rows settles row by
//!   row, as they are inserted, and may deadlock with others, as with a unique index; so may several statements
//!   of a transaction.
//! - `skip` holds the twin FOR KEY SHARE until its transaction ends: many may, and none waits. The entry is only
//!   read. `replace`, `debounce` and `merge` take the twin, which waits for those who hold it.
//! - A claim is an uncommitted DELETE. Twins are locked with SKIP LOCKED, so nobody waits for a run: a twin that
//!   cannot be locked has started.
//! - The end of an attempt deletes entries that nobody has locked; others stay behind, see `ended`.
//!
//! # Why nothing is lost
//!
//! Work is lost if a job stands for it and starts before the work is visible. A twin that is held or taken
//! cannot be claimed until that transaction has ended, and a claim's processor takes its snapshots after the
//! claim. A twin that could not be held has started, perhaps too early: then the new job stays, and runs after.
//! A transaction with an older snapshot (REPEATABLE READ) must not run such jobs: `require_fresh_view`.
//!
//! # What a crash leaves
//!
//! Entries and jobs are written in one transaction. An entry without a job is stale, and pruned.

mod collect;
mod ended;
mod entry;
mod gather;
mod prune;
mod twin;
pub mod wanted;

use crate::error::Error;
use crate::pg::{Oid, spi, time, xact};
use crate::queue::Queue;
use crate::queue::limits::OnConflict;
use crate::wake;
pub use collect::{Collecting, collect};
pub use ended::{Running, ended, popped, require_fresh_view};
use entry::{Entry, Lock};
pub use gather::Gathering;
pub use prune::{forget_marks, next_prune, prune};

/// A job just inserted that has a key.
#[derive(Debug, Clone)]
pub struct Keyed {
    pub key: String,
    pub id: i64,
    /// Where it was put.
    pub state: &'static str,
    pub once: bool,
    /// `None`, and not `once`: the key is only stored.
    pub on_conflict: Option<OnConflict>,
}

impl Keyed {
    pub fn coalesces(&self) -> bool {
        self.once || self.on_conflict.is_some()
    }

    /// Does any job that waits stand for it?
    pub fn skips(&self) -> bool {
        self.mode() == OnConflict::Skip
    }

    fn mode(&self) -> OnConflict {
        self.on_conflict.unwrap_or(OnConflict::Skip)
    }
}

/// A job that went into another: its own id, and that of the job that stands for both.
pub type Merged = (i64, i64);

/// Settles jobs that this transaction has just inserted. The rest keep their places.
pub fn settle(queue: &Queue, mut rows: Vec<Keyed>) -> Result<Vec<Merged>, Error> {
    rows.retain(Keyed::coalesces);
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let Some(mut rows) = gather::gather(queue.oid, rows) else { return Ok(Vec::new()) };
    prune::made(queue.oid);
    // Of one key, in the order in which they came.
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    // What this transaction did before is to be seen.
    xact::next_command();
    spi::connect(|| {
        let fresh = if rows.len() > 1 { entry::make_all(queue.oid, &rows) } else { Vec::new() };
        let mut merged = Vec::new();
        for row in rows.iter().filter(|row| fresh.binary_search(&row.id).is_err()) {
            if let Some(former) = settle_one(queue, row)? {
                merged.push((row.id, former));
            }
        }
        Ok(merged)
    })
}

/// The id of a job that stands for one with this key, so that the new one need not be inserted at all. `None`
/// says nothing: it must be settled.
pub fn stand_in(queue: &Queue, key: &str, once: bool, on_conflict: Option<OnConflict>) -> Option<i64> {
    if on_conflict.unwrap_or(OnConflict::Skip) != OnConflict::Skip {
        return None;
    }
    spi::connect(|| {
        let entry = entry::read(queue.oid, key, Lock::No)?;
        let stands = if entry.once {
            is_refused(queue, key, &entry)
        } else {
            !once && !is_wanted(queue, entry.id) && twin::hold(queue, entry.id)
        };
        stands.then_some(entry.id)
    })
}

/// What becomes of a new job.
enum Verdict {
    /// It stays: nothing waits that could stand for it.
    Stays,
    /// This one stands for it.
    Goes(i64),
    /// The entry must be locked first.
    LockFirst,
    /// The entry has changed.
    Again,
}

fn settle_one(queue: &Queue, row: &Keyed) -> Result<Option<i64>, Error> {
    let mut lock = Lock::No;
    loop {
        // Waits for whoever is just making or removing this entry.
        if entry::make(queue.oid, row) {
            return Ok(None);
        }
        let Some(entry) = entry::read(queue.oid, &row.key, lock) else { continue };
        match judge(queue, row, &entry, lock == Lock::Yes)? {
            Verdict::Stays => return Ok(None),
            Verdict::Goes(former) => return Ok(Some(former)),
            Verdict::LockFirst => lock = Lock::Yes,
            Verdict::Again => {}
        }
    }
}

fn judge(queue: &Queue, row: &Keyed, entry: &Entry, locked: bool) -> Result<Verdict, Error> {
    if entry.id == row.id {
        return Ok(Verdict::Stays);
    }
    let mode = row.mode();
    let is_first_once = row.once && !entry.once;
    let takes_twin = match mode {
        OnConflict::Replace | OnConflict::Debounce | OnConflict::Merge => true,
        // The twin is to be remembered from now on, too.
        OnConflict::Skip => is_first_once,
        OnConflict::Error => false,
    };
    if takes_twin {
        if !locked {
            return Ok(Verdict::LockFirst);
        }
        if twin::combine(queue, row, entry.id, mode)? {
            if is_first_once {
                entry::point(queue.oid, row, entry.id);
            }
            return Ok(Verdict::Goes(entry.id));
        }
    } else if !entry.once {
        if !locked && mode == OnConflict::Skip && is_wanted(queue, entry.id) {
            // A claim could not have it for those who hold it: let it go, and begin a new one.
            match entry::read(queue.oid, &row.key, Lock::IfFree) {
                Some(now) if now.id == entry.id => {
                    entry::point(queue.oid, row, row.id);
                    return Ok(Verdict::Stays);
                }
                Some(_) => return Ok(Verdict::Again),
                // Somebody is just doing so, and will let it go.
                None => {}
            }
        }
        if twin::hold(queue, entry.id) {
            return stands_for(queue, row, entry.id);
        }
    }
    if entry.once && is_refused(queue, &row.key, entry) {
        return stands_for(queue, row, entry.id);
    }
    if !locked {
        return Ok(Verdict::LockFirst);
    }
    entry::point(queue.oid, row, row.id);
    Ok(Verdict::Stays)
}

fn literal(text: &str) -> String {
    pgrx::spi::quote_literal(text)
}

/// The new job is not needed, or not wanted.
fn stands_for(queue: &Queue, row: &Keyed, former: i64) -> Result<Verdict, Error> {
    if row.mode() == OnConflict::Error {
        if let Some((id, until)) = entry::marked_until(queue.oid, &row.key) {
            let call = format!("queue.forget_key({}, {})", literal(&queue.table), literal(&row.key));
            let (queue, key) = (queue.name.clone(), row.key.clone());
            return Err(Error::KeyDone { queue, key, id, until, call });
        }
        return Err(Error::KeyTaken { queue: queue.name.clone(), key: row.key.clone(), id: former });
    }
    twin::remove(queue, row);
    Ok(Verdict::Goes(former))
}

/// Is the key, of a job with `once`, refused? In this order: when the job is gone, its mark is there.
fn is_refused(queue: &Queue, key: &str, entry: &Entry) -> bool {
    ended::is_running_here(queue.oid, entry.id)
        || twin::exists(queue, entry.id)
        || entry::marked_until(queue.oid, key).is_some()
}

/// Does a claim wait for this job to be let go?
fn is_wanted(queue: &Queue, id: i64) -> bool {
    wake::slot_of(queue.oid).is_some_and(|slot| slot.wanted.has(id, time::now))
}

/// A claim, or whoever was to move them, could not have these jobs because enqueuers hold them.
pub fn want(queue: Oid, ids: impl IntoIterator<Item = i64>) {
    let mut ids = ids.into_iter().peekable();
    if ids.peek().is_some()
        && let Some(slot) = wake::slot_of(queue)
    {
        let now = time::now();
        ids.for_each(|id| slot.wanted.note(id, now));
    }
}

fn note_hold(queue: Oid) {
    if let Some(slot) = wake::slot_of(queue) {
        slot.wanted.hold(time::now());
    }
}

/// Was any job of the queue held lately, as far as is known? It may be held still.
pub fn any_held(queue: Oid) -> bool {
    wake::slot_of(queue).is_some_and(|slot| slot.wanted.any_held(time::now))
}

/// What a job's id is now, if it went into another.
pub fn now_called(merged: &[Merged], id: i64) -> i64 {
    // One may have gone into another that went on; never in circles, since each goes into an older one.
    let next = merged.iter().find(|(own, _)| *own == id);
    next.map_or(id, |(_, former)| now_called(merged, *former))
}

/// An oid as the statements on our own tables take it.
fn queue_arg(queue: Oid) -> spi::Arg {
    spi::arg(queue)
}
