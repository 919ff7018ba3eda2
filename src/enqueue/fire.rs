//! A trigger fires: one prepared INSERT … SELECT from the changed rows, whatever their number.

use super::direct;
use super::nesting::Level;
use super::spec::{Malformed, Spec};
use super::statement::{Form, Shape, Wanted, check, statement};
use crate::claim;
use crate::error::{Error, SqlResult};
use crate::pg::entry::Call;
use crate::pg::spi::{self, Arg, Plan};
use crate::pg::time::{self, Micros};
use crate::pg::trigger::{Event, Firing};
use crate::pg::{Datum, Oid, catalog, role};
use crate::queue;
use crate::queue::Queue;
use crate::queue::limits::{OnConflict, check_interval};
use crate::{keys, raw_function, run, wake};
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

raw_function!(enqueue_from_trigger, fire_hand_written);
raw_function!(enqueue_attached, fire_attached);

/// A trigger's statement, ready to run.
struct Compiled {
    queue: Oid,
    /// With whose rights; `None`: those of the role that changed the table.
    role: Option<Oid>,
    ignore_own: bool,
    /// Instead of what the queue says.
    on_conflict: Option<OnConflict>,
    /// Jobs are scheduled so long after the transaction's start.
    delay: Option<Micros>,
    plan: Plan,
    /// The statement for one row, if it can be evaluated simply.
    simple: Option<Plan>,
}

impl Compiled {
    fn on_conflict(&self, queue: &Queue) -> Option<OnConflict> {
        self.on_conflict.or(queue.options.on_conflict)
    }
}

type TriggerKey = (Oid, Event);

thread_local! {
    static COMPILED: RefCell<HashMap<TriggerKey, Rc<Compiled>>> = RefCell::new(HashMap::new());
}

/// Some table changed: statements are made anew when they are next needed.
pub fn forget_compiled() {
    COMPILED.with(|compiled| compiled.borrow_mut().clear());
}

/// `queue.enqueue_from_trigger`
fn fire_hand_written(call: &Call) -> SqlResult<Datum> {
    fire(call, |firing| {
        let arguments = firing.arguments();
        let name = arguments.first().ok_or_else(|| {
            Error::TriggerUse("the first argument of queue.enqueue_from_trigger must name the queue".into())
        })?;
        let spec = Spec::of_arguments(&arguments[1..]).map_err(bad_option)?;
        let root = *catalog::with_ancestors(firing.table()).last().unwrap_or(&firing.table());
        Ok(Wanted { queue: catalog::relation_by_name(name), role: None, named_as: root, spec })
    })
}

/// `queue.enqueue_attached`
fn fire_attached(call: &Call) -> SqlResult<Datum> {
    fire(call, |firing| {
        let id = firing.arguments().first().and_then(|id| id.parse::<i32>().ok());
        let tables = catalog::with_ancestors(firing.table());
        let found = super::attach::find(id, &tables)?;
        let queue = found.queue.ok_or_else(|| super::attach::not_attached(id, &tables))?;
        Ok(Wanted { queue, role: Some(found.role), named_as: found.source, spec: found.spec })
    })
}

pub fn bad_option(malformed: Malformed) -> Error {
    Error::BadOption {
        message: format!("invalid option \"{}\": {}", malformed.option, malformed.reason),
        hint: "The comments on queue.attach and queue.enqueue_from_trigger list the options.".into(),
    }
}

/// The trigger that is being fired, if it is of a kind that tells what changed.
pub fn firing_of(call: &Call) -> Result<Firing<'_>, Error> {
    let firing = Firing::of(call)
        .filter(Firing::is_after)
        .ok_or_else(|| Error::TriggerUse("this function must be called as an AFTER trigger".into()))?;
    if firing.event() == Event::Truncate || !(firing.for_each_row() || firing.has_transition_tables()) {
        return Err(Error::TriggerUse(
            "the trigger must be FOR EACH ROW, or FOR EACH STATEMENT with transition tables new_rows and old_rows"
                .into(),
        ));
    }
    Ok(firing)
}

fn fire(call: &Call, wanted: impl FnOnce(&Firing) -> Result<Wanted, Error>) -> SqlResult<Datum> {
    let firing = firing_of(call)?;
    let compiled = compiled(&firing, wanted)?;
    if compiled.ignore_own && run::current_queue() == Some(compiled.queue) {
        return Ok(call.no_row());
    }
    let queue = queue::open(compiled.queue)?;
    let _level = Level::enter(&queue.name)?;
    if !put_simply(&firing, &queue, &compiled)? {
        let execute = || put(&firing, &queue, &compiled);
        spi::connect(|| match compiled.role {
            Some(role) => role::as_role(role, execute),
            None => role::pinned(execute),
        })?;
    }
    if let Some(delay) = compiled.delay {
        wake::due(compiled.queue, time::after(time::transaction_start(), delay));
    }
    Ok(call.no_row())
}

