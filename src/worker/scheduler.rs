//! The scheduler of one database: reads the configuration, minds the time, and decides how many workers
//! each role gets. Connected as superuser, so it only reads; nothing of a user's runs here.

use super::shared::{DatabaseSlot, NEVER, QueueSlot, Shared, WorkerSlot};
use super::{SCHEDULER, WORKER};
use crate::pg::bgworker::{self, Handle, Life, Start};
use crate::pg::failure::Failure;
use crate::pg::time::{Micros, now};
use crate::pg::{Oid, catalog, interrupt, latch, role, shmem, spi};
use crate::queue;
use crate::run::balance::{self, Load};
use crate::run::processor;
use crate::run::session::{Session, Worker};
use crate::{settings, worker_main};
use pgrx::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;

worker_main!(queue_ext_scheduler, run);

/// Every queue's upkeep is looked after at least so often, in case a due time was lost.
const UPKEEP_EVERY: Micros = 60_000_000;
/// How often load is looked at while there is any.
const BALANCE_EVERY: Micros = 1_000_000;
/// A role whose worker could not start is tried again after so long.
const RETRY_ROLE_AFTER: Micros = 30_000_000;

/// How long workers without work are not started after some work found no place.
const YIELD: Micros = 1_000_000;

/// A queue as configured.
struct Configured {
    oid: Oid,
    paused: bool,
    /// The processor's role, else the owner's.
    role: Oid,
    has_processor: bool,
    processor_missing: bool,
    parallelism: u32,
    load_balanced: bool,
    batch_size: u32,
    can_login: bool,
    /// The role still acts for the queue's owner.
    role_owns: bool,
}

/// The workers that a role should have.
#[derive(Default)]
struct Wanted {
    workers: usize,
    /// Something waits for them.
    urgent: bool,
}

/// A worker this scheduler started.
struct Started {
    handle: Handle,
    role: u32,
    place: usize,
    generation: u32,
}

fn run() {
    let start = bgworker::my_start();
    bgworker::accept_signals();
    bgworker::connect(pgrx::pg_sys::Oid::from(start.database), Oid::INVALID);
    bgworker::report_name(SCHEDULER);
    match shmem::get() {
        Some(shared) => match shared.take_database(start.database) {
            Some(slot) => Scheduler::new(shared, slot, start.database).serve(),
            None => warning!("{SCHEDULER}: too many databases"),
        },
        None => super::unshared::schedule(),
    }
}

/// All queues with what a scheduler needs to know; `None` without the extension.
fn load() -> Result<Option<Vec<Configured>>, Failure> {
    const LOAD: &str = "
        SELECT q.queue::oid, q.paused, coalesce(p.role::oid, c.relowner), p.queue IS NOT NULL,
               coalesce(p.parallelism, 1), coalesce(p.load_balanced, false), coalesce(p.batch_size, 0),
               coalesce(r.rolcanlogin, false), coalesce(pg_has_role(r.oid, c.relowner, 'USAGE'), false)
        FROM queue.queues q
        JOIN pg_class c ON c.oid = q.queue
        LEFT JOIN queue.processors p ON p.queue = q.queue
        LEFT JOIN pg_roles r ON r.oid = coalesce(p.role::oid, c.relowner)";
    Worker.transaction(|| {
        catalog::extension_oid()?;
        let rows = role::pinned(|| spi::run(LOAD, &[], &[]));
        let mut list: Vec<Configured> = (0..rows.len())
            .filter_map(|row| {
                Some(Configured {
                    oid: rows.get(row, 1)?,
                    paused: rows.get(row, 2)?,
                    role: rows.get(row, 3)?,
                    has_processor: rows.get(row, 4)?,
                    processor_missing: false,
                    parallelism: rows.get::<i32>(row, 5)? as u32,
                    load_balanced: rows.get(row, 6)?,
                    batch_size: rows.get::<i32>(row, 7)? as u32,
                    can_login: rows.get(row, 8)?,
                    role_owns: rows.get(row, 9)?,
                })
            })
            .collect();
        for queue in &mut list {
            queue.processor_missing =
                queue.has_processor && (!queue.role_owns || processor::find(queue.oid).is_none());
        }
        Some(list)
    })
}

