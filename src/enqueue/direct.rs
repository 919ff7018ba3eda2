//! New jobs written directly into their partitions: an INSERT's own query makes the rows, with all that
//! planner and executor do for them, and they go where routing would bring them.

use crate::claim::floor;
use crate::error::Error;
use crate::pg::feed::Row;
use crate::pg::insert::{Inserter, Target};
use crate::pg::spi::{Arg, Plan};
use crate::pg::time::{self, Micros};
use crate::pg::trigger::Firing;
use crate::pg::{Datum, catalog};
use crate::queue::layout::{Col, Layout};
use crate::queue::limits::{check_max_attempts, check_priority};
use crate::queue::{self, Queue};
use crate::wake;
use pgrx::IntoDatum;

/// Runs an INSERT into the queue, and tells `on_id` the id of each new job, in order. False, with nothing
/// done, if the statement must be executed as it is.
pub fn insert(
    queue: &Queue,
    plan: &Plan,
    args: &[Arg],
    firing: Option<&Firing>,
    on_id: &mut dyn FnMut(i64),
) -> Result<bool, Error> {
    into_sink(queue, on_id, |on_row| plan.feed(args, firing, on_row))
}

/// The same for an INSERT that can be evaluated simply, once for each list of arguments.
pub fn insert_simply(
    queue: &Queue,
    plan: &Plan,
    arguments: &mut dyn FnMut() -> Option<Vec<Arg>>,
    on_id: &mut dyn FnMut(i64),
) -> Result<bool, Error> {
    // Rows are filtered by policies only when the plan is made for that.
    if catalog::row_security_applies(queue.oid) {
        return Ok(false);
    }
    into_sink(queue, on_id, |on_row| plan.feed_simply(arguments, on_row))
}

fn into_sink(
    queue: &Queue,
    on_id: &mut dyn FnMut(i64),
    feed: impl FnOnce(&mut dyn FnMut(Row)) -> bool,
) -> Result<bool, Error> {
    let Some(layout) = &queue.layout else { return Ok(false) };
    let Some(ready) = layout.partition("ready").and_then(|ready| Target::open(queue.oid, ready)) else {
        return Ok(false);
    };
    if !queue::is_current(queue) {
        // It changed while its lock was waited for: the statement, made anew, goes by what it is now.
        return Ok(false);
    }
    let mut sink = Sink {
        queue,
        layout,
        ready: Inserter::open(ready),
        scheduled: None,
        states: ["ready", "scheduled"].map(|state| state.into_datum()),
        started: time::transaction_start(),
        keys: floor::NONE,
        due: None,
    };
    let mut outcome = Ok(());
    let fed = feed(&mut |row| {
        if outcome.is_ok() {
            outcome = sink.put(&row).map(&mut *on_id);
        }
    });
    outcome?;
    if fed {
        sink.finish();
    }
    Ok(fed)
}

struct Sink<'a> {
    queue: &'a Queue,
    layout: &'a Layout,
    ready: Inserter,
    /// Opened for the first row that is not to start yet. The queue's lock, held by then, keeps it in place.
    scheduled: Option<Inserter>,
    /// Values of the column `state`.
    states: [Option<Datum>; 2],
    started: Micros,
    keys: floor::Keys,
    due: Option<Micros>,
}

impl Sink<'_> {
    /// Puts a row where it belongs, and returns its id.
    fn put(&mut self, row: &Row) -> Result<i64, Error> {
        let number = |column| row.column(self.layout.number(column)).map(|value| value.value() as i32);
        // A smallint's datum is as wide as any.
        let priority = row.column(self.layout.number(Col::Priority)).map_or(0, |value| value.value() as i16);
        check_priority(Some(i32::from(priority)))?;
        check_max_attempts(number(Col::MaxAttempts))?;
        let id = row.column(self.layout.number(Col::Id)).map_or(0, |value| value.value() as i64);
        let run_at = row.column(self.layout.number(Col::RunAt)).map(|value| value.value() as Micros);
        let later = run_at.filter(|at| *at > self.started);
        let state = self.states[usize::from(later.is_some())];
        let inserter = match later {
            None => &mut self.ready,
            Some(at) => {
                self.due = Some(self.due.map_or(at, |due| due.min(at)));
                if self.scheduled.is_none() {
                    let target = self
                        .layout
                        .partition("scheduled")
                        .and_then(|partition| Target::open(self.queue.oid, partition))
                        .ok_or_else(|| Error::ChangedMeanwhile(self.queue.name.clone()))?;
                    self.scheduled = Some(Inserter::open(target));
                }
                self.scheduled.as_mut().ok_or_else(|| Error::ChangedMeanwhile(self.queue.name.clone()))?
            }
        };
        inserter.add(None, |cells| {
            cells.copy_all(row.values, row.nulls);
            cells.set(self.layout.number(Col::State), state);
        });
        if later.is_none() {
            floor::include(&mut self.keys, i32::from(priority), id);
        }
        Ok(id)
    }

    fn finish(self) {
        self.ready.finish();
        if let Some(scheduled) = self.scheduled {
            scheduled.finish();
        }
        if self.keys != floor::NONE {
            wake::enqueued(self.queue.oid, &self.keys);
        }
        if let Some(due) = self.due {
            wake::due(self.queue.oid, due);
        }
    }
}