/// For more rows than these the executor's start is worth its while.
const MOST_SIMPLE: i64 = 10;

/// Evaluates the trigger's expressions without an executor, if they are that simple.
fn put_simply(firing: &Firing, queue: &Queue, compiled: &Compiled) -> SqlResult<bool> {
    let Some(plan) = &compiled.simple else { return Ok(false) };
    if firing.changed_rows() > MOST_SIMPLE {
        return Ok(false);
    }
    let mut row = firing.for_each_row().then(|| firing.rows());
    let mut rows = (!firing.for_each_row()).then(|| firing.changes());
    let mut arguments = |list: &mut [Arg]| {
        let change = rows.as_mut().map_or_else(|| row.take(), |rows| rows.next_change());
        if let Some((old, new)) = change {
            list.copy_from_slice(&[new, old]);
        }
        change.is_some()
    };
    let on_conflict = compiled.on_conflict(queue);
    let mut work = || direct::insert_simply(queue, plan, &mut arguments, on_conflict, &mut |_| {});
    Ok(match compiled.role {
        Some(role) => role::with_rights_of(role, work),
        None => work(),
    }?)
}

fn put(firing: &Firing, queue: &Queue, compiled: &Compiled) -> SqlResult<()> {
    let each_row = firing.for_each_row();
    let (old, new) = if each_row { firing.rows() } else { (None, None) };
    let args = [new, old];
    let args = if each_row { &args[..] } else { &[] };
    if !each_row {
        firing.register_transition_tables();
    }
    let tables = (!each_row).then_some(firing);
    let on_conflict = compiled.on_conflict(queue);
    if !direct::insert(queue, &compiled.plan, args, tables, on_conflict, &mut |_| {})? {
        let collecting = keys::Collecting::begin();
        let any = claim::ChoosingState::within(compiled.queue);
        compiled.plan.execute(args);
        drop(any);
        keys::settle(queue, collecting.end(on_conflict))?;
    }
    Ok(())
}

fn compiled(
    firing: &Firing,
    wanted: impl FnOnce(&Firing) -> Result<Wanted, Error>,
) -> Result<Rc<Compiled>, Error> {
    queue::forget_stale();
    let key = (firing.trigger(), firing.event());
    if let Some(known) = COMPILED.with(|compiled| compiled.borrow().get(&key).cloned()) {
        return Ok(known);
    }
    let new = Rc::new(spi::connect(|| compile(firing, wanted))?);
    COMPILED.with(|compiled| compiled.borrow_mut().insert(key, new.clone()));
    Ok(new)
}

/// Must be called inside `spi::connect`.
fn compile(
    firing: &Firing,
    wanted: impl FnOnce(&Firing) -> Result<Wanted, Error>,
) -> Result<Compiled, Error> {
    let wanted = wanted(firing)?;
    let queue = queue::open(wanted.queue)?;
    let form = if firing.for_each_row() { Form::Row } else { Form::Tables };
    let shape = Shape { event: firing.event(), form, table: firing.table() };
    let delay = wanted.spec.delay.as_deref().and_then(delay_micros);
    if wanted.role.is_none() {
        // What attach checks beforehand; a hand-written trigger shows it when it first fires.
        check_interval("delay", delay)?;
        role::pinned(|| check(&queue, &wanted, &Shape { form: Form::Nulls, ..shape }))?;
    }
    let sql = statement(&queue, &wanted, &shape)?;
    let by_row = Shape { form: Form::Row, ..shape };
    let sql_by_row = statement(&queue, &wanted, &by_row)?;
    if form == Form::Tables {
        firing.register_transition_tables();
    }
    let prepare = || {
        let _planner = role::Planner::without_nested_loops();
        let simple = Plan::prepare(&sql_by_row, &by_row.parameter_types());
        let simple = simple.make_simple().then_some(simple);
        (Plan::prepare(&sql, &shape.parameter_types()), simple)
    };
    let (plan, simple) = match wanted.role {
        Some(role) => role::as_role(role, prepare),
        None => role::pinned(prepare),
    };
    Ok(Compiled {
        queue: wanted.queue,
        role: wanted.role,
        ignore_own: wanted.spec.ignore_own,
        on_conflict: wanted.spec.on_conflict.as_deref().and_then(OnConflict::of),
        delay,
        plan,
        simple,
    })
}

pub fn delay_micros(interval: &str) -> Option<Micros> {
    let read = || spi::run("SELECT $1::interval", &[pg_sys::TEXTOID], &[spi::arg(interval)]).get(0, 1);
    role::pinned(read).as_ref().map(time::interval_micros)
}
