//! Running processors inside the database: claim a batch, call the function, write what came of it.

pub mod balance;
pub mod batch;
pub mod next;
pub mod outcome;
pub mod pipeline;
pub mod processor;
pub mod register;
pub mod session;

use crate::pg::{Datum, Oid};
use std::cell::Cell;

/// A job that a processor runs now. Its row is valid as long as the batch runs.
#[derive(Clone, Copy)]
pub struct Present {
    pub queue: Oid,
    pub id: i64,
    pub row: Datum,
}

thread_local! {
    static CURRENT: Cell<Option<Oid>> = const { Cell::new(None) };
    static PRESENT: Cell<Option<Present>> = const { Cell::new(None) };
}

/// The job whose processor is running in this session now; of a whole batch, one that can speak for all.
pub fn present_job() -> Option<Present> {
    PRESENT.get()
}

/// From now on this job runs. To be called while the queue is marked as running.
pub fn set_present(job: Option<Present>) {
    PRESENT.set(job);
}

/// The queue whose processor is running in this session now: triggers with ignore_own ask.
pub fn current_queue() -> Option<Oid> {
    CURRENT.get()
}

/// Marks the queue as running until dropped.
pub struct Running(Option<Oid>, Option<Present>);

impl Running {
    pub fn queue(oid: Oid) -> Running {
        Running(CURRENT.replace(Some(oid)), PRESENT.replace(None))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        CURRENT.set(self.0);
        PRESENT.set(self.1);
    }
}
