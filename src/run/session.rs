//! Batches in transactions of their own: one after the other, in a worker or in `CALL queue.run`.

use super::batch::{self, Claim, Observer, Report, Unobserved};
use super::next;
use super::processor::{self, Processor};
use crate::claim::Taken;
use crate::error::{Error, SqlResult};
use crate::pg::entry::Call;
use crate::pg::failure::{Failure, catch};
use crate::pg::{Datum, Oid, catalog, interrupt, role, spi, xact};
use crate::queue::{Queue, retyped};
use crate::schedule::tick;
use crate::{limit, queue, raw_function, upkeep};
use pgrx::pg_sys;
use std::rc::Rc;

raw_function!(run, run_here);

/// Something that can run work in a transaction and commit it.
pub trait Session {
    /// Runs `work` inside an SPI connection and commits. `Err`: it was rolled back.
    fn transaction<R>(&self, work: impl FnOnce() -> R) -> Result<R, Failure>;

    /// May it run jobs, or is it to end first?
    fn may_run(&self) -> bool {
        true
    }
}

/// A background worker: no transaction is open between two.
pub struct Worker;

impl Session for Worker {
    fn transaction<R>(&self, work: impl FnOnce() -> R) -> Result<R, Failure> {
        let outcome = catch(|| {
            xact::begin();
            let result = spi::connect(work);
            xact::commit();
            result
        });
        if outcome.is_err() {
            xact::abort();
            interrupt::forget_cancel();
        }
        outcome
    }

    fn may_run(&self) -> bool {
        !retyped::is_any()
    }
}

impl Worker {
    /// Puts the session back as it was after login: what the code of one queue has set (a role, a
    /// search_path, temporary tables, advisory locks) is not for the next queue's. Outside a transaction.
    pub fn reset(&self) -> Result<(), Failure> {
        catch(role::reset_session)?;
        if role::has_temporary_tables() {
            self.transaction(role::drop_temporary_tables)?;
        }
        Ok(())
    }
}

/// A procedure at the top level: inside its SPI connection, a transaction is always open. An error of
/// `work` itself is the caller's and is raised; only what the commit raises is returned.
struct Procedure;

impl Session for Procedure {
    fn transaction<R>(&self, work: impl FnOnce() -> R) -> Result<R, Failure> {
        // A connection of its own, so that its rows are freed now and not when the call ends.
        let result = spi::connect(|| role::kept_down(work));
        catch(spi::commit).map(|()| result)
    }
}

/// Notes which jobs a batch claimed, for the case that its commit fails.
struct Noting<'a> {
    ids: Vec<i64>,
    inner: &'a mut dyn Observer,
}

impl Observer for Noting<'_> {
    fn claimed(&mut self, queue: &Queue, processor: &Processor, jobs: &[Taken]) {
        self.ids = jobs.iter().map(|job| job.id).collect();
        self.inner.claimed(queue, processor, jobs);
    }
    fn starting(&mut self, job: &Taken) {
        self.inner.starting(job);
    }
    fn is_cancelled(&self, id: i64) -> bool {
        self.inner.is_cancelled(id)
    }
    fn any_cancelled(&self) -> bool {
        self.inner.any_cancelled()
    }
    fn forget_cancelled(&mut self) {
        self.inner.forget_cancelled();
    }
    fn owns_interrupts(&self) -> bool {
        self.inner.owns_interrupts()
    }
}

/// A batch that was run.
pub struct Ran {
    pub report: Report,
    /// Most jobs it could have claimed.
    pub limit: i64,
    pub processor: Rc<Processor>,
}

