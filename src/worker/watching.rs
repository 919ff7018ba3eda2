//! What a worker publishes of the batch it runs, and how it hears of a cancelled job.

use super::main_loop::{FINISHING, RUNNING};
use super::shared::WorkerSlot;
use crate::claim::Taken;
use crate::pg::time::now;
use crate::run::batch::Observer;
use std::sync::atomic::Ordering::SeqCst;

/// Publishes what the worker does, and takes an admin's cancel.
pub struct Watching {
    slot: &'static WorkerSlot,
}

impl Watching {
    pub fn new(slot: &'static WorkerSlot) -> Watching {
        slot.cancel.store(0, SeqCst);
        Watching { slot }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.slot.job.store(0, SeqCst);
        self.slot.batch.store(0, SeqCst);
        self.slot.state.store(FINISHING, SeqCst);
    }
}

impl Observer for Watching {
    fn claimed(&mut self, jobs: &[Taken]) {
        self.slot.batch.store(jobs.len() as u32, SeqCst);
        self.slot.since.store(now(), SeqCst);
        self.slot.state.store(RUNNING, SeqCst);
    }

    fn starting(&mut self, job: &Taken) {
        self.slot.job.store(job.id, SeqCst);
    }

    fn cancelled(&self) -> Option<i64> {
        match self.slot.cancel.load(SeqCst) {
            0 => None,
            id => Some(id),
        }
    }

    fn forget_cancelled(&mut self) {
        self.slot.cancel.store(0, SeqCst);
    }

    fn owns_interrupts(&self) -> bool {
        true
    }
}
