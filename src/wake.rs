//! What the end of a transaction tells the others: which keys the floor must be lowered to, and whom to
//! wake.
//!
//! A transaction notes the queues it touched while it runs, where lookups are allowed. Its commit and
//! abort callbacks then only touch atomics and latches: they neither allocate, look up nor raise.
//! No NOTIFY, whose global lock would queue up all enqueueing commits.

mod ending;

use crate::claim::floor::{self, Keys};
use crate::pg::time::Micros;
use crate::pg::{Oid, cache, catalog, shmem, xact};
use crate::worker::shared::{NEVER, QueueSlot};
use std::cell::RefCell;
use std::collections::HashMap;

/// Queues that one transaction can note; beyond that all queues of the database are announced.
const MOST_NOTED: usize = 32;

#[derive(Clone, Copy)]
struct Note {
    place: usize,
    queue: Oid,
    /// Claimable once this transaction commits, and from which keys on.
    enqueued: bool,
    on_commit: Keys,
    /// Claimable again if this transaction aborts, and from which keys on.
    taken: bool,
    on_abort: Keys,
    /// Of those, what may be back if a subtransaction aborts: taken within one since we were last outside.
    within: Keys,
    /// From where on something is being taken just now.
    taking: Keys,
    /// The outermost subtransaction in which something is.
    taking_since: i32,
    /// The innermost subtransaction in which something was taken.
    level: i32,
    due: Micros,
    /// When its keys are to be pruned.
    prune: Micros,
    /// It moved jobs among the blocked ones.
    sorted: bool,
    /// It ended something that groups of blocked jobs may wait for.
    sweep: bool,
    /// It has told that it is about to lower the floor.
    is_telling: bool,
}

const EMPTY: Note = Note {
    place: 0,
    queue: Oid::INVALID,
    enqueued: false,
    on_commit: floor::NONE,
    taken: false,
    on_abort: floor::NONE,
    within: floor::NONE,
    taking: floor::NONE,
    taking_since: 0,
    level: 0,
    due: NEVER,
    prune: NEVER,
    sorted: false,
    sweep: false,
    is_telling: false,
};

struct Notes {
    list: [Note; MOST_NOTED],
    count: usize,
    overflow: bool,
    is_telling_all: bool,
    /// Which queues or processors there are, or the extension itself.
    changed: bool,
    /// What sessions keep of a queue.
    redefined: bool,
    /// A commit is to be told now that it can be known.
    late: Option<Late>,
}

/// What is told at the very end of a transaction.
struct Late {
    /// So many notes were made.
    count: usize,
    /// And more than there is place for.
    all: bool,
    changed: bool,
}

thread_local! {
    static NOTES: RefCell<Notes> = const {
        RefCell::new(Notes {
            list: [EMPTY; MOST_NOTED], count: 0, overflow: false, is_telling_all: false, changed: false,
            redefined: false, late: None,
        })
    };
    static PLACES: RefCell<HashMap<Oid, usize>> = RefCell::new(HashMap::new());
}

/// This transaction put jobs with these keys on the queue, which can be claimed once it commits.
pub fn enqueued(queue: Oid, keys: &Keys) {
    note(queue, |note| {
        note.enqueued = true;
        floor::include_all(&mut note.on_commit, keys);
    });
}

/// This transaction takes jobs off the queue, which are back if it aborts: ready ones with these keys,
/// none if it takes them out of other states.
pub fn taken(queue: Oid, keys: &Keys) {
    let before = about_to_take(queue, keys);
    took(queue, keys, &before);
}

/// A statement is about to take jobs, ready ones from these keys on. An error before `took` leaves the
/// whole range noted. Returns what `took` is to be given.
pub fn about_to_take(queue: Oid, from: &Keys) -> Keys {
    let mut before = floor::NONE;
    note(queue, |note| {
        let level = xact::nest_level();
        before = note.taking;
        if before == floor::NONE {
            note.taking_since = level;
        }
        note.taken = true;
        note.level = note.level.max(level);
        floor::include_all(&mut note.taking, from);
    });
    before
}

