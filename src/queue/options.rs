//! A queue's options: read, checked, written.

use crate::error::Error;
use crate::pg::spi::Rows;
use crate::pg::time::Micros;

pub const MAX_ATTEMPTS_LIMIT: i32 = 10_000;
const MICROS_PER_SECOND: f64 = 1_000_000.0;

/// How a queue behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub max_attempts: i32,
    pub backoff_seconds: f64,
    pub backoff_factor: f64,
    pub backoff_max_seconds: f64,
    pub lease: Micros,
    pub keep_done: Option<Micros>,
    pub paused: bool,
}

impl Options {
    /// From the columns of `queue.queues`, beginning at `first`.
    pub fn of_row(rows: &Rows, first: usize) -> Options {
        let seconds = |column: usize| rows.get::<f64>(0, column);
        Options {
            max_attempts: rows.get(0, first).unwrap_or(1),
            backoff_seconds: seconds(first + 1).unwrap_or(0.0),
            backoff_factor: seconds(first + 2).unwrap_or(1.0),
            backoff_max_seconds: seconds(first + 3).unwrap_or(0.0),
            lease: micros(seconds(first + 4).unwrap_or(0.0)),
            keep_done: seconds(first + 5).map(micros),
            paused: rows.get(0, first + 6).unwrap_or(false),
        }
    }
}

fn micros(seconds: f64) -> Micros {
    (seconds * MICROS_PER_SECOND) as Micros
}

/// Options as the caller gave them, `None` where not given; intervals in microseconds.
#[derive(Debug, Default)]
pub struct Given {
    pub max_attempts: Option<i32>,
    pub backoff: Option<Micros>,
    pub backoff_factor: Option<f64>,
    pub backoff_max: Option<Micros>,
    pub lease: Option<Micros>,
    pub keep_done: Option<Micros>,
}

impl Given {
    /// Raises for the first value out of its range.
    pub fn check(&self) -> Result<(), Error> {
        check_max_attempts(self.max_attempts)?;
        at_least_zero("backoff", self.backoff)?;
        at_least_zero("backoff_max", self.backoff_max)?;
        at_least_zero("keep_done", self.keep_done)?;
        check_lease(self.lease)?;
        if self.backoff_factor.is_some_and(|factor| !(1.0..=1000.0).contains(&factor)) {
            return Err(Error::out_of_range("backoff_factor must be between 1 and 1000"));
        }
        Ok(())
    }
}

pub fn check_max_attempts(max_attempts: Option<i32>) -> Result<(), Error> {
    if max_attempts.is_some_and(|n| !(1..=MAX_ATTEMPTS_LIMIT).contains(&n)) {
        return Err(Error::out_of_range(format!("max_attempts must be between 1 and {MAX_ATTEMPTS_LIMIT}")));
    }
    Ok(())
}

pub fn check_priority(priority: Option<i32>) -> Result<(), Error> {
    if priority.is_some_and(|n| !(0..=9).contains(&n)) {
        return Err(Error::out_of_range("priority must be between 0 and 9"));
    }
    Ok(())
}

pub fn check_lease(lease: Option<Micros>) -> Result<(), Error> {
    if lease.is_some_and(|micros| micros <= 0) {
        return Err(Error::out_of_range("lease must be greater than zero"));
    }
    Ok(())
}

pub fn at_least_zero(name: &str, interval: Option<Micros>) -> Result<(), Error> {
    if interval.is_some_and(|micros| micros < 0) {
        return Err(Error::out_of_range(format!("{name} must not be negative")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_within_range_pass() {
        let given = Given {
            max_attempts: Some(1),
            backoff: Some(0),
            backoff_factor: Some(1.0),
            backoff_max: Some(0),
            lease: Some(1),
            keep_done: Some(0),
        };
        assert!(given.check().is_ok());
        assert!(Given::default().check().is_ok());
    }

    #[test]
    fn values_out_of_range_are_refused() {
        assert!(Given { max_attempts: Some(0), ..Given::default() }.check().is_err());
        assert!(Given { backoff: Some(-1), ..Given::default() }.check().is_err());
        assert!(Given { backoff_factor: Some(0.5), ..Given::default() }.check().is_err());
        assert!(Given { backoff_factor: Some(f64::NAN), ..Given::default() }.check().is_err());
        assert!(Given { lease: Some(0), ..Given::default() }.check().is_err());
        assert!(Given { keep_done: Some(-1), ..Given::default() }.check().is_err());
        assert!(check_priority(Some(10)).is_err());
        assert!(check_priority(Some(-1)).is_err());
        assert!(check_priority(Some(9)).is_ok());
    }
}
