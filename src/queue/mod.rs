//! What a queue is: a table partitioned by state, its options, and the statements prepared for it.

pub mod circle;
pub mod create;
mod forget;
pub mod indexes;
pub mod layout;
pub mod limits;
mod load;
pub mod options;
mod remembered;
pub mod retyped;
pub mod statements;
mod stored;
pub mod table;

use crate::claim::floor;
use crate::error::Error;
use crate::pg::cache::{self, Stale};
use crate::pg::json::Kind;
use crate::pg::spi::{self, Plan};
use crate::pg::{Oid, catalog, role};
use crate::upkeep::PassedOver;
use layout::Layout;
use options::Options;
use pgrx::pg_sys;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// The partitions, and the values of the column `state`.
pub const STATES: [&str; 6] = ["ready", "scheduled", "blocked", "running", "failed", "done"];

/// Columns that every queue has, in the order in which they are made.
pub const HEADER: [&str; 20] = [
    "id",
    "state",
    "priority",
    "run_at",
    "enqueued_at",
    "attempt",
    "max_attempts",
    "key",
    "group_key",
    "payload",
    "lease_until",
    "errors",
    "result",
    "finished_at",
    "correlation_id",
    "topic",
    "once",
    "after",
    "after_failure",
    "keep_result",
];

/// One of the queue's own columns.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: String,
    /// GENERATED ALWAYS AS: computed, never inserted.
    pub generated: bool,
    /// Its number in the table.
    pub number: i16,
    /// The name of its type, if a value comes out of JSON by that type's input alone.
    pub cast: Option<String>,
    /// How its values are written as JSON, if that can be done without SQL.
    pub kind: Option<Kind>,
}

/// By the columns they fill, as bits, whether the job is for later, and whether its header has more than
/// the usual.
pub type EnqueuePlans = HashMap<(u64, bool, bool), Option<Rc<Plan>>>;

/// A queue as this session knows it; rebuilt when the table or its options change.
pub struct Queue {
    pub oid: Oid,
    pub name: String,
    /// Schema and name, quoted.
    pub table: String,
    /// Stands for a row of the queue in statements; no column has this name.
    pub alias: String,
    pub owner: Oid,
    pub row_type: Oid,
    pub row_array_type: Oid,
    /// The queue's own columns, after the header.
    pub columns: Vec<Column>,
    pub options: Options,
    registration: OnceCell<Option<String>>,
    /// The sequence behind the identity column `id`.
    pub sequence: Oid,
    /// It gives out its numbers one after the other.
    in_order: bool,
    has_schedules: OnceCell<bool>,
    /// How it is stored, if that is as it was made.
    pub layout: Option<Layout>,
    /// The partitions and the sequence: a change of one of them is a change of the queue.
    parts: Vec<Oid>,
    /// The statement that checks what is deferred of it, if anything may be; once it is known.
    pub deferred: OnceCell<Option<String>>,
    /// What upkeep could not move.
    pub passed_over: RefCell<PassedOver>,
    plans: RefCell<HashMap<String, Rc<Plan>>>,
    /// Statements of `enqueue` by the columns they fill and whether the job is for later, where they can be
    /// evaluated simply.
    pub enqueue_plans: RefCell<EnqueuePlans>,
}

thread_local! {
    static KNOWN: RefCell<HashMap<Oid, Rc<Queue>>> = RefCell::new(HashMap::new());
    static WATCHING: Cell<bool> = const { Cell::new(false) };
}

/// The queue behind a table, from the session's cache.
pub fn open(oid: Oid) -> Result<Rc<Queue>, Error> {
    forget_stale();
    if let Some(known) = KNOWN.with(|known| known.borrow().get(&oid).cloned()) {
        return Ok(known);
    }
    let queue = Rc::new(spi::connect(|| load::load(oid))?);
    KNOWN.with(|known| known.borrow_mut().insert(oid, queue.clone()));
    Ok(queue)
}

