//! Plain INSERT and COPY into a queue: the triggers every queue has.

use super::expected::Expected;
use crate::claim::{self, Move, floor};
use crate::error::{Error, SqlResult};
use crate::keys::{self, Keyed};
use crate::pg::entry::Call;
use crate::pg::time::{self, Micros};
use crate::pg::trigger::{Event, Firing};
use crate::pg::{Datum, Oid, array, catalog, role, spi, xact};
use crate::queue::limits::{
    MOST_KEY_BYTES, check_after_failure, check_attempts_left, check_interval, check_key, check_max_attempts,
    check_priority,
};
use crate::queue::{Queue, statements};
use crate::{after, correlation, group, limit, queue, raw_function, run, wake};
use pgrx::datum::{Interval, TimestampWithTimeZone};
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CStr;

raw_function!(before_change, note_change);
raw_function!(needs_check, needs_check_row);
raw_function!(check_ready, check_ready_row);
raw_function!(check_moved, check_moved_row);

/// `queue.before_change`: once a statement, before its rows are there. Their ids will be beyond what the
/// sequence has given out so far. After a hand-written UPDATE, or when it or a DELETE is rolled back, a job
/// may be anywhere.
fn note_change(call: &Call) -> SqlResult<Datum> {
    let firing = Firing::of(call)
        .filter(|firing| !firing.is_after())
        .ok_or_else(|| Error::TriggerUse("queue.before_change must be called as a BEFORE trigger".into()))?;
    let Some(oid) = queue_of(firing.table()).filter(|oid| !claim::is_moving(*oid)) else {
        expect(floor::BOTTOM);
        return Ok(call.no_row());
    };
    let queue = queue::open(oid)?;
    let mut lowest = floor::BOTTOM;
    match firing.event() {
        Event::Insert => {
            lowest = queue.lowest_next_id();
            wake::enqueued(oid, &[lowest; floor::PRIORITIES]);
        }
        Event::Update => {
            wake::enqueued(oid, &floor::ALL);
            wake::taken(oid, &floor::ALL);
            after::notes::ended_some(oid);
            group::changed_by_hand(oid);
        }
        _ => {
            wake::taken(oid, &floor::ALL);
            after::notes::ended_some(oid);
            group::changed_by_hand(oid);
            limit::changed_by_hand(oid);
        }
    }
    expect(lowest);
    Ok(call.no_row())
}

/// The floor need not hear of each row of the present statement whose id is not lower.
fn expect(lowest: i64) {
    if let Some(command) = xact::statement() {
        EXPECTED.with_borrow_mut(|all| all.set(time::transaction_start(), command, lowest));
    }
}

/// Is that a row that the floor is to hear of?
fn is_unexpected(id: i64) -> bool {
    let lowest = |command| EXPECTED.with_borrow_mut(|all| all.of(time::transaction_start(), command));
    id < xact::statement().map_or(i64::MAX, lowest)
}

thread_local! {
    static EXPECTED: RefCell<Expected> = const { RefCell::new(Expected::new()) };
    static QUEUES: RefCell<HashMap<Oid, Option<Oid>>> = RefCell::new(HashMap::new());
}

/// Some table changed: it may have become, or ceased to be, another's partition.
pub fn forget_partitions() {
    QUEUES.with(|queues| queues.borrow_mut().clear());
}

/// The queue that a table is, or is a partition of, looked up once as long as no table changes; `None`
/// for a partition that was taken out of its queue: its triggers are still there.
fn queue_of(table: Oid) -> Option<Oid> {
    queue::forget_stale();
    if let Some(known) = QUEUES.with(|queues| queues.borrow().get(&table).copied()) {
        return known;
    }
    let ancestors = catalog::with_ancestors(table);
    let root = ancestors.last().copied().filter(|root| catalog::is_partitioned(*root));
    QUEUES.with(|queues| queues.borrow_mut().insert(table, root));
    root
}

/// The columns that no plain INSERT has a value for, but one that restores a dump: from their place among the
/// arguments of `needs_check` on. Before them is `attempt`, which is 1.
const OURS: [&CStr; 4] = [c"lease_until", c"errors", c"result", c"finished_at"];
const FIRST_OF_OURS: usize = 10;

