//! Sessions that wait for the end of a job, and whom the commit of one that ends jobs wakes. Nothing here
//! allocates or raises, as in `shared`.
//!
//! All who wait for a queue are woken by any commit that took jobs of it, and look. A session that was
//! terminated while it waited leaves its entry, which the next one to wait takes over; a wake-up that is
//! lost with it is nobody's. While nobody waits a commit reads one number.

use super::shared::Shared;
use crate::pg::bgworker;
use crate::pg::latch::LatchSlot;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering::SeqCst};

const MOST: usize = 256;

/// A session that waits for the end of a job.
#[repr(C)]
pub struct EndWaiter {
    /// Place of the queue, plus 1; 0: free.
    place: AtomicU32,
    pid: AtomicI32,
    /// Something ended since the session last looked: its latch may be used up by other waits.
    woken: AtomicBool,
    latch: LatchSlot,
}

#[repr(C)]
pub struct Ends {
    waiting: AtomicU32,
    /// No entry at or after this was ever taken.
    end: AtomicUsize,
    waiters: [EndWaiter; MOST],
}

impl Ends {
    /// A transaction that took jobs of the queue has committed.
    pub fn wake(&self, place: usize) {
        if self.waiting.load(SeqCst) == 0 {
            return;
        }
        for waiter in &self.waiters[..self.end.load(SeqCst).min(MOST)] {
            if waiter.place.load(SeqCst) == place as u32 + 1 {
                waiter.woken.store(true, SeqCst);
                waiter.latch.wake();
            }
        }
    }

    fn take(&self, place: usize) -> Option<&EndWaiter> {
        let (index, waiter) = self.waiters.iter().enumerate().find(|(_, waiter)| {
            let pid = waiter.pid.load(SeqCst);
            // Only one session may take it over: the one that finds the dead one's number first.
            if pid != 0
                && !bgworker::is_alive(pid)
                && waiter.pid.compare_exchange(pid, 0, SeqCst, SeqCst).is_ok()
            {
                self.free(waiter);
            }
            waiter.place.compare_exchange(0, place as u32 + 1, SeqCst, SeqCst).is_ok()
        })?;
        self.end.fetch_max(index + 1, SeqCst);
        waiter.woken.store(false, SeqCst);
        waiter.latch.take();
        waiter.pid.store(bgworker::my_pid(), SeqCst);
        self.waiting.fetch_add(1, SeqCst);
        Some(waiter)
    }

    fn free(&self, waiter: &EndWaiter) {
        waiter.latch.release();
        waiter.pid.store(0, SeqCst);
        self.waiting.fetch_sub(1, SeqCst);
        waiter.place.store(0, SeqCst);
    }
}

/// A session's entry among those to be woken, taken back on every way out.
pub struct AwaitingEnd(Option<(&'static Ends, &'static EndWaiter)>);

impl AwaitingEnd {
    /// Nobody will wake this session if there is no shared memory, or no place in it.
    pub fn at(shared: Option<&'static Shared>, place: Option<usize>) -> AwaitingEnd {
        let ends = shared.map(|shared| &shared.ends);
        AwaitingEnd(ends.zip(place).and_then(|(ends, place)| Some((ends, ends.take(place)?))))
    }

    pub fn is_woken(&self) -> bool {
        self.0.is_some()
    }

    /// To be called before looking.
    pub fn look(&self) {
        if let Some((_, waiter)) = self.0 {
            waiter.woken.store(false, SeqCst);
        }
    }

    /// Has something ended since?
    pub fn has_news(&self) -> bool {
        self.0.is_some_and(|(_, waiter)| waiter.woken.load(SeqCst))
    }
}

impl Drop for AwaitingEnd {
    fn drop(&mut self) {
        if let Some((ends, waiter)) = self.0 {
            ends.free(waiter);
        }
    }
}
