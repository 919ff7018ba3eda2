//! What becomes of a job after a failed attempt. Pure.

/// How a queue spaces its retries.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    pub first_seconds: f64,
    pub factor: f64,
    pub most_seconds: f64,
}

/// Each wait is shortened by up to this part of it, so that jobs that failed together do not come back
/// together.
const JITTER: f64 = 0.1;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// Try again after so many seconds.
    Retry { seconds: f64 },
    /// That was the last attempt: an error row.
    GiveUp,
}

/// `attempt` (from 1) failed; `random` is in 0..1.
pub fn after_failure(attempt: i32, max_attempts: i32, backoff: Backoff, random: f64) -> Outcome {
    if attempt >= max_attempts {
        return Outcome::GiveUp;
    }
    let grown = backoff.first_seconds * backoff.factor.powi(attempt.saturating_sub(1).clamp(0, 10_000));
    // An infinite product is capped like any other; 0 times infinity is no number and means no wait.
    let wait = if grown.is_nan() { 0.0 } else { grown.min(backoff.most_seconds) };
    Outcome::Retry { seconds: wait * (1.0 - JITTER * random) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first_seconds: 1.0, factor: 2.0, most_seconds: 10.0 };

    #[test]
    fn waits_grow_by_the_factor_up_to_the_most() {
        let waits: Vec<_> = (1..=6).map(|attempt| after_failure(attempt, 9, BACKOFF, 0.0)).collect();
        let seconds = [1.0, 2.0, 4.0, 8.0, 10.0, 10.0];
        assert_eq!(waits, seconds.map(|seconds| Outcome::Retry { seconds }));
    }

    #[test]
    fn the_last_attempt_gives_up() {
        assert_eq!(after_failure(3, 3, BACKOFF, 0.0), Outcome::GiveUp);
        assert_eq!(after_failure(1, 1, BACKOFF, 0.0), Outcome::GiveUp);
        assert!(matches!(after_failure(2, 3, BACKOFF, 0.0), Outcome::Retry { .. }));
    }

    #[test]
    fn attempts_are_never_counted_past_the_end() {
        assert_eq!(after_failure(i32::MAX, i32::MAX, BACKOFF, 0.0), Outcome::GiveUp);
        let first = after_failure(i32::MIN, i32::MAX, BACKOFF, 0.0);
        assert_eq!(first, Outcome::Retry { seconds: 1.0 });
    }

    #[test]
    fn jitter_shortens_by_a_tenth_at_most() {
        let Outcome::Retry { seconds } = after_failure(1, 9, BACKOFF, 0.999) else { panic!() };
        assert!(seconds > 0.9 && seconds < 1.0);
    }

    #[test]
    fn extremes_stay_finite() {
        let huge = Backoff { first_seconds: 1.0, factor: 1000.0, most_seconds: 3600.0 };
        assert_eq!(after_failure(9_999, 10_000, huge, 0.0), Outcome::Retry { seconds: 3600.0 });
        let none = Backoff { first_seconds: 0.0, factor: 1000.0, most_seconds: 0.0 };
        assert_eq!(after_failure(9_999, 10_000, none, 0.0), Outcome::Retry { seconds: 0.0 });
    }
}
