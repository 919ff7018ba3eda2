//! Prepared statements over SPI. Plans are kept across transactions, always generic (a claim must not
//! be planned anew each time), and freed with their last owner.

use super::simple::Simple;
use pgrx::pg_sys::{self, Datum, Oid};
use pgrx::{FromDatum, IntoDatum};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::rc::Rc;

/// One argument of a statement; `None` is SQL null.
pub type Arg = Option<Datum>;

/// Converts a Rust value to an argument.
pub fn arg<T: IntoDatum>(value: T) -> Arg {
    value.into_datum()
}

/// Opens an SPI connection for the duration of `work`. An ERROR inside leaves it to the (sub)transaction
/// abort to close it, as everywhere in Postgres.
pub fn connect<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: paired with SPI_finish below; on ERROR AtEOXact_SPI or AtEOSubXact_SPI pops the level.
    unsafe { pg_sys::SPI_connect() };
    let result = work();
    // SAFETY: the connection opened above is the innermost one: `work` closed its own.
    unsafe { pg_sys::SPI_finish() };
    result
}

/// The same, allowing `commit` inside (a procedure called outside a transaction block).
pub fn connect_nonatomic<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: as in `connect`.
    unsafe { pg_sys::SPI_connect_ext(pg_sys::SPI_OPT_NONATOMIC as i32) };
    let result = work();
    // SAFETY: as in `connect`.
    unsafe { pg_sys::SPI_finish() };
    result
}

/// Commits inside `connect_nonatomic` and starts the next transaction.
pub fn commit() {
    // SAFETY: raises an ERROR itself when the innermost connection is atomic.
    unsafe { pg_sys::SPI_commit() };
}

/// A kept, generic plan.
pub struct Plan {
    plan: pg_sys::SPIPlanPtr,
    arguments: usize,
    /// Its expressions, if it is an INSERT of one row that has been fed.
    pub(super) simple: RefCell<Option<Simple>>,
}

impl Plan {
    /// Parses and plans; must be called inside `connect`.
    pub fn prepare(sql: &str, types: &[Oid]) -> Plan {
        let text = CString::new(sql).unwrap_or_default();
        let mut types = types.to_vec();
        // SAFETY: text and types outlive the call, which copies both; SPI_keepplan moves the plan to
        // permanent memory, so that it outlives the connection.
        unsafe {
            let plan = pg_sys::SPI_prepare_cursor(
                text.as_ptr(),
                types.len() as i32,
                types.as_mut_ptr(),
                pg_sys::CURSOR_OPT_GENERIC_PLAN as i32,
            );
            if plan.is_null() || pg_sys::SPI_keepplan(plan) != 0 {
                let code = pg_sys::SPI_result;
                pgrx::error!("could not prepare a statement: SPI result {code}");
            }
            Plan { plan, arguments: types.len(), simple: RefCell::new(None) }
        }
    }

    pub fn raw(&self) -> pg_sys::SPIPlanPtr {
        self.plan
    }

    /// How many parameters it has.
    pub fn arguments(&self) -> usize {
        self.arguments
    }

    /// Runs the plan; must be called inside `connect`.
    pub fn execute(&self, args: &[Arg]) -> Rows {
        assert_eq!(args.len(), self.arguments);
        let mut values: Vec<Datum> = args.iter().map(|a| a.unwrap_or(Datum::from(0))).collect();
        let nulls = nulls_of(args);
        // SAFETY: as many values and null flags as the plan has parameters (asserted above).
        let code =
            unsafe { pg_sys::SPI_execute_plan(self.plan, values.as_mut_ptr(), nulls.as_ptr(), false, 0) };
        Rows::take(code)
    }

    /// Runs the plan and hands each row's columns to `on_row` as it is made. Rows handed over before an
    /// ERROR stay handed over: that is how a caller knows which row failed.
    pub fn for_each(&self, args: &[Arg], on_row: &mut dyn FnMut(&[Arg])) {
        assert_eq!(args.len(), self.arguments);
        // SAFETY: a kept plan, and as many arguments as it has parameters (asserted above).
        unsafe { super::dest::execute_into(self.plan, args, on_row) };
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: the plan was kept by `prepare` and is freed once.
        unsafe { pg_sys::SPI_freeplan(self.plan) };
    }
}

/// Runs a statement once; must be called inside `connect`.
pub fn run(sql: &str, types: &[Oid], args: &[Arg]) -> Rows {
    assert_eq!(types.len(), args.len());
    let text = CString::new(sql).unwrap_or_default();
    let mut types = types.to_vec();
    let mut values: Vec<Datum> = args.iter().map(|a| a.unwrap_or(Datum::from(0))).collect();
    let nulls = nulls_of(args);
    // SAFETY: all arrays have the same length (asserted above) and outlive the call.
    let code = unsafe {
        pg_sys::SPI_execute_with_args(
            text.as_ptr(),
            types.len() as i32,
            types.as_mut_ptr(),
            values.as_mut_ptr(),
            nulls.as_ptr(),
            false,
            0,
        )
    };
    Rows::take(code)
}