struct Scheduler {
    shared: &'static Shared,
    slot: &'static DatabaseSlot,
    database: u32,
    queues: Vec<Configured>,
    workers: Vec<Started>,
    /// Roles whose worker could not start, and when to try again.
    failed_roles: HashMap<u32, Micros>,
    /// Ready jobs and finished jobs of each queue at the last look.
    loads: HashMap<u32, (i64, u64)>,
    polled: Micros,
    kept_up: Micros,
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
            loads: HashMap::new(),
            polled: now(),
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
            self.poll();
            self.mind_the_time();
            self.balance();
            self.reap();
            let short_of_workers = self.staff();
            bgworker::report_activity(None);
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

    /// The safety net: what became claimable without a commit of ours (COMMIT PREPARED, replication).
    fn poll(&mut self) {
        let time = now();
        if time - self.polled > settings::poll_interval_ms() * 1000 {
            self.polled = time;
            // A function made again, or a role allowed to log in, announces nothing.
            if self.queues.iter().any(|queue| queue.processor_missing || !queue.can_login) {
                self.slot.changed.store(true, SeqCst);
            }
            for (place, slot) in self.shared.queues_of(self.database) {
                if slot.has_processor.load(SeqCst) && !slot.paused.load(SeqCst) && !slot.has_work() {
                    self.shared.announce(place);
                }
            }
        }
        if time - self.kept_up > UPKEEP_EVERY {
            self.kept_up = time;
            for (_, slot) in self.shared.queues_of(self.database) {
                slot.due_at(0);
            }
        }
    }

