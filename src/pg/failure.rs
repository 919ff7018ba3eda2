//! Running code that may fail, and what is known of the failure.

use pgrx::PgTryBuilder;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::{CaughtError, ErrorReport, ErrorReportable};
use pgrx::prelude::*;
use serde::Serialize;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::ptr::NonNull;

/// After lock_timeout.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// An error as it is kept on an error row.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    #[serde(skip)]
    pub code: i32,
    /// Raised by Postgres on a cancel request or timeout, not by user code that raises the same code.
    #[serde(skip)]
    pub by_interrupt: bool,
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub context: Option<String>,
}

impl Failure {
    /// A failure that no code raised: a lease that ran out, a cancelled job.
    pub fn new(sqlstate: &str, message: impl Into<String>) -> Failure {
        Failure {
            code: 0,
            by_interrupt: false,
            sqlstate: sqlstate.into(),
            message: message.into(),
            detail: None,
            hint: None,
            context: None,
        }
    }

    /// As it is kept among a job's errors.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "{}".into())
    }

    pub fn is_cancel(&self) -> bool {
        self.sqlstate == "57014"
    }

    /// Comes from the state that the server or the transaction is in (read only, a conflict, a shortage, a
    /// shutdown), not from what was worked on.
    pub fn is_of_the_moment(&self) -> bool {
        self.by_interrupt
            || self.sqlstate == LOCK_NOT_AVAILABLE
            || ["25", "40", "53", "57", "58"].iter().any(|class| self.sqlstate.starts_with(class))
    }

    /// As an error to be raised again.
    pub fn report(&self) -> ErrorReport {
        let report = ErrorReport::new(PgSqlErrorCode::from(self.code), self.message.clone(), "queue_ext");
        let report = match &self.detail {
            Some(detail) => report.set_detail(detail.clone()),
            None => report,
        };
        match &self.hint {
            Some(hint) => report.set_hint(hint.clone()),
            None => report,
        }
    }

    pub fn raise(&self) -> ! {
        Err(self.report()).unwrap_or_report()
    }

    fn of(caught: &CaughtError) -> Failure {
        let report = match caught {
            CaughtError::PostgresError(report)
            | CaughtError::ErrorReport(report)
            | CaughtError::RustPanic { ereport: report, .. } => report,
        };
        let latest = latest_matching(caught);
        // SAFETY: alive until the next error is remembered.
        let (code, context, function) = match latest {
            Some(error) => unsafe {
                let error = error.as_ref();
                (error.sqlerrcode, text(error.context), text(error.funcname))
            },
            None => (report.sql_error_code() as i32, None, None),
        };
        Failure {
            code,
            by_interrupt: function.as_deref() == Some("ProcessInterrupts"),
            sqlstate: unpack_sqlstate(code),
            message: report.message().into(),
            detail: report.detail().map(Into::into),
            hint: report.hint().map(Into::into),
            context,
        }
    }
}

/// The five characters of a packed SQLSTATE.
fn unpack_sqlstate(mut code: i32) -> String {
    (0..5)
        .map(|_| {
            let c = ((code & 0x3F) as u8 + b'0') as char;
            code >>= 6;
            c
        })
        .collect()
}

thread_local! {
    /// The latest ERROR in full: pgrx keeps only part of it when it turns it into a panic. In memory of
    /// its own, since a failing commit ends the transaction before the error arrives here.
    static LATEST: Cell<*mut pg_sys::ErrorData> = const { Cell::new(std::ptr::null_mut()) };
}

fn replace_latest(error: *mut pg_sys::ErrorData) {
    let before = LATEST.replace(error);
    if !before.is_null() {
        // SAFETY: made by CopyErrorData in TopMemoryContext and freed once.
        unsafe { pg_sys::FreeErrorData(before) };
    }
}

/// The latest ERROR, if it is the one that was caught: one raised again by user code is not the latest.
/// Valid until the next error is remembered.
pub fn latest_matching(caught: &CaughtError) -> Option<NonNull<pg_sys::ErrorData>> {
    let CaughtError::PostgresError(report) = caught else { return None };
    let latest = NonNull::new(LATEST.get())?;
    // SAFETY: not null, and alive until it is replaced.
    unsafe {
        let error = latest.as_ref();
        // pgrx knows only Postgres' own codes; any other becomes an internal error.
        let code = report.sql_error_code();
        let is_same = (error.sqlerrcode == code as i32 || code == PgSqlErrorCode::ERRCODE_INTERNAL_ERROR)
            && text(error.message).is_some_and(|message| message == report.message());
        is_same.then_some(latest)
    }
}

/// # Safety
/// Null or NUL-terminated.
unsafe fn text(chars: *const std::ffi::c_char) -> Option<String> {
    // SAFETY: by the contract above.
    unsafe { (!chars.is_null()).then(|| CStr::from_ptr(chars).to_string_lossy().into_owned()) }
}

