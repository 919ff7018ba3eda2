//! A claim without SQL: from the floor on, in the order of the index, deleting directly.

use super::floor::{self, Floors, Keys, Reading};
use super::safety;
use super::{Next, Taken};
use crate::group::gate::{Keeper, Scanning};
use crate::keys;
use crate::pg::leased;
use crate::pg::ready::{self, Ready, Scan};
use crate::pg::{catalog, shmem, xact};
use crate::queue::{self, Queue};
use crate::wake;
use crate::worker::shared::QueueSlot;
use std::cell::{Cell, OnceCell, RefCell};
use std::sync::atomic::Ordering::SeqCst;

/// Steps of the safety scan that a claim which found nothing does.
const IDLE_STEPS: usize = 10;

/// The queue as a direct claim needs it; `None`: the claim must go through SQL.
pub struct Direct {
    pub ready: Ready,
    pub slot: &'static QueueSlot,
}

/// Opens the queue for direct claims, if all that the executor would do for the caller comes to the same.
pub fn open(queue: &Queue) -> Option<Direct> {
    open_for(queue, ready::Purpose::Taking)
}

/// The same for a look only, which is allowed to who may read, and waits for nobody who changes the table.
pub fn open_to_look(queue: &Queue) -> Option<Direct> {
    open_for(queue, ready::Purpose::Looking)
}

fn open_for(queue: &Queue, purpose: ready::Purpose) -> Option<Direct> {
    let place = queue.layout.as_ref()?.ready();
    // Needs a snapshot taken after the floor was read; and policies may hide rows from the caller.
    if xact::sees_only_the_past() || catalog::row_security_applies(queue.oid) {
        return None;
    }
    let slot = wake::slot_of(queue.oid)?;
    if purpose == ready::Purpose::Taking {
        xact::require_writable(c"DELETE");
    }
    let ready = Ready::open(place, purpose, || queue::is_current(queue))?;
    if !ready.allows_direct_deletion() {
        return None;
    }
    // Floors of another table tell nothing of this one.
    let (known, now) = (slot.ready_table.load(SeqCst), place.table.to_u32());
    if known != now {
        slot.ready_table.store(now, SeqCst);
        if known != 0 {
            slot.floors.reset();
        }
    }
    Some(Direct { ready, slot })
}

/// How the caller's claims of ready jobs go, in words for an admin.
pub fn path(queue: &Queue) -> &'static str {
    let Some(layout) = &queue.layout else {
        return "SQL: the table is not stored as it was made";
    };
    if shmem::get().is_none() {
        "SQL: queue_ext is not in shared_preload_libraries"
    } else if catalog::row_security_applies(queue.oid) {
        "SQL: row security applies to you"
    } else if !ready::would_allow_direct_deletion(&layout.ready()) {
        "SQL: deletes fire triggers or rules"
    } else {
        "direct"
    }
}

/// Takes up to `limit` rows, most urgent first.
pub fn take(queue: &Queue, direct: &Direct, limit: usize, one_each: bool) -> Next {
    let Next { mut taken, more } = scan(queue, direct, limit, one_each);
    let idle = taken.len() < limit && !more;
    // What this transaction has made of the table is nothing to learn from.
    let look = !direct.ready.is_of_this_transaction() && safety::is_due(direct.slot);
    if look && safety::step(direct, if idle { IDLE_STEPS } else { 1 }) && idle {
        // It found some that the floor hid, and lowered it.
        let others = scan(queue, direct, limit - taken.len(), one_each);
        taken.extend(others.taken);
        return Next { taken, more: others.more };
    }
    Next { taken, more }
}

/// Ends leases by id and attempt; `None`: it must be done in SQL.
pub fn end_leases(queue: &Queue, leases: &[(i64, i32)], with_rows: bool) -> Option<leased::Ended> {
    let place = queue.layout.as_ref()?.leased();
    if xact::sees_only_the_past() || catalog::row_security_applies(queue.oid) {
        return None;
    }
    xact::require_writable(c"DELETE");
    // Before anything is taken: a rollback brings leases back, which upkeep must look at.
    wake::taken(queue.oid, &floor::NONE);
    leased::end(&place, leases, with_rows, || queue::is_current(queue))
}

fn scan(queue: &Queue, direct: &Direct, limit: usize, one_each: bool) -> Next {
    let tables = OnceCell::new();
    let scanning = FromFloors { direct, from: Cell::new(floor::ALL) };
    // Asks, before the floor is read, whether it shows all.
    let mut keeper = Keeper::new(queue, &tables, one_each, Some(&scanning));
    let taken = noting(queue, direct, |from| {
        scanning.from.set(*from);
        direct.ready.take(from, limit, &mut keeper)
    });
    let more = keeper.is_crowded();
    keeper.close();
    Next { taken, more }
}

