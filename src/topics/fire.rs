//! A trigger of a table attached to a topic fires: its changed rows become jobs, and go in bulk to each
//! queue that is subscribed now. They are read as the query makes them and written by the thousand, so a
//! statement of many rows needs no more memory than one of some.

use super::attach::{Wanted, statement};
use crate::enqueue::attach::{find, not_attached};
use crate::enqueue::fire::firing_of;
use crate::enqueue::stale::Remedy;
use crate::enqueue::statement::{Form, Shape};
use crate::enqueue::{Header, More};
use crate::error::{Error, SqlResult};
use crate::pg::entry::Call;
use crate::pg::scratch::Scratch;
use crate::pg::spi::{self, Arg, Plan};
use crate::pg::time::{self, Micros, interval_micros};
use crate::pg::trigger::{Event, Firing};
use crate::pg::{Datum, Oid, array, catalog, role};
use crate::queue;
use crate::queue::limits::{OnConflict, check_interval, check_key, check_max_attempts, check_priority};
use crate::{keys, raw_function, run};
use pgrx::datum::Interval;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

raw_function!(publish_attached, fire);

/// A trigger's query, ready to run.
struct Compiled {
    topic: String,
    role: Oid,
    ignore_own: bool,
    on_conflict: Option<OnConflict>,
    plan: Plan,
}

thread_local! {
    static COMPILED: RefCell<HashMap<(Oid, Event), Rc<Compiled>>> = RefCell::new(HashMap::new());
}

pub fn forget_compiled() {
    COMPILED.with(|compiled| compiled.borrow_mut().clear());
}

/// `queue.publish_attached`
fn fire(call: &Call) -> SqlResult<Datum> {
    let firing = firing_of(call)?;
    let compiled = compiled(&firing)?;
    let each_row = firing.for_each_row();
    spi::connect(|| {
        let (old, new) = if each_row { firing.rows() } else { (None, None) };
        let args = [new, old];
        if !each_row {
            firing.register_transition_tables();
        }
        let gathering = keys::Gathering::begin();
        let mut batch = Batch::for_topic(&compiled);
        let mut outcome: SqlResult<()> = Ok(());
        role::as_role(compiled.role, || {
            compiled.plan.for_each(if each_row { &args } else { &[] }, &mut |row| {
                if outcome.is_ok() {
                    outcome = batch.add(row);
                }
            });
            outcome?;
            batch.publish()?;
            gathering.settle()
        })
    })?;
    Ok(call.no_row())
}

fn compiled(firing: &Firing) -> Result<Rc<Compiled>, Error> {
    queue::forget_stale();
    let key = (firing.trigger(), firing.event());
    if let Some(known) = COMPILED.with(|compiled| compiled.borrow().get(&key).cloned()) {
        return Ok(known);
    }
    let new = Rc::new(spi::connect(|| compile(firing))?);
    COMPILED.with(|compiled| compiled.borrow_mut().insert(key, new.clone()));
    Ok(new)
}

/// Must be called inside `spi::connect`.
fn compile(firing: &Firing) -> Result<Compiled, Error> {
    let id = firing.arguments().first().and_then(|id| id.parse::<i32>().ok());
    let tables = catalog::with_ancestors(firing.table());
    let found = find(id, &tables)?;
    let topic = found.topic.ok_or_else(|| not_attached(id, &tables))?;
    let wanted = Wanted { topic, role: found.role, named_as: found.source, spec: found.spec };
    let form = if firing.for_each_row() { Form::Row } else { Form::Tables };
    let shape = Shape { event: firing.event(), form, table: firing.table() };
    let sql = statement(&wanted, &shape)?;
    if form == Form::Tables {
        firing.register_transition_tables();
    }
    let remedy = Remedy::of_topic(wanted.named_as, &wanted.topic);
    let prepare = || remedy.hinting(|| Plan::prepare(&sql, &shape.parameter_types()));
    let plan = role::as_role(wanted.role, prepare);
    Ok(Compiled {
        topic: wanted.topic,
        role: wanted.role,
        ignore_own: wanted.spec.ignore_own,
        on_conflict: wanted.spec.on_conflict.as_deref().and_then(OnConflict::of),
        plan,
    })
}