/// Is it still what the session knows of the queue? To be asked after a lock was waited for.
pub fn is_current(queue: &Queue) -> bool {
    forget_stale();
    KNOWN.with(|known| known.borrow().get(&queue.oid).is_some_and(|now| std::ptr::eq(&**now, queue)))
}

/// Drops what was cached about tables that changed.
pub fn forget_stale() {
    if !WATCHING.replace(true) {
        cache::watch();
    }
    let stale = cache::take_stale();
    if !matches!(stale, Stale::Nothing) {
        crate::enqueue::fire::forget_compiled();
        crate::enqueue::plain::forget_partitions();
        crate::topics::forget(&stale);
    }
    match stale {
        Stale::Nothing => {}
        Stale::These(list) => KNOWN.with(|known| {
            let is_stale =
                |queue: &Queue| list.contains(&queue.oid) || queue.parts.iter().any(|oid| list.contains(oid));
            known.borrow_mut().retain(|_, queue| !is_stale(queue));
        }),
        Stale::Everything => KNOWN.with(|known| known.borrow_mut().clear()),
    }
}

/// Runs `work` with the rights of the extension's owner: for the extension's own tables only.
pub fn as_extension<R>(work: impl FnOnce() -> R) -> R {
    role::as_role(Oid::from(pg_sys::BOOTSTRAP_SUPERUSERID), work)
}

impl Queue {
    /// A statement of this queue, prepared at its first use.
    pub fn plan(&self, sql: String, types: &[Oid]) -> Rc<Plan> {
        if let Some(plan) = self.plans.borrow().get(&sql) {
            return plan.clone();
        }
        let plan = Rc::new(Plan::prepare(&sql, types));
        self.plans.borrow_mut().insert(sql, plan.clone());
        plan
    }

    /// The queue's own columns that can be inserted.
    pub fn settable(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| !column.generated)
    }

    /// No id given out from now on will be lower.
    pub fn lowest_next_id(&self) -> i64 {
        let last = if self.in_order { catalog::last_value(self.sequence, self.owner) } else { None };
        last.map_or(floor::BOTTOM, |last| last.saturating_add(1))
    }

    pub fn is_typed(&self) -> bool {
        !self.columns.is_empty()
    }

    /// Raises unless the caller has these privileges on the queue's table.
    pub fn require(&self, privileges: u64, needs: &'static str) -> Result<(), Error> {
        if catalog::may(self.oid, privileges) {
            return Ok(());
        }
        Err(Error::Privilege { table: self.name.clone(), needs })
    }

    pub fn require_owner(&self) -> Result<(), Error> {
        if catalog::acts_for(self.owner) {
            return Ok(());
        }
        Err(Error::NotOwner(self.name.clone()))
    }

    /// The queue with its definition locked until the transaction ends: a row taken now is put back with
    /// all its columns. To be called after the caller's rights were checked.
    pub fn locked(self: Rc<Self>) -> Result<Rc<Queue>, Error> {
        catalog::lock_definition(self.oid);
        // If it changed while we waited for the lock, this is the new one. One that was dropped has a name no more.
        open(self.oid).map_err(|error| match error {
            Error::NotAQueue(_) => Error::NotAQueue(self.name.clone()),
            other => other,
        })
    }

    /// What taking and finishing jobs needs.
    pub fn require_consumer(&self) -> Result<(), Error> {
        self.require(catalog::SELECT | catalog::DELETE, "SELECT and DELETE")
    }
}

/// Opens a queue and checks that the caller owns it.
pub fn open_owned(oid: Oid) -> Result<Rc<Queue>, Error> {
    let queue = open(oid)?;
    queue.require_owner()?;
    Ok(queue)
}

/// A queue's name for people: qualified where the search_path needs it.
pub fn quoted(name: &str) -> String {
    pgrx::spi::quote_identifier(name)
}
