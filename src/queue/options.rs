//! A queue's options as remembered.

use super::limits::OnConflict;
use crate::pg::rows::Own;
use crate::pg::time::{Micros, epoch};
use pgrx::datum::Interval;
use std::ffi::CStr;

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
    /// What a second waiting job with the same key does; `None`: keys are only stored.
    pub on_conflict: Option<OnConflict>,
    /// A failed job lets the others of its group pass.
    pub group_continues: bool,
    /// Most jobs that run at the same time, of the queue and of a key.
    pub max_running: Option<i32>,
    pub max_running_per_key: Option<i32>,
    /// Most jobs that start within `rate_interval`, of the queue and of a key.
    pub rate_limit: Option<i32>,
    pub rate_limit_per_key: Option<i32>,
    pub rate_interval: Micros,
    pub keep_failed: Option<Micros>,
}

impl Options {
    /// From a row of `queue.queues`.
    pub fn of(row: &Own) -> Options {
        let seconds = |column: &CStr| row.get::<Interval>(column).as_ref().map(epoch);
        let length = |column: &CStr| seconds(column).map(|seconds| (seconds * MICROS_PER_SECOND) as Micros);
        let word = |column: &CStr| row.get::<String>(column);
        Options {
            max_attempts: row.get(c"max_attempts").unwrap_or(1),
            backoff_seconds: seconds(c"backoff").unwrap_or(0.0),
            backoff_factor: row.get(c"backoff_factor").unwrap_or(1.0),
            backoff_max_seconds: seconds(c"backoff_max").unwrap_or(0.0),
            lease: length(c"lease").unwrap_or(0),
            keep_done: length(c"keep_done"),
            paused: row.get(c"paused").unwrap_or(false),
            on_conflict: word(c"on_conflict").and_then(|name| OnConflict::of(&name)),
            group_continues: word(c"on_group_failure").as_deref() == Some("continue"),
            max_running: row.get(c"max_running"),
            max_running_per_key: row.get(c"max_running_per_key"),
            rate_limit: row.get(c"rate_limit"),
            rate_limit_per_key: row.get(c"rate_limit_per_key"),
            rate_interval: length(c"rate_interval").unwrap_or(MICROS_PER_SECOND as Micros),
            keep_failed: length(c"keep_failed"),
        }
    }
}
