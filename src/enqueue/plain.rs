//! Plain INSERT and COPY into a queue: the triggers every queue has.

use crate::claim::{self, Move, floor};
use crate::error::{Error, SqlResult};
use crate::pg::entry::Call;
use crate::pg::trigger::{Event, Firing};
use crate::pg::{Datum, Oid, catalog, role, spi};
use crate::queue::statements;
use crate::{queue, raw_function, wake};
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;

raw_function!(before_change, note_change);
raw_function!(after_insert_later, put_with_the_scheduled);

fn firing<'a>(call: &'a Call, name: &str) -> Result<Firing<'a>, Error> {
    Firing::of(call)
        .filter(Firing::is_after)
        .ok_or_else(|| Error::TriggerUse(format!("{name} must be called as an AFTER trigger")))
}

/// `queue.before_change`: once a statement, before its rows are there. Their ids will be beyond what the
/// sequence has given out so far. After a hand-written UPDATE a job may be anywhere.
fn note_change(call: &Call) -> SqlResult<Datum> {
    let firing = Firing::of(call)
        .filter(|firing| !firing.is_after())
        .ok_or_else(|| Error::TriggerUse("queue.before_change must be called as a BEFORE trigger".into()))?;
    spi::connect(|| {
        let oid = queue_of_partition(firing.table());
        if claim::is_moving(oid) {
            return Ok(call.no_row());
        }
        let next = match firing.event() {
            Event::Insert => queue::open(oid)?.lowest_next_id(),
            _ => floor::BOTTOM,
        };
        wake::enqueued(oid, &[next; floor::PRIORITIES]);
        Ok(call.no_row())
    })
}

thread_local! {
    static PARENTS: RefCell<HashMap<Oid, Oid>> = RefCell::new(HashMap::new());
}

/// The queue that a partition belongs to, looked up once in a session.
fn queue_of_partition(partition: Oid) -> Oid {
    PARENTS.with(|parents| {
        *parents
            .borrow_mut()
            .entry(partition)
            .or_insert_with(|| catalog::with_ancestors(partition).last().copied().unwrap_or(partition))
    })
}

/// `queue.after_insert_later`: for a ready row with a future run_at. A row cannot be routed to another
/// partition by a BEFORE trigger; moved here, in the same statement, nobody else ever sees it as ready,
/// and INSERT … RETURNING still returns it.
fn put_with_the_scheduled(call: &Call) -> SqlResult<Datum> {
    let firing = firing(call, "queue.after_insert_later")?;
    spi::connect(|| {
        let oid = queue_of_partition(firing.table());
        if claim::is_moving(oid) || !firing.for_each_row() {
            return Ok(call.no_row());
        }
        let queue = queue::open(oid)?;
        let sql = statements::take_inserted(&queue);
        let taken = role::as_role(queue.owner, || {
            claim::read_taken(&queue.plan(sql, &[pg_sys::TIDOID]).execute(&[Some(firing.row_ctid())]))
        });
        claim::put(&queue, &taken.iter().map(|job| Move::to("scheduled", job)).collect::<Vec<_>>());
        Ok(call.no_row())
    })
}
