//! The scheduler of one database: reads the configuration, minds the time, and decides how many workers
//! each role gets. Connected as superuser, so it only reads; nothing of a user's runs here.

use super::SCHEDULER;
use super::configuration::{Configured, load};
use super::looking;
use super::shared::{DatabaseSlot, NEVER, QueueSlot, Shared};
use super::staffing::Started;
use crate::pg::bgworker;
use crate::pg::time::{Micros, now};
use crate::pg::{Oid, catalog, interrupt, latch, shmem, spi};
use crate::queue;
use crate::run::balance::{self, Load};
use crate::run::session::{Session, Worker};
use crate::{settings, worker_main};
use pgrx::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;

worker_main!(queue_ext_scheduler, run);

/// How often load is looked at while there is any.
const BALANCE_EVERY: Micros = 1_000_000;
/// Commits that find no worker wake the scheduler so often at most, each queue's.
pub const ASKED_EVERY: Micros = 100_000;

fn run() {
    let start = bgworker::my_start();
    bgworker::accept_signals();
    bgworker::connect(pgrx::pg_sys::Oid::from(start.database), Oid::INVALID);
    bgworker::report_name(SCHEDULER);
    bgworker::report_activity(None);
    match shmem::get() {
        Some(shared) => match shared.take_database(start.database) {
            Some(slot) => Scheduler::new(shared, slot, start.database).serve(),
            None => warning!("{SCHEDULER}: too many databases"),
        },
        None => super::unshared::schedule(),
    }
}

pub struct Scheduler {
    pub shared: &'static Shared,
    pub slot: &'static DatabaseSlot,
    pub database: u32,
    pub queues: Vec<Configured>,
    pub workers: Vec<Started>,
    /// Roles whose worker could not start, and when to try again.
    pub failed_roles: HashMap<u32, Micros>,
    /// Roles that have work for one more worker, and since when.
    pub wanting_since: HashMap<u32, Micros>,
    /// Ready jobs and finished jobs of each queue at the last look.
    loads: HashMap<u32, (i64, u64)>,
    pub polled: Micros,
    /// Transactions that had ended at the last poll; `None`: look anyway.
    pub ended: Option<u64>,
    pub listened: Micros,
    pub kept_up: Micros,
    balanced: Micros,
}

impl Scheduler {
    fn new(shared: &'static Shared, slot: &'static DatabaseSlot, database: u32) -> Scheduler {
        slot.scheduler.take();
        slot.scheduler_pid.store(bgworker::my_pid(), SeqCst);
        slot.changed.store(true, SeqCst);
        // Places a scheduler before this one took for workers that never came, or are gone.
        for (_, worker) in shared.workers_of(database) {
            if !bgworker::is_alive(worker.pid.load(SeqCst)) {
                worker.release();
            }
        }
        bgworker::on_exit(|| {
            if let Some(slot) = shmem::get().and_then(|s| s.database(catalog::my_database().to_u32())) {
                slot.scheduler.release();
                slot.scheduler_pid.store(0, SeqCst);
            }
            if let Some(shared) = shmem::get() {
                shared.rescan.store(true, SeqCst);
                shared.launcher.wake();
            }
        });
        Scheduler {
            shared,
            slot,
            database,
            queues: Vec::new(),
            workers: Vec::new(),
            failed_roles: HashMap::new(),
            wanting_since: HashMap::new(),
            loads: HashMap::new(),
            polled: now(),
            ended: None,
            listened: 0,
            kept_up: now(),
            balanced: 0,
        }
    }

    fn serve(mut self) {
        loop {
            interrupt::check_idle();
            interrupt::reload_settings();
            if self.slot.changed.swap(false, SeqCst) || self.queues.is_empty() {
                match load() {
                    Ok(Some(queues)) => self.configure(queues),
                    Ok(None) => return self.end(),
                    // Being dropped while we looked, perhaps: look again.
                    Err(failure) => {
                        debug1!("{SCHEDULER}: could not read the configuration: {}", failure.message);
                        self.slot.changed.store(true, SeqCst);
                    }
                }
            }
            self.listen();
            self.poll();
            self.mind_the_time();
            self.balance();
            self.reap();
            let short_of_workers = self.staff();
            bgworker::report_statistics();
            latch::sleep(Some(self.nap_ms(short_of_workers)));
        }
    }

    /// The extension is gone: so are the workers, then this process.
    fn end(self) {
        self.slot.no_extension.store(true, SeqCst);
        for (_, worker) in self.shared.workers_of(self.database) {
            worker.retire.store(true, SeqCst);
            worker.latch.wake();
        }
        self.shared.retain_queues(self.database, |_| false);
    }

