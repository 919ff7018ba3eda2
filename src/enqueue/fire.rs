//! A trigger fires: one prepared INSERT … SELECT from the changed rows, whatever their number.

use super::direct;
use super::nesting::Level;
use super::spec::{Malformed, Spec};
use super::stale::Remedy;
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
use std::cell::{Cell, OnceCell, RefCell};
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
    /// The statement for all changed rows of a statement, if the trigger fires once for them.
    at_once: Option<Statement>,
    /// The statement for one row.
    by_row: Statement,
}

/// Planned when it is first needed: most sessions that use a trigger change a few rows at a time, or many.
struct Statement {
    sql: String,
    types: Vec<Oid>,
    plan: OnceCell<Plan>,
    /// Of an attachment.
    remedy: Option<Rc<Remedy>>,
    is_simple: Cell<Option<bool>>,
}

impl Statement {
    fn of(
        queue: &Queue,
        wanted: &Wanted,
        shape: &Shape,
        remedy: &Option<Rc<Remedy>>,
    ) -> Result<Statement, Error> {
        let sql = statement(queue, wanted, shape).map_err(|error| match remedy {
            Some(remedy) => remedy.added_to(error),
            None => error,
        })?;
        Ok(Statement {
            sql,
            types: shape.parameter_types(),
            plan: OnceCell::new(),
            remedy: remedy.clone(),
            is_simple: Cell::new(None),
        })
    }

    /// Must be called inside `spi::connect`, where the changed rows are known, with the rights and the search_path
    /// that the statement is to have.
    fn plan(&self) -> &Plan {
        if let Some(plan) = self.plan.get() {
            return plan;
        }
        let prepare = || Plan::prepare(&self.sql, &self.types);
        let plan = match &self.remedy {
            Some(remedy) => remedy.hinting(prepare),
            None => prepare(),
        };
        // Planning may have called a function that came by here: then it is there by now.
        self.plan.get_or_init(|| plan)
    }

    /// If it can be evaluated simply.
    fn simple_plan(&self, role: Option<Oid>) -> Option<&Plan> {
        if self.is_simple.get().is_none() {
            let make = || spi::connect(|| self.plan().make_simple());
            self.is_simple.set(Some(within(role, make)));
        }
        self.plan.get().filter(|_| self.is_simple.get() == Some(true))
    }
}

/// With whose rights a trigger's statement runs, under a pinned search_path.
fn within<R>(role: Option<Oid>, work: impl FnOnce() -> R) -> R {
    match role {
        Some(role) => role::as_role(role, work),
        None => role::pinned(work),
    }
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
        spi::connect(|| within(compiled.role, || put(&firing, &queue, &compiled)))?;
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
    if firing.changed_rows() > MOST_SIMPLE {
        return Ok(false);
    }
    let Some(plan) = compiled.by_row.simple_plan(compiled.role) else { return Ok(false) };
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
    let plan = compiled.at_once.as_ref().unwrap_or(&compiled.by_row).plan();
    if !direct::insert(queue, plan, args, tables, on_conflict, &mut |_| {})? {
        let collecting = keys::Collecting::begin();
        let any = claim::ChoosingState::within(compiled.queue);
        plan.execute(args);
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
    let remedy = wanted.role.map(|_| Rc::new(Remedy::of_queue(wanted.named_as, wanted.queue)));
    let by_row = Statement::of(&queue, &wanted, &Shape { form: Form::Row, ..shape }, &remedy)?;
    let at_once = match form {
        Form::Tables => Some(Statement::of(&queue, &wanted, &shape, &remedy)?),
        _ => None,
    };
    Ok(Compiled {
        queue: wanted.queue,
        role: wanted.role,
        ignore_own: wanted.spec.ignore_own,
        on_conflict: wanted.spec.on_conflict.as_deref().and_then(OnConflict::of),
        delay,
        at_once,
        by_row,
    })
}

pub fn delay_micros(interval: &str) -> Option<Micros> {
    let read = || spi::run("SELECT $1::interval", &[pg_sys::TEXTOID], &[spi::arg(interval)]).get(0, 1);
    role::pinned(read).as_ref().map(time::interval_micros)
}
