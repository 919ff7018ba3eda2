//! The ranges of options, of queues and of single jobs. Pure.

/// Microseconds, as Postgres counts intervals.
type Micros = i64;

pub const MAX_ATTEMPTS_LIMIT: i32 = 10_000;

/// Years of twelve months of thirty days, as intervals are counted here.
const MOST_YEARS: i64 = 100_000;
/// So long a time from now is one that Postgres can hold, for some thousands of years to come.
const LONGEST: Micros = MOST_YEARS * 360 * 86_400_000_000;

/// Says what the value must be.
#[derive(Debug, PartialEq)]
pub struct OutOfRange(pub String);

impl OutOfRange {
    pub fn new(text: impl Into<String>) -> OutOfRange {
        OutOfRange(text.into())
    }
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
    pub fn check(&self) -> Result<(), OutOfRange> {
        check_max_attempts(self.max_attempts)?;
        check_interval("backoff", self.backoff)?;
        check_interval("backoff_max", self.backoff_max)?;
        check_interval("keep_done", self.keep_done)?;
        check_lease(self.lease)?;
        if self.backoff_factor.is_some_and(|factor| !(1.0..=1000.0).contains(&factor)) {
            return Err(OutOfRange::new("backoff_factor must be between 1 and 1000"));
        }
        Ok(())
    }
}

pub fn check_max_attempts(max_attempts: Option<i32>) -> Result<(), OutOfRange> {
    if max_attempts.is_some_and(|n| !(1..=MAX_ATTEMPTS_LIMIT).contains(&n)) {
        return Err(OutOfRange::new(format!("max_attempts must be between 1 and {MAX_ATTEMPTS_LIMIT}")));
    }
    Ok(())
}

pub fn check_priority(priority: Option<i32>) -> Result<(), OutOfRange> {
    if priority.is_some_and(|n| !(0..=9).contains(&n)) {
        return Err(OutOfRange::new("priority must be between 0 and 9"));
    }
    Ok(())
}

pub fn check_lease(lease: Option<Micros>) -> Result<(), OutOfRange> {
    greater_than_zero("lease", lease)
}

fn greater_than_zero(name: &str, interval: Option<Micros>) -> Result<(), OutOfRange> {
    if interval.is_some_and(|micros| micros <= 0) {
        return Err(OutOfRange::new(format!("{name} must be greater than zero")));
    }
    check_interval(name, interval)
}

/// Not negative, and not longer than there is time.
pub fn check_interval(name: &str, interval: Option<Micros>) -> Result<(), OutOfRange> {
    if interval.is_some_and(|micros| micros < 0) {
        return Err(OutOfRange::new(format!("{name} must not be negative")));
    }
    if interval.is_some_and(|micros| micros > LONGEST) {
        return Err(OutOfRange::new(format!("{name} must be at most {MOST_YEARS} years")));
    }
    Ok(())
}

/// Checks a processor's limits.
pub fn check_processor(batch_size: i32, parallelism: i32, timeout: Option<Micros>) -> Result<(), OutOfRange> {
    if !(1..=10_000).contains(&batch_size) {
        return Err(OutOfRange::new("batch_size must be between 1 and 10000"));
    }
    if !(1..=64).contains(&parallelism) {
        return Err(OutOfRange::new("parallelism must be between 1 and 64"));
    }
    greater_than_zero("timeout", timeout)
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
    fn intervals_are_no_longer_than_there_is_time() {
        const END_OF_TIMESTAMPTZ: Micros = 9_223_371_331_200_000_000;
        assert!(check_interval("delay", Some(LONGEST)).is_ok());
        assert!(check_interval("delay", Some(LONGEST + 1)).is_err());
        assert!(check_lease(Some(i64::MAX)).is_err());
        assert!(check_processor(1, 1, Some(i64::MAX)).is_err());
        const { assert!(LONGEST < END_OF_TIMESTAMPTZ / 2) };
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