/// It has taken ready jobs with these keys.
pub fn took(queue: Oid, keys: &Keys, before: &Keys) {
    note(queue, |note| {
        note.taking = *before;
        floor::include_all(&mut note.on_abort, keys);
        floor::include_all(&mut note.within, keys);
    });
}

impl Note {
    /// All that is back if the transaction aborts.
    fn back(&self) -> Keys {
        let mut keys = self.on_abort;
        floor::include_all(&mut keys, &self.taking);
        keys
    }
}

/// The keys of this transaction's own rows, for which nobody has lowered the floor yet.
pub fn own_rows(queue: Oid) -> Keys {
    let Some(place) = place_of(queue) else { return floor::NONE };
    NOTES.with_borrow(|notes| {
        let mine = notes.list[..notes.count].iter().find(|note| note.place == place);
        match mine {
            _ if notes.overflow => floor::ALL,
            Some(note) => note.on_commit,
            None => floor::NONE,
        }
    })
}

/// This transaction put something on the queue that upkeep must look at then.
pub fn due(queue: Oid, at: Micros) {
    note(queue, |note| note.due = note.due.min(at));
}

/// This transaction leaves something of the queue's keys that is to be pruned then.
pub fn prune(queue: Oid, at: Micros) {
    note(queue, |note| {
        note.prune = note.prune.min(at);
    });
}

/// When upkeep must look at what this transaction put on the queue, which nobody else sees yet.
pub fn own_due(queue: Oid) -> Micros {
    let Some(place) = place_of(queue) else { return NEVER };
    NOTES.with_borrow(|notes| {
        let mine = notes.list[..notes.count].iter().find(|note| note.place == place);
        if notes.overflow { 0 } else { mine.map_or(NEVER, |note| note.due) }
    })
}

/// This transaction moved jobs that could not run among the blocked ones.
pub fn sorted(queue: Oid) {
    note(queue, |note| note.sorted = true);
}

/// This transaction did something that groups with blocked jobs may wait for.
pub fn sweep(queue: Oid) {
    note(queue, |note| note.sweep = true);
}

/// This transaction changed which queues or processors there are, or the extension itself.
pub fn configuration_changed() {
    ending::tell_late();
    NOTES.with_borrow_mut(|notes| notes.changed = true);
}

/// This transaction changed what sessions keep of the queue.
pub fn redefined(queue: Oid) {
    cache::announce(queue);
    ending::tell_late();
    NOTES.with_borrow_mut(|notes| notes.redefined = true);
}

pub fn register() {
    use ending::{aborted, before_commit, committed, prepared, subtransaction_aborted};
    xact::on_end(xact::EndActions { before_commit, committed, aborted, prepared, subtransaction_aborted });
}

/// The queue's place in shared memory, if it has one.
pub fn place_of(queue: Oid) -> Option<usize> {
    let shared = shmem::get()?;
    let database = catalog::my_database().to_u32();
    let is_it = |place: &usize| shared.queues[*place].is(database, queue.to_u32());
    PLACES.with_borrow_mut(|places| {
        if let Some(place) = places.get(&queue).copied().filter(is_it) {
            return Some(place);
        }
        let place = shared.take_queue(database, queue.to_u32())?;
        places.insert(queue, place);
        Some(place)
    })
}

/// What is known of the queue in shared memory.
pub fn slot_of(queue: Oid) -> Option<&'static QueueSlot> {
    Some(&shmem::get()?.queues[place_of(queue)?])
}

fn note(queue: Oid, change: impl FnOnce(&mut Note)) {
    if shmem::get().is_none() {
        return;
    }
    register();
    let place = place_of(queue);
    NOTES.with_borrow_mut(|notes| {
        let count = notes.count;
        let known = place.and_then(|place| notes.list[..count].iter().position(|note| note.place == place));
        let index = match (known, place) {
            (Some(index), _) => index,
            (None, Some(place)) if count < MOST_NOTED => {
                notes.list[count] = Note { place, queue, ..EMPTY };
                notes.count += 1;
                count
            }
            _ => {
                notes.overflow = true;
                return;
            }
        };
        let note = &mut notes.list[index];
        change(note);
        if xact::nest_level() == 1 {
            note.within = floor::NONE;
        }
    });
}
