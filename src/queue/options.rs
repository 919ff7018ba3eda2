//! A queue's options as remembered.

use super::limits::OnConflict;
use crate::pg::spi::Rows;
use crate::pg::time::Micros;

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
            on_conflict: rows.get::<String>(0, first + 7).and_then(|name| OnConflict::of(&name)),
            group_continues: rows.get::<String>(0, first + 8).as_deref() == Some("continue"),
            max_running: rows.get(0, first + 9),
            max_running_per_key: rows.get(0, first + 10),
            rate_limit: rows.get(0, first + 11),
            rate_limit_per_key: rows.get(0, first + 12),
            rate_interval: micros(seconds(first + 13).unwrap_or(1.0)),
            keep_failed: seconds(first + 14).map(micros),
        }
    }
}

fn micros(seconds: f64) -> Micros {
    (seconds * MICROS_PER_SECOND) as Micros
}
