//! `after`: a job that waits until others of its queue have ended.
//!
//! It is in the state `blocked` with `after` filled in: the ids it waits for. (Jobs that are blocked for
//! another reason, behind their group, have `after` null.) A job has *ended* when it is `done`, `failed`, or
//! gone. Upkeep moves a waiting job whose others have all ended among the ready ones (or the scheduled ones,
//! if its `run_at` has not come), with `after` set to null, so that from then on it is a job like any other;
//! or, as soon as one has failed and `after_failure` is not `release`, among the failed ones, where `after`
//! stays for the record. Resubmitted, it waits again for those of them that have not ended then.
//!
//! No circles: a job waits for lower ids than its own only. That an id was issued is checked when the job is
//! put; one that has been issued but whose transaction has not committed counts as gone.
//!
//! # Who looks when
//!
//! Truth is in the table: a GIN index over `after` finds who waits for a job, an index on `id` all who wait,
//! both without a row for anybody else. Nothing is written when a job ends. Whether a waiting job may run is
//! decided by one statement with one snapshot over the whole queue (a job that moves between states is in
//! exactly one of them in each snapshot), taken after the reason to look was known.
//!
//! With shared memory ([`waits`]), the reasons to look are, each told when its transaction has committed and
//! is visible ([`notes`]):
//!
//! - E, a commit that put waiting jobs, tells the ids that they wait for;
//! - F, a commit that ended jobs, tells their ids, unless it is known that no job waits;
//! - what has too many ids, or does not know them (hand-written DELETE, purge), asks for all to be looked at.
//!
//! **No waiting job is forgotten.** Let D wait for X, and F be the last of its others to end. If E's telling
//! comes after F became visible, the look it causes sees both: D is moved. Else F became visible after E told,
//! so F's own telling, which is later still, finds that some job waits (`none` was cleared by E, and is set
//! again only by a look that began after E told, sees D then, and so does not set it), and the look it causes
//! sees both. A look that comes to nothing (an error, a rollback of its transaction or subtransaction, a row
//! locked by somebody) asks for all again. `none` is set only if no E told between the beginning of the look
//! and its end.
//!
//! After a crash at any point nothing is known, and all are looked at; the same after a restart, a failover
//! or a restore. A place in shared memory that was given away is begun anew in that state. COMMIT PREPARED
//! and rows put with triggers disabled tell nobody: at the end of each step of upkeep, and once a minute at
//! least, it is looked whether any job waits, and if so, all are. Jobs removed by TRUNCATE or with triggers
//! disabled are found gone by the same look, a minute later at the latest.
//!
//! Without shared memory each step of upkeep looks at the next thousand waiting jobs; a worker does one a
//! second, a client one each time it takes jobs.
//!
//! # Locks
//!
//! A look locks nothing. Moving takes the waiting rows with SKIP LOCKED, as all of upkeep: nobody is waited
//! for, so nobody deadlocks. Neither enqueuing nor finishing takes a lock for this.

pub mod look;
pub mod notes;
pub mod waits;

use crate::claim::{Move, Taken};
use crate::enqueue::{Header, More};
use crate::error::Error;
use crate::history::{self, give_up};
use crate::pg::failure::Failure;
use crate::pg::{Datum, array, catalog, role, row, spi, xact};
use crate::queue::Queue;
use crate::queue::layout::Col;
use crate::queue::limits::{check_after, check_after_failure};
use pgrx::pg_sys;

/// SQL: has one of these ids not ended? From the highest on: mostly that is the one that is still going.
fn some_unfinished(queue: &Queue, ids: &str) -> String {
    format!(
        "coalesce((SELECT true FROM (SELECT x FROM unnest({ids}) AS x ORDER BY x DESC OFFSET 0) AS o
             WHERE {} LIMIT 1), false)",
        unfinished(queue, "o.x")
    )
}

/// SQL: is there a job of this id that has not ended? LIMIT: never turned into a look at whole tables. `id` is
/// qualified: by itself a name would be that of a column of the queue's own.
fn unfinished(queue: &Queue, id: &str) -> String {
    let table = &queue.table;
    let is = |state: &str, more: &str| {
        format!("(SELECT true FROM {table} AS u WHERE u.state = '{state}'{more} AND u.id = {id} LIMIT 1)")
    };
    // The priority is spelled out for the index of the ready ones, which begins with it.
    let all = [
        is("ready", " AND u.priority = ANY ('{0,1,2,3,4,5,6,7,8,9}'::smallint[])"),
        is("scheduled", ""),
        is("running", ""),
        is("blocked", ""),
    ];
    format!("coalesce({}, false)", all.join(", "))
}

/// Must a job wait for these? Else all have ended, and none of them keeps it from running.
fn must_wait(queue: &Queue, ids: &[i64], release: bool) -> bool {
    // One that came later than what this transaction sees would pass for gone.
    if xact::sees_only_the_past() {
        return true;
    }
    let sql = format!(
        "SELECT {} OR coalesce((SELECT NOT $2 FROM unnest($1) AS i (x)
             WHERE (SELECT true FROM {} AS f WHERE f.state = 'failed' AND f.id = i.x LIMIT 1) LIMIT 1), false)",
        some_unfinished(queue, "$1"),
        queue.table
    );
    let args = [spi::arg(ids.to_vec()), spi::arg(release)];
    let rows = role::as_role(queue.owner, || {
        let _order = role::Planner::by_index_in_any_order();
        queue.plan(sql, &[pg_sys::INT8ARRAYOID, pg_sys::BOOLOID]).execute(&args)
    });
    rows.get(0, 1).unwrap_or(true)
}