/// Runs one batch of as many jobs as `limit` says. `None`: there is nothing to do for this session's user
/// here; the queue was dropped, its processor unregistered or registered by another role, say. If the
/// commit fails (a deferred constraint), its jobs are run again one by one, each in a transaction of its
/// own, so that again only the failing one is rolled back.
pub fn run_batch(
    session: &impl Session,
    queue: Oid,
    limit: &dyn Fn(&Processor) -> i64,
    observer: &mut dyn Observer,
) -> Result<Option<Ran>, Failure> {
    let mut noting = Noting { ids: Vec::new(), inner: observer };
    let mut chosen = None;
    let choose = &mut |processor: &Rc<Processor>| {
        let limit = limit(processor);
        chosen = Some((limit, processor.clone()));
        Claim::Next(limit)
    };
    let outcome = run_claim(session, queue, choose, &mut noting);
    let Noting { ids, inner } = noting;
    let (Some((limit, processor)), true) = (chosen, outcome.is_ok() || !ids.is_empty()) else {
        return outcome.map(|_| None);
    };
    let report = match outcome {
        Ok(report) => report.unwrap_or_default(),
        Err(failure) => run_again(session, queue, &ids, &failure, inner)?,
    };
    Ok(Some(Ran { report, limit, processor }))
}

/// What can be had of a batch whose commit failed.
fn run_again(
    session: &impl Session,
    queue: Oid,
    ids: &[i64],
    failure: &Failure,
    observer: &mut dyn Observer,
) -> Result<Report, Failure> {
    if let [id] = ids {
        return run_failed(session, queue, *id, failure, observer);
    }
    limit::grant::one_at_a_time(queue);
    let mut total = Report::default();
    let mut last = Ok(());
    // One that cannot even be put among the failed ones does not keep the others from their turn.
    for id in ids {
        match run_alone(session, queue, *id, observer) {
            Ok(report) => total.add(&report),
            Err(failure) => last = Err(failure),
        }
    }
    last.map(|()| total)
}

/// Runs one job in its own transaction; a failing commit is a failed attempt.
pub fn run_alone(
    session: &impl Session,
    queue: Oid,
    id: i64,
    observer: &mut dyn Observer,
) -> Result<Report, Failure> {
    let mut run = || run_claim(session, queue, &mut |_| Claim::Job(id), observer);
    let outcome = match run() {
        // Room was taken for it: now for the job.
        Ok(Some(report)) if report.claimed == 0 && limit::grant::is_granted(queue) => run(),
        outcome => outcome,
    };
    match outcome {
        Ok(report) => Ok(report.unwrap_or_default()),
        Err(failure) => run_failed(session, queue, id, &failure, observer),
    }
}

fn run_claim(
    session: &impl Session,
    queue: Oid,
    choose: &mut dyn FnMut(&Rc<Processor>) -> Claim,
    observer: &mut dyn Observer,
) -> Result<Option<Report>, Failure> {
    session.transaction(|| {
        let queue = open_to_run(queue)?;
        let processor = processor_of_mine(&queue).filter(|_| session.may_run())?;
        Some(batch::run(&queue, &processor, choose(&processor), observer))
    })
}

/// The queue with its definition locked, if the session's user acts for its owner: nobody waits for a
/// lock on a table that is none of his business.
fn open_to_run(queue: Oid) -> Option<Rc<Queue>> {
    let queue = queue::open(queue).ok().filter(|queue| catalog::acts_for(queue.owner))?;
    queue.registration()?;
    queue.locked().ok().filter(|queue| catalog::acts_for(queue.owner))
}

/// The queue's processor, if the session's user registered it.
pub fn processor_of_mine(queue: &Queue) -> Option<Rc<Processor>> {
    processor::current(queue).filter(|processor| processor.role == catalog::session_user())
}

fn run_failed(
    session: &impl Session,
    queue: Oid,
    id: i64,
    failure: &Failure,
    observer: &mut dyn Observer,
) -> Result<Report, Failure> {
    let cancelled = failure.is_cancel() && observer.is_cancelled(id);
    session.transaction(|| match queue::open(queue).and_then(Queue::locked) {
        Ok(queue) => batch::fail(&queue, id, failure, cancelled),
        Err(_) => Report::default(),
    })
}

