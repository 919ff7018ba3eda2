//! A hint for an error of Postgres that is on its way up: without a subtransaction, which would have to be begun
//! before each piece of work that may fail.

use super::failure::RestoreStack;
use super::guard::guarded;
use super::raw;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::{CStr, c_int, c_void};

/// The first two characters of a SQLSTATE, packed, and those of class 42: a name that does not exist, a type that
/// does not fit.
const CLASS: c_int = (1 << 12) - 1;
const CLASS_42: c_int = 4 | (2 << 6);

/// Runs `work`. An ERROR of Postgres in class 42 that it raises, but for a missing privilege, has this hint besides
/// its own.
pub fn hinting<R>(hint: &CStr, work: impl FnOnce() -> R) -> R {
    // SAFETY: the callback's record and the hint outlive the work; the stack is put back on the way out, with and
    // without an error.
    unsafe {
        let previous = pg_sys::error_context_stack;
        let mut callback = pg_sys::ErrorContextCallback {
            previous,
            callback: Some(add_hint),
            arg: hint.as_ptr().cast_mut().cast(),
        };
        let _restore = RestoreStack(previous);
        pg_sys::error_context_stack = &raw mut callback;
        work()
    }
}

/// Called by Postgres for whatever is being reported. `hint`: a C string.
#[pg_guard]
unsafe extern "C-unwind" fn add_hint(hint: *mut c_void) {
    // SAFETY: called from errfinish, so there is an error to look at and to add to; ErrorContext, which is current,
    // must not receive the copy, hence the switch. The format has one %s for each argument, all C strings.
    unsafe {
        let before = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let error = pg_sys::CopyErrorData();
        pg_sys::MemoryContextSwitchTo(before);
        let code = (*error).sqlerrcode;
        let is_meant = (*error).elevel >= PgLogLevel::ERROR as i32
            && code & CLASS == CLASS_42
            && code != PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE as c_int;
        if is_meant && (*error).hint.is_null() {
            guarded(|| raw::errhint(c"%s".as_ptr(), hint));
        } else if is_meant {
            guarded(|| raw::errhint(c"%s %s".as_ptr(), (*error).hint, hint));
        }
        pg_sys::FreeErrorData(error);
    }
}
