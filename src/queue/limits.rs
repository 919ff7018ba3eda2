//! The ranges of options, of queues and of single jobs. Pure.

/// Microseconds, as Postgres counts intervals.
type Micros = i64;

pub const MAX_ATTEMPTS_LIMIT: i32 = 10_000;
const MOST_LIMIT: i32 = 1_000_000;

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
    pub keep_failed: Option<Micros>,
    pub on_conflict: Option<String>,
    pub on_group_failure: Option<String>,
    pub max_running: Option<i32>,
    pub max_running_per_key: Option<i32>,
    pub rate_limit: Option<i32>,
    pub rate_limit_per_key: Option<i32>,
    pub rate_interval: Option<Micros>,
}

/// What happens to a job whose key another waiting job has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// The waiting one stands for both.
    Skip,
    /// The waiting one gets the new content, and keeps its place.
    Replace,
    /// The waiting one gets the new content and the new time.
    Debounce,
    /// The new content is merged into the waiting one's.
    Merge,
    /// Refused.
    Error,
}

impl OnConflict {
    pub fn of(name: &str) -> Option<OnConflict> {
        Some(match name {
            "skip" => OnConflict::Skip,
            "replace" => OnConflict::Replace,
            "debounce" => OnConflict::Debounce,
            "merge" => OnConflict::Merge,
            "error" => OnConflict::Error,
            _ => return None,
        })
    }
}

impl Given {
    /// Raises for the first value out of its range.
    pub fn check(&self) -> Result<(), OutOfRange> {
        check_max_attempts(self.max_attempts)?;
        check_interval("backoff", self.backoff)?;
        check_interval("backoff_max", self.backoff_max)?;
        check_interval("keep_done", self.keep_done)?;
        check_interval("keep_failed", self.keep_failed)?;
        check_lease(self.lease)?;
        greater_than_zero("rate_interval", self.rate_interval)?;
        for (name, limit) in [
            ("max_running", self.max_running),
            ("max_running_per_key", self.max_running_per_key),
            ("rate_limit", self.rate_limit),
            ("rate_limit_per_key", self.rate_limit_per_key),
        ] {
            check_limit(name, limit)?;
        }
        check_on_conflict(self.on_conflict.as_deref(), true)?;
        check_word("on_group_failure", self.on_group_failure.as_deref(), &["block", "continue"])?;
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

/// The same for a job that has had attempts before this one: each that was snoozed or resubmitted raised its limit.
pub fn check_attempts_left(max_attempts: Option<i32>, attempt: Option<i32>) -> Result<(), OutOfRange> {
    let earlier = attempt.unwrap_or(1).saturating_sub(1).max(0);
    check_max_attempts(max_attempts.map(|most| most.saturating_sub(earlier).max(most.min(1))))
}

/// 0 stands for none.
fn check_limit(name: &str, limit: Option<i32>) -> Result<(), OutOfRange> {
    if limit.is_some_and(|n| !(0..=MOST_LIMIT).contains(&n)) {
        return Err(OutOfRange::new(format!("{name} must be between 1 and {MOST_LIMIT}, or 0 for no limit")));
    }
    Ok(())
}

/// `none` is for a queue: its keys are only stored.
pub fn check_on_conflict(word: Option<&str>, allow_none: bool) -> Result<(), OutOfRange> {
    let words = ["skip", "replace", "debounce", "merge", "error", "none"];
    check_word("on_conflict", word, if allow_none { &words } else { &words[..5] })
}

/// Most jobs that one job waits for.
pub const MOST_AFTER: usize = 10_000;

pub fn check_after(count: usize) -> Result<(), OutOfRange> {
    if count > MOST_AFTER {
        return Err(OutOfRange::new(format!("after must have at most {MOST_AFTER} ids")));
    }
    Ok(())
}

pub fn check_after_failure(word: Option<&str>) -> Result<(), OutOfRange> {
    check_word("after_failure", word, &["fail", "release"])
}

/// A state in which a job that has ended is kept.
pub fn check_ended_state(state: Option<&str>) -> Result<(), OutOfRange> {
    check_word("state", state, &["done", "failed"])
}

/// A state from which a job can be moved to another queue.
pub fn check_movable_state(state: &str) -> Result<(), OutOfRange> {
    check_word("states", Some(state), &["ready", "scheduled", "blocked", "failed"])
}

fn check_word(name: &str, word: Option<&str>, words: &[&str]) -> Result<(), OutOfRange> {
    match word {
        Some(word) if !words.contains(&word) => {
            Err(OutOfRange::new(format!("{name} must be one of {}, not \"{word}\"", words.join(", "))))
        }
        _ => Ok(()),
    }
}

/// Longer texts do not fit into an index.
pub const MOST_KEY_BYTES: usize = 1000;

/// Checks a key, a group_key or a correlation_id.
pub fn check_key(name: &str, key: Option<&str>) -> Result<(), OutOfRange> {
    check_key_bytes(name, key.map_or(0, str::len))
}

/// The same for a text whose length is all that is known.
pub fn check_key_bytes(name: &str, bytes: usize) -> Result<(), OutOfRange> {
    if bytes > MOST_KEY_BYTES {
        return Err(OutOfRange::new(format!("{name} must be at most {MOST_KEY_BYTES} bytes long")));
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

/// What each text of a failure is kept of: so a hundred failures are far from more than jsonb can hold.
pub const MOST_ERROR_BYTES: usize = 65_536;

pub fn cut_error_text(text: &str) -> String {
    if text.len() <= MOST_ERROR_BYTES {
        return text.to_owned();
    }
    let end = (0..=MOST_ERROR_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
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
            on_conflict: Some("none".into()),
            on_group_failure: Some("block".into()),
            max_running: Some(0),
            ..Given::default()
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
        assert!(Given { rate_interval: Some(0), ..Given::default() }.check().is_err());
        assert!(Given { max_running: Some(-1), ..Given::default() }.check().is_err());
        assert!(Given { on_conflict: Some("ignore".into()), ..Given::default() }.check().is_err());
        assert!(check_on_conflict(Some("none"), false).is_err());
        assert!(check_key("key", Some(&"k".repeat(1001))).is_err());
        assert!(check_priority(Some(10)).is_err());
        assert!(check_priority(Some(-1)).is_err());
        assert!(check_priority(Some(9)).is_ok());
        assert!(check_ended_state(Some("ready")).is_err());
        assert!(check_ended_state(None).is_ok());
        assert!(check_after(MOST_AFTER).is_ok());
        assert!(check_after(MOST_AFTER + 1).is_err());
        assert!(check_movable_state("running").is_err());
        assert!(check_movable_state("failed").is_ok());
    }

    #[test]
    fn long_texts_of_failures_are_cut_between_characters() {
        let most = "m".repeat(MOST_ERROR_BYTES);
        assert_eq!(cut_error_text(&most), most);
        assert_eq!(cut_error_text(&format!("{most}m")), format!("{most}…"));
        let wide = format!("m{}", "ä".repeat(MOST_ERROR_BYTES));
        assert_eq!(cut_error_text(&wide).len(), MOST_ERROR_BYTES - 1 + "…".len());
    }
}