/// Called by Postgres for the error being built, after the callbacks of inner functions have added
/// their lines. Only the innermost of ours copies it: that is where the error is caught first, and whence it
/// goes on, if it does, for the callbacks outside to add theirs, and the next of ours to copy the whole. A
/// copy here and there for each level of nested triggers would have each line many times over, and the time
/// it takes would be a power of their number. `arg`: the callback's own record.
#[pg_guard]
unsafe extern "C-unwind" fn remember(arg: *mut std::ffi::c_void) {
    // SAFETY: called from errfinish, so there is an error to copy; ErrorContext, which is current,
    // must not receive the copy, hence the switch.
    unsafe {
        if !is_innermost(arg) {
            return;
        }
        let before = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let data = pg_sys::CopyErrorData();
        pg_sys::MemoryContextSwitchTo(before);
        // Not copied by Postgres, as its own are constants; those of errors raised in Rust are not.
        (*data).filename = lasting((*data).filename);
        (*data).funcname = lasting((*data).funcname);
        if (*data).elevel >= PgLogLevel::ERROR as i32 {
            replace_latest(data);
        } else {
            pg_sys::FreeErrorData(data);
        }
    }
}

thread_local! {
    /// Names of places in the source: there are only so many.
    static NAMES: RefCell<HashSet<&'static CStr>> = RefCell::default();
}

/// The same text, where it stays as long as the process.
///
/// # Safety
/// Null or NUL-terminated.
unsafe fn lasting(name: *const std::ffi::c_char) -> *const std::ffi::c_char {
    if name.is_null() {
        return name;
    }
    // SAFETY: by the contract above.
    let name = unsafe { CStr::from_ptr(name) };
    NAMES.with_borrow_mut(|names| match names.get(name) {
        Some(known) => known.as_ptr(),
        None => {
            let kept: &'static CStr = Box::leak(CString::from(name).into_boxed_c_str());
            names.insert(kept);
            kept.as_ptr()
        }
    })
}

/// Is this record the first of ours on the stack of callbacks?
///
/// # Safety
/// Called by a callback, while Postgres goes through the stack.
unsafe fn is_innermost(record: *mut std::ffi::c_void) -> bool {
    // SAFETY: the stack's records are alive, and the innermost is first.
    unsafe {
        let mut next = pg_sys::error_context_stack;
        // Ours have themselves as argument; others have some data, or nothing.
        while !next.is_null() && (*next).arg != next.cast() {
            next = (*next).previous;
        }
        next.cast() == record
    }
}

/// Remembers errors in full while `work` runs.
pub fn remembering<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: the callback's record outlives the work; pgrx and the code below put the stack back on
    // the way out, with and without an error.
    unsafe {
        let previous = pg_sys::error_context_stack;
        let mut callback =
            pg_sys::ErrorContextCallback { previous, callback: Some(remember), arg: std::ptr::null_mut() };
        callback.arg = (&raw mut callback).cast();
        let _restore = RestoreStack(previous);
        pg_sys::error_context_stack = &raw mut callback;
        work()
    }
}

/// Is an ERROR on its way up? Whatever is noted with a resource owner is then left to the abort of the
/// transaction, or of the subtransaction, which comes before anything else can. To let go of it here could raise,
/// and end the process: Postgres raises with another owner set than the one it was noted with.
pub fn is_raised() -> bool {
    std::thread::panicking()
}

/// Puts the stack of callbacks back when it is dropped.
pub(super) struct RestoreStack(pub(super) *mut pg_sys::ErrorContextCallback);

impl Drop for RestoreStack {
    fn drop(&mut self) {
        // SAFETY: the stack as it was before, whose records are older than this value.
        unsafe { pg_sys::error_context_stack = self.0 };
    }
}

/// Runs `work` and catches what it raises, without a subtransaction: after an `Err` the caller must
/// abort the transaction.
pub fn catch<R>(work: impl FnOnce() -> R) -> Result<R, Failure> {
    // SAFETY: a plain read of the backend's own global.
    let memory = unsafe { pg_sys::CurrentMemoryContext };
    let outcome = PgTryBuilder::new(std::panic::AssertUnwindSafe(|| Ok(remembering(work))))
        .catch_others(|caught| Err(Failure::of(&caught)))
        .execute();
    if outcome.is_err() {
        // SAFETY: it is older than `work`, so it still exists. The resource owner may not: a commit that fails
        // has deleted it, and set another.
        unsafe { pg_sys::CurrentMemoryContext = memory };
    }
    outcome
}

/// Runs `work` in a subtransaction: kept if it returns, rolled back if it raises.
pub fn in_subtransaction<R>(work: impl FnOnce() -> R) -> Result<R, Failure> {
    subtransaction(work, true)
}

/// Runs `work` in a subtransaction that is rolled back in any case.
pub fn try_out<R>(work: impl FnOnce() -> R) -> Result<R, Failure> {
    subtransaction(work, false)
}

fn subtransaction<R>(work: impl FnOnce() -> R, keep: bool) -> Result<R, Failure> {
    // SAFETY: the pattern of every procedural language: begin, then either release or roll back, and
    // put memory context and resource owner back as they were before.
    unsafe {
        let memory = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::CurrentMemoryContext = memory;
        let outcome = catch(work);
        match outcome {
            Ok(_) if keep => pg_sys::ReleaseCurrentSubTransaction(),
            _ => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
        }
        pg_sys::CurrentMemoryContext = memory;
        pg_sys::CurrentResourceOwner = owner;
        outcome
    }
}
