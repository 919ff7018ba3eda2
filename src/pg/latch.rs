//! Waking and sleeping.

use pgrx::pg_sys;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where a process in shared memory can be woken; zero when nobody is there.
#[repr(transparent)]
pub struct LatchSlot(AtomicUsize);

impl LatchSlot {
    /// From now on `wake` wakes this process.
    pub fn take(&self) {
        // SAFETY: MyLatch points to this process's latch in shared memory once it has a PGPROC.
        self.0.store(unsafe { pg_sys::MyLatch } as usize, Ordering::SeqCst);
    }

    pub fn release(&self) {
        self.0.store(0, Ordering::SeqCst);
    }

    /// Wakes whoever is there. May be called from a commit callback: neither allocates nor raises.
    pub fn wake(&self) {
        let latch = self.0.load(Ordering::SeqCst);
        if latch != 0 {
            // SAFETY: process latches lie in the PGPROC array in shared memory, at the same address in
            // every process, for as long as the server runs; that of a process which is gone is unowned
            // or belongs to its successor, which takes a spurious wake-up in its stride.
            unsafe { pg_sys::SetLatch(latch as *mut pg_sys::Latch) };
        }
    }
}

/// Sleeps until woken or until `timeout_ms` have passed (`None`: no limit). Interrupts are the caller's
/// to act on.
pub fn sleep(timeout_ms: Option<i64>) {
    let mut events = pg_sys::WL_LATCH_SET | pg_sys::WL_EXIT_ON_PM_DEATH;
    if timeout_ms.is_some() {
        events |= pg_sys::WL_TIMEOUT;
    }
    // SAFETY: MyLatch is this process's own.
    unsafe {
        pg_sys::WaitLatch(
            pg_sys::MyLatch,
            events as i32,
            timeout_ms.unwrap_or(-1).clamp(-1, 86_400_000),
            pg_sys::PG_WAIT_EXTENSION,
        );
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
}