/// What jobs that are written together have in common.
#[derive(Clone, PartialEq)]
struct Common {
    priority: Option<i32>,
    run_at: Option<Micros>,
    key: Option<String>,
    max_attempts: Option<i32>,
    group_key: Option<String>,
    once: Option<Micros>,
    correlation_id: Option<String>,
}

impl Common {
    /// From the columns after the payload.
    fn of(row: &[Arg]) -> Result<Common, Error> {
        let text = |column: usize| row[column].and_then(spi::text_of);
        let number = |column: usize| row[column].map(|value| value.value() as i32);
        let common = Common {
            priority: number(1),
            run_at: row[2].map(|value| value.value() as Micros).filter(|at| *at > time::transaction_start()),
            key: text(3),
            max_attempts: number(4),
            group_key: text(5),
            once: row[6].and_then(spi::interval_of).as_ref().map(interval_micros),
            correlation_id: text(7),
        };
        check_priority(common.priority)?;
        check_max_attempts(common.max_attempts)?;
        check_key("key", common.key.as_deref())?;
        check_key("group_key", common.group_key.as_deref())?;
        check_key("correlation_id", common.correlation_id.as_deref())?;
        check_interval("once", common.once)?;
        if common.once.is_some() && common.key.is_none() {
            return Err(Error::out_of_range("once needs a key"));
        }
        Ok(common)
    }

    fn header(self, on_conflict: Option<OnConflict>) -> Header {
        let more = More {
            on_conflict,
            group_key: self.group_key,
            once: self.once.and_then(interval_of_micros),
            correlation_id: self.correlation_id,
            ..More::default()
        };
        Header {
            priority: self.priority,
            run_at: self.run_at,
            key: self.key,
            max_attempts: self.max_attempts,
            more: Some(Box::new(more)),
        }
    }
}

fn interval_of_micros(micros: Micros) -> Arg {
    Interval::new(0, 0, micros).ok().and_then(spi::arg)
}

/// Rows kept back to be written together.
const MOST_ROWS: usize = 1000;
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Jobs to be published together.
struct Batch<'a> {
    topic: &'a str,
    but: Option<Oid>,
    on_conflict: Option<OnConflict>,
    memory: Scratch,
    payloads: Vec<Datum>,
    bytes: usize,
    common: Option<Common>,
}

impl Batch<'_> {
    fn for_topic(compiled: &Compiled) -> Batch<'_> {
        Batch {
            topic: &compiled.topic,
            but: if compiled.ignore_own { run::current_queue() } else { None },
            on_conflict: compiled.on_conflict,
            memory: Scratch::within_present(),
            payloads: Vec::new(),
            bytes: 0,
            common: None,
        }
    }

    fn add(&mut self, row: &[Arg]) -> SqlResult<()> {
        let common = Common::of(row)?;
        let is_full = self.payloads.len() >= MOST_ROWS || self.bytes >= MOST_BYTES;
        if is_full || self.common.as_ref().is_some_and(|before| *before != common) {
            self.publish()?;
        }
        self.common = Some(common);
        let payload = row[0].unwrap_or_else(|| self.memory.within(|| array::jsonb_of_text("{}")));
        let payload = self.memory.copy(payload);
        self.bytes += array::stored_bytes(payload);
        self.payloads.push(payload);
        Ok(())
    }

    fn publish(&mut self) -> SqlResult<()> {
        if let Some(common) = self.common.take() {
            let (topic, payloads, but, on_conflict) =
                (self.topic, &self.payloads, self.but, self.on_conflict);
            self.memory.within(|| {
                super::deliver(topic, payloads, &mut common.header(on_conflict), but).map(|_| ())
            })?;
        }
        self.payloads.clear();
        self.bytes = 0;
        self.memory.reset();
        Ok(())
    }
}
