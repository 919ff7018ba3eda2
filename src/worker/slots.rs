//! The entries of the shared structure: one for each database, queue, worker and waiting session.

pub use super::cancels::Cancels;
use super::shared::NEVER;
use crate::after::waits::Waits;
use crate::claim::floor::Floors;
use crate::claim::safety::Safety;
use crate::claim::telling::Telling;
use crate::keys::wanted::Wanted;
use crate::limit::position::Position;
use crate::pg::Oid;
use crate::pg::latch::LatchSlot;
use crate::pg::time::{Micros, now};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering::SeqCst};

const RATE_BUCKETS: usize = 13;
const RATE_BUCKET_MICROS: i64 = 5_000_000;

/// Between two fields: the next one begins a cache line, so that who writes it does not slow down those
/// who only read the ones before.
#[repr(C, align(64))]
pub struct NewLine;

/// One for each database the launcher knows.
#[repr(C)]
pub struct DatabaseSlot {
    pub database: AtomicU32,
    pub scheduler: LatchSlot,
    pub scheduler_pid: AtomicI32,
    /// Its configuration changed, or a worker is wanted: the scheduler should look.
    pub changed: AtomicBool,
    /// `stop_workers` was called.
    pub stopped: AtomicBool,
    /// A statement needs the database for itself until then at the latest.
    pub barred_until: AtomicI64,
    /// The last attempt to start a worker found no free slot.
    pub out_of_slots: AtomicBool,
    /// The last scheduler found that the database has no extension.
    pub no_extension: AtomicBool,
    /// The queues' `careful_left` has been set after this start.
    pub careful_set: AtomicBool,
    /// Not among `queue_ext.databases`.
    pub unserved: AtomicBool,
    /// The worker (place + 1) that runs a job alone after an unclean start.
    pub careful_owner: AtomicU32,
    /// The queue and job last marked since this start: a mark of it tells of no crash.
    pub careful_queue: AtomicU32,
    pub careful_job: AtomicI64,
    /// The worker that ran it was terminated while it did.
    pub careful_died: AtomicBool,
}

/// One for each queue that was used since the start.
#[repr(C)]
pub struct QueueSlot {
    pub database: AtomicU32,
    pub queue: AtomicU32,
    /// The role that serves it: the processor's, else the owner's; 0: none.
    pub role: AtomicU32,
    pub has_processor: AtomicBool,
    pub paused: AtomicBool,
    /// How many workers there may be on it.
    pub target: AtomicU32,
    pub parallelism: AtomicU32,
    /// When upkeep has something to move or prune next.
    pub next_due: AtomicI64,
    /// Prepared transactions that did something here, or may have before the server started.
    pub prepared: Prepared,
    /// Upkeep is due and nobody has taken it on yet.
    pub upkeep_wanted: AtomicBool,
    /// Until then nobody says again which jobs cannot be moved.
    pub quiet_until: AtomicI64,
    /// Jobs still to be run one by one after an unclean start.
    pub careful_left: AtomicU32,
    /// The role cannot be connected as, or its worker ended at once.
    pub worker_failed: AtomicBool,
    /// The registered function is gone.
    pub processor_missing: AtomicBool,
    /// A batch could not be run, through no fault of a job: the next poll has it tried again.
    pub retry: AtomicBool,
    /// The scheduler was woken for work that found no worker, and has not looked since.
    pub asked: AtomicBool,
    /// Sessions in `CALL queue.wait`.
    pub waiters: AtomicU32,
    _claims: NewLine,
    /// Bumped when something became claimable, if a claim has begun since the last time.
    sequence: AtomicU64,
    /// Greatest value of `sequence` read before a claim began.
    seen: AtomicU64,
    _workers: NewLine,
    /// Value of `sequence` read before a claim that found the queue empty; never more than `seen`.
    drained: AtomicU64,
    /// Workers on it now.
    pub active: AtomicU32,
    _floors: NewLine,
    /// Transactions that are about to lower the floor.
    pub telling: Telling,
    /// Below which nothing can be claimed, and the scan that checks it.
    pub floors: Floors,
    /// The table of ready rows that they are about.
    pub ready_table: AtomicU32,
    pub safety: Safety,
    _waits: NewLine,
    /// Jobs that wait for others.
    pub waits: Waits,
    /// Jobs that claims met and could not have.
    pub wanted: Wanted,
    _groups: NewLine,
    /// Counts jobs that claims left where they are because of their groups.
    pub passed: AtomicU64,
    /// Counts transactions that moved such jobs among the blocked ones.
    pub sorted: AtomicU64,
    /// When the groups of blocked jobs are to be looked at next; 0: never were.
    pub next_sweep: AtomicI64,
    /// When blocked jobs over the limit of their keys are to be looked at next.
    pub next_limit_look: AtomicI64,
    /// Where that look goes on.
    pub limit_position: Position,
    /// Until then at the latest a worker has put jobs back only to take them again.
    pub granting_until: AtomicI64,
    /// When keys are to be pruned next; 0: nobody has looked.
    pub next_prune: AtomicI64,
    _rates: NewLine,
    pub done: Rate,
    pub failed: Rate,
}

