//! Scheduler and workers without shared memory (no preload): they look instead of being woken.
//!
//! Started by `queue.start_workers()`. The scheduler starts workers for each role with a processor and
//! replaces them; a worker ends when its scheduler has.

use super::{SCHEDULER, WORKER};
use crate::pg::bgworker::{self, Handle, Life, Start};
use crate::pg::failure::Failure;
use crate::pg::{Oid, catalog, interrupt, latch, role, spi};
use crate::queue::{Queue, retyped};
use crate::run::batch::Unobserved;
use crate::run::processor::Processor;
use crate::run::session::{self, Session, Worker};
use crate::{queue, settings, upkeep};
use pgrx::pg_sys;
use pgrx::prelude::*;

fn nap_ms() -> i64 {
    settings::poll_interval_ms().min(1_000)
}

/// The roles with processors, and how many workers each can use; `None` without the extension.
fn wanted() -> Result<Option<Vec<(Oid, i64)>>, Failure> {
    const WANTED: &str = "
        SELECT p.role::oid, sum(p.parallelism) FROM queue.processors p
        JOIN pg_class c ON c.oid = p.queue JOIN pg_roles r ON r.oid = p.role::oid
        WHERE r.rolcanlogin GROUP BY 1 ORDER BY 1";
    Worker.transaction(|| {
        catalog::extension_oid()?;
        let rows = role::pinned(|| spi::run(WANTED, &[], &[]));
        Some((0..rows.len()).filter_map(|row| Some((rows.get(row, 1)?, rows.get(row, 2)?))).collect())
    })
}

/// The scheduler's loop.
pub fn schedule() {
    let mut workers: Vec<(Oid, Handle)> = Vec::new();
    loop {
        interrupt::check_idle();
        interrupt::reload_settings();
        match wanted() {
            Ok(Some(roles)) => {
                workers.retain(|(_, handle)| handle.life() != Life::Gone);
                for (role, count) in roles {
                    staff(&mut workers, role, count as usize);
                }
            }
            Ok(None) => {
                workers.iter().for_each(|(_, handle)| handle.terminate());
                return;
            }
            Err(failure) => debug1!("{SCHEDULER}: {}", failure.message),
        }
        bgworker::report_activity(None);
        latch::sleep(Some(nap_ms()));
    }
}

fn staff(workers: &mut Vec<(Oid, Handle)>, role: Oid, count: usize) {
    let mut have = workers.iter().filter(|(r, _)| *r == role).count();
    while have < count && workers.len() < settings::max_workers() {
        let names = Worker
            .transaction(|| (catalog::database_name(catalog::my_database()), catalog::role_name(role)))
            .unwrap_or_default();
        let start = Start {
            database: catalog::my_database().to_u32(),
            role: role.to_u32(),
            slot: u32::MAX,
            generation: bgworker::my_pid() as u32,
        };
        match bgworker::start(
            &format!("{WORKER}: {} {}", names.0, names.1),
            WORKER,
            "queue_ext_worker",
            start,
        ) {
            Some(handle) => workers.push((role, handle)),
            None => return,
        }
        have += 1;
    }
}

/// A worker's loop.
pub fn work(scheduler: i32) {
    bgworker::report_name(WORKER);
    while bgworker::is_alive(scheduler) {
        interrupt::check_idle();
        interrupt::reload_settings();
        let queues = Worker.transaction(|| catalog::extension_oid().map(|_| session::own_queues()));
        match queues {
            Ok(Some(queues)) => queues.into_iter().for_each(|queue| {
                run_queue(queue);
                if let Err(failure) = Worker.reset() {
                    warning!("{WORKER}: could not reset the session: {}", failure.message);
                }
            }),
            Ok(None) => return,
            Err(failure) => debug1!("{WORKER}: {}", failure.message),
        }
        bgworker::report_activity(None);
        bgworker::report_statistics();
        if retyped::is_any() {
            return;
        }
        latch::sleep(Some(nap_ms()));
    }
}

/// Runs a queue until it is empty.
fn run_queue(oid: Oid) {
    let kept_up = Worker.transaction(|| {
        queue::open(oid).and_then(Queue::locked).is_ok_and(|queue| upkeep::step(&queue).more)
    });
    if let Err(failure) = kept_up {
        warning!("{WORKER}: could not move the due jobs: {}", failure.message);
    }
    loop {
        let limit = |processor: &Processor| {
            bgworker::report_activity(Some(&format!("SELECT {}(…)", processor.function)));
            i64::from(processor.batch_size)
        };
        match session::run_batch(&Worker, oid, &limit, &mut Unobserved { owns_interrupts: true }) {
            Ok(Some(ran)) if ran.report.more || ran.report.claimed as i64 >= ran.limit => interrupt::check(),
            Ok(_) => return,
            Err(failure) => {
                warning!("{WORKER}: could not run a batch: {}", failure.message);
                return;
            }
        }
    }
}

/// The scheduler of this database, if one runs. Must be called inside `spi::connect`.
pub fn running_scheduler() -> Option<i32> {
    const RUNNING: &str = "
        SELECT pid FROM pg_stat_activity WHERE datid = $1 AND backend_type = 'queue_ext scheduler' LIMIT 1";
    let rows = queue::as_extension(|| {
        // The view would show what was read first in the transaction.
        spi::run("SELECT pg_stat_clear_snapshot()", &[], &[]);
        spi::run(RUNNING, &[pg_sys::OIDOID], &[spi::arg(catalog::my_database())])
    });
    (!rows.is_empty()).then(|| rows.get(0, 1)).flatten()
}
