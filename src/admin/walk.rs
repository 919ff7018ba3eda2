//! Goes through the rows of a part in batches, and passes over those with which the work cannot be done.
//!
//! Batches are done in subtransactions. When one fails, the row that it fails with is looked for by halving, in
//! subtransactions that are rolled back, and is left where it is; then its subtransaction is done again without
//! it. A transaction keeps few of them, whatever the number of rows and of such rows: over 64 slow down every
//! session of the server. So the more there are, the more batches go into one.

use super::each::{Condition, Work};
use crate::claim;
use crate::pg::failure::{Failure, in_subtransaction, try_out};
use crate::pg::{interrupt, spi};
use crate::queue::Queue;
use crate::queue::statements::Part;
use pgrx::pg_sys::panic::{ErrorReport, ErrorReportable};
use pgrx::prelude::*;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

/// Rows a statement.
const BATCH: i64 = 1000;
/// After so many subtransactions twice as many batches go into one: 55 hold ten million rows.
const SUBTRANSACTIONS_A_SIZE: u32 = 5;
/// With more rows than this that the work cannot be done with, it fails as a whole.
const MOST_PASSED_OVER: usize = 100;

/// All parts of one call.
pub struct Walk<'a> {
    pub queue: &'a Queue,
    pub condition: &'a Condition,
    pub count: i64,
    kept: u32,
    /// What was left where it is, and why.
    passed_over: BTreeMap<i64, Failure>,
}

/// How far a part is done.
#[derive(Clone, Copy)]
struct Progress {
    /// All rows up to this id.
    after: i64,
    count: i64,
    is_complete: bool,
}

/// A batch: rows with ids above the one, up to the other, and not more than so many.
#[derive(Clone, Copy)]
struct Range {
    after: i64,
    last: i64,
    most: i64,
}

impl<'a> Walk<'a> {
    pub fn new(queue: &'a Queue, condition: &'a Condition) -> Walk<'a> {
        Walk { queue, condition, count: 0, kept: 0, passed_over: BTreeMap::new() }
    }

    /// Does the work with all rows of a part up to this id.
    pub fn through(&mut self, part: Part, last: i64, work: Work) {
        let mut after = i64::MIN;
        loop {
            // The batch that failed, and the last id that was taken for it.
            let (at, taken) = (Cell::new(None), Cell::new(None));
            let step = in_subtransaction(|| self.some_batches(part, after, last, work, &at, &taken));
            match step {
                Ok(done) => {
                    self.kept += 1;
                    self.count += done.count;
                    after = done.after;
                    if done.is_complete {
                        return;
                    }
                }
                Err(failure) => self.pass_over(part, at.get(), taken.get(), failure, work),
            }
            interrupt::check();
        }
    }

    fn some_batches(
        &self,
        part: Part,
        after: i64,
        last: i64,
        work: Work,
        at: &Cell<Option<Range>>,
        taken: &Cell<Option<i64>>,
    ) -> Progress {
        let mut progress = Progress { after, count: 0, is_complete: false };
        let mut left = 1_u64 << (self.kept / SUBTRANSACTIONS_A_SIZE).min(32);
        while left > 0 {
            let next_bad = self.next_passed_over(progress.after).filter(|id| *id <= last);
            let until = next_bad.map_or(last, |id| id - 1);
            let range = Range { after: progress.after, last: until, most: BATCH };
            at.set(Some(range));
            taken.set(None);
            let done = self.batch(part, range, work, taken);
            progress.count += done;
            progress.after = taken.get().unwrap_or(progress.after);
            if done == 0 {
                match next_bad {
                    Some(id) => progress.after = id,
                    None => return Progress { is_complete: true, ..progress },
                }
                continue;
            }
            left -= 1;
            interrupt::check();
        }
        progress
    }

    fn next_passed_over(&self, after: i64) -> Option<i64> {
        self.passed_over.range((Excluded(after), Unbounded)).next().map(|(id, _)| *id)
    }

    /// Its memory is given back at its end. `taken`: the last id, as soon as it is known.
    fn batch(&self, part: Part, range: Range, work: Work, taken: &Cell<Option<i64>>) -> i64 {
        spi::connect(|| {
            let Range { after, last, most } = range;
            let jobs = claim::take_where(self.queue, part, self.condition.text(), after, last, most);
            taken.set(jobs.iter().map(|job| job.id).max());
            let count = jobs.len() as i64;
            if count > 0 {
                work(self.queue, part.state, jobs).unwrap_or_report();
            }
            count
        })
    }

    /// Finds the row that a batch failed with. Raises what comes from no row: from the condition, say, or from
    /// the state of the server.
    fn pass_over(
        &mut self,
        part: Part,
        failed: Option<Range>,
        taken: Option<i64>,
        failure: Failure,
        work: Work,
    ) {
        let is_many = self.passed_over.len() >= MOST_PASSED_OVER;
        let (Some(range), Some(mut bad)) = (failed, taken) else { failure.raise() };
        if failure.is_of_the_moment() || is_many {
            failure.raise();
        }
        let mut latest = failure;
        // So many of its rows can be done, so many cannot.
        let (mut good, mut too_many) = (0, range.most);
        while too_many - good > 1 {
            let most = (good + too_many) / 2;
            let taken = Cell::new(None);
            match try_out(|| self.batch(part, Range { most, ..range }, work, &taken)) {
                Ok(_) => good = most,
                Err(failure) if failure.is_of_the_moment() => failure.raise(),
                Err(failure) => {
                    bad = taken.get().unwrap_or(bad);
                    (too_many, latest) = (most, failure);
                }
            }
        }
        self.passed_over.insert(bad, latest);
    }

    /// Says what was left where it is.
    pub fn complain(&self) {
        const MOST_NAMED: usize = 10;
        let Some(failure) = self.passed_over.values().next() else { return };
        let ids: Vec<String> = self.passed_over.keys().take(MOST_NAMED).map(i64::to_string).collect();
        let others = match self.passed_over.len() {
            0 | 1 => String::new(),
            2..=MOST_NAMED => "; the first".into(),
            count => format!(" and {} more; the first", count - MOST_NAMED),
        };
        let what = format!(
            "queue \"{}\": passed over job {}{others}: {} (SQLSTATE {})",
            self.queue.name,
            ids.join(", "),
            failure.message,
            failure.sqlstate
        );
        let report = ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, what, "queue_ext");
        match &failure.hint {
            Some(hint) => report.set_hint(hint.clone()),
            None => report,
        }
        .report(PgLogLevel::WARNING);
    }
}
