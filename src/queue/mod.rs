//! What a queue is: a table partitioned by state, its options, and the statements prepared for it.

pub mod create;
pub mod layout;
pub mod limits;
pub mod options;
pub mod statements;
pub mod table;

use crate::claim::floor;
use crate::error::Error;
use crate::pg::cache::{self, Stale};
use crate::pg::json::Kind;
use crate::pg::spi::{self, Plan, Rows};
use crate::pg::{Oid, catalog, role};
use crate::upkeep::PassedOver;
use layout::Layout;
use options::Options;
use pgrx::pg_sys;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// The partitions, and the values of the column `state`.
pub const STATES: [&str; 6] = ["ready", "scheduled", "blocked", "running", "failed", "done"];

/// Columns that every queue has, in the order in which they are made.
pub const HEADER: [&str; 14] = [
    "id",
    "state",
    "priority",
    "run_at",
    "attempt",
    "max_attempts",
    "key",
    "group_key",
    "payload",
    "enqueued_at",
    "lease_until",
    "errors",
    "result",
    "finished_at",
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
    /// Which registration of a processor is in force: changes with each.
    pub registration: Option<String>,
    /// The sequence behind the identity column `id`.
    pub sequence: Oid,
    /// It gives out its numbers one after the other.
    in_order: bool,
    /// How it is stored, if that is as it was made.
    pub layout: Option<Layout>,
    /// The partitions and the sequence: a change of one of them is a change of the queue.
    parts: Vec<Oid>,
    /// What upkeep could not move.
    pub passed_over: RefCell<PassedOver>,
    plans: RefCell<HashMap<String, Rc<Plan>>>,
    /// Statements of `enqueue` by the columns they fill and whether the job is for later, where they can be
    /// evaluated simply.
    pub enqueue_plans: RefCell<HashMap<(u64, bool), Option<Rc<Plan>>>>,
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
    let queue = Rc::new(spi::connect(|| load(oid))?);
    KNOWN.with(|known| known.borrow_mut().insert(oid, queue.clone()));
    Ok(queue)
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

const LOAD: &str = "
    SELECT n.nspname::text, c.relname::text, c.relowner, c.reltype, t.typarray,
           q.max_attempts, extract(epoch FROM q.backoff)::float8, q.backoff_factor,
           extract(epoch FROM q.backoff_max)::float8, extract(epoch FROM q.lease)::float8,
           extract(epoch FROM q.keep_done)::float8, q.paused, p.xmin::text,
           (SELECT d.objid FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
            WHERE d.refobjid = c.oid AND d.deptype = 'i' AND d.classid = 'pg_class'::regclass
              AND d.refclassid = 'pg_class'::regclass
              AND d.refobjsubid = (SELECT attnum FROM pg_attribute WHERE attrelid = c.oid AND attname = 'id'))
           AS sequence
    FROM queue.queues q
    LEFT JOIN queue.processors p ON p.queue = q.queue
    JOIN pg_class c ON c.oid = q.queue
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_type t ON t.oid = c.reltype
    WHERE q.queue = $1";

/// The header as made; its values are read by type, so a column of another type must not pass.
const HEADER_TYPES: &str = "
    SELECT h.name FROM (VALUES
        ('id', 'bigint', true), ('state', 'text', true), ('priority', 'smallint', true),
        ('run_at', 'timestamptz', false), ('attempt', 'integer', true), ('max_attempts', 'integer', false),
        ('key', 'text', false), ('group_key', 'text', false), ('payload', 'jsonb', false),
        ('enqueued_at', 'timestamptz', true), ('lease_until', 'timestamptz', false), ('errors', 'jsonb', false),
        ('result', 'jsonb', false), ('finished_at', 'timestamptz', false)) AS h (name, type, filled)
    WHERE NOT EXISTS (
        SELECT FROM pg_attribute a
        WHERE a.attrelid = $1 AND a.attname = h.name AND NOT a.attisdropped
          AND a.atttypid = h.type::regtype AND (a.attnotnull OR NOT h.filled))
    LIMIT 1";

const COLUMNS: &str = "
    SELECT attname::text, attgenerated <> '', attnum, atttypid,
           CASE WHEN t.typtype = 'b' AND t.typcategory <> 'A' AND t.typname NOT IN ('json', 'jsonb') AND a.atttypmod = -1
                THEN format_type(atttypid, NULL) END
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum";

/// False if sessions keep numbers in stock, or if it runs backwards or in a circle.
const IN_ORDER: &str =
    "SELECT seqcache = 1 AND seqincrement > 0 AND NOT seqcycle FROM pg_sequence WHERE seqrelid = $1";

const PARTITIONS: &str = "SELECT inhrelid FROM pg_inherits WHERE inhparent = $1";

fn load(oid: Oid) -> Result<Queue, Error> {
    as_extension(|| {
        let types = [pg_sys::REGCLASSOID];
        let args = [spi::arg(oid)];
        let found = spi::run_kept(LOAD, &types, &args);
        if found.is_empty() {
            let name = catalog::relation_name(oid).unwrap_or_else(|| oid.to_string());
            return Err(Error::NotAQueue(name));
        }
        let changed = spi::run_kept(HEADER_TYPES, &[pg_sys::OIDOID], &args);
        if !changed.is_empty() {
            return Err(Error::HeaderChanged { queue: text(&found, 2), column: text(&changed, 1) });
        }
        let columns = columns_of(&spi::run(COLUMNS, &[pg_sys::OIDOID], &args));
        let schema: String = text(&found, 1);
        let name: String = text(&found, 2);
        let row_type = found.get(0, 4).unwrap_or(Oid::INVALID);
        let sequence = found.get(0, 14).ok_or_else(|| Error::NotAQueue(text(&found, 2)))?;
        let partitions = spi::run_kept(PARTITIONS, &[pg_sys::OIDOID], &args);
        Ok(Queue {
            oid,
            table: pgrx::spi::quote_qualified_identifier(&schema, &name),
            name,
            alias: free_alias(&columns),
            owner: found.get(0, 3).unwrap_or(Oid::INVALID),
            row_type,
            row_array_type: found.get(0, 5).unwrap_or(Oid::INVALID),
            columns,
            options: Options::of_row(&found, 6),
            registration: found.get(0, 13),
            sequence,
            in_order: spi::run_kept(IN_ORDER, &[pg_sys::OIDOID], &[spi::arg(sequence)])
                .get(0, 1)
                .unwrap_or(false),
            layout: Layout::of(oid, row_type),
            parts: (0..partitions.len()).filter_map(|row| partitions.get(row, 1)).chain([sequence]).collect(),
            passed_over: RefCell::default(),
            plans: RefCell::new(HashMap::new()),
            enqueue_plans: RefCell::new(HashMap::new()),
        })
    })
}

fn free_alias(columns: &[Column]) -> String {
    let mut alias = String::from("job_row");
    while columns.iter().any(|column| column.name == alias) {
        alias.push('_');
    }
    alias
}

fn text(rows: &Rows, column: usize) -> String {
    rows.get(0, column).unwrap_or_default()
}

fn columns_of(rows: &Rows) -> Vec<Column> {
    (0..rows.len())
        .map(|row| Column {
            name: rows.get(row, 1).unwrap_or_default(),
            generated: rows.get(row, 2).unwrap_or(false),
            number: rows.get(row, 3).unwrap_or(0),
            kind: rows.get(row, 4).and_then(Kind::of),
            cast: rows.get(row, 5),
        })
        .filter(|column| !HEADER.contains(&column.name.as_str()))
        .collect()
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
        // If it changed while we waited for the lock, this is the new one.
        open(self.oid)
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
