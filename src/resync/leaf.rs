//! One table of a source, read in an order, a batch at a time.
//!
//! A batch is found in two steps: where it ends, and then its jobs, by one INSERT … SELECT over all rows after
//! the former batch's end up to that. So no row between two ends is left out, whatever comes or goes between
//! the steps.
//!
//! Where a job may take the place of one that waits (`on_conflict` is replace, debounce or merge), it must not
//! bring older content than that has: a change that commits after the batch's snapshot, but before its job is
//! replaced, would be undone on the queue. So the rows' versions are looked at before and, with a snapshot of
//! its own, after; if they differ the batch is rolled back and made anew, of half as many rows. A change that
//! commits later than that look waits for the batch with its own job, and then replaces.

use super::order::Order;
use super::span;
use crate::enqueue::direct;
use crate::enqueue::spec::Spec;
use crate::enqueue::statement::{Form, Shape, Wanted, statement};
use crate::error::{Error, SqlResult};
use crate::pg::failure::{self, Failure};
use crate::pg::spi::{self, Arg, Plan};
use crate::pg::trigger::Event;
use crate::pg::{Oid, catalog, interrupt, role};
use crate::queue::Queue;
use crate::queue::limits::OnConflict;
use crate::{claim, keys};
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReportable;
use std::cell::Cell;

type Position = Option<Vec<String>>;

/// The statements for a leaf, from its start or from a position on.
pub struct Leaf {
    pub table: Oid,
    pub order: Order,
    /// Of the queue as it was when they were made.
    end: Vec<Plan>,
    insert: Vec<Plan>,
    versions: Vec<Plan>,
    span: u32,
    has_key: bool,
    /// Instead of what the queue says.
    on_conflict: Option<OnConflict>,
}

/// A batch that was enqueued.
pub struct Done {
    pub rows: i64,
    pub enqueued: i64,
    /// `None`: the table has no more.
    pub position: Position,
}

/// So that positions are written in one way only, and exactly.
const AS_TEXT: &str =
    "SELECT set_config('datestyle', 'ISO, YMD', true), set_config('intervalstyle', 'postgres', true),
                              set_config('extra_float_digits', '1', true)";

impl Leaf {
    /// Must be called inside `spi::connect`, with the table and the queue locked. `wanted`: the attachment,
    /// with the conditions that hold.
    pub fn open(queue: &Queue, table: Oid, order: Order, wanted: &Wanted) -> Result<Leaf, Error> {
        let shape = Shape { event: Event::Insert, form: Form::Stored, table };
        let types = [pg_sys::TEXTARRAYOID, pg_sys::TEXTARRAYOID];
        let inserts = [true, false]
            .map(|from_start| statement(queue, &within(wanted, &order.range(from_start)), &shape))
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        let ends = [true, false].map(|from_start| order.end_statement(table, from_start));
        let versions = [true, false].map(|from_start| order.versions_statement(table, from_start));
        let end_types = [pg_sys::TEXTARRAYOID, pg_sys::INT8OID, pg_sys::TEXTOID];
        let prepare = || {
            let _planner = role::Planner::by_index();
            let all = |list: &[String], types: &[Oid]| -> Vec<Plan> {
                list.iter().map(|sql| Plan::prepare(sql, types)).collect()
            };
            (all(&ends, &end_types), all(&inserts, &types), all(&versions, &types))
        };
        let (end, insert, versions) = role::as_role(wanted.role.unwrap_or(queue.owner), prepare);
        let spec = &wanted.spec;
        Ok(Leaf {
            table,
            order,
            end,
            insert,
            versions,
            span: span::FIRST,
            has_key: spec.key.is_some() || spec.set.contains_key("key"),
            on_conflict: spec.on_conflict.as_deref().and_then(OnConflict::of),
        })
    }

    /// Enqueues the next batch. Must be called as `open`.
    pub fn step(&mut self, queue: &Queue, role: Oid, from: &Position, most_rows: i64) -> SqlResult<Done> {
        let mut most_rows = most_rows;
        loop {
            let (rows, last, position) = self.end_of_batch(role, from, most_rows);
            let Some(last) = last else { return Ok(Done { rows, enqueued: 0, position }) };
            let batch = Batch {
                queue,
                role,
                started: from.is_some(),
                args: [spi::arg(from.clone()), spi::arg(last)],
            };
            let enqueued = if self.takes_places(queue) {
                self.enqueue_unchanged(&batch).map_err(|failure| failure.report())?
            } else {
                Some(self.enqueue(&batch)?)
            };
            if let Some(enqueued) = enqueued {
                return Ok(Done { rows, enqueued, position });
            }
            most_rows = (most_rows / 2).max(1);
            interrupt::check();
        }
    }