/// Those that have not ended.
fn still_going(queue: &Queue, ids: &[i64]) -> Vec<i64> {
    let sql = format!("SELECT i.x FROM unnest($1) AS i (x) WHERE {}", unfinished(queue, "i.x"));
    let rows = role::as_role(queue.owner, || {
        let _order = role::Planner::by_index();
        queue.plan(sql, &[pg_sys::INT8ARRAYOID]).execute(&[spi::arg(ids.to_vec())])
    });
    (0..rows.len()).filter_map(|row| rows.get(row, 1)).collect()
}

/// Were these ids ever issued, and are they not too many?
fn check_ids(queue: &Queue, ids: &[i64]) -> Result<(), Error> {
    check_after(ids.len())?;
    for id in ids.iter().min().into_iter().chain(ids.iter().max()) {
        history::check_issued(queue, *id)?;
    }
    Ok(())
}

/// Does the job with this id wait for lower ones only?
pub fn check_order(queue: &Queue, ids: &[i64], own: i64) -> Result<(), Error> {
    match ids.iter().max() {
        Some(after) if *after >= own => {
            Err(Error::AfterNotBefore { queue: queue.name.clone(), id: own, after: *after })
        }
        _ => Ok(()),
    }
}

/// The header of jobs that are about to be put, checked: one that waits for nothing any more is changed.
pub fn settle(queue: &Queue, header: &Header) -> Result<Option<Header>, Error> {
    let Some((more, ids)) = header.more.as_ref().and_then(|more| Some((more, more.after.as_ref()?))) else {
        return Ok(None);
    };
    let release = more.after_failure.as_deref() == Some("release");
    let waits = spi::connect(|| {
        check_ids(queue, ids)?;
        Ok::<bool, Error>(!ids.is_empty() && must_wait(queue, ids, release))
    })?;
    if waits {
        return Ok(None);
    }
    let more = More { after: None, after_failure: None, ..(**more).clone() };
    Ok(Some(Header { more: Some(Box::new(more)), ..header.clone() }))
}

/// What a row about to be put, or just put, says about waiting.
pub struct Wish {
    pub id: i64,
    /// A bigint[].
    pub after: Datum,
    pub after_failure: Option<String>,
}

/// The ids it waits for; none: it need not wait. `unseen`: jobs with ids from here on may have been put by
/// the same statement, and not be visible yet.
pub fn wish(queue: &Queue, wish: &Wish, unseen: i64) -> Result<Vec<i64>, Error> {
    let ids =
        ids_in(wish.after).ok_or_else(|| Error::ArrayMismatch("after must not contain nulls".into()))?;
    check_after_failure(wish.after_failure.as_deref())?;
    if ids.is_empty() {
        return Ok(ids);
    }
    let release = wish.after_failure.as_deref() == Some("release");
    spi::connect(|| {
        check_ids(queue, &ids)?;
        check_order(queue, &ids, wish.id)?;
        let waits = ids.iter().any(|id| *id >= unseen) || must_wait(queue, &ids, release);
        Ok(if waits { ids } else { Vec::new() })
    })
}

/// `None` if there are nulls among them.
pub fn ids_in(value: Datum) -> Option<Vec<i64>> {
    array::bigints(value).into_iter().collect()
}

fn column(queue: &Queue) -> i16 {
    let known = queue.layout.as_ref().map(|layout| layout.number(Col::After));
    known.unwrap_or_else(|| catalog::column_number(queue.oid, c"after"))
}

/// Has the job others to wait for?
pub fn is_filled(queue: &Queue, job: &Taken) -> bool {
    row::any_filled(job.row, &[column(queue)])
}

fn ids_of(queue: &Queue, job: &Taken) -> Vec<i64> {
    row::column(job.row, queue.row_type, column(queue)).and_then(ids_in).unwrap_or_default()
}

/// The job as it waits for these, or for none.
fn with_ids(queue: &Queue, job: &Taken, ids: &[i64]) -> Taken {
    let value = (!ids.is_empty()).then(|| spi::arg(ids.to_vec())).flatten();
    Taken { row: row::with_column(job.row, queue.row_type, column(queue), value), ..job.clone() }
}

/// The job as one that does not wait for others any more.
pub fn freed(queue: &Queue, job: &Taken) -> Taken {
    with_ids(queue, job, &[])
}

/// Where a waiting job goes, by what a look found: it fails because of that one, or is free.
pub fn verdict(job: &Taken, failed: Option<i64>) -> Move<'_> {
    match failed {
        Some(id) => {
            let text = format!("job {id}, which this one waited for, failed");
            give_up(job, &Failure::new("55000", text))
        }
        None => Move::back(job),
    }
}

/// A job whose time has come goes among the ready ones, unless there are others that it waits for.
pub fn due<'a>(queue: &Queue, job: &'a Taken) -> Move<'a> {
    if is_filled(queue, job) {
        notes::added(queue.oid, &ids_of(queue, job));
        return Move::to("blocked", job);
    }
    Move::to("ready", job)
}

/// Failed jobs that begin anew, each with the state it goes to. It waits again for those that have not ended
/// and those that begin anew with it.
pub fn again(queue: &Queue, taken: &[Taken]) -> Vec<(Taken, &'static str)> {
    let place = |job: &Taken| {
        if !is_filled(queue, job) {
            return (job.clone(), "ready");
        }
        let ids = ids_of(queue, job);
        let going = still_going(queue, &ids);
        let waits_for = |id: &i64| going.contains(id) || taken.iter().any(|other| other.id == *id);
        let left: Vec<i64> = ids.into_iter().filter(waits_for).collect();
        if !left.is_empty() {
            notes::added(queue.oid, &left);
        }
        let state = if left.is_empty() { "ready" } else { "blocked" };
        (with_ids(queue, job, &left), state)
    };
    taken.iter().map(place).collect()
}
