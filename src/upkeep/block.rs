//! Upkeep in a transaction block of a client's: what it moves is out of everybody else's sight until the client
//! commits, however long that takes. So it is left to a worker, where one can do it.

use crate::pg::time::{self, Micros};
use crate::pg::{Oid, shmem, xact};
use crate::queue::Queue;
use crate::wake;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;

/// What has been due for so long no worker does, for whatever reason.
const PATIENCE: Micros = 2_000_000;
/// A session that finds a queue empty has it looked at so often at most.
const ASKED_EVERY: Micros = 1_000_000;

thread_local! {
    static ASKED: RefCell<HashMap<Oid, Micros>> = RefCell::default();
}

/// Is upkeep of the queue not for this transaction to do?
pub fn is_left_to_worker(queue: &Queue) -> bool {
    if !xact::is_in_block() {
        return false;
    }
    let Some((shared, slot)) = shmem::get().zip(wake::slot_of(queue.oid)) else { return false };
    let now = time::now();
    let due = slot.next_due.load(SeqCst);
    let nobody_came = due != 0 && due < now - PATIENCE;
    // What this transaction itself has put there nobody else sees.
    !nobody_came && wake::own_due(queue.oid) > now && shared.can_keep_up(slot)
}

/// Has a worker look after the queue, if something is due, or if a claim found none.
pub fn ask(queue: &Queue, has_none: bool) {
    let Some((shared, slot)) = shmem::get().zip(wake::slot_of(queue.oid)) else { return };
    let now = time::now();
    if slot.next_due.load(SeqCst) > now {
        if !has_none {
            return;
        }
        // A row changed by hand announces nothing.
        let asked = ASKED.with_borrow_mut(|asked| {
            let last = asked.entry(queue.oid).or_insert(0);
            (now - *last >= ASKED_EVERY).then(|| *last = now)
        });
        if asked.is_none() {
            return;
        }
        slot.due_at(0);
    }
    shared.wake_scheduler(slot.database.load(SeqCst));
}
