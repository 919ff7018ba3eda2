//! `CALL queue.resync`: a job for every row of an attached table.
//!
//! Each batch is a transaction: the queue's definition and the leaf locked, the rows between two positions
//! enqueued, the new position written to queue.resyncs. So whatever ends it, the position that is committed is
//! that of the jobs that are. A lock of the session's, which the server takes back when the session ends in
//! whatever way, keeps two of them apart and tells `queue.progress` which one runs.
//!
//! Why no row is missed: take a row that is there from before the start until the end. In the order of the
//! primary key it has one place, whatever is done to it (a change of the key itself apart); the batches cover
//! all places, each with a snapshot of its own in which the row is visible; and its place is in one of them. In
//! the order of storage an UPDATE may carry it from a place still to come to one that is past. Then the
//! attachment's trigger has enqueued it, if it is attached for updates and its condition and columns let that
//! UPDATE pass; else it is missed, which the COMMENT says. A table rewritten meanwhile gets other files, and is
//! begun again. A partition attached meanwhile is among the leaves that are left.
//!
//! Locks: the leaf, then the queue, as for any change of the source that fires the trigger, both in the weak
//! modes of reading and writing; then the row of queue.resyncs, which nobody else changes. It does not refer
//! to queue.attachments by a foreign key: what detaches or drops would then hold that row while it waits for
//! the tables.

mod leaf;
mod order;
mod span;
mod state;

use crate::enqueue::attach;
use crate::enqueue::fire::delay_micros;
use crate::enqueue::source::Source;
use crate::enqueue::spec::Spec;
use crate::enqueue::statement::{self, Form, Shape, Wanted};
use crate::error::{Error, SqlResult, required};
use crate::pg::entry::Call;
use crate::pg::lock::{self, Held};
use crate::pg::time::{self, Micros};
use crate::pg::trigger::Event;
use crate::pg::{Datum, Oid, catalog, interrupt, role, spi};
use crate::queue::limits::check_priority;
use crate::queue::{self, Queue};
use crate::{raw_function, wake};
use leaf::Leaf;
use order::Order;
use pgrx::pg_sys;
use state::State;

raw_function!(resync, resync_source);

/// Of locks held by a session: the other number is the attachment's. `queue.progress` knows it.
const LOCK_KIND: u32 = 1;
const MOST_ROWS: i32 = 100_000;
const NOTICE_INTERVAL: Micros = 10_000_000;

struct Resync {
    source: Oid,
    queue: Oid,
    /// For messages, when one of them is gone.
    names: (String, String),
    attachment: i32,
    condition: Option<String>,
    priority: i32,
    batch_size: i64,
    state: State,
    leaf: Option<Leaf>,
}

/// `queue.resync`
fn resync_source(call: &Call) -> SqlResult<Datum> {
    let source = required("source", call.arg::<Oid>(0))?;
    let queue = required("queue", call.arg::<Oid>(1))?;
    let condition: Option<String> = call.arg(2);
    let priority: i32 = required("priority", call.arg(3))?;
    let batch_size: i32 = required("batch_size", call.arg(4))?;
    let restart: bool = required("restart", call.arg(5))?;
    check_priority(Some(priority))?;
    if !(1..=MOST_ROWS).contains(&batch_size) {
        return Err(Error::out_of_range(format!("batch_size must be between 1 and {MOST_ROWS}")).into());
    }
    if !call.may_commit() {
        return Err(Error::InTransactionBlock("queue.resync").into());
    }
    spi::connect_nonatomic(|| {
        let (mut resync, _held) = spi::connect(|| -> Result<(Resync, Held), Error> {
            let attachment = attachment_of(source, queue)?;
            let held = Held::try_take(LOCK_KIND, attachment as u32)
                .ok_or_else(|| Error::ResyncRunning { source: name(source), queue: name(queue) })?;
            check_condition(source, queue, condition.as_deref())?;
            let state = State::begin(attachment, source, condition.as_deref(), restart)
                .ok_or_else(|| Error::ResyncCondition { source: name(source), queue: name(queue) })?;
            let batch_size = i64::from(batch_size);
            let (leaf, names) = (None, (name(source), name(queue)));
            Ok((
                Resync { source, queue, names, attachment, condition, priority, batch_size, state, leaf },
                held,
            ))
        })?;
        spi::connect(|| resync.announce());
        spi::commit();
        let mut noticed = time::now();
        loop {
            interrupt::check();
            let is_finished = spi::connect(|| resync.step())?;
            spi::commit();
            if is_finished {
                pgrx::notice!("{} is finished: {}", resync.title(), resync.progress());
                return Ok(call.null());
            }
            if time::now() - noticed >= NOTICE_INTERVAL {
                noticed = time::now();
                pgrx::notice!("{}: {}", resync.title(), resync.progress());
            }
        }
    })
}

