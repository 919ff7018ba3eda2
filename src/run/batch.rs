//! One batch: claim → chunks → split on failure → outcome, all in the caller's transaction.
//!
//! The uncommitted delete is the lease: whatever goes wrong, the jobs are back. A chunk runs in one
//! subtransaction. When it fails it is rolled back and split, so that in the end only the failing job
//! itself is rolled back: with f(mail) the failing job is known, with f(mail[]) it is found by halving.

use super::processor::{Processor, Shape};
use super::{Running, pipeline};
use crate::claim::{self, Move, Taken, Use};
use crate::error::Error;
use crate::history::{after_failure, give_up};
use crate::pg::failure::{Failure, in_subtransaction};
use crate::pg::relation::Open;
use crate::pg::role::Settings;
use crate::pg::time::{self, Micros};
use crate::pg::{Datum, interrupt, spi};
use crate::queue::statements::Which;
use crate::queue::{self, Queue};
use crate::worker::cancel::BY_ADMIN;
use crate::{correlation, finish, group, keys, limit, settings, wake};
use pgrx::pg_sys::panic::{ErrorReport, ErrorReportable};
use pgrx::prelude::*;
use std::rc::Rc;

/// Subtransactions kept in one transaction. Over 64 live ones every session of the server gets slower,
/// since their parents must then be looked up on disk.
const MOST_SUBTRANSACTIONS: usize = 50;

/// Which jobs to claim.
pub enum Claim {
    Next(i64),
    /// This one, if it is still ready.
    Job(i64),
}

/// What a batch did.
#[derive(Debug, Default)]
pub struct Report {
    /// Jobs claimed.
    pub claimed: usize,
    pub ids: Vec<i64>,
    pub done: usize,
    pub failed: usize,
    /// Given back untouched, to be claimed again.
    pub returned: usize,
    /// The claim ended early: there may be more to claim, even if it claimed nothing.
    pub more: bool,
}

impl Report {
    pub fn add(&mut self, other: &Report) {
        self.claimed += other.claimed;
        self.done += other.done;
        self.failed += other.failed;
        self.returned += other.returned;
    }
}

/// Told what a batch is doing, and asked which job is to be stopped.
pub trait Observer {
    fn claimed(&mut self, queue: &Queue, processor: &Processor, jobs: &[Taken]);
    fn starting(&mut self, job: &Taken);
    /// Did an admin cancel this job?
    fn is_cancelled(&self, id: i64) -> bool;
    /// Did an admin cancel any?
    fn any_cancelled(&self) -> bool;
    /// The cancelled jobs had finished when the interrupt came.
    fn forget_cancelled(&mut self);
    /// Are interrupts meant for the job that runs? In a client's session they are meant for its CALL.
    fn owns_interrupts(&self) -> bool;
}

/// Nobody watches: in a client's session, or without shared memory.
pub struct Unobserved {
    pub owns_interrupts: bool,
}

impl Observer for Unobserved {
    fn claimed(&mut self, _: &Queue, _: &Processor, _: &[Taken]) {}
    fn starting(&mut self, _: &Taken) {}
    fn is_cancelled(&self, _: i64) -> bool {
        false
    }
    fn any_cancelled(&self) -> bool {
        false
    }
    fn forget_cancelled(&mut self) {}
    fn owns_interrupts(&self) -> bool {
        self.owns_interrupts
    }
}

/// Claims and runs a batch. Must be called in a transaction, inside `spi::connect`.
pub fn run(queue: &Queue, processor: &Processor, claim: Claim, observer: &mut dyn Observer) -> Report {
    pipeline::hold(queue, processor);
    let (jobs, more) = match claim {
        Claim::Next(limit) => {
            let next = claim::next(queue, limit, Use::Run);
            (next.taken, next.more)
        }
        Claim::Job(id) => (group::take_one(queue, id), false),
    };
    if jobs.is_empty() {
        return Report { more, ..Report::default() };
    }
    let until = limit::grant::take_until();
    let began = time::now();
    keys::require_fresh_view(queue, &jobs).map_err(ErrorReport::from).unwrap_or_report();
    observer.claimed(queue, processor, &jobs);
    let mut batch = Batch {
        queue,
        processor,
        jobs: &jobs,
        endings: (0..jobs.len()).map(|_| Ending::Untouched).collect(),
        subtransactions: 0,
        until,
        observer,
    };
    // Their rows are in our hands: whoever changes what they are made of, in this session, is refused.
    let in_use = Open::locked_before(queue.oid);
    let running = (Running::queue(queue.oid), keys::Running::these(queue, &jobs));
    batch.run((0..jobs.len()).collect());
    drop(running);
    // The function may have changed the queue itself: what came of the jobs is written to what it is now.
    let changed = (!queue::is_current(queue)).then(|| reopened(queue));
    if let Some(changed) = &changed {
        batch.queue = changed;
    }
    let report = batch.finish();
    drop(in_use);
    if until.is_some() {
        let started = report.claimed - report.returned;
        let most = if processor.shape == Shape::Job { MOST_SUBTRANSACTIONS as i64 } else { i64::MAX };
        limit::grant::ran(queue, started, report.returned, time::now() - began, most);
    }
    Report { more, ..report }
}

