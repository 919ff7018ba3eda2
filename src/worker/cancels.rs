//! The jobs that admins want stopped, as a worker hears of them.

use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

/// Jobs to be stopped, some of which a worker may have in its batch. No job has the id 0.
#[repr(C)]
pub struct Cancels([AtomicI64; 128]);

impl Cancels {
    /// False if there is no room for it.
    pub fn add(&self, id: i64) -> bool {
        self.has(id) || self.0.iter().any(|place| place.compare_exchange(0, id, SeqCst, SeqCst).is_ok())
    }

    pub fn has(&self, id: i64) -> bool {
        self.0.iter().map(|place| place.load(SeqCst)).take_while(|known| *known != 0).any(|known| known == id)
    }

    pub fn is_empty(&self) -> bool {
        self.0[0].load(SeqCst) == 0
    }

    /// Whoever adds one meanwhile may find it gone, or kept for the next batch, which does not have the job.
    pub fn clear(&self) {
        // From the end: a list has no gaps.
        self.0.iter().rev().filter(|place| place.load(SeqCst) != 0).for_each(|place| place.store(0, SeqCst));
    }
}
