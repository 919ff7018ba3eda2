//! The harness of the integration tests: a server of one's own, and waiting for conditions.
//!
//! Nothing here sleeps for its own sake. [`until`] looks again and again, and gives up after a
//! deadline that is far beyond anything a healthy server needs, so no test depends on speed.

mod rng;
mod server;
mod sql;

pub use rng::Rng;
pub use server::{Server, Settings, as_postgres, binary};
pub use sql::{Sql, Text};

use std::thread;
use std::time::{Duration, Instant};

/// Far more than any condition here needs; only a failing test ever gets there.
pub const DEADLINE: Duration = Duration::from_secs(60);

const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Waits until `probe` gives a value and returns it; fails with `what` when it does not come.
pub fn until_some<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, probe).unwrap_or_else(|| panic!("this did not happen in {DEADLINE:?}: {what}"))
}

/// Waits until `probe` is true; fails with `what` when it does not become so.
pub fn until(what: &str, mut probe: impl FnMut() -> bool) {
    until_some(what, || probe().then_some(()));
}

/// Waits until `probe` has counted to at least `count`. Progress, not time, is what is asked for: the deadline is
/// for each step.
pub fn until_count(what: &str, count: i64, mut probe: impl FnMut() -> i64) {
    let mut so_far = probe();
    while so_far < count {
        so_far = until_some(&format!("{what}: more than {so_far} of {count}"), || {
            Some(probe()).filter(|now| *now > so_far)
        });
    }
}

/// As [`until_some`], with a deadline of one's own and no opinion about missing it.
pub fn within<T>(deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() > end {
            return None;
        }
        thread::sleep(LOOK_AGAIN);
    }
}
