//! What the end of a transaction tells the workers.
//!
//! A transaction notes the queues it touched while it runs, where lookups are allowed. Its commit and
//! abort callbacks then only touch atomics and latches: they neither allocate, look up nor raise.
//! No NOTIFY, whose global lock would queue up all enqueueing commits.

use crate::pg::time::Micros;
use crate::pg::{Oid, catalog, shmem, xact};
use crate::worker::shared::NEVER;
use std::cell::Cell;

/// Queues that one transaction can note; beyond that all queues of the database are announced.
const MOST_NOTED: usize = 32;

#[derive(Clone, Copy)]
struct Note {
    place: usize,
    /// Claimable once this transaction commits.
    on_commit: bool,
    /// Claimable again if this transaction aborts.
    on_abort: bool,
    due: Micros,
}

struct Notes {
    list: Cell<[Note; MOST_NOTED]>,
    count: Cell<usize>,
    overflow: Cell<bool>,
    changed: Cell<bool>,
}

const EMPTY: Note = Note { place: 0, on_commit: false, on_abort: false, due: NEVER };

thread_local! {
    static NOTES: Notes = const {
        Notes {
            list: Cell::new([EMPTY; MOST_NOTED]),
            count: Cell::new(0),
            overflow: Cell::new(false),
            changed: Cell::new(false),
        }
    };
}

/// This transaction put jobs on the queue that can be claimed once it commits.
pub fn enqueued(queue: Oid) {
    note(queue, |note| note.on_commit = true);
}

/// This transaction took jobs off the queue, which are back if it aborts.
pub fn taken(queue: Oid) {
    note(queue, |note| note.on_abort = true);
}

/// This transaction put something on the queue that upkeep must look at then.
pub fn due(queue: Oid, at: Micros) {
    note(queue, |note| note.due = note.due.min(at));
}

/// This transaction changed which queues or processors there are, or the extension itself.
pub fn configuration_changed() {
    register();
    NOTES.with(|notes| notes.changed.set(true));
}

fn register() {
    xact::on_end(xact::EndActions { committed, aborted, subtransaction_aborted });
}

fn note(queue: Oid, change: impl FnOnce(&mut Note)) {
    let Some(shared) = shmem::get() else { return };
    register();
    let (database, queue) = (catalog::my_database().to_u32(), queue.to_u32());
    NOTES.with(|notes| {
        let mut list = notes.list.get();
        let count = notes.count.get();
        let known = list[..count].iter().position(|note| shared.queues[note.place].is(database, queue));
        let index = match known {
            Some(index) => index,
            None => match shared.take_queue(database, queue) {
                Some(place) if count < MOST_NOTED => {
                    list[count] = Note { place, ..EMPTY };
                    notes.count.set(count + 1);
                    count
                }
                _ => {
                    notes.overflow.set(true);
                    return;
                }
            },
        };
        change(&mut list[index]);
        notes.list.set(list);
    });
}

fn committed() {
    finish(|note| note.on_commit, true);
}

fn aborted() {
    finish(|note| note.on_abort, false);
}

/// A claim inside the aborted part is undone: its jobs are claimable as soon as this transaction ends,
/// either way. Waking too often is harmless.
fn subtransaction_aborted() {
    NOTES.with(|notes| {
        let count = notes.count.get();
        if count > 0 {
            let mut list = notes.list.get();
            for note in &mut list[..count] {
                if note.on_abort {
                    note.on_commit = true;
                    note.due = 0;
                }
            }
            notes.list.set(list);
        }
    });
}

fn finish(is_claimable: impl Fn(&Note) -> bool, committed: bool) {
    let Ok((count, overflow, changed)) = NOTES.try_with(|notes| {
        (notes.count.replace(0), notes.overflow.replace(false), notes.changed.replace(false))
    }) else {
        return;
    };
    if count == 0 && !overflow && !changed {
        return;
    }
    let Some(shared) = shmem::get() else { return };
    let database = catalog::my_database().to_u32();
    NOTES.with(|notes| {
        let list = notes.list.get();
        for note in &list[..count] {
            if committed && note.due != NEVER {
                let queue = &shared.queues[note.place];
                if note.due < queue.next_due.load(std::sync::atomic::Ordering::SeqCst) {
                    queue.due_at(note.due);
                    shared.wake_scheduler(database);
                }
            }
            if !committed && note.on_abort {
                // What was taken may have been due rows, which are back.
                shared.queues[note.place].due_at(0);
            }
            if is_claimable(note) {
                shared.announce(note.place);
            }
        }
    });
    if overflow {
        for (place, queue) in shared.queues_of(database) {
            queue.due_at(0);
            shared.announce(place);
        }
    }
    if changed && committed {
        shared.announce_change(database);
    }
}