/// `queue.run`
fn run_here(call: &Call) -> SqlResult<Datum> {
    let wanted: Option<Oid> = call.arg(0);
    let max_jobs: Option<i64> = call.arg(1);
    if max_jobs.is_some_and(|n| n < 1) {
        return Err(Error::out_of_range("max_jobs must be greater than zero").into());
    }
    if !call.may_commit() {
        return Err(Error::InTransactionBlock("queue.run").into());
    }
    spi::connect_nonatomic(|| {
        let queues = match wanted {
            Some(queue) => vec![check_runnable(queue)?],
            None => own_queues(),
        };
        let mut left = max_jobs.unwrap_or(i64::MAX);
        for queue in queues {
            left -= run_queue(queue, left)?;
            if left <= 0 {
                break;
            }
        }
        Ok(call.null())
    })
}

/// Only the role that registered a processor runs it, and only as the session's own user: a superuser
/// who merely stepped down to it could be stepped back up by the processor.
fn check_runnable(oid: Oid) -> Result<Oid, Error> {
    let queue = queue::open(oid)?;
    let role = processor::registered_role(oid).ok_or_else(|| Error::NotRegistered(queue.name.clone()))?;
    if catalog::current_user() != role || catalog::session_user() != role {
        return Err(Error::OtherRole { queue: queue.name.clone(), role: catalog::role_name(role) });
    }
    if next::is_gone(oid) {
        return Err(Error::NextQueueGone(queue.name.clone()));
    }
    processor::find(oid)
        .map(|_| oid)
        .ok_or_else(|| Error::ProcessorGone { queue: queue.name.clone(), why: processor::why_not_found(oid) })
}

/// The queues whose processors the session's user registered. Must be called inside `spi::connect`.
pub fn own_queues() -> Vec<Oid> {
    let user = catalog::current_user();
    if catalog::session_user() != user {
        return Vec::new();
    }
    const OWN: &str = "
        SELECT p.queue::oid FROM queue.processors p JOIN pg_class c ON c.oid = p.queue
        WHERE p.role = $1 ORDER BY p.queue::text";
    let rows = queue::as_extension(|| spi::run(OWN, &[pg_sys::OIDOID], &[spi::arg(user)]));
    (0..rows.len()).filter_map(|row| rows.get(row, 1)).collect()
}

/// Runs a queue until nothing is due; returns how many jobs were claimed.
fn run_queue(oid: Oid, most: i64) -> SqlResult<i64> {
    let mut claimed = 0;
    loop {
        // In a connection of its own, like each batch: what it reads is freed at once.
        let (paused, more_due) = spi::connect(|| -> Result<(bool, bool), Error> {
            let known = queue::open(oid)?.locked()?;
            let paused = known.options.paused;
            let more = role::kept_down(|| {
                if paused {
                    // Nothing is handed out, but enqueueing goes on.
                    tick::fire_due(&known);
                }
                !paused && upkeep::is_due(&known) && upkeep::step(&known).more
            });
            Ok((paused, more))
        })?;
        if paused {
            return Ok(claimed);
        }
        // What upkeep moved is committed before the next step, and before the batch begins.
        spi::commit();
        if more_due {
            interrupt::check();
            continue;
        }
        let limit = |processor: &Processor| i64::from(processor.batch_size).min(most - claimed);
        let ran = run_batch(&Procedure, oid, &limit, &mut Unobserved { owns_interrupts: false })
            .map_err(|failure| failure.report())?;
        let Some(Ran { report, .. }) = ran else { return Ok(claimed) };
        claimed += (report.claimed - report.returned) as i64;
        if claimed >= most {
            return Ok(claimed);
        }
        // Empty: done, unless a row changed by hand has become due.
        if report.claimed == 0 && !report.more {
            let moved = spi::connect(|| -> Result<usize, Error> {
                let queue = queue::open(oid)?.locked()?;
                Ok(role::kept_down(|| upkeep::step(&queue)).moved)
            })?;
            if moved == 0 {
                return Ok(claimed);
            }
        }
        interrupt::check();
    }
}