fn reopened(queue: &Queue) -> Rc<Queue> {
    let gone = |error| match error {
        Error::NotAQueue(_) => Error::NotAQueue(queue.name.clone()),
        other => other,
    };
    queue::open(queue.oid).map_err(|error| ErrorReport::from(gone(error))).unwrap_or_report()
}

/// Records a failure of one job that its own transaction could not: its commit failed.
pub fn fail(queue: &Queue, id: i64, failure: &Failure, cancelled: bool) -> Report {
    let jobs = claim::take(queue, Which::ReadyJob, &[spi::arg(id)]);
    let ending =
        |job| if cancelled { give_up(job, failure) } else { after_failure(queue, job, failure, None) };
    let moves: Vec<Move> = jobs.iter().map(ending).collect();
    finish::put(queue, moves);
    jobs.iter().for_each(|job| log_failure(queue, job, failure));
    Report { claimed: jobs.len(), failed: jobs.len(), ..Report::default() }
}

enum Ending {
    Untouched,
    /// Not begun, since one before it in its group has failed.
    Held,
    Done(Option<String>),
    Failed(Failure),
    /// Stopped by an admin: not tried again.
    Cancelled,
}

struct Batch<'a> {
    queue: &'a Queue,
    processor: &'a Processor,
    jobs: &'a [Taken],
    endings: Vec<Ending>,
    subtransactions: usize,
    /// Those that have not begun by then go back: the queue's rate counts on it.
    until: Option<Micros>,
    observer: &'a mut dyn Observer,
}

