//! What a transaction tells of jobs that wait and of jobs that have ended, once it has committed. Noted while it
//! runs, where memory may be taken; its end then only touches atomics and latches.

use super::waits::MOST_IDS;
use crate::pg::time::Micros;
use crate::pg::{Oid, catalog, shmem, xact};
use crate::wake;
use crate::worker::shared::QueueSlot;
use std::cell::RefCell;

/// Due, and known to be: upkeep need not find out first.
const AT_ONCE: Micros = 1;

struct Note {
    place: usize,
    queue: Oid,
    /// It put jobs that wait for others.
    added: bool,
    /// It ended jobs, or took them away.
    ended: bool,
    /// Which jobs these are, or which the waiting ones wait for, is not all in the list of ids.
    all: bool,
    /// It looked at waiting jobs, in this subtransaction at the innermost: 0: it did not.
    looked: i32,
}

struct Notes {
    list: Vec<Note>,
    /// Place of the queue, and job.
    ids: Vec<(usize, i64)>,
}

thread_local! {
    static NOTES: RefCell<Notes> = const { RefCell::new(Notes { list: Vec::new(), ids: Vec::new() }) };
}

fn note(queue: Oid, change: impl FnOnce(&mut Note, &mut Vec<(usize, i64)>)) {
    let Some(place) = wake::place_of(queue) else { return };
    wake::register();
    NOTES.with_borrow_mut(|notes| {
        let known = notes.list.iter().position(|note| note.place == place && note.queue == queue);
        let index = known.unwrap_or_else(|| {
            notes.list.push(Note { place, queue, added: false, ended: false, all: false, looked: 0 });
            notes.list.len() - 1
        });
        change(&mut notes.list[index], &mut notes.ids);
    });
}

fn push(note: &mut Note, ids: &mut Vec<(usize, i64)>, more: impl Iterator<Item = i64>) {
    for id in more {
        if ids.len() >= MOST_IDS {
            note.all = true;
            return;
        }
        ids.push((note.place, id));
    }
}

/// This transaction put a job that waits for these.
pub fn added(queue: Oid, after: &[i64]) {
    note(queue, |note, ids| {
        note.added = true;
        push(note, ids, after.iter().copied());
    });
}

/// This transaction ended these jobs, or took them off the queue.
pub fn ended(queue: Oid, jobs: impl Iterator<Item = i64>) {
    let mut jobs = jobs.peekable();
    if jobs.peek().is_none() {
        return;
    }
    let cared_for = wake::slot_of(queue).is_some_and(|slot| !slot.waits.is_none());
    note(queue, |note, ids| {
        note.ended = true;
        match cared_for {
            true => push(note, ids, jobs),
            // Nobody waits as yet. Should that change before it commits, everything is looked at.
            false => note.all = true,
        }
    });
}

/// This transaction took jobs off the queue, who knows which.
pub fn ended_some(queue: Oid) {
    note(queue, |note, _| {
        note.ended = true;
        note.all = true;
    });
}

/// This transaction looks at waiting jobs: if it is rolled back, nobody has.
pub fn looking(queue: Oid) {
    note(queue, |note, _| note.looked = note.looked.max(xact::nest_level()));
}

pub fn committed() {
    finish(|slot, note, ids| match note {
        Note { added: true, all, .. } => {
            slot.waits.add(if *all { None } else { Some(ids) });
            true
        }
        Note { ended: true, all, .. } => slot.waits.end(if *all { None } else { Some(ids) }),
        _ => false,
    });
}

pub fn aborted() {
    finish(|slot, note, _| {
        if note.looked > 0 {
            slot.waits.ask_for_all();
        }
        note.looked > 0
    });
}

/// What it will do one day, nobody will tell: the look at all, once a minute, finds it.
pub fn prepared() {
    finish(|slot, _, _| {
        slot.waits.ask_for_all();
        true
    });
}

pub fn subtransaction_aborted() {
    let _ = NOTES.try_with(|notes| {
        let (Some(shared), Ok(mut notes)) = (shmem::get(), notes.try_borrow_mut()) else { return };
        let level = xact::nest_level();
        for note in notes.list.iter_mut().filter(|note| note.looked >= level) {
            note.looked = level - 1;
            shared.queues[note.place].waits.ask_for_all();
            shared.queues[note.place].due_at(AT_ONCE);
        }
    });
}

/// `tell` says whether there is something to look at now.
fn finish(tell: impl Fn(&QueueSlot, &Note, &mut dyn Iterator<Item = i64>) -> bool) {
    let _ = NOTES.try_with(|notes| {
        let Ok(mut notes) = notes.try_borrow_mut() else { return };
        let database = catalog::my_database().to_u32();
        if let Some(shared) = shmem::get() {
            for note in &notes.list {
                let slot = &shared.queues[note.place];
                if !slot.is(database, note.queue.to_u32()) {
                    // Its place was given away: whoever takes one for it knows nothing, and looks.
                    continue;
                }
                let mut ids = notes.ids.iter().filter(|(place, _)| *place == note.place).map(|(_, id)| *id);
                if tell(slot, note, &mut ids) {
                    slot.due_at(AT_ONCE);
                    shared.wake_scheduler(database);
                }
            }
        }
        notes.list.clear();
        notes.ids.clear();
    });
}
