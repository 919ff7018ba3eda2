//! Goes through the rows of a part in batches, and passes over those with which the work cannot be done.
//!
//! All is done in one subtransaction, in the hope that nothing fails. If something does, it is done again from
//! the beginning, with care: each batch is tried out in a subtransaction that is rolled back, made smaller until
//! it goes well, and only then done; a batch of one row that fails is left where it is. So the work is done three
//! times, and twice more with a batch for each such row; and none of the subtransactions is kept: over 64 in a
//! transaction slow down every session of the server.
//!
//! The keys of jobs that are put on another queue are settled at the end, in one order for all (`keys::gather`),
//! so that two such calls do not deadlock; with care, at the end of each batch.

use super::each::{Condition, Work};
use crate::claim;
use crate::keys::Gathering;
use crate::pg::failure::{Failure, in_subtransaction, try_out};
use crate::pg::{interrupt, spi};
use crate::queue::Queue;
use crate::queue::statements::Part;
use pgrx::pg_sys::panic::{ErrorReport, ErrorReportable};
use pgrx::prelude::*;
use std::cell::Cell;

/// Rows a statement.
const BATCH: i64 = 1000;
/// With more rows than this that the work cannot be done with, it fails as a whole.
const MOST_PASSED_OVER: usize = 100;

/// One call.
pub struct Walk<'a> {
    queue: &'a Queue,
    condition: &'a Condition,
    /// With so many rows the work is done.
    pub count: i64,
    /// What was left where it is, and why.
    passed_over: Vec<(i64, Failure)>,
}

/// What a batch took, as far as it came.
#[derive(Clone, Copy, Default)]
struct Batch {
    count: i64,
    /// The highest id.
    last: i64,
}

impl<'a> Walk<'a> {
    pub fn new(queue: &'a Queue, condition: &'a Condition) -> Walk<'a> {
        Walk { queue, condition, count: 0, passed_over: Vec::new() }
    }

    /// Does the work with all rows of each part up to this id.
    pub fn through(&mut self, parts: &[(Part, i64)], work: Work) {
        let at = Cell::default();
        match in_subtransaction(|| self.hopefully(parts, work, &at)) {
            Ok(count) => self.count = count,
            Err(failure) => {
                raise_unless_of_rows(&failure, at.get());
                parts.iter().for_each(|(part, last)| self.carefully(*part, *last, work));
            }
        }
    }

    fn hopefully(&self, parts: &[(Part, i64)], work: Work, at: &Cell<Batch>) -> i64 {
        let gathering = Gathering::begin();
        let mut count = 0;
        for (part, last) in parts {
            let mut after = i64::MIN;
            loop {
                self.batch(*part, after, *last, BATCH, work, at);
                if at.get().count == 0 {
                    break;
                }
                (after, count) = (at.get().last, count + at.get().count);
                interrupt::check();
            }
        }
        at.set(Batch { count, last: 0 });
        gathering.settle().unwrap_or_report();
        count
    }

    fn carefully(&mut self, part: Part, last: i64, work: Work) {
        let mut after = i64::MIN;
        // One at least of so many next rows is bad.
        let mut suspects = 0;
        loop {
            let most = if suspects > 0 { (suspects / 2).max(1) } else { BATCH };
            let at = Cell::default();
            let outcome = try_out(|| self.settled_batch(part, after, last, most, work, &at));
            let tried = at.get();
            match outcome {
                Ok(()) if tried.count == 0 => return,
                Ok(()) => {
                    // None beyond those that it was tried with: somebody may have let go of others meanwhile.
                    self.settled_batch(part, after, tried.last, most, work, &at);
                    self.count += at.get().count;
                    suspects = (suspects - tried.count).max(0);
                    after = tried.last;
                }
                Err(failure) => {
                    raise_unless_of_rows(&failure, tried);
                    suspects = tried.count;
                    if tried.count == 1 {
                        if self.passed_over.len() >= MOST_PASSED_OVER {
                            failure.raise();
                        }
                        self.passed_over.push((tried.last, failure));
                        (suspects, after) = (0, tried.last);
                    }
                }
            }
            interrupt::check();
        }
    }

    fn settled_batch(&self, part: Part, after: i64, last: i64, most: i64, work: Work, at: &Cell<Batch>) {
        let gathering = Gathering::begin();
        self.batch(part, after, last, most, work, at);
        gathering.settle().unwrap_or_report();
    }

    /// Up to so many rows with ids above the one, up to the other. The memory is given back at its end. `at` is
    /// set as soon as they are taken.
    fn batch(&self, part: Part, after: i64, last: i64, most: i64, work: Work, at: &Cell<Batch>) {
        at.take();
        spi::connect(|| {
            let jobs = claim::take_where(self.queue, part, self.condition.text(), after, last, most);
            let Some(last) = jobs.iter().map(|job| job.id).max() else { return };
            at.set(Batch { count: jobs.len() as i64, last });
            work(self.queue, part.state, jobs).unwrap_or_report();
        });
    }

    /// Says what was left where it is.
    pub fn complain(&self) {
        const MOST_NAMED: usize = 10;
        let Some((_, failure)) = self.passed_over.first() else { return };
        let ids: Vec<String> =
            self.passed_over.iter().take(MOST_NAMED).map(|(id, _)| id.to_string()).collect();
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

/// Raises what comes from no row: from the condition, with which none is taken, or from the state of the server.
fn raise_unless_of_rows(failure: &Failure, at: Batch) {
    if failure.is_of_the_moment() || at.count == 0 {
        failure.raise();
    }
}