    fn configure(&mut self, queues: Vec<Configured>) {
        self.slot.no_extension.store(false, SeqCst);
        let exists = |oid: u32| queues.iter().any(|queue| queue.oid.to_u32() == oid);
        self.shared.retain_queues(self.database, exists);
        for queue in &queues {
            let Some(place) = self.shared.take_queue(self.database, queue.oid.to_u32()) else {
                warning!("{SCHEDULER}: too many queues; some are not served");
                break;
            };
            let slot = &self.shared.queues[place];
            slot.role.store(queue.role.to_u32(), SeqCst);
            slot.has_processor.store(queue.has_processor, SeqCst);
            slot.processor_missing.store(queue.processor_missing, SeqCst);
            slot.paused.store(queue.paused, SeqCst);
            slot.parallelism.store(queue.parallelism, SeqCst);
            if !queue.load_balanced {
                slot.target.store(queue.parallelism, SeqCst);
            }
            slot.target.fetch_min(queue.parallelism, SeqCst);
            slot.worker_failed.store(!queue.can_login, SeqCst);
            // Whoever was not to run its jobs may have found them, and left them. And a scheduler before us
            // may have ended while it looked what is due.
            if !self.queues.contains(queue) {
                self.shared.announce(place);
                slot.due_at(0);
            }
        }
        self.queues = queues;
        self.failed_roles.clear();
        self.prepare_for_a_culprit();
    }

    /// After a crash the jobs that may have caused it, those that can have been running, are run one by
    /// one. After an orderly start marks tell of nothing.
    fn prepare_for_a_culprit(&self) {
        if self.slot.careful_set.swap(true, SeqCst) {
            return;
        }
        if self.shared.unclean_start.load(SeqCst) {
            for queue in self.queues.iter().filter(|queue| queue.has_processor) {
                if let Some(slot) = self.slot_of(queue) {
                    slot.careful_left.store(queue.parallelism * queue.batch_size, SeqCst);
                }
            }
        } else {
            let cleared = Worker.transaction(|| {
                queue::as_extension(|| spi::run("DELETE FROM queue.crash_marks", &[], &[]));
            });
            if let Err(failure) = cleared {
                warning!("{SCHEDULER}: could not clear crash marks: {}", failure.message);
            }
        }
    }

    fn slot_of(&self, queue: &Configured) -> Option<&'static QueueSlot> {
        self.shared.find_queue(self.database, queue.oid.to_u32()).map(|place| &self.shared.queues[place])
    }

    /// Sets how many workers each load-balanced queue may have.
    fn balance(&mut self) {
        let time = now();
        if time - self.balanced < BALANCE_EVERY {
            return;
        }
        self.balanced = time;
        for queue in self.queues.iter().filter(|q| q.load_balanced && q.parallelism > 1) {
            let Some(slot) = self.slot_of(queue) else {
                continue;
            };
            if !slot.has_work() && slot.active.load(SeqCst) == 0 && slot.target.load(SeqCst) <= 1 {
                continue;
            }
            let bound = i64::from(queue.parallelism * queue.batch_size) * 4;
            let Ok(waiting) = looking::count_waiting(queue.oid, bound) else {
                continue;
            };
            let done = slot.done.total() + slot.failed.total();
            let (waiting_before, done_before) =
                self.loads.insert(queue.oid.to_u32(), (waiting, done)).unwrap_or((waiting, done));
            let load = Load { waiting, waiting_before, done: done.saturating_sub(done_before) };
            let target = balance::workers(slot.target.load(SeqCst), queue.parallelism, load);
            slot.target.store(target, SeqCst);
        }
    }

    fn nap_ms(&self, short_of_workers: bool) -> i64 {
        let time = now();
        let mut until = self.polled + settings::poll_interval_ms() * 1000;
        for (_, slot) in self.shared.queues_of(self.database) {
            let due = slot.next_due.load(SeqCst);
            if due != NEVER && slot.role.load(SeqCst) != 0 && !slot.worker_failed.load(SeqCst) {
                // Upkeep already asked for is not asked for again at once.
                until = until.min(due.max(time + 50_000));
            }
            if slot.active.load(SeqCst) > 0 || slot.has_work() {
                until = until.min(time + BALANCE_EVERY);
            }
            if slot.asked.load(SeqCst) {
                until = until.min(self.listened + ASKED_EVERY);
            }
        }
        if short_of_workers || self.slot.changed.load(SeqCst) {
            until = until.min(time + 250_000);
        }
        ((until - time) / 1000).clamp(1, 60_000)
    }
}