struct FromFloors<'a> {
    direct: &'a Direct,
    /// Where the scan started.
    from: Cell<Keys>,
}

impl Scanning for FromFloors<'_> {
    fn shows_all(&self) -> bool {
        self.direct.slot.telling.is_quiet()
            && shmem::get().is_some_and(|shared| shared.telling_all.is_quiet())
            && (!xact::may_be_prepared() || self.direct.slot.prepared.is_none())
    }

    fn was_lowered(&self) -> bool {
        let from = self.from.get();
        (0..floor::PRIORITIES).any(|p| self.direct.slot.floors.of(p) < from[p])
    }

    fn has_less_urgent(&self, priority: usize) -> bool {
        self.direct.ready.has_less_urgent(priority, &self.from.get())
    }
}

/// Takes ready jobs of groups whose jobs cannot be taken.
pub fn take_closed(
    queue: &Queue,
    direct: &Direct,
    most: usize,
    most_looked_at: usize,
    is_closed: &mut dyn FnMut(&[u8]) -> bool,
) -> Vec<Taken> {
    noting(queue, direct, |from| direct.ready.take_closed(from, most, most_looked_at, is_closed))
}

/// Takes rows from the floor on, and notes what that means for the floor.
fn noting(queue: &Queue, direct: &Direct, take: impl FnOnce(&Keys) -> Scan) -> Vec<Taken> {
    let held = Held::begin(&direct.slot.floors);
    // Our own uncommitted rows are below nobody's floor but ours.
    let mut from = held.reading.floor;
    floor::include_all(&mut from, &wake::own_rows(queue.oid));
    let before = wake::about_to_take(queue.oid, &from);
    let scan = take(&from);
    let mut keys = floor::NONE;
    for row in &scan.rows {
        floor::include(&mut keys, row.priority, row.id);
    }
    wake::took(queue.oid, &keys, &before);
    // If a rollback brings back other contents of the table, nothing is known of them.
    let reached = if direct.ready.is_of_this_transaction() { floor::ALL } else { scan.reached };
    held.finish(&reached, &floor::ALL);
    keys::want(queue.oid, scan.held.iter().copied());
    scan.rows.into_iter().map(Taken::from).collect()
}

/// A scan that is under way.
struct UnderWay {
    floors: &'static Floors,
    reading: Reading,
    /// The subtransaction that it began in.
    level: i32,
}

thread_local! {
    /// The innermost last: a trigger of a user's on the blocked jobs may claim within a claim.
    static UNDER_WAY: RefCell<Vec<UnderWay>> = const { RefCell::new(Vec::new()) };
}

/// A reading that is given up by the end of the transaction if an error keeps it from its own end.
pub struct Held {
    pub reading: Reading,
    /// Scans that were under way before.
    outer: usize,
}

impl Held {
    /// To be called before the snapshot is taken.
    pub fn begin(floors: &'static Floors) -> Held {
        // Also in a session that has nothing else to tell: it may be ended in the middle of its scan.
        wake::register();
        let level = xact::nest_level();
        UNDER_WAY.with_borrow_mut(|list| {
            // Nothing may fail between the mark and its entry.
            list.reserve(1);
            let reading = floors.begin();
            list.push(UnderWay { floors, reading, level });
            Held { reading, outer: list.len() - 1 }
        })
    }

    pub fn finish(self, reached: &Keys, dead: &Keys) {
        UNDER_WAY.with_borrow_mut(|list| {
            give_up(list, |_, place| place > self.outer);
            if list.len() > self.outer
                && let Some(scan) = list.pop()
            {
                scan.floors.finish(&scan.reading, reached, dead);
            }
        });
    }
}

/// A transaction or subtransaction was rolled back: the scans that began in it are under way no more. One that
/// began outside goes on: the trigger of a user's that it has called has caught an error.
pub fn abandon(level: i32) {
    let _ = UNDER_WAY.try_with(|list| {
        let Ok(mut list) = list.try_borrow_mut() else { return };
        give_up(&mut list, |scan, _| scan.level >= level);
    });
}

/// Gives up the innermost scans, as long as they are to be. Frees nothing.
fn give_up(list: &mut Vec<UnderWay>, is_over: impl Fn(&UnderWay, usize) -> bool) {
    while let Some(scan) = list.last()
        && is_over(scan, list.len() - 1)
    {
        scan.floors.abandon(&scan.reading);
        list.pop();
    }
}
