//! Running processors inside the database: claim a batch, call the function, write what came of it.

pub mod balance;
pub mod batch;
pub mod outcome;
pub mod processor;
pub mod register;
pub mod session;

use crate::pg::Oid;
use std::cell::Cell;

thread_local! {
    static CURRENT: Cell<Option<Oid>> = const { Cell::new(None) };
}

/// The queue whose processor is running in this session now: triggers with ignore_own ask.
pub fn current_queue() -> Option<Oid> {
    CURRENT.get()
}

/// Marks the queue as running until dropped.
pub struct Running(Option<Oid>);

impl Running {
    pub fn queue(oid: Oid) -> Running {
        Running(CURRENT.replace(Some(oid)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}