fn counted(number: i64, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

fn name(relation: Oid) -> String {
    catalog::relation_name(relation).unwrap_or_else(|| relation.to_string())
}

/// The attachment's number. Checks the rights that attaching takes, too.
fn attachment_of(source: Oid, queue: Oid) -> Result<i32, Error> {
    const FIND: &str = "SELECT id FROM queue.attachments WHERE source = $1 AND queue = $2";
    let queue = queue::open_owned(queue)?;
    let _is_owned = Source::open(source)?;
    let types = [pg_sys::REGCLASSOID, pg_sys::REGCLASSOID];
    let args = [spi::arg(source), spi::arg(queue.oid)];
    let found = queue::as_extension(|| spi::run_kept(FIND, &types, &args));
    (!found.is_empty()).then(|| found.get(0, 1)).flatten().ok_or_else(|| not_attached(source, &queue))
}

fn not_attached(source: Oid, queue: &Queue) -> Error {
    Error::NotAttached { source: name(source), target: format!("queue \"{}\"", queue.name) }
}

/// Is it one boolean expression over new, to the role that is to evaluate it?
fn check_condition(source: Oid, queue: Oid, condition: Option<&str>) -> Result<(), Error> {
    if condition.is_none() {
        return Ok(());
    }
    let found = attach::find(Some(attachment_of(source, queue)?), &[source])?;
    let spec = Spec { condition: condition.map(Into::into), ..Spec::default() };
    let shape = Shape { event: Event::Insert, form: Form::Nulls, table: source };
    let nothing_is_set = |_: &str| Ok(());
    role::as_role(found.role, || statement::check_expressions(&spec, &shape, &nothing_is_set))
}

impl Resync {
    /// One batch. True: there is no more.
    fn step(&mut self) -> SqlResult<bool> {
        let table = self.state.next_leaf(self.source);
        let is_there = table.is_none_or(lock::for_reading);
        let named = |error| match error {
            Error::NotAQueue(_) => Error::NotAQueue(self.names.1.clone()),
            Error::NotATable(_) => Error::NotATable(self.names.0.clone()),
            other => other,
        };
        let queue = queue::open(self.queue).and_then(Queue::locked).map_err(named)?;
        // Looked at with the locks that detaching waits for.
        if attachment_of(self.source, self.queue).map_err(named)? != self.attachment {
            return Err(not_attached(self.source, &queue).into());
        }
        let Some(table) = table else {
            self.state.save(self.attachment, true);
            return Ok(true);
        };
        if !is_there {
            // Dropped since: the next look does not find it.
            return Ok(false);
        }
        let found = attach::find(Some(self.attachment), &[self.source])?;
        let (role, delay) = (found.role, found.spec.delay.as_deref().and_then(delay_micros));
        let order = Order::of(table);
        self.state.enter(table, &order.name);
        if self.leaf.as_ref().is_none_or(|leaf| leaf.table != table || leaf.order != order) {
            self.leaf = Some(Leaf::open(&queue, table, order, &self.wanted(&queue, found))?);
        }
        if let Some(leaf) = &mut self.leaf {
            let done = leaf.step(&queue, role, &self.state.position, self.batch_size)?;
            if let Some(delay) = delay {
                wake::due(queue.oid, time::after(time::transaction_start(), delay));
            }
            self.state.advance(done);
        }
        self.state.save(self.attachment, false);
        Ok(false)
    }

    /// What the attachment makes of a row, with our condition and priority.
    fn wanted(&self, queue: &Queue, found: attach::Found) -> Wanted {
        let mut spec = found.spec;
        spec.set.remove("priority");
        spec.priority = Some(self.priority);
        spec.condition = match (spec.condition, &self.condition) {
            (Some(theirs), Some(ours)) => Some(format!("({theirs}\n) AND ({ours}\n)")),
            (theirs, ours) => theirs.or_else(|| ours.clone()),
        };
        Wanted { queue: queue.oid, role: Some(found.role), named_as: found.source, spec }
    }

    /// What the caller should know before it begins.
    fn announce(&self) {
        if self.state.rows_done > 0 {
            pgrx::notice!("{} goes on: {}", self.title(), self.progress());
        }
        for table in state::passed_over(self.source) {
            pgrx::notice!("foreign table \"{}\" is passed over", name(table));
        }
    }

    fn title(&self) -> String {
        format!("resync of \"{}\" to \"{}\"", self.names.0, self.names.1)
    }

    fn progress(&self) -> String {
        let State { rows_total, rows_done, enqueued, leaf, .. } = &self.state;
        match rows_total {
            Some(total) if leaf.is_some() => {
                format!("{rows_done} of about {}, {}", counted(*total, "row"), counted(*enqueued, "job"))
            }
            _ => format!("{}, {}", counted(*rows_done, "row"), counted(*enqueued, "job")),
        }
    }
}
