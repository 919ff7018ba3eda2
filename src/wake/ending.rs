//! What is done when a transaction ends: called back by Postgres where nothing may allocate, look up or raise.

use super::{Late, NOTES, Note};
use crate::after::notes;
use crate::claim::floor::{self, Keys};
use crate::claim::native;
use crate::group::released;
use crate::limit;
use crate::pg::{catalog, shmem, xact};
use crate::worker::shared::Shared;
use std::sync::Once;
use std::sync::atomic::Ordering::SeqCst;

/// From now on until it is done, claimers know that what can be seen may be below the floor.
pub fn before_commit() {
    let Some(shared) = shmem::get() else { return };
    let _ = NOTES.try_with(|notes| {
        let Ok(mut notes) = notes.try_borrow_mut() else { return };
        let count = notes.count;
        for note in notes.list[..count].iter_mut().filter(|note| note.on_commit != floor::NONE) {
            if !std::mem::replace(&mut note.is_telling, true) {
                shared.queues[note.place].telling.begin();
            }
        }
        if notes.overflow && !std::mem::replace(&mut notes.is_telling_all, true) {
            shared.telling_all.begin();
        }
    });
}

pub fn committed() {
    limit::grant::ended(true);
    notes::committed();
    finish(|note| (note.enqueued, note.on_commit), true);
}

pub fn aborted() {
    limit::grant::ended(false);
    native::abandon(0);
    notes::aborted();
    finish(|note| (note.taken, note.back()), false);
}

/// What a prepared transaction will do one day, nobody will tell: the safety scan finds it. It starts
/// where all is dead for good, which must not be past these rows.
pub fn prepared() {
    let both = |note: &Note| {
        let mut keys = note.on_commit;
        floor::include_all(&mut keys, &note.back());
        (note.enqueued || note.taken, keys)
    };
    notes::prepared();
    mark_prepared();
    finish(both, false);
}

/// The poll looks what is due on these queues, as long as there are prepared transactions.
fn mark_prepared() {
    let Some(shared) = shmem::get() else { return };
    let _ = NOTES.try_with(|notes| {
        let Ok(notes) = notes.try_borrow() else { return };
        for note in &notes.list[..notes.count] {
            shared.queues[note.place].prepared.begin();
        }
        if notes.overflow || notes.changed {
            let all = shared.queues_of(catalog::my_database().to_u32());
            all.for_each(|(_, queue)| queue.prepared.begin());
        }
    });
}

/// A claim inside the aborted part is undone at once. Waking too often is harmless.
pub fn subtransaction_aborted() {
    let level = xact::nest_level();
    native::abandon(level);
    released::rolled_back();
    notes::subtransaction_aborted();
    let Some(shared) = shmem::get() else { return };
    let _ = NOTES.try_with(|notes| {
        let Ok(mut notes) = notes.try_borrow_mut() else { return };
        let count = notes.count;
        for note in &mut notes.list[..count] {
            if note.taken && note.level >= level {
                let mut keys = note.within;
                floor::include_all(&mut keys, &note.taking);
                shared.queues[note.place].floors.lower(&keys);
                // A take that began outside goes on.
                if note.taking_since >= level {
                    note.taking = floor::NONE;
                }
                note.enqueued = true;
                note.due = 0;
            }
        }
        if notes.overflow {
            lower_all(shared);
        }
    });
}

fn finish(claimable: impl Fn(&Note) -> (bool, Keys), committed: bool) {
    let Some(shared) = shmem::get() else { return };
    let _ = NOTES.try_with(|notes| {
        let Ok(mut notes) = notes.try_borrow_mut() else { return };
        let count = std::mem::take(&mut notes.count);
        let database = catalog::my_database().to_u32();
        let mut all = std::mem::take(&mut notes.overflow);
        for note in &notes.list[..count] {
            if shared.queues[note.place].is(database, note.queue.to_u32()) {
                tell(shared, note, claimable(note), committed);
            } else {
                // Its place was given away meanwhile: whoever thought that the queue was gone was wrong.
                all = true;
            }
        }
        if all {
            lower_all(shared);
        }
        let (changed, redefined) = (std::mem::take(&mut notes.changed), std::mem::take(&mut notes.redefined));
        if committed && (changed || redefined) {
            notes.late = Some(Late { count, all, changed });
        }
        for note in notes.list[..count].iter().filter(|note| note.is_telling) {
            shared.queues[note.place].telling.end();
        }
        if std::mem::take(&mut notes.is_telling_all) {
            shared.telling_all.end();
        }
    });
}

/// This transaction changes what other sessions keep in their caches. They are sent that it is stale when its
/// commit can be seen already and `committed` has been called. Whoever is woken by that and goes by what he kept
/// finds a queue paused, say, or nothing due, and would not look again: so all is told once more.
pub fn tell_late() {
    static REGISTERED: Once = Once::new();
    super::register();
    xact::on_release(&REGISTERED, released);
}

/// Other sessions have been sent what became stale, and the locks are gone.
fn released() {
    let Some(shared) = shmem::get() else { return };
    let _ = NOTES.try_with(|notes| {
        let Ok(mut notes) = notes.try_borrow_mut() else { return };
        let Some(late) = notes.late.take() else { return };
        let database = catalog::my_database().to_u32();
        for note in &notes.list[..late.count] {
            if shared.queues[note.place].is(database, note.queue.to_u32()) {
                tell(shared, note, (note.enqueued, floor::NONE), true);
            }
        }
        if late.all {
            lower_all(shared);
        }
        if late.changed {
            shared.announce_change(database);
        }
    });
}

/// Nothing is known of any queue of the database.
fn lower_all(shared: &Shared) {
    for (place, queue) in shared.queues_of(catalog::my_database().to_u32()) {
        queue.floors.lower(&floor::ALL);
        queue.due_at(0);
        queue.next_prune.store(0, SeqCst);
        queue.sorted.fetch_add(1, SeqCst);
        queue.sweep_soon();
        shared.announce(place);
        shared.ends.wake(place);
    }
}

fn tell(shared: &Shared, note: &Note, (is_claimable, keys): (bool, Keys), committed: bool) {
    let queue = &shared.queues[note.place];
    if committed && note.prune < queue.next_prune.load(SeqCst) {
        queue.next_prune.fetch_min(note.prune, SeqCst);
    }
    let due = note.due.min(note.prune);
    if committed && due < queue.next_due.load(SeqCst) {
        queue.due_at(due);
        shared.wake_scheduler(queue.database.load(SeqCst));
    }
    if committed && note.sorted {
        queue.sorted.fetch_add(1, SeqCst);
    }
    if committed && (note.sorted || note.sweep) {
        queue.sweep_soon();
        shared.wake_scheduler(queue.database.load(SeqCst));
    }
    if !committed && note.taken {
        // What was taken may have been due rows, which are back.
        queue.due_at(0);
    }
    // Before the announcement: whoever it wakes reads the floor.
    queue.floors.lower(&keys);
    if is_claimable {
        shared.announce(note.place);
    }
    if committed && note.taken {
        shared.ends.wake(note.place);
    }
}