/// `queue.needs_check`: is this ready row one for `check_ready`? One function instead of many comparisons,
/// since Postgres reads the text of a WHEN clause at every statement.
fn needs_check_row(call: &Call) -> SqlResult<Datum> {
    let of_old_id = call.datum(0).is_some_and(|id| is_unexpected(id.value() as i64));
    let later = call.datum(1).is_some_and(|at| at.value() as Micros > time::transaction_start());
    let priority = call.datum(2).map_or(0, |value| value.value() as i16);
    let max_attempts = call.datum(3).map_or(1, |value| value.value() as i32);
    let is_special = (4..=5).any(|place| call.datum(place).is_some()) || run::present_job().is_some();
    let too_long = |place| call.datum(place).is_some_and(|text| array::text_bytes(text) > MOST_KEY_BYTES);
    let is_bad = !(0..=9).contains(&priority)
        || check_max_attempts(Some(max_attempts)).is_err()
        || (6..=7).any(too_long);
    let attempt = call.datum(FIRST_OF_OURS - 1).map_or(1, |value| value.value() as i32);
    let is_ours = attempt != 1
        || call.datum(8).is_some()
        || (0..OURS.len()).any(|place| call.datum(FIRST_OF_OURS + place).is_some());
    Ok(Datum::from(of_old_id || later || is_bad || is_special || is_ours))
}

/// `queue.check_ready`: for a ready row that is out of range, whose id was chosen, that has a value of ours, whose
/// time has not come, or that waits for others. A row cannot be
/// routed to another partition by a BEFORE trigger; moved here, in the same statement, nobody else ever
/// sees it as ready, and INSERT … RETURNING still returns it.
fn check_ready_row(call: &Call) -> SqlResult<Datum> {
    let firing =
        Firing::of(call).filter(|firing| firing.is_after() && firing.for_each_row()).ok_or_else(|| {
            Error::TriggerUse("queue.check_ready must be called as an AFTER ROW trigger".into())
        })?;
    spi::connect(|| {
        let Some(oid) = queue_of(firing.table()).filter(|oid| !claim::is_moving(*oid)) else {
            return Ok(call.no_row());
        };
        // First: this may be somebody's own table, with columns of any types.
        let queue = queue::open(oid)?;
        let priority = firing.new_column::<i16>(c"priority").map(i32::from);
        check_priority(priority)?;
        check_attempts_left(firing.new_column(c"max_attempts"), firing.new_column(c"attempt"))?;
        check_texts(&firing)?;
        check_after_failure(firing.new_column::<String>(c"after_failure").as_deref())?;
        check_ours(&queue, &firing)?;
        let mut keys = floor::NONE;
        floor::include(&mut keys, priority.unwrap_or(0), firing.new_column(c"id").unwrap_or(floor::BOTTOM));
        wake::enqueued(oid, &keys);
        let mut place = firing.new_row_ctid();
        if firing.event() == Event::Insert && firing.new_column::<String>(c"correlation_id").is_none() {
            place = correlation::stamp(&queue, place).unwrap_or(place);
        }
        let mut keyed = keyed_row(&firing, "ready")?;
        let run_at: Option<TimestampWithTimeZone> = firing.new_column(c"run_at");
        let later = run_at.is_some_and(|at| Micros::from(at) > time::transaction_start());
        let wish = firing.new_datum(c"after").map(|after| after::Wish {
            id: firing.new_column(c"id").unwrap_or(floor::BOTTOM),
            after,
            after_failure: firing.new_column(c"after_failure"),
        });
        let waits_for = wish.map(|wish| after::wish(&queue, &wish, i64::MAX)).transpose()?;
        if !later && waits_for.is_none() {
            settle(&queue, keyed)?;
            return Ok(call.no_row());
        }
        let sql = statements::take_inserted(&queue);
        let taken = role::as_role(queue.owner, || {
            let _moving = claim::Moving::within(oid);
            claim::read_taken(&queue.plan(sql, &[pg_sys::TIDOID]).execute(&[Some(place)]))
        });
        let waits_for = waits_for.unwrap_or_default();
        let freed: Vec<_> = taken.iter().map(|job| after::freed(&queue, job)).collect();
        let (state, taken) = match (waits_for.is_empty(), later) {
            (false, _) => ("blocked", &taken),
            (true, true) => ("scheduled", &freed),
            (true, false) => ("ready", &freed),
        };
        if !waits_for.is_empty() {
            after::notes::added(oid, &waits_for);
        }
        claim::put(&queue, &taken.iter().map(|job| Move::to(state, job)).collect::<Vec<_>>());
        keyed.iter_mut().for_each(|row| row.state = state);
        settle(&queue, keyed)?;
        Ok(call.no_row())
    })
}

