//! Jobs that nobody could have because enqueuers hold them. Pure.
//!
//! A job that is enqueued with `skip` without a pause, each transaction holding it until the next has it, too,
//! could never start. So a claim that meets a held job, or who was to move it because its time or its turn has
//! come, notes it here, in shared memory; whoever enqueues its key soon after lets it go and begins a new job. A
//! hint: without it, or when it is overwritten, the job starts in the first pause.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

const PLACES: usize = 8;
/// Microseconds. Who still wants it notes it again.
const LASTS: i64 = 10_000_000;
/// A job that was held longer ago is not looked for among those that could not be had.
const HELD: i64 = 60_000_000;

/// All bits zero: none.
#[derive(Default)]
#[repr(C)]
pub struct Wanted {
    places: [Place; PLACES],
    /// When a job was held last.
    held: AtomicI64,
}

/// The two are not read together: at worst a job is held once more, or once less.
#[derive(Default)]
#[repr(C)]
struct Place {
    id: AtomicI64,
    noted: AtomicI64,
}

impl Wanted {
    fn place(&self, id: i64) -> &Place {
        &self.places[id.rem_euclid(PLACES as i64) as usize]
    }

    pub fn note(&self, id: i64, now: i64) {
        self.place(id).id.store(id, Relaxed);
        self.place(id).noted.store(now, Relaxed);
    }

    pub fn has(&self, id: i64, now: impl FnOnce() -> i64) -> bool {
        let place = self.place(id);
        id != 0 && place.id.load(Relaxed) == id && now().saturating_sub(place.noted.load(Relaxed)) <= LASTS
    }

    /// Somebody holds a job from now on.
    pub fn hold(&self, now: i64) {
        self.held.store(now, Relaxed);
    }

    pub fn any_held(&self, now: impl FnOnce() -> i64) -> bool {
        let held = self.held.load(Relaxed);
        held != 0 && now().saturating_sub(held) <= HELD
    }

    pub fn clear(&self) {
        self.held.store(0, Relaxed);
        self.places.iter().for_each(|place| place.id.store(0, Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_wanted_until_another_takes_its_place() {
        let wanted = Wanted::default();
        assert!(!wanted.has(3, || 10));
        wanted.note(3, 10);
        assert!(wanted.has(3, || 10));
        assert!(!wanted.has(3 + PLACES as i64, || 10));
        wanted.note(3 + PLACES as i64, 10);
        assert!(!wanted.has(3, || 10));
        wanted.clear();
        assert!(!wanted.has(3 + PLACES as i64, || 10));
    }

    #[test]
    fn it_is_forgotten_after_a_while() {
        let wanted = Wanted::default();
        wanted.note(3, 10);
        assert!(wanted.has(3, || 10 + LASTS));
        assert!(!wanted.has(3, || 11 + LASTS));
    }

    #[test]
    fn what_was_held_is_looked_for_for_a_while() {
        let wanted = Wanted::default();
        assert!(!wanted.any_held(|| 10));
        wanted.hold(10);
        assert!(wanted.any_held(|| 10 + HELD));
        assert!(!wanted.any_held(|| 11 + HELD));
        wanted.clear();
        assert!(!wanted.any_held(|| 10));
    }

    #[test]
    fn no_id_is_like_an_empty_place() {
        let wanted = Wanted::default();
        assert!(!wanted.has(0, || 0));
        assert!(!wanted.has(-1, || 0));
        wanted.note(-1, 0);
        assert!(wanted.has(-1, || 0));
    }
}
