//! A lock in shared memory, for sections of a few loads and stores that neither wait nor raise. All bits zero: free.
//! Pure.

use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

#[derive(Default)]
#[repr(transparent)]
pub struct SpinLock(AtomicBool);

impl SpinLock {
    /// Runs `work` while nobody else is in such a section.
    pub fn locked<R>(&self, work: impl FnOnce() -> R) -> R {
        let mut tries = 0u32;
        while self.0.compare_exchange_weak(false, true, Acquire, Relaxed).is_err() {
            tries += 1;
            // Whoever holds it may have lost its processor.
            if tries.is_multiple_of(1000) { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
        let result = work();
        self.0.store(false, Release);
        result
    }
}
