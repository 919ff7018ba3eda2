//! Entry points: functions of SQL, and what pgrx's `#[pg_extern]` has no shape for: set-returning functions that
//! fill a tuplestore, procedures that commit, triggers, background workers. A plain function could be a
//! `#[pg_extern]`; but that gives an ERROR of Postgres on without its own SQLSTATE, if Postgres does not know it,
//! and without constraint name and context.

use super::failure;
use crate::error::SqlResult;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReportable;
use std::panic::AssertUnwindSafe;
use std::ptr::NonNull;

/// Declares a C function of SQL whose body gets a [`Call`] and returns `SqlResult<Datum>`.
#[macro_export]
macro_rules! raw_function {
    ($name:ident, $body:path) => {
        $crate::raw_function!([stringify!($name)], [concat!("pg_finfo_", stringify!($name))], $body);
    };
    ([$($symbol:tt)*], [$($info:tt)*], $body:path) => {
        const _: () = {
            #[allow(unsafe_code)]
            #[unsafe(export_name = $($info)*)]
            extern "C" fn info() -> &'static pgrx::pg_sys::Pg_finfo_record {
                const V1: pgrx::pg_sys::Pg_finfo_record = pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
                &V1
            }
            #[allow(unsafe_code)]
            #[unsafe(export_name = $($symbol)*)]
            unsafe extern "C-unwind" fn call(fcinfo: pgrx::pg_sys::FunctionCallInfo) -> pgrx::pg_sys::Datum {
                // SAFETY: Postgres calls with a valid call record, which lives through the call; nothing
                // with a destructor is on this frame.
                unsafe { $crate::pg::entry::at_edge(fcinfo, $body) }
            }
        };
    };
}

/// Declares the C function `name_wrapper` of SQL, which calls `name` with its arguments: each an `Option`, where
/// `None` is SQL null. `name` returns a `SqlResult` of what becomes a datum.
#[macro_export]
macro_rules! sql_function {
    ($name:ident) => {
        const _: () = {
            fn body(call: &$crate::pg::entry::Call) -> $crate::error::SqlResult<pgrx::pg_sys::Datum> {
                $crate::pg::entry::Function::call_with(&$name, call)
            }
            $crate::raw_function!(
                [concat!(stringify!($name), "_wrapper")],
                [concat!("pg_finfo_", stringify!($name), "_wrapper")],
                body
            );
        };
    };
}

/// A function of so many arguments as `Arguments` is a tuple of.
pub trait Function<Arguments> {
    fn call_with(&self, call: &Call) -> SqlResult<pg_sys::Datum>;
}

macro_rules! function_of {
    ($($argument:ident)*) => {
        impl<Work, Output, $($argument),*> Function<($($argument,)*)> for Work
        where
            Work: Fn($(Option<$argument>),*) -> SqlResult<Output>,
            Output: pgrx::IntoDatum,
            $($argument: pgrx::FromDatum),*
        {
            #[allow(unused_mut, unused_variables)]
            fn call_with(&self, call: &Call) -> SqlResult<pg_sys::Datum> {
                let mut index = 0..;
                let result = self($(index.next().and_then(|index| call.arg::<$argument>(index))),*)?;
                Ok(result.into_datum().unwrap_or_else(|| call.null()))
            }
        }
    };
}

/// Of so many arguments and of fewer.
macro_rules! functions_of {
    () => { function_of!(); };
    ($first:ident $($more:ident)*) => {
        function_of!($first $($more)*);
        functions_of!($($more)*);
    };
}

functions_of!(A B C D E F G H I J K L M N O P);

/// Declares `name` as the main function of a background worker.
#[macro_export]
macro_rules! worker_main {
    ($name:ident, $body:path) => {
        const _: () = {
            #[allow(unsafe_code)]
            #[unsafe(export_name = stringify!($name))]
            #[pgrx::pg_guard]
            extern "C-unwind" fn main(_arg: pgrx::pg_sys::Datum) {
                $body()
            }
        };
    };
}

/// How the body of a raw function failed.
enum Problem {
    /// By an ERROR of Postgres, remembered in full.
    Postgres(NonNull<pg_sys::ErrorData>),
    /// By an error of ours, or a panic.
    Other(Box<dyn std::any::Any + Send>),
}

