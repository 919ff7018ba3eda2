//! New jobs written directly into their partitions: an INSERT's own query makes the rows, with all that
//! planner and executor do for them, and they go where routing would bring them.

use crate::claim::floor;
use crate::error::Error;
use crate::keys::{self, Keyed};
use crate::pg::feed::Row;
use crate::pg::insert::{Inserter, Target};
use crate::pg::row::{self, interval};
use crate::pg::spi::{self, Arg, Plan};
use crate::pg::time::{self, Micros, interval_micros};
use crate::pg::trigger::Firing;
use crate::pg::{Datum, array, catalog};
use crate::queue::layout::{Col, Layout};
use crate::queue::limits::{
    OnConflict, check_interval, check_key, check_key_bytes, check_max_attempts, check_priority,
};
use crate::queue::{self, Queue};
use crate::{after, correlation, wake};
use pgrx::IntoDatum;
use std::collections::HashMap;

/// Runs an INSERT into the queue, and tells `on_id` the id of each new job, in order. False, with nothing
/// done, if the statement must be executed as it is.
pub fn insert(
    queue: &Queue,
    plan: &Plan,
    args: &[Arg],
    firing: Option<&Firing>,
    on_conflict: Option<OnConflict>,
    on_id: &mut dyn FnMut(i64),
) -> Result<bool, Error> {
    into_sink(queue, on_conflict, false, on_id, |on_row| plan.feed(args, firing, on_row))
}

/// The same for an INSERT that can be evaluated simply, once for each list of arguments.
pub fn insert_simply(
    queue: &Queue,
    plan: &Plan,
    arguments: &mut dyn FnMut(&mut [Arg]) -> bool,
    on_conflict: Option<OnConflict>,
    on_id: &mut dyn FnMut(i64),
) -> Result<bool, Error> {
    // Rows are filtered by policies only when the plan is made for that.
    if catalog::row_security_applies(queue.oid) {
        return Ok(false);
    }
    into_sink(queue, on_conflict, false, on_id, |on_row| plan.feed_simply(arguments, on_row))
}

/// May the rows of a statement be put directly whose own triggers would fire else? Locks what it looks at.
pub fn may_replace_triggers(queue: &Queue) -> bool {
    let target = queue.layout.as_ref().and_then(|layout| target(queue, layout));
    target.is_some_and(|target| target.fires_our_triggers()) && queue::is_current(queue)
}

/// Where jobs that are ready are put, if they can be put directly, as can those that are not ready yet: which a
/// row is shows only when it is made.
fn target(queue: &Queue, layout: &Layout) -> Option<Target> {
    let ready = Target::open(queue.oid, layout.partition(STATES[READY])?)?;
    let fits = |place: usize| layout.partition(STATES[place]).is_some_and(|it| Target::fits(queue.oid, it));
    (fits(SCHEDULED) && fits(BLOCKED)).then_some(ready)
}

/// Puts the rows that `feed` hands over, each before the next is made if so asked. False, with nothing done,
/// if that cannot be.
pub fn into_sink(
    queue: &Queue,
    on_conflict: Option<OnConflict>,
    one_by_one: bool,
    on_id: &mut dyn FnMut(i64),
    feed: impl FnOnce(&mut dyn FnMut(Row)) -> bool,
) -> Result<bool, Error> {
    let Some(layout) = &queue.layout else { return Ok(false) };
    let Some(ready) = target(queue, layout) else { return Ok(false) };
    if !queue::is_current(queue) {
        // It changed while its lock was waited for: the statement, made anew, goes by what it is now.
        return Ok(false);
    }
    let mut sink = Sink {
        queue,
        layout,
        ready: Inserter::open(ready),
        others: [None, None, None],
        states: STATE_VALUES.with(|values| *values),
        lowest: i64::MAX,
        started: time::transaction_start(),
        keys: floor::NONE,
        due: None,
        on_conflict,
        keyed: Vec::new(),
        met: HashMap::new(),
        ids: Vec::new(),
        inherited: correlation::inherited().into_datum(),
    };
    let mut outcome = Ok(());
    let fed = feed(&mut |row| {
        if outcome.is_ok() {
            outcome = sink.put(&row).map(|id| sink.ids.push(id));
            if one_by_one {
                sink.flush();
            }
        }
    });
    outcome?;
    if fed {
        sink.finish()?.into_iter().for_each(on_id);
    }
    Ok(fed)
}