/// One for each worker process.
#[repr(C)]
pub struct WorkerSlot {
    /// 0: free; else the number of the start this place is meant for.
    pub generation: AtomicU32,
    pub pid: AtomicI32,
    pub database: AtomicU32,
    pub role: AtomicU32,
    pub latch: LatchSlot,
    /// It will look for work once more before it sleeps, or sleeps: one commit may wake it.
    pub sleeping: AtomicBool,
    pub retire: AtomicBool,
    _batch: NewLine,
    pub state: AtomicU32,
    /// Place of the queue in `queues`, plus 1; 0: idle.
    pub queue_place: AtomicU32,
    pub job: AtomicI64,
    pub batch: AtomicU32,
    /// When it began what it does, or became idle.
    pub since: AtomicI64,
    pub done: AtomicU64,
    pub failed: AtomicU64,
    /// The jobs that admins want stopped.
    pub cancels: Cancels,
}

/// A session in `CALL queue.wait`.
#[repr(C)]
pub struct Waiter {
    /// Place of the queue, plus 1; 0: free.
    pub queue_place: AtomicU32,
    pub pid: AtomicI32,
    pub latch: LatchSlot,
}

/// Counts prepared transactions: when they end, nobody tells.
#[derive(Default)]
#[repr(C)]
pub struct Prepared {
    /// Raised before anybody else can end the transaction.
    noted: AtomicU64,
    /// All those that were noted up to this have ended, and the floor has been lowered since.
    ended: AtomicU64,
}

impl Prepared {
    pub fn begin(&self) {
        self.noted.fetch_add(1, SeqCst);
    }

    /// Is there none of which something may be below the floor?
    pub fn is_none(&self) -> bool {
        self.noted.load(SeqCst) == self.ended.load(SeqCst)
    }

    /// To be given to `have_ended`; read before looking whether there are any.
    pub fn so_far(&self) -> u64 {
        self.noted.load(SeqCst)
    }

    pub fn have_ended(&self, so_far: u64) {
        self.ended.fetch_max(so_far, SeqCst);
    }
}

/// How many in the last minute, in buckets of five seconds.
#[repr(C)]
pub struct Rate {
    total: AtomicU64,
    buckets: [(AtomicI64, AtomicU64); RATE_BUCKETS],
}

impl Rate {
    pub fn add(&self, count: u64) {
        if count == 0 {
            return;
        }
        let stamp = now() / RATE_BUCKET_MICROS;
        let (bucket_stamp, bucket) = &self.buckets[stamp as usize % RATE_BUCKETS];
        if bucket_stamp.swap(stamp, SeqCst) != stamp {
            bucket.store(0, SeqCst);
        }
        bucket.fetch_add(count, SeqCst);
        self.total.fetch_add(count, SeqCst);
    }

    /// All since the start.
    pub fn total(&self) -> u64 {
        self.total.load(SeqCst)
    }

    pub fn per_minute(&self) -> u64 {
        let current = now() / RATE_BUCKET_MICROS;
        self.buckets
            .iter()
            .filter(|(stamp, _)| current - stamp.load(SeqCst) < RATE_BUCKETS as i64 - 1)
            .map(|(_, count)| count.load(SeqCst))
            .sum()
    }
}

impl DatabaseSlot {
    pub fn clear(&self) {
        self.scheduler.release();
        self.scheduler_pid.store(0, SeqCst);
        self.changed.store(false, SeqCst);
        self.stopped.store(false, SeqCst);
        self.barred_until.store(0, SeqCst);
        self.out_of_slots.store(false, SeqCst);
        self.no_extension.store(false, SeqCst);
        self.careful_set.store(false, SeqCst);
        self.unserved.store(false, SeqCst);
        self.careful_owner.store(0, SeqCst);
        self.careful_queue.store(0, SeqCst);
        self.careful_job.store(0, SeqCst);
        self.careful_died.store(false, SeqCst);
    }

    pub fn release(&self) {
        self.clear();
        self.database.store(0, SeqCst);
    }

