//! `queue.cancel`: a job becomes an error row, also while a worker runs it.

use crate::error::{SqlResult, required};
use crate::history::{self, give_up};
use crate::pg::failure::Failure;
use crate::pg::{Oid, bgworker, catalog, role, shmem, spi};
use crate::queue::statements::Which;
use crate::queue::{self, Queue};
use crate::run::processor::{self, Shape};
use crate::{claim, finish};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::sync::atomic::Ordering::SeqCst;

/// `queue.cancel`
#[pg_extern(sql = false)]
fn cancel(queue: Option<Oid>, id: Option<i64>) -> SqlResult<bool> {
    let (oid, id) = (required("queue", queue)?, required("id", id)?);
    spi::connect(|| {
        let queue = queue::open_owned(oid)?.locked()?;
        let failure = Failure::new("57014", "canceled by an administrator");
        let waiting = [Which::ReadyJob, Which::ScheduledJob, Which::BlockedJob, Which::RunningJob];
        // Twice, for a job that moved on to a state already looked at.
        for which in waiting.into_iter().chain(waiting) {
            let taken = claim::take(&queue, which, &[spi::arg(id)]);
            if !taken.is_empty() {
                finish::put(&queue, taken.iter().map(|job| give_up(job, &failure)).collect());
                return Ok(true);
            }
        }
        history::check_issued(&queue, id)?;
        Ok(is_ready(&queue, id) && interrupt_workers(&queue, id))
    })
}

/// Is the job still among the ready ones, though somebody holds it?
fn is_ready(queue: &Queue, id: i64) -> bool {
    let sql = format!("SELECT FROM {} WHERE state = 'ready' AND id = $1", queue.table);
    role::as_role(queue.owner, || !queue.plan(sql, &[pg_sys::INT8OID]).execute(&[spi::arg(id)]).is_empty())
}

/// Asks the workers on a queue to give up a job, and interrupts the one that runs it. With f(queue[]) it
/// may be any of them; one hit by mistake runs its batch again without blaming a job.
fn interrupt_workers(queue: &Queue, id: i64) -> bool {
    let Some(shared) = shmem::get() else {
        return false;
    };
    let Some(place) = shared.find_queue(catalog::my_database().to_u32(), queue.oid.to_u32()) else {
        return false;
    };
    let whole_batch = processor::find(queue.oid).is_some_and(|p| p.shape == Shape::Batch);
    let mut asked = false;
    for (_, worker) in shared.workers_of(catalog::my_database().to_u32()) {
        if worker.queue_place.load(SeqCst) != place as u32 + 1 {
            continue;
        }
        worker.cancel.store(id, SeqCst);
        asked = true;
        if whole_batch || worker.job.load(SeqCst) == id {
            bgworker::interrupt(worker.pid.load(SeqCst));
        }
    }
    asked
}
