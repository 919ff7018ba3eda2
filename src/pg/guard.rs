//! One guard around many calls of Postgres.
//!
//! pgrx guards each function of Postgres that it declares: a `sigsetjmp` that turns an ERROR into a panic. In
//! a loop of many short calls for each row that costs as much as some of the calls. Here a whole loop has one
//! guard, and calls the functions as they are ([`super::raw`]).

use pgrx::pg_sys;

/// Runs `work` under one guard, in which the functions of [`super::raw`] may be called: an ERROR jumps out of it as a
/// whole and goes on as a panic.
///
/// # Safety
/// An ERROR jumps over the frames of `work` and of what it calls. So nothing in them may have a destructor:
/// no value that owns anything is made in it, and it captures only what can be copied (which the bounds ask
/// for). It must not panic, which ends the server, nor call what may: no function of `pg_sys`, whose own guards
/// panic on ERROR, no indexing, no `unwrap`.
#[inline(always)]
pub unsafe fn guarded<T: Copy>(work: impl FnOnce() -> T + Copy) -> T {
    // SAFETY: by the contract above these are plain frames; a backend has one thread.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(work) }
}

/// Is a cancel or termination request pending?
pub fn is_interrupted() -> bool {
    // SAFETY: a flag that signal handlers set; read afresh each time.
    unsafe { (&raw const pg_sys::InterruptPending).read_volatile() != 0 }
}