/// Where a new job goes; the values of the column `state`.
const STATES: [&str; 3] = ["ready", "scheduled", "blocked"];
const READY: usize = 0;
const SCHEDULED: usize = 1;
const BLOCKED: usize = 2;

thread_local! {
    static STATE_VALUES: [Option<Datum>; STATES.len()] = STATES.map(row::kept_text);
}

struct Sink<'a> {
    queue: &'a Queue,
    layout: &'a Layout,
    ready: Inserter,
    /// Opened for the first row that is not to start yet. The queue's lock, held by then, keeps it in place.
    others: [Option<Inserter>; STATES.len()],
    states: [Option<Datum>; STATES.len()],
    /// The lowest id put so far, which nobody sees yet.
    lowest: i64,
    started: Micros,
    keys: floor::Keys,
    due: Option<Micros>,
    on_conflict: Option<OnConflict>,
    /// To be settled once they are written.
    keyed: Vec<Keyed>,
    /// Keys that skip, with the first job of the statement, or what stands for it, and whether it is `once`.
    met: HashMap<String, (i64, bool)>,
    /// Of the jobs put, in order.
    ids: Vec<i64>,
    /// The correlation_id of rows that have none.
    inherited: Option<Datum>,
}

impl Sink<'_> {
    /// Puts a row where it belongs, and returns its id.
    fn put(&mut self, row: &Row) -> Result<i64, Error> {
        let number = |column| row.column(self.layout.number(column)).map(|value| value.value() as i32);
        // A smallint's datum is as wide as any.
        let priority = row.column(self.layout.number(Col::Priority)).map_or(0, |value| value.value() as i16);
        check_priority(Some(i32::from(priority)))?;
        check_max_attempts(number(Col::MaxAttempts))?;
        for (name, column) in [("group_key", Col::GroupKey), ("correlation_id", Col::CorrelationId)] {
            let text = row.column(self.layout.number(column));
            check_key_bytes(name, text.map_or(0, array::text_bytes))?;
        }
        let id = row.column(self.layout.number(Col::Id)).map_or(0, |value| value.value() as i64);
        let run_at = row.column(self.layout.number(Col::RunAt)).map(|value| value.value() as Micros);
        let later = run_at.filter(|at| *at > self.started);
        let after = row.column(self.layout.number(Col::After));
        let waits_for = after.map(|after| self.waits_for(row, id, after)).transpose()?;
        let place = match (&waits_for, later) {
            (Some(ids), _) if !ids.is_empty() => BLOCKED,
            (_, Some(_)) => SCHEDULED,
            _ => READY,
        };
        if let Some(key) = row.column(self.layout.number(Col::Key))
            && let Some(former) = self.meet(row, key, id, STATES[place])?
        {
            return Ok(former);
        }
        let state = self.states[place];
        let waits_for_none = waits_for.is_some_and(|ids| ids.is_empty());
        let after_column = self.layout.number(Col::After);
        let state_column = self.layout.number(Col::State);
        let correlation_column = self.layout.number(Col::CorrelationId);
        let inherited = self.inherited.filter(|_| row.column(correlation_column).is_none());
        self.inserter(place)?.add(None, |cells| {
            cells.copy_all(row.values, row.nulls);
            cells.set(state_column, state);
            if waits_for_none {
                cells.set(after_column, None);
            }
            if inherited.is_some() {
                cells.set(correlation_column, inherited);
            }
        });
        self.lowest = self.lowest.min(id);
        match (place, later) {
            (READY, _) => floor::include(&mut self.keys, i32::from(priority), id),
            (SCHEDULED, Some(at)) => self.due = Some(self.due.map_or(at, |due| due.min(at))),
            _ => {}
        }
        Ok(id)
    }

    /// The jobs that a row with something in `after` has to wait for.
    fn waits_for(&self, row: &Row, id: i64, after: Datum) -> Result<Vec<i64>, Error> {
        let text = |column| row.column(self.layout.number(column)).and_then(spi::text_of);
        let ids = if text(Col::State).as_deref() == Some(STATES[BLOCKED]) {
            // Looked at already, for all rows of the statement.
            let ids = after::ids_in(after).unwrap_or_default();
            after::check_order(self.queue, &ids, id)?;
            ids
        } else {
            let wish = after::Wish { id, after, after_failure: text(Col::AfterFailure) };
            after::wish(self.queue, &wish, self.lowest)?
        };
        if !ids.is_empty() {
            after::notes::added(self.queue.oid, &ids);
        }
        Ok(ids)
    }

    fn flush(&mut self) {
        self.ready.flush();
        self.others.iter_mut().flatten().for_each(Inserter::flush);
    }

    fn inserter(&mut self, place: usize) -> Result<&mut Inserter, Error> {
        if place == READY {
            return Ok(&mut self.ready);
        }
        if self.others[place].is_none() {
            let partition = self.layout.partition(STATES[place]);
            let target = partition.and_then(|partition| Target::open(self.queue.oid, partition));
            self.others[place] = target.map(Inserter::open);
        }
        self.others[place].as_mut().ok_or_else(|| Error::ChangedMeanwhile(self.queue.name.clone()))
    }

    /// A row with a key: if another job stands for it, it is only checked, and that job's id returned.
    fn meet(&mut self, row: &Row, key: Datum, id: i64, state: &'static str) -> Result<Option<i64>, Error> {
        let key = spi::text_of(key).unwrap_or_default();
        check_key("key", Some(&key))?;
        let once = row.column(self.layout.number(Col::Once)).and_then(interval);
        check_interval("once", once.as_ref().map(interval_micros))?;
        let keyed = Keyed { key, id, state, once: once.is_some(), on_conflict: self.on_conflict };
        if !keyed.coalesces() {
            return Ok(None);
        }
        let former = self
            .met_before(&keyed)
            .or_else(|| keys::stand_in(self.queue, &keyed.key, keyed.once, keyed.on_conflict));
        if keyed.skips() {
            self.met.entry(keyed.key.clone()).or_insert((former.unwrap_or(id), keyed.once));
        }
        match former {
            Some(_) => {
                let value = self.states[0];
                self.ready.check(|cells| {
                    cells.copy_all(row.values, row.nulls);
                    cells.set(self.layout.number(Col::State), value);
                });
            }
            None => self.keyed.push(keyed),
        }
        Ok(former)
    }

    /// A row of this statement with the same key, or what stands for that one.
    fn met_before(&self, keyed: &Keyed) -> Option<i64> {
        let (id, once) = *self.met.get(&keyed.key).filter(|_| keyed.skips())?;
        (once || !keyed.once).then_some(id)
    }

    /// Writes what is left, and returns the ids.
    fn finish(self) -> Result<Vec<i64>, Error> {
        self.ready.finish();
        self.others.into_iter().flatten().for_each(Inserter::finish);
        if self.keys != floor::NONE {
            wake::enqueued(self.queue.oid, &self.keys);
        }
        if let Some(due) = self.due {
            wake::due(self.queue.oid, due);
        }
        let merged = keys::settle(self.queue, self.keyed)?;
        if merged.is_empty() {
            return Ok(self.ids);
        }
        Ok(self.ids.into_iter().map(|id| keys::now_called(&merged, id)).collect())
    }
}