    /// May processes of ours be connected to it now?
    pub fn is_open(&self) -> bool {
        !self.stopped.load(SeqCst) && !self.unserved.load(SeqCst) && self.barred_until.load(SeqCst) < now()
    }
}

impl QueueSlot {
    pub fn is(&self, database: u32, queue: u32) -> bool {
        self.queue.load(SeqCst) == queue && self.database.load(SeqCst) == database
    }

    pub fn oid(&self) -> Oid {
        Oid::from(self.queue.load(SeqCst))
    }

    pub fn clear(&self) {
        self.role.store(0, SeqCst);
        self.has_processor.store(false, SeqCst);
        self.paused.store(false, SeqCst);
        self.sequence.store(1, SeqCst);
        self.seen.store(0, SeqCst);
        self.drained.store(0, SeqCst);
        self.retry.store(false, SeqCst);
        self.asked.store(false, SeqCst);
        self.active.store(0, SeqCst);
        self.target.store(1, SeqCst);
        self.parallelism.store(1, SeqCst);
        self.next_due.store(0, SeqCst);
        self.prepared.begin();
        self.upkeep_wanted.store(false, SeqCst);
        self.quiet_until.store(0, SeqCst);
        self.careful_left.store(0, SeqCst);
        self.worker_failed.store(false, SeqCst);
        self.processor_missing.store(false, SeqCst);
        // Not `waiters`: who waits for the queue that was here still goes.
        self.floors.reset();
        self.ready_table.store(0, SeqCst);
        self.safety.reset();
        self.waits.reset();
        self.wanted.clear();
        self.passed.store(0, SeqCst);
        self.sorted.store(0, SeqCst);
        self.granting_until.store(0, SeqCst);
        self.next_sweep.store(0, SeqCst);
        self.next_limit_look.store(NEVER, SeqCst);
        self.limit_position.set("");
        self.next_prune.store(0, SeqCst);
    }

    /// Groups of blocked jobs may have become free.
    pub fn sweep_soon(&self) {
        self.next_sweep.store(0, SeqCst);
        self.due_at(0);
    }

    /// Does anybody run its jobs, as far as is known?
    pub fn is_served(&self) -> bool {
        self.has_processor.load(SeqCst) && !self.paused.load(SeqCst) && !self.processor_missing.load(SeqCst)
    }

    /// Something became claimable, and is visible. Commits that come faster than claims only read here:
    /// if nobody has seen the last number, whoever begins a claim after this sees what became claimable.
    pub fn bump(&self) {
        let sequence = self.sequence.load(SeqCst);
        if self.seen.load(SeqCst) >= sequence {
            self.sequence.fetch_add(1, SeqCst);
        }
    }

    /// To be called before the snapshot of a claim is taken; `is_drained` wants what it returns.
    pub fn begin_claim(&self) -> u64 {
        let sequence = self.sequence.load(SeqCst);
        self.seen.fetch_max(sequence, SeqCst);
        sequence
    }

    /// A claim found nothing more: there is no work until the next bump.
    pub fn is_drained(&self, begun: u64) {
        self.drained.fetch_max(begun, SeqCst);
    }

    /// Is there, as far as is known, something to claim?
    pub fn has_work(&self) -> bool {
        self.is_served() && self.sequence.load(SeqCst) != self.drained.load(SeqCst)
    }

    /// Work and no worker on it.
    pub fn is_deserted(&self) -> bool {
        self.active.load(SeqCst) == 0 && self.has_work()
    }

    pub fn leave(&self) {
        self.active.fetch_sub(1, SeqCst);
    }

    /// Something will have to be moved at this time.
    pub fn due_at(&self, at: Micros) {
        self.next_due.fetch_min(at, SeqCst);
    }
}

impl WorkerSlot {
    pub fn clear(&self) {
        self.pid.store(0, SeqCst);
        self.latch.release();
        self.sleeping.store(false, SeqCst);
        self.retire.store(false, SeqCst);
        self.state.store(0, SeqCst);
        self.queue_place.store(0, SeqCst);
        self.job.store(0, SeqCst);
        self.batch.store(0, SeqCst);
        self.done.store(0, SeqCst);
        self.failed.store(0, SeqCst);
        self.cancels.clear();
    }

    /// Gives the place back.
    pub fn release(&self) {
        self.clear();
        self.generation.store(0, SeqCst);
    }

    /// It ends as soon as it has nothing in hand.
    pub fn retire(&self) {
        self.retire.store(true, SeqCst);
        self.latch.wake();
    }

    pub fn is_idle(&self) -> bool {
        self.queue_place.load(SeqCst) == 0
    }
}