/// Runs the body of a raw function between C and Rust. An ERROR of Postgres that passes through goes on
/// as it was, with position, constraint name and context, which pgrx's own guard would drop.
///
/// # Safety
/// Called by a function that Postgres calls and that has nothing with a destructor on its frame.
pub unsafe fn at_edge(
    fcinfo: pg_sys::FunctionCallInfo,
    body: fn(&Call) -> SqlResult<pg_sys::Datum>,
) -> pg_sys::Datum {
    // SAFETY: the record of the call in progress; the rest by the contract above.
    unsafe { raising_as_is(|| body(&Call::new(fcinfo))) }
}

/// The same for whatever else Postgres calls.
///
/// # Safety
/// As for `at_edge`: nothing with a destructor is on the caller's frame.
pub unsafe fn raising_as_is<R>(body: impl FnOnce() -> SqlResult<R>) -> R {
    // SAFETY: all Rust frames of the body are gone when either of the two raises: by the contract only
    // frames without destructors are left to jump over.
    unsafe {
        match run_body(body) {
            Ok(result) => result,
            Err(Problem::Postgres(error)) => {
                ThrowErrorData(error.as_ptr());
                unreachable!("ThrowErrorData returned from an ERROR")
            }
            Err(Problem::Other(payload)) => {
                pg_sys::submodules::panic::pgrx_extern_c_guard(move || std::panic::resume_unwind(payload))
            }
        }
    }
}

// Declared here as it is: pgrx's binding would catch the very error it raises.
unsafe extern "C-unwind" {
    fn ThrowErrorData(error: *mut pg_sys::ErrorData);
}

fn run_body<R>(body: impl FnOnce() -> SqlResult<R>) -> Result<R, Problem> {
    let work = || body().unwrap_or_report();
    std::panic::catch_unwind(AssertUnwindSafe(|| failure::remembering(work))).map_err(|payload| match payload
        .downcast_ref()
        .and_then(failure::latest_matching)
    {
        Some(error) => Problem::Postgres(error),
        None => Problem::Other(payload),
    })
}

/// One call of a raw function.
pub struct Call {
    fcinfo: pg_sys::FunctionCallInfo,
}

impl Call {
    /// # Safety
    /// `fcinfo` is the record of a call in progress.
    pub unsafe fn new(fcinfo: pg_sys::FunctionCallInfo) -> Call {
        Call { fcinfo }
    }

    pub fn raw(&self) -> pg_sys::FunctionCallInfo {
        self.fcinfo
    }

    /// Argument `index` (from 0) as a Rust value; `None` is SQL null.
    pub fn arg<T: pgrx::FromDatum>(&self, index: usize) -> Option<T> {
        // SAFETY: the declarations in sql/ give every raw function the arguments it reads; pg_getarg
        // checks nothing more.
        unsafe { pgrx::fcinfo::pg_getarg(self.fcinfo, index) }
    }

    /// Argument `index` (from 0) as it is; `None` is SQL null.
    pub fn datum(&self, index: usize) -> Option<pg_sys::Datum> {
        // SAFETY: as for `arg`.
        unsafe { pgrx::fcinfo::pg_getarg_datum(self.fcinfo, index) }
    }

    /// Declared type of a polymorphic argument at this call.
    pub fn arg_type(&self, index: i32) -> pg_sys::Oid {
        // SAFETY: flinfo is valid during the call; InvalidOid if unknown.
        unsafe { pg_sys::get_fn_expr_argtype((*self.fcinfo).flinfo, index) }
    }

    /// Is this a CALL at the top level, where a procedure may commit?
    pub fn may_commit(&self) -> bool {
        // SAFETY: context is null or a node; a CallContext node is one.
        unsafe {
            let context = (*self.fcinfo).context;
            !context.is_null()
                && (*context).type_ == pg_sys::NodeTag::T_CallContext
                && !(*context.cast::<pg_sys::CallContext>()).atomic
        }
    }

    /// What an AFTER trigger returns: a null pointer that is not SQL null.
    pub fn no_row(&self) -> pg_sys::Datum {
        pg_sys::Datum::from(0)
    }

    /// SQL null (or void) as the result.
    pub fn null(&self) -> pg_sys::Datum {
        // SAFETY: the record is valid during the call.
        unsafe { (*self.fcinfo).isnull = true };
        pg_sys::Datum::from(0)
    }
}
