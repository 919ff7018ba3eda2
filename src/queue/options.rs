//! A queue's options as remembered.

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
