//! `queue.cancel`: a job becomes an error row, also while a worker runs it.

use crate::error::{SqlResult, required};
use crate::history::{self, give_up};
use crate::pg::failure::Failure;
use crate::pg::{Oid, bgworker, catalog, role, shmem, spi};
use crate::queue::statements::Which;
use crate::queue::{self, Queue};
use crate::run::processor::{self, Shape};
use crate::sql_function;
use crate::worker::shared::WorkerSlot;
use crate::{claim, finish};
use pgrx::pg_sys;
use std::sync::atomic::Ordering::SeqCst;

sql_function!(cancel);

/// Why a job is an error row.
pub const BY_ADMIN: &str = "canceled by an administrator";

/// `queue.cancel`
fn cancel(queue: Option<Oid>, id: Option<i64>) -> SqlResult<bool> {
    let (oid, id) = (required("queue", queue)?, required("id", id)?);
    spi::connect(|| {
        let queue = queue::open_owned(oid)?.locked()?;
        let failure = Failure::new("57014", BY_ADMIN);
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
        Ok(is_ready(&queue, id) && interrupt_workers(&queue, &[id]) > 0)
    })
}

/// Is the job still among the ready ones, though somebody holds it?
fn is_ready(queue: &Queue, id: i64) -> bool {
    let sql = format!("SELECT FROM {} WHERE state = 'ready' AND id = $1", queue.table);
    role::as_role(queue.owner, || !queue.plan(sql, &[pg_sys::INT8OID]).execute(&[spi::arg(id)]).is_empty())
}

/// Asks the workers on a queue to give up jobs, and interrupts those that run one. With f(queue[]) it may be
/// any of them; one hit by mistake runs its batch again without blaming a job. Returns how many jobs they
/// were asked for.
pub fn interrupt_workers(queue: &Queue, ids: &[i64]) -> usize {
    let database = catalog::my_database().to_u32();
    let Some(shared) = shmem::get() else { return 0 };
    let Some(place) = shared.find_queue(database, queue.oid.to_u32()) else { return 0 };
    let whole_batch = processor::find(queue.oid).is_some_and(|p| p.shape == Shape::Batch);
    let is_here = |worker: &&WorkerSlot| worker.queue_place.load(SeqCst) == place as u32 + 1;
    let workers: Vec<&WorkerSlot> =
        shared.workers_of(database).map(|(_, worker)| worker).filter(is_here).collect();
    // There may be no room for all: those that are running just now come first.
    let running: Vec<i64> = workers.iter().map(|worker| worker.job.load(SeqCst)).collect();
    let (now, later): (Vec<i64>, Vec<i64>) = ids.iter().partition(|id| running.contains(id));
    let ask = |id: &&i64| workers.iter().filter(|worker| worker.cancels.add(**id)).count() > 0;
    let asked = now.iter().chain(&later).filter(ask).count();
    for worker in workers {
        if whole_batch || ids.contains(&worker.job.load(SeqCst)) {
            bgworker::interrupt(worker.pid.load(SeqCst));
        }
    }
    asked
}
