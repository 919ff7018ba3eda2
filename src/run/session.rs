//! Batches in transactions of their own: one after the other, in a worker or in `CALL queue.run`.

use super::batch::{self, Claim, Observer, Report, Unobserved};
use super::processor::{self, Processor};
use crate::claim::Taken;
use crate::error::{Error, SqlResult};
use crate::pg::entry::Call;
use crate::pg::failure::{Failure, catch};
use crate::pg::{Datum, Oid, catalog, interrupt, spi, xact};
use crate::queue::Queue;
use crate::{queue, raw_function, upkeep};
use pgrx::pg_sys;

raw_function!(run, run_here);

/// Something that can run work in a transaction and commit it.
pub trait Session {
    /// Runs `work` inside an SPI connection and commits. `Err`: it was rolled back.
    fn transaction<R>(&self, work: impl FnOnce() -> R) -> Result<R, Failure>;
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
}

/// A procedure at the top level: inside its SPI connection, a transaction is always open. An error of
/// `work` itself is the caller's and is raised; only what the commit raises is returned.
struct Procedure;

impl Session for Procedure {
    fn transaction<R>(&self, work: impl FnOnce() -> R) -> Result<R, Failure> {
        // A connection of its own, so that its rows are freed now and not when the call ends.
        let result = spi::connect(work);
        catch(spi::commit).map(|()| result)
    }
}

/// Notes which jobs a batch claimed, for the case that its commit fails.
struct Noting<'a> {
    ids: Vec<i64>,
    inner: &'a mut dyn Observer,
}

impl Observer for Noting<'_> {
    fn claimed(&mut self, jobs: &[Taken]) {
        self.ids = jobs.iter().map(|job| job.id).collect();
        self.inner.claimed(jobs);
    }
    fn starting(&mut self, job: &Taken) {
        self.inner.starting(job);
    }
    fn cancelled(&self) -> Option<i64> {
        self.inner.cancelled()
    }
    fn forget_cancelled(&mut self) {
        self.inner.forget_cancelled();
    }
    fn owns_interrupts(&self) -> bool {
        self.inner.owns_interrupts()
    }
}

/// Runs one batch. If its commit fails (a deferred constraint), its jobs are run again one by one, each
/// in a transaction of its own, so that again only the failing one is rolled back.
pub fn run_batch(
    session: &impl Session,
    queue: Oid,
    processor: &Processor,
    limit: i64,
    observer: &mut dyn Observer,
) -> Result<Report, Failure> {
    let mut noting = Noting { ids: Vec::new(), inner: observer };
    let failure = match run_claim(session, queue, processor, Claim::Next(limit), &mut noting) {
        Ok(report) => return Ok(report),
        Err(failure) => failure,
    };
    let Noting { ids, inner } = noting;
    match ids.as_slice() {
        [] => Err(failure),
        [id] => run_failed(session, queue, *id, &failure, inner),
        _ => {
            let mut total = Report::default();
            let mut last = Ok(());
            // One that cannot even be put among the failed ones does not keep the others from their turn.
            for id in ids {
                match run_alone(session, queue, processor, id, inner) {
                    Ok(report) => total.add(&report),
                    Err(failure) => last = Err(failure),
                }
            }
            last.map(|()| total)
        }
    }
}

/// Runs one job in its own transaction; a failing commit is a failed attempt.
pub fn run_alone(
    session: &impl Session,
    queue: Oid,
    processor: &Processor,
    id: i64,
    observer: &mut dyn Observer,
) -> Result<Report, Failure> {
    run_claim(session, queue, processor, Claim::Job(id), observer)
        .or_else(|failure| run_failed(session, queue, id, &failure, observer))
}

fn run_claim(
    session: &impl Session,
    queue: Oid,
    processor: &Processor,
    claim: Claim,
    observer: &mut dyn Observer,
) -> Result<Report, Failure> {
    session.transaction(|| match queue::open(queue) {
        Ok(queue) if may_run(&queue, processor) => {
            queue.locked().map_or_else(|_| Report::default(), |q| batch::run(&q, processor, claim, observer))
        }
        // Dropped, unregistered or registered anew since we looked: nothing to do here.
        _ => Report::default(),
    })
}

/// Is this still the queue's processor, and does its role still act for the queue's owner?
fn may_run(queue: &Queue, processor: &Processor) -> bool {
    queue.registration.as_ref() == Some(&processor.registration) && catalog::acts_for(queue.owner)
}

fn run_failed(
    session: &impl Session,
    queue: Oid,
    id: i64,
    failure: &Failure,
    observer: &mut dyn Observer,
) -> Result<Report, Failure> {
    let cancelled = failure.is_cancel() && observer.cancelled() == Some(id);
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
    processor::find(oid).map(|_| oid).ok_or_else(|| Error::ProcessorGone(queue.name.clone()))
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
        let (found, more_due) = spi::connect(|| -> Result<(Option<Processor>, bool), Error> {
            let known = queue::open(oid)?.locked()?;
            if known.options.paused {
                return Ok((None, false));
            }
            let more_due = upkeep::is_due(&known) && upkeep::step(&known).more;
            Ok((processor::find(oid), more_due))
        })?;
        let Some(processor) = found else { return Ok(claimed) };
        // What upkeep moved is committed before the next step, and before the batch begins.
        spi::commit();
        if more_due {
            interrupt::check();
            continue;
        }
        let limit = i64::from(processor.batch_size).min(most - claimed);
        let report =
            run_batch(&Procedure, oid, &processor, limit, &mut Unobserved { owns_interrupts: false })
                .map_err(|failure| failure.report())?;
        claimed += (report.claimed - report.returned) as i64;
        if claimed >= most {
            return Ok(claimed);
        }
        // Empty: done, unless a row changed by hand has become due.
        if report.claimed == 0 {
            let moved = spi::connect(|| -> Result<usize, Error> {
                Ok(upkeep::step(&*queue::open(oid)?.locked()?).moved)
            })?;
            if moved == 0 {
                return Ok(claimed);
            }
        }
        interrupt::check();
    }
}
