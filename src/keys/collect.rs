//! Jobs that statements of ours insert through the executor: the queue's row triggers tell of them, and they
//! are settled when the statement has ended.

use super::Keyed;
use crate::queue::limits::OnConflict;
use std::cell::RefCell;

thread_local! {
    static COLLECTED: RefCell<Option<Vec<Keyed>>> = const { RefCell::new(None) };
}

/// While it lives, jobs with a key are collected.
pub struct Collecting(Option<Vec<Keyed>>);

impl Collecting {
    pub fn begin() -> Collecting {
        Collecting(COLLECTED.replace(Some(Vec::new())))
    }

    /// The jobs, which are to do this about other jobs with their keys.
    pub fn end(self, on_conflict: Option<OnConflict>) -> Vec<Keyed> {
        let mut rows = COLLECTED.take().unwrap_or_default();
        rows.iter_mut().for_each(|row| row.on_conflict = on_conflict);
        rows
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        COLLECTED.set(self.0.take());
    }
}

/// A trigger met this job, which a statement of ours inserted. Nothing happens if nobody collects.
pub fn collect(row: Keyed) {
    COLLECTED.with_borrow_mut(|collected| {
        if let Some(rows) = collected {
            rows.push(row);
        }
    });
}