impl Batch<'_> {
    /// Runs these jobs, which are in order.
    fn run(&mut self, mut list: Vec<usize>) {
        loop {
            list.retain(|index| !matches!(self.endings[*index], Ending::Held));
            let Some(first) = list.first().copied() else { return };
            if self.subtransactions >= MOST_SUBTRANSACTIONS
                || self.until.is_some_and(|until| time::now() > until)
            {
                return;
            }
            if self.observer.is_cancelled(self.jobs[first].id) {
                self.end(first, Ending::Cancelled);
                list.remove(0);
                continue;
            }
            // Where each must begin in time, each is begun by itself.
            let alone = self.until.is_some() && self.processor.shape == Shape::Job;
            let later = if alone { list.split_off(1) } else { Vec::new() };
            list = match self.attempt(&list) {
                Ok(()) => later,
                // Each would start once more: they go back, to be started one by one.
                Err(_) if self.until.is_some() && list.len() > 1 => {
                    let is_cancelled = |index: &usize| self.observer.is_cancelled(self.jobs[*index].id);
                    let cancelled: Vec<usize> = list.iter().copied().filter(is_cancelled).collect();
                    cancelled.into_iter().for_each(|index| self.end(index, Ending::Cancelled));
                    later
                }
                Err((failed, failure)) => {
                    let mut left = self.after(list, failed, failure);
                    left.extend(later);
                    left
                }
            };
        }
    }

    /// A job has failed: with it, those that come after it in its group are not begun.
    fn end(&mut self, index: usize, ending: Ending) {
        self.endings[index] = ending;
        if self.queue.options.group_continues {
            return;
        }
        if let Some(group) = group::of(self.queue, &self.jobs[index]) {
            for later in index + 1..self.jobs.len() {
                if group::of(self.queue, &self.jobs[later]).as_ref() == Some(&group) {
                    self.endings[later] = Ending::Held;
                }
            }
        }
    }

    /// Runs a chunk in a subtransaction. On failure says how many of its jobs had finished before.
    fn attempt(&mut self, list: &[usize]) -> Result<(), (usize, Failure)> {
        let chunk: Vec<&Taken> = list.iter().map(|index| &self.jobs[*index]).collect();
        let rows: Vec<Datum> = chunk.iter().map(|job| job.row).collect();
        let with_results = chunk.iter().any(|job| finish::is_kept(self.queue, job));
        let mut finished = 0;
        let mut started = JobClock::start();
        let observer = &mut *self.observer;
        observer.starting(chunk[0]);
        let (queue, processor) = (self.queue, self.processor);
        correlation::begin(queue, processor.shape, &chunk);
        let outcome = in_subtransaction(|| {
            // What a job sets (a search_path, a role) ends with it.
            let mut settings = Settings::enter();
            let mut on_job = |count| {
                settings.renew();
                finished = count;
                started = JobClock::start();
                if let Some(next) = chunk.get(count) {
                    observer.starting(next);
                    correlation::go_on(queue, processor.shape, next);
                    interrupt::check();
                    if observer.is_cancelled(next.id) {
                        ereport!(ERROR, PgSqlErrorCode::ERRCODE_QUERY_CANCELED, BY_ADMIN);
                    }
                }
            };
            let results = match processor.then_queue {
                Some(next) => pipeline::call(processor, queue, next, &chunk, with_results, &mut on_job),
                None => processor.call(queue, &rows, with_results, &mut on_job),
            };
            settings.leave();
            results
        });
        match outcome {
            Ok(results) => {
                self.subtransactions += 1;
                let mut results = results.into_iter();
                for index in list {
                    self.endings[*index] = Ending::Done(results.next().flatten());
                }
                Ok(())
            }
            Err(failure) => {
                if failure.by_interrupt && !self.observer.owns_interrupts() && !started.is_over(processor) {
                    ereport!(ERROR, PgSqlErrorCode::ERRCODE_QUERY_CANCELED, failure.message);
                }
                interrupt::forget_cancel();
                Err((finished.min(chunk.len() - 1), failure))
            }
        }
    }

    /// Deals with a failed chunk; returns what is left to run of it.
    fn after(&mut self, list: Vec<usize>, finished: usize, failure: Failure) -> Vec<usize> {
        if failure.is_cancel() && self.observer.any_cancelled() {
            return match list.iter().position(|index| self.observer.is_cancelled(self.jobs[*index].id)) {
                // The rest of the chunk is run without it.
                Some(place) => self.run_without(&list, place, Ending::Cancelled),
                None => {
                    // It had finished; whichever job was hit instead is not to blame.
                    self.observer.forget_cancelled();
                    list
                }
            };
        }
        match self.processor.shape {
            // Those before the failing one had been well: run again without it, which keeps them.
            Shape::Job => self.run_without(&list, finished, Ending::Failed(failure)),
            Shape::Batch if list.len() == 1 => self.run_without(&list, 0, Ending::Failed(failure)),
            Shape::Batch => {
                let (first, second) = list.split_at(list.len() / 2);
                self.run(first.to_vec());
                second.to_vec()
            }
        }
    }

    /// Runs what comes before a job that failed; returns what comes after it.
    fn run_without(&mut self, list: &[usize], place: usize, ending: Ending) -> Vec<usize> {
        self.run(list[..place].to_vec());
        self.end(list[place], ending);
        list[place + 1..].to_vec()
    }

    /// Writes what became of each job.
    fn finish(self) -> Report {
        let (queue, jobs) = (self.queue, self.jobs);
        let mut report =
            Report { claimed: jobs.len(), ids: jobs.iter().map(|job| job.id).collect(), ..Report::default() };
        let mut moves = Vec::new();
        for (job, ending) in jobs.iter().zip(self.endings) {
            match ending {
                Ending::Untouched => {
                    report.returned += 1;
                    moves.push(Move::to("ready", job));
                }
                Ending::Held => {
                    report.returned += 1;
                    wake::sorted(queue.oid);
                    moves.push(Move::to("blocked", job));
                }
                Ending::Done(result) => {
                    report.done += 1;
                    moves.push(finish::done(job, result));
                }
                Ending::Failed(failure) => {
                    report.failed += 1;
                    log_failure(queue, job, &failure);
                    moves.push(after_failure(queue, job, &failure, None));
                }
                Ending::Cancelled => {
                    report.failed += 1;
                    moves.push(give_up(job, &Failure::new("57014", BY_ADMIN)));
                }
            }
        }
        finish::put_own(queue, moves);
        report
    }
}

/// When the present job began: tells whether its own timeout can have ended it.
struct JobClock(Micros);

impl JobClock {
    fn start() -> JobClock {
        JobClock(time::now())
    }

    fn is_over(&self, processor: &Processor) -> bool {
        processor.timeout_ms.is_some_and(|limit| time::now() - self.0 >= Micros::from(limit) * 1000)
    }
}

fn log_failure(queue: &Queue, job: &Taken, failure: &Failure) {
    if let Some(level) = settings::log_failed_jobs().as_log_level() {
        ereport!(
            level,
            PgSqlErrorCode::ERRCODE_WARNING,
            format!(
                "job {} of queue \"{}\" failed on attempt {}: {} (SQLSTATE {})",
                job.id, queue.name, job.attempt, failure.message, failure.sqlstate
            )
        );
    }
}
