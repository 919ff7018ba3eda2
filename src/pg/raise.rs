//! Raising an error with any SQLSTATE, and giving back a procedure's INOUT arguments.

use super::entry::Call;
use super::spi::Arg;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::ffi::CString;

/// An error as it was once raised elsewhere.
#[derive(Debug, Default)]
pub struct Raised {
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub context: Option<String>,
}

/// The packed form of a SQLSTATE; that of an internal error for what is none.
fn packed(sqlstate: &str) -> i32 {
    let well_formed = sqlstate.len() == 5
        && sqlstate.bytes().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase())
        && !sqlstate.starts_with("00");
    let sqlstate = if well_formed { sqlstate } else { "XX000" };
    sqlstate.bytes().rev().fold(0, |code, c| (code << 6) | i32::from((c - b'0') & 0x3F))
}

impl Raised {
    /// Raises it again. pgrx knows only the SQLSTATEs of Postgres; at the edge of a raw function, though, an
    /// ERROR of Postgres goes on as it was.
    pub fn raise(self) -> ! {
        let text = |text: Option<String>| {
            // A null byte cannot be in a text of Postgres.
            let text = text.map(|text| CString::new(text).unwrap_or_default());
            // SAFETY: a C string, copied.
            text.map_or(std::ptr::null_mut(), |text| unsafe { pg_sys::pstrdup(text.as_ptr()) })
        };
        let mut error = pg_sys::ErrorData {
            elevel: PgLogLevel::ERROR as i32,
            sqlerrcode: packed(&self.sqlstate),
            message: text(Some(self.message)),
            detail: text(self.detail),
            hint: text(self.hint),
            context: text(self.context),
            ..Default::default()
        };
        // SAFETY: Postgres copies what it is given, and raises.
        unsafe { pg_sys::ThrowErrorData(&mut error) };
        unreachable!("ThrowErrorData returned from an ERROR")
    }
}

impl Call {
    /// The INOUT arguments of a procedure as it gives them back.
    pub fn record(&self, columns: &[Arg]) -> pg_sys::Datum {
        // SAFETY: the call's own result type, which for a procedure with INOUT arguments is a row of them;
        // their number is asserted. The row is made in the caller's memory.
        unsafe {
            let mut desc = std::ptr::null_mut();
            pg_sys::get_call_result_type(self.raw(), std::ptr::null_mut(), &mut desc);
            assert!(!desc.is_null() && (*desc).natts as usize == columns.len());
            let desc = pg_sys::BlessTupleDesc(desc);
            let mut values: Vec<pg_sys::Datum> =
                columns.iter().map(|c| c.unwrap_or(pg_sys::Datum::from(0))).collect();
            let mut nulls: Vec<bool> = columns.iter().map(Option::is_none).collect();
            let tuple = pg_sys::heap_form_tuple(desc, values.as_mut_ptr(), nulls.as_mut_ptr());
            pg_sys::HeapTupleHeaderGetDatum((*tuple).t_data)
        }
    }
}
