//! Time as Postgres counts it: microseconds since 2000-01-01 UTC.

use super::raw;
use pgrx::pg_sys;
use pgrx::prelude::*;

/// Microseconds since 2000-01-01 UTC.
pub type Micros = i64;

/// The time by the clock, not that of the transaction.
pub fn now() -> Micros {
    // SAFETY: reads the clock, and does not raise.
    unsafe { raw::GetCurrentTimestamp() }
}

/// The time that `now()` gives in SQL.
pub fn transaction_start() -> Micros {
    // SAFETY: inside a transaction, where all SQL-callable code runs. Reads a global, and does not raise.
    unsafe { raw::GetCurrentTransactionStartTimestamp() }
}

/// An interval's length, with months of 30 days, as `justify_interval` counts them.
pub fn interval_micros(interval: &Interval) -> Micros {
    let days = i64::from(interval.months()) * 30 + i64::from(interval.days());
    days.saturating_mul(86_400_000_000).saturating_add(interval.micros())
}

/// An interval's length as `extract(epoch FROM …)` gives it: a whole year has 365.25 days.
pub fn epoch(interval: &Interval) -> f64 {
    let months = interval.months();
    let hours =
        i64::from(months / 12) * 8766 + i64::from(months % 12) * 720 + i64::from(interval.days()) * 24;
    (i128::from(hours) * 3_600_000_000 + i128::from(interval.micros())) as f64 / 1e6
}

/// The last time there is, before `END_TIMESTAMP` of datatype/timestamp.h: what comes after cannot be read.
const LAST: Micros = 9_223_371_331_200_000_000 - 1;

/// So long after a time; at the latest, the last there is.
pub fn after(start: Micros, wait: Micros) -> Micros {
    start.saturating_add(wait).min(LAST)
}

/// A time from its text; raises if it is none.
pub fn of_text(text: &std::ffi::CStr) -> Micros {
    // SAFETY: timestamptz_in takes a C string, which outlives the call, a type that it does not look at, and
    // -1 for no limit of digits.
    unsafe {
        pgrx::direct_function_call_as_datum(
            pg_sys::timestamptz_in,
            &[
                Some(pg_sys::Datum::from(text.as_ptr())),
                Some(pg_sys::Datum::from(pg_sys::Oid::INVALID)),
                Some(pg_sys::Datum::from(-1i32)),
            ],
        )
        .map_or(0, |time| time.value() as Micros)
    }
}

/// A time as an argument of a statement.
pub fn to_arg(time: Option<Micros>) -> Option<pg_sys::Datum> {
    time.map(pg_sys::Datum::from)
}

/// A random number from 0 up to, not including, 1: for jitter.
pub fn random_fraction() -> f64 {
    // SAFETY: the backend's own generator, seeded at its start.
    unsafe { pg_sys::pg_prng_double(&raw mut pg_sys::pg_global_prng_state) }
}

/// A random UUID, as `gen_random_uuid` makes it.
pub fn random_uuid() -> String {
    // SAFETY: takes no arguments.
    let uuid = unsafe { pgrx::direct_function_call::<pgrx::datum::Uuid>(pg_sys::gen_random_uuid, &[]) };
    uuid.map(|uuid| uuid.to_string()).unwrap_or_default()
}
