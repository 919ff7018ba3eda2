//! Running code that may fail, and what is known of the failure.

use pgrx::PgTryBuilder;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::prelude::*;
use serde::Serialize;
use std::cell::RefCell;

/// An error as it is kept on an error row.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    #[serde(skip)]
    pub code: i32,
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
            sqlstate: sqlstate.into(),
            message: message.into(),
            detail: None,
            hint: None,
            context: None,
        }
    }

    pub fn is_cancel(&self) -> bool {
        self.sqlstate == "57014"
    }

    fn of(caught: &CaughtError) -> Failure {
        let report = match caught {
            CaughtError::PostgresError(report)
            | CaughtError::ErrorReport(report)
            | CaughtError::RustPanic { ereport: report, .. } => report,
        };
        let code = report.sql_error_code() as i32;
        Failure {
            code,
            sqlstate: unpack_sqlstate(code),
            message: report.message().into(),
            detail: report.detail().map(Into::into),
            hint: report.hint().map(Into::into),
            context: CONTEXT.with(|c| c.borrow_mut().take()),
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
    /// Call stack of the latest ERROR: pgrx drops it when it turns an error into a panic.
    static CONTEXT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Called by Postgres for the error being built, after all inner callbacks have added their lines.
#[pg_guard]
unsafe extern "C-unwind" fn remember_context(_arg: *mut std::ffi::c_void) {
    // SAFETY: called from errfinish, so there is an error to copy; ErrorContext, which is current,
    // must not receive the copy, hence the switch.
    unsafe {
        let before = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let data = pg_sys::CopyErrorData();
        pg_sys::MemoryContextSwitchTo(before);
        if (*data).elevel >= PgLogLevel::ERROR as i32 {
            let text = (!(*data).context.is_null())
                .then(|| std::ffi::CStr::from_ptr((*data).context).to_string_lossy().into_owned());
            CONTEXT.with(|c| *c.borrow_mut() = text);
        }
        pg_sys::FreeErrorData(data);
    }
}

/// Runs `work` with the error's context remembered, without a subtransaction: after an `Err` the
/// caller must abort the transaction.
pub fn catch<R>(work: impl FnOnce() -> R) -> Result<R, Failure> {
    CONTEXT.with(|c| c.borrow_mut().take());
    // SAFETY: plain reads of the backend's own globals.
    let (memory, owner, previous) =
        unsafe { (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner, pg_sys::error_context_stack) };
    let mut callback = pg_sys::ErrorContextCallback {
        previous,
        callback: Some(remember_context),
        arg: std::ptr::null_mut(),
    };
    let mut work = Some(work);
    let outcome = PgTryBuilder::new(std::panic::AssertUnwindSafe(|| {
        // SAFETY: `callback` outlives the work, and the stack is put back in both outcomes.
        unsafe { pg_sys::error_context_stack = &raw mut callback };
        Ok(work.take().expect("called once")())
    }))
    .catch_others(|caught| Err(Failure::of(&caught)))
    .catch_rust_panic(|caught| Err(Failure::of(&caught)))
    .execute();
    // SAFETY: both contexts are older than `work`, so they still exist.
    unsafe {
        pg_sys::error_context_stack = previous;
        if outcome.is_err() {
            pg_sys::CurrentMemoryContext = memory;
            pg_sys::CurrentResourceOwner = owner;
        }
    }
    outcome
}

/// Runs `work` in a subtransaction: kept if it returns, rolled back if it raises.
pub fn in_subtransaction<R>(work: impl FnOnce() -> R) -> Result<R, Failure> {
    // SAFETY: the pattern of every procedural language: begin, then either release or roll back, and
    // put memory context and resource owner back as they were before.
    unsafe {
        let memory = pg_sys::CurrentMemoryContext;
        let owner = pg_sys::CurrentResourceOwner;
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::CurrentMemoryContext = memory;
        let outcome = catch(work);
        match outcome {
            Ok(_) => pg_sys::ReleaseCurrentSubTransaction(),
            Err(_) => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
        }
        pg_sys::CurrentMemoryContext = memory;
        pg_sys::CurrentResourceOwner = owner;
        outcome
    }
}
