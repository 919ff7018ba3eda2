//! Grants: room that a worker, or `CALL queue.run`, has taken in one transaction for jobs that it runs in the
//! next. See `rate`.
//!
//! In between the jobs are ready. Another worker that met them would find no room for their keys and block
//! them: no harm, but they would come back late. So workers with jobs of limited keys do this in turn, as far
//! as there is shared memory to say so.

use super::window;
use super::{rate, starts};
use crate::pg::time::{self, Micros};
use crate::pg::{Oid, interrupt, latch};
use crate::queue::Queue;
use crate::wake;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

/// A turn ends by itself after so long; nobody waits for longer.
const LONGEST_TURN: Micros = 100_000;
const LOOK_AGAIN_MS: i64 = 1;

/// Room that this session has taken for jobs that it is about to run.
pub struct Grant {
    pub is_committed: bool,
    /// They must have started by then.
    pub until: Micros,
    pub stamp: Micros,
    pub left: i64,
    pub keys: HashMap<String, i64>,
    pub turn: Option<Turn>,
}

/// While it lives, other workers wait with their grants, though not for ever.
pub struct Turn {
    kept: &'static AtomicI64,
    until: Micros,
}

impl Turn {
    /// Waits for those before it. `None`: they take too long, or nobody knows of any.
    pub fn wait(queue: Oid) -> Option<Turn> {
        let kept = &wake::slot_of(queue)?.granting_until;
        let longest = time::now() + LONGEST_TURN;
        loop {
            let (now, before) = (time::now(), kept.load(SeqCst));
            let until = now + LONGEST_TURN;
            // One from before the clock was set back does not count either.
            let is_over = !(now..=until).contains(&before);
            if is_over && kept.compare_exchange(before, until, SeqCst, SeqCst).is_ok() {
                return Some(Turn { kept, until });
            }
            if now >= longest {
                return None;
            }
            latch::sleep(Some(LOOK_AGAIN_MS));
            interrupt::check();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let _ = self.kept.compare_exchange(self.until, 0, SeqCst, SeqCst);
    }
}

thread_local! {
    static GRANTS: RefCell<HashMap<Oid, Grant>> = RefCell::default();
    /// How many jobs of a queue this session runs at a time.
    static SIZES: RefCell<HashMap<Oid, i64>> = RefCell::default();
    /// When the jobs that this transaction has claimed must have started.
    static UNTIL: Cell<Option<Micros>> = const { Cell::new(None) };
}

/// The transaction has ended: what it granted can be used, or is void.
pub fn ended(committed: bool) {
    let _ = UNTIL.try_with(|until| until.set(None));
    let _ = GRANTS.try_with(|grants| {
        let Ok(mut grants) = grants.try_borrow_mut() else { return };
        grants.retain(|_, grant| {
            grant.is_committed |= committed;
            grant.is_committed
        });
    });
}

/// Keeps a grant that this transaction has written down, to be used after its commit.
pub fn keep(queue: Oid, grant: Grant) {
    wake::register();
    GRANTS.with_borrow_mut(|grants| grants.insert(queue, grant));
}

/// The grant for a queue, if it is still good; else what it holds is given back.
pub fn take(queue: &Queue, now: Micros) -> Option<Grant> {
    let grant = GRANTS.with_borrow_mut(|grants| grants.remove(&queue.oid))?;
    if now < grant.until && grant.until - now <= rate::any(queue)?.leeway() && grant.left > 0 {
        return Some(grant);
    }
    give_back(queue, &grant);
    None
}

/// What was granted and is not to start, counts no more.
pub fn give_back(queue: &Queue, grant: &Grant) {
    let mut back: Vec<(starts::Of, i64)> = grant
        .keys
        .iter()
        .filter(|(_, left)| **left > 0)
        .map(|(key, left)| (Some(key.as_str()), -left))
        .collect();
    // In one order, though nobody waits.
    back.sort_unstable();
    if queue.options.rate_limit.is_some() {
        back.push((None, -grant.left.max(0)));
    }
    starts::record(queue.oid, grant.stamp, &back);
}

/// How many jobs of a queue this session is to run at a time.
pub fn size(queue: Oid) -> i64 {
    SIZES.with_borrow(|sizes| sizes.get(&queue).copied().unwrap_or(1))
}

/// These jobs are to be run now.
pub fn begin(grant: &Grant) {
    UNTIL.set(Some(grant.until));
}

/// Has this session a grant for the queue?
pub fn is_granted(queue: Oid) -> bool {
    GRANTS.with_borrow(|grants| grants.contains_key(&queue))
}

/// When the jobs just claimed must have started, if their queue has a rate.
pub fn take_until() -> Option<Micros> {
    UNTIL.take()
}

/// A batch was run: so many began, and so many did not in time. No more than `most` ever begin in one.
pub fn ran(queue: &Queue, started: usize, left: usize, took: Micros, most: i64) {
    let Some(rate) = rate::any(queue) else { return };
    SIZES.with_borrow_mut(|sizes| {
        let size = sizes.entry(queue.oid).or_insert(1);
        *size = window::next_size(*size, started as i64, left as i64, took, rate.leeway()).min(most);
    });
}

/// The next job of the queue is to be run alone.
pub fn one_at_a_time(queue: Oid) {
    SIZES.with_borrow_mut(|sizes| sizes.remove(&queue));
}