    /// May a job of ours take the place of one that waits?
    fn takes_places(&self, queue: &Queue) -> bool {
        use OnConflict::{Debounce, Merge, Replace};
        let on_conflict = self.on_conflict.or(queue.options.on_conflict);
        self.has_key && matches!(on_conflict, Some(Debounce | Merge | Replace))
    }

    /// How many rows the batch has, its last row, and where the next one begins, if there is one.
    fn end_of_batch(&mut self, role: Oid, from: &Position, most_rows: i64) -> (i64, Position, Position) {
        let (mut stop, mut blocks) = (None, 0);
        if self.order.by_place {
            blocks = catalog::blocks(self.table);
            let block = from.as_ref().map_or(0, |place| block_of(&place[0]));
            stop = Some(block.saturating_add(self.span));
        }
        let args =
            [spi::arg(from.clone()), spi::arg(most_rows), spi::arg(stop.map(|block| format!("({block},0)")))];
        let end = role::as_role(role, || {
            spi::run_kept(AS_TEXT, &[], &[]);
            self.end[usize::from(from.is_some())].execute(&args)
        });
        let (rows, last): (i64, Position) =
            if end.is_empty() { (0, None) } else { (end.get(0, 1).unwrap_or(0), end.get(0, 2)) };
        let position = match stop {
            _ if rows >= most_rows => last.clone(),
            Some(block) if block < blocks => Some(vec![format!("({block},0)")]),
            _ => None,
        };
        if stop.is_some() {
            self.span = span::next(self.span, rows as usize, most_rows as usize);
        }
        (rows, last, position)
    }

    fn enqueue(&self, batch: &Batch) -> SqlResult<i64> {
        let insert = &self.insert[usize::from(batch.started)];
        role::as_role(batch.role, || {
            let mut enqueued = 0;
            let on_conflict = self.on_conflict.or(batch.queue.options.on_conflict);
            if !direct::insert(batch.queue, insert, &batch.args, None, on_conflict, &mut |_| enqueued += 1)? {
                let collecting = keys::Collecting::begin();
                let any = claim::ChoosingState::within(batch.queue.oid);
                enqueued = insert.execute(&batch.args).len() as i64;
                drop(any);
                keys::settle(batch.queue, collecting.end(on_conflict))?;
            }
            Ok(enqueued)
        })
    }

    /// `None`: the rows changed meanwhile, and nothing was done.
    fn enqueue_unchanged(&self, batch: &Batch) -> Result<Option<i64>, Failure> {
        let changed = Cell::new(false);
        let outcome = failure::in_subtransaction(|| {
            let before = self.versions(batch);
            let enqueued = self.enqueue(batch).unwrap_or_report();
            if self.versions(batch) != before {
                changed.set(true);
                pgrx::error!("the rows have changed");
            }
            enqueued
        });
        match outcome {
            Err(_) if changed.get() => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    fn versions(&self, batch: &Batch) -> Option<String> {
        let plan = &self.versions[usize::from(batch.started)];
        role::as_role(batch.role, || plan.execute(&batch.args).get(0, 1))
    }
}

/// The rows between two positions.
struct Batch<'a> {
    queue: &'a Queue,
    role: Oid,
    /// There is a position to begin after.
    started: bool,
    args: [Arg; 2],
}

/// What the attachment wants, of the rows of a range.
fn within(wanted: &Wanted, range: &str) -> Wanted {
    let condition = match &wanted.spec.condition {
        Some(condition) => format!("({range}) AND ({condition}\n)"),
        None => range.into(),
    };
    Wanted { spec: Spec { condition: Some(condition), ..wanted.spec.clone() }, ..*wanted }
}

/// `(block,number)`
fn block_of(place: &str) -> u32 {
    place.trim_start_matches('(').split(',').next().and_then(|block| block.parse().ok()).unwrap_or(0)
}
