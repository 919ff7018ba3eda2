//! What a worker publishes of the batch it runs, and how it hears of a cancelled job.

use super::main_loop::{FINISHING, RUNNING};
use super::shared::WorkerSlot;
use crate::claim::Taken;
use crate::pg::bgworker;
use crate::pg::time::now;
use crate::queue::Queue;
use crate::run::batch::Observer;
use crate::run::processor::Processor;
use std::sync::atomic::Ordering::SeqCst;

/// Publishes what the worker does, and takes an admin's cancel.
pub struct Watching {
    slot: &'static WorkerSlot,
    /// The process bears the queue's name already.
    named: bool,
}

impl Watching {
    pub fn new(slot: &'static WorkerSlot, named: bool) -> Watching {
        slot.cancels.clear();
        Watching { slot, named }
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
    fn claimed(&mut self, queue: &Queue, processor: &Processor, jobs: &[Taken]) {
        // Only now: looking at an empty queue is nothing to be told about.
        if !self.named {
            bgworker::report_name(&format!("queue_ext: {}", queue.name));
            let text = format!("SELECT {}(…) /* queue {} */", processor.function, queue.name);
            bgworker::report_activity(Some(&text));
            self.named = true;
        }
        self.slot.batch.store(jobs.len() as u32, SeqCst);
        self.slot.since.store(now(), SeqCst);
        self.slot.state.store(RUNNING, SeqCst);
    }

    fn starting(&mut self, job: &Taken) {
        self.slot.job.store(job.id, SeqCst);
    }

    fn is_cancelled(&self, id: i64) -> bool {
        self.slot.cancels.has(id)
    }

    fn any_cancelled(&self) -> bool {
        !self.slot.cancels.is_empty()
    }

    fn forget_cancelled(&mut self) {
        self.slot.cancels.clear();
    }

    fn owns_interrupts(&self) -> bool {
        true
    }
}