/// Longer ones would be refused by an index of the partition that the job comes to when it has ended: it
/// could never end.
fn check_texts(firing: &Firing) -> Result<(), Error> {
    check_key("group_key", firing.new_column::<String>(c"group_key").as_deref())?;
    check_key("correlation_id", firing.new_column::<String>(c"correlation_id").as_deref())?;
    Ok(())
}

/// What only the extension sets: who may insert is not to make up the past of a job, or an attempt that never
/// fails for the last time.
fn check_ours(queue: &Queue, firing: &Firing) -> Result<(), Error> {
    let is_exempt = || claim::may_choose_state(queue.oid) || catalog::acts_for(queue.owner);
    if firing.event() != Event::Insert || is_exempt() {
        return Ok(());
    }
    let first = (firing.new_column(c"attempt") != Some(1)).then_some(c"attempt");
    let filled = || OURS.into_iter().find(|column| firing.new_datum(column).is_some());
    match first.or_else(filled).and_then(|column| column.to_str().ok()) {
        Some(column) => Err(Error::ForeignValue { queue: queue.name.clone(), column }),
        None => Ok(()),
    }
}

/// The row that was just inserted, if it has a key.
fn keyed_row(firing: &Firing, state: &'static str) -> Result<Option<Keyed>, Error> {
    let key: Option<String> = firing.new_column(c"key");
    check_key("key", key.as_deref())?;
    let (Some(key), Event::Insert) = (key, firing.event()) else { return Ok(None) };
    let once: Option<Interval> = firing.new_column(c"once");
    check_interval("once", once.as_ref().map(time::interval_micros))?;
    let id = firing.new_column(c"id").unwrap_or(floor::BOTTOM);
    Ok(Some(Keyed { key, id, state, once: once.is_some(), on_conflict: None }))
}

/// At once, or with the others of the statement if it is one of ours.
fn settle(queue: &Queue, keyed: Option<Keyed>) -> Result<(), Error> {
    match keyed {
        Some(row) if claim::may_choose_state(queue.oid) => keys::collect(row),
        Some(row) => {
            let on_conflict = queue.options.on_conflict;
            keys::settle(queue, vec![Keyed { on_conflict, ..row }])?;
        }
        None => {}
    }
    Ok(())
}

/// `queue.check_moved`: a row is about to come into another state than ready. Only we do that; and the
/// owner, who restores a dump.
fn check_moved_row(call: &Call) -> SqlResult<Datum> {
    let firing =
        Firing::of(call).filter(|firing| !firing.is_after() && firing.for_each_row()).ok_or_else(|| {
            Error::TriggerUse("queue.check_moved must be called as a BEFORE ROW trigger".into())
        })?;
    let Some(queue) = queue_of(firing.table()) else {
        return Ok(firing.unchanged_row());
    };
    if !claim::may_choose_state(queue) && !catalog::acts_for(catalog::owner_of(queue)) {
        return Err(Error::ForeignState(catalog::relation_name(queue).unwrap_or_default()).into());
    }
    // Only a queue is chosen for by us: its columns are of the types that they are read as.
    if !claim::is_moving(queue) && claim::may_choose_state(queue) {
        check_texts(&firing)?;
        keyed_row(&firing, "scheduled")?.into_iter().for_each(keys::collect);
    }
    Ok(firing.unchanged_row())
}