/// Runs a statement once over what is committed now, whatever the transaction's snapshot; raises a serialization
/// failure if it changes a row that the snapshot does not show. As Postgres does for foreign keys. Must be called
/// inside `connect`.
pub fn run_in_the_present(sql: &str, types: &[Oid], args: &[Arg]) -> Rows {
    let plan = Plan::prepare(sql, types);
    assert_eq!(args.len(), plan.arguments);
    let mut values: Vec<Datum> = args.iter().map(|a| a.unwrap_or(Datum::from(0))).collect();
    let nulls = nulls_of(args);
    // SAFETY: as many values and null flags as the plan has parameters (asserted above). The snapshots are static,
    // and SPI registers them for as long as it uses them.
    let code = unsafe {
        // First: what this transaction itself has written is no surprise.
        pg_sys::CommandCounterIncrement();
        let crosscheck = pg_sys::GetTransactionSnapshot();
        let latest = pg_sys::GetLatestSnapshot();
        let (read_only, fire_triggers, count) = (false, true, 0);
        pg_sys::SPI_execute_snapshot(
            plan.plan,
            values.as_mut_ptr(),
            nulls.as_ptr(),
            latest,
            crosscheck,
            read_only,
            fire_triggers,
            count,
        )
    };
    Rows::take(code)
}

thread_local! {
    static KEPT: RefCell<HashMap<&'static str, Rc<Plan>>> = RefCell::new(HashMap::new());
}

/// Runs a statement whose plan the session keeps; must be called inside `connect`.
pub fn run_kept(sql: &'static str, types: &[Oid], args: &[Arg]) -> Rows {
    let known = KEPT.with(|kept| kept.borrow().get(sql).cloned());
    let plan = known.unwrap_or_else(|| {
        let plan = Rc::new(Plan::prepare(sql, types));
        KEPT.with(|kept| kept.borrow_mut().insert(sql, plan.clone()));
        plan
    });
    plan.execute(args)
}

fn nulls_of(args: &[Arg]) -> Vec<std::ffi::c_char> {
    args.iter().map(|a| if a.is_some() { b' ' } else { b'n' } as std::ffi::c_char).collect()
}

/// The result of a statement; lives as long as the SPI connection it was made in.
pub struct Rows {
    table: *mut pg_sys::SPITupleTable,
    processed: u64,
}

impl Rows {
    fn take(code: i32) -> Rows {
        if code < 0 {
            pgrx::error!("could not execute a statement: SPI result {code}");
        }
        // SAFETY: SPI sets both after each successful execution.
        unsafe { Rows { table: pg_sys::SPI_tuptable, processed: pg_sys::SPI_processed } }
    }

    /// Rows returned or affected.
    pub fn len(&self) -> usize {
        self.processed as usize
    }

    pub fn is_empty(&self) -> bool {
        self.processed == 0
    }

    /// Column (counted from 1) of a row (counted from 0) as it is.
    pub fn datum(&self, row: usize, column: usize) -> Option<Datum> {
        assert!(!self.table.is_null() && row < self.len());
        // SAFETY: the row exists (asserted) and SPI_getbinval checks the column's number.
        unsafe {
            let tuple = *(*self.table).vals.add(row);
            let mut is_null = false;
            let datum = pg_sys::SPI_getbinval(tuple, (*self.table).tupdesc, column as i32, &mut is_null);
            (!is_null).then_some(datum)
        }
    }

    /// A text column that the statement may have left out.
    pub fn text(&self, row: usize, column: usize) -> Option<String> {
        // SAFETY: SPI sets the table for each statement that returns rows.
        let columns = unsafe { (*(*self.table).tupdesc).natts as usize };
        (column <= columns).then(|| self.get(row, column)).flatten()
    }

    /// Column (counted from 1) of a row (counted from 0) as a Rust value.
    pub fn get<T: FromDatum>(&self, row: usize, column: usize) -> Option<T> {
        let datum = self.datum(row, column)?;
        // SAFETY: not null; the statements in this crate state the types they return.
        unsafe { T::from_datum(datum, false) }
    }
}

/// A text value.
pub fn text_of(value: Datum) -> Option<String> {
    // SAFETY: the statements that use this return text, not null.
    unsafe { String::from_datum(value, false) }
}

/// An interval.
pub fn interval_of(value: Datum) -> Option<pgrx::datum::Interval> {
    // SAFETY: the statements that use this return an interval, not null.
    unsafe { pgrx::datum::Interval::from_datum(value, false) }
}
