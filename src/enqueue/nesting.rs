//! How deep jobs that make triggers enqueue further jobs may be nested.
//!
//! A circle of attachments is refused where it is made (see [`super::circle`]). One that goes by triggers of
//! the user's own cannot be seen beforehand. Without a bound it would come to the stack's limit.

use crate::error::Error;
use std::cell::Cell;

/// More than any chain of queues has, and few enough to fit into the stack many times over.
const MOST_LEVELS: u32 = 100;

thread_local! {
    static LEVELS: Cell<u32> = const { Cell::new(0) };
}

/// Jobs are put on a queue while this is alive.
pub struct Level(());

impl Level {
    pub fn enter(queue: &str) -> Result<Level, Error> {
        let level = LEVELS.get() + 1;
        if level > MOST_LEVELS {
            return Err(Error::TooNested { queue: queue.into(), levels: MOST_LEVELS });
        }
        LEVELS.set(level);
        Ok(Level(()))
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        LEVELS.set(LEVELS.get() - 1);
    }
}