    /// Asks for the upkeep of queues on which something is due.
    fn mind_the_time(&self) {
        let time = now();
        for (_, slot) in self.shared.queues_of(self.database) {
            if slot.next_due.load(SeqCst) <= time
                && slot.role.load(SeqCst) != 0
                && !slot.worker_failed.load(SeqCst)
            {
                slot.upkeep_wanted.store(true, SeqCst);
                self.shared.wake_worker(slot);
            }
        }
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
            let Ok(waiting) = count_waiting(queue.oid, bound) else {
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

    /// Clears away workers that ended; one that never got to work tells of a role that cannot be had.
    fn reap(&mut self) {
        let (shared, failed_roles) = (self.shared, &mut self.failed_roles);
        let mut broken = Vec::new();
        self.workers.retain(|started| {
            if started.handle.life() != Life::Gone {
                return true;
            }
            let slot = &shared.workers[started.place];
            // It gave its place back at its end; if it never got so far, the place is still meant for it.
            if slot.generation.load(SeqCst) == started.generation {
                slot.release();
                failed_roles.insert(started.role, now() + RETRY_ROLE_AFTER);
                broken.push(started.role);
            }
            false
        });
        for role in broken {
            warning!(
                "{SCHEDULER}: the worker for role \"{}\" could not start; see the log lines before",
                self.role_name(role)
            );
            self.mark_failed(role, true);
        }
    }

    fn role_name(&self, role: u32) -> String {
        Worker.transaction(|| catalog::role_name(Oid::from(role))).unwrap_or_else(|_| role.to_string())
    }

    fn mark_failed(&self, role: u32, failed: bool) {
        for (_, slot) in self.shared.queues_of(self.database).filter(|(_, q)| q.role.load(SeqCst) == role) {
            slot.worker_failed.store(failed, SeqCst);
        }
    }

    /// Starts the workers that are wanting. True: work waits for one that could not be had.
    fn staff(&mut self) -> bool {
        let wanted = self.wanted();
        self.retire_unwanted(&wanted);
        self.wake_wanted();
        let mut short = false;
        for (role, Wanted { workers, urgent }) in wanted {
            let mine = |(_, w): &(usize, &WorkerSlot)| w.role.load(SeqCst) == role;
            let mut have = self.shared.workers_of(self.database).filter(mine).count();
            // A place that was made for work elsewhere is not for a worker without any.
            let yields = !urgent && self.shared.short_until.load(SeqCst) > now();
            while have < workers && !yields && self.may_try(role) {
                if !self.start_worker(role) {
                    // A resident worker that is idle gives way to work, not to another resident.
                    if have == 0 && urgent {
                        self.make_room(role);
                        self.shared.short_until.store(now() + YIELD, SeqCst);
                        short = true;
                    }
                    break;
                }
                have += 1;
            }
        }
        short
    }

    /// How many workers each role should have.
    fn wanted(&self) -> HashMap<u32, Wanted> {
        let mut wanted: HashMap<u32, Wanted> = HashMap::new();
        for (_, slot) in self.shared.queues_of(self.database) {
            let role = slot.role.load(SeqCst);
            if role == 0 || self.queues.iter().any(|q| q.role.to_u32() == role && !q.can_login) {
                continue;
            }
            let entry = wanted.entry(role).or_default();
            let has_work = slot.has_work() || slot.active.load(SeqCst) > 0;
            if has_work {
                entry.workers += slot.target.load(SeqCst).max(1) as usize;
            } else if slot.has_processor.load(SeqCst) && !slot.paused.load(SeqCst) {
                entry.workers = entry.workers.max(1);
            }
            // Upkeep is not to wait for a long job of another queue.
            entry.workers += usize::from(slot.upkeep_wanted.load(SeqCst));
            entry.urgent |= has_work || slot.upkeep_wanted.load(SeqCst);
        }
        wanted
    }

    /// Wakes a worker for each queue that has work and may have one more: a resumed queue, a risen target.
    fn wake_wanted(&self) {
        for (_, slot) in self.shared.queues_of(self.database) {
            if slot.has_work() && slot.active.load(SeqCst) < slot.target.load(SeqCst).max(1) {
                self.shared.wake_worker(slot);
            }
        }
    }

    fn may_try(&self, role: u32) -> bool {
        self.failed_roles.get(&role).is_none_or(|until| *until < now())
    }

    fn start_worker(&mut self, role: u32) -> bool {
        let Some((place, generation)) = self.shared.take_worker(self.database, role, settings::max_workers())
        else {
            return false;
        };
        let names = Worker.transaction(|| {
            (catalog::database_name(Oid::from(self.database)), catalog::role_name(Oid::from(role)))
        });
        let (database, role_name) = names.unwrap_or_default();
        let start = Start { database: self.database, role, slot: place as u32, generation };
        match bgworker::start(&format!("{WORKER}: {database} {role_name}"), WORKER, "queue_ext_worker", start)
        {
            Some(handle) => {
                self.workers.push(Started { handle, role, place, generation });
                self.slot.out_of_slots.store(false, SeqCst);
                true
            }
            None => {
                self.shared.workers[place].release();
                if !self.slot.out_of_slots.swap(true, SeqCst) {
                    warning!(
                        "{SCHEDULER}: no free worker slot for role \"{role_name}\" in database \"{database}\"; raise max_worker_processes"
                    );
                }
                false
            }
        }
    }

    fn retire_unwanted(&self, wanted: &HashMap<u32, Wanted>) {
        for (_, worker) in self.shared.workers_of(self.database) {
            if wanted.get(&worker.role.load(SeqCst)).is_none_or(|w| w.workers == 0) && worker.is_idle() {
                worker.retire.store(true, SeqCst);
                worker.latch.wake();
            }
        }
    }

    /// A role without any worker finds all places taken: an idle worker of another one gives way.
    fn make_room(&self, role: u32) {
        let is_other =
            |w: &WorkerSlot| w.role.load(SeqCst) != role || w.database.load(SeqCst) != self.database;
        let idle = self
            .shared
            .workers
            .iter()
            .find(|w| w.generation.load(SeqCst) != 0 && w.sleeping.load(SeqCst) && is_other(w));
        if let Some(worker) = idle {
            worker.retire.store(true, SeqCst);
            worker.latch.wake();
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
        }
        if short_of_workers || self.slot.changed.load(SeqCst) {
            until = until.min(time + 250_000);
        }
        ((until - time) / 1000).clamp(1, 60_000)
    }
}

/// Ready jobs of a queue, counted up to a bound. Never as superuser: planning a query runs the table
/// owner's index expressions.
fn count_waiting(queue: Oid, bound: i64) -> Result<i64, Failure> {
    Worker.transaction(|| {
        let Ok(queue) = queue::open(queue) else { return 0 };
        let sql = format!(
            "SELECT count(*) FROM (SELECT FROM {} WHERE state = 'ready' ORDER BY priority, id LIMIT $1) w",
            queue.table
        );
        role::as_restricted(queue.owner, || {
            let _planner = role::Planner::by_index();
            queue.plan(sql, &[pgrx::pg_sys::INT8OID]).execute(&[spi::arg(bound)]).get(0, 1).unwrap_or(0)
        })
    })
}
