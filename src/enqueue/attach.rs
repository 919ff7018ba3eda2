//! `attach` and `detach`: triggers without code.

use super::fire::bad_option;
use super::spec::{self, Spec};
use super::statement::{self, Form, Shape, Wanted};
use crate::error::{Error, SqlResult, required};
use crate::pg::time::interval_micros;
use crate::pg::trigger::Event;
use crate::pg::{Oid, cache, catalog, role, spi, xact};
use crate::queue::limits::{check_interval, check_priority};
use crate::queue::{self, Queue};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::collections::BTreeMap;

/// `queue.attach`
#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments)]
fn attach(
    source: Option<Oid>,
    queue: Option<Oid>,
    events: Option<&str>,
    set: Option<pgrx::JsonB>,
    condition: Option<String>,
    key: Option<String>,
    priority: Option<i32>,
    delay: Option<Interval>,
    columns: Option<Vec<Option<String>>>,
    ignore_own: Option<bool>,
    level: Option<&str>,
    on_conflict: Option<String>,
) -> SqlResult<()> {
    let (source, queue) = (required("source", source)?, required("queue", queue)?);
    let events = spec::events(required("events", events)?).map_err(bad_option)?;
    check_priority(priority)?;
    let delay = delay.as_ref().map(interval_micros);
    check_interval("delay", delay)?;
    let spec = Spec {
        set: set.map(expressions).transpose()?.unwrap_or_default(),
        condition,
        key,
        priority,
        on_conflict,
        delay: delay.map(|micros| format!("{micros} microseconds")),
        columns: columns.map(column_names).transpose()?.unwrap_or_default(),
        ignore_own: ignore_own.unwrap_or(false),
    };
    spi::connect(|| {
        let queue = queue::open_owned(queue)?;
        let table = Source::open(source)?;
        if catalog::is_temporary(source) {
            // It goes without a word, and would leave the attachment behind.
            return Err(Error::out_of_range("a temporary table cannot be attached").into());
        }
        let for_each_row = table.level(level)?;
        let role = role_to_run_as(source, table.owner, queue.owner)?;
        let wanted = Wanted { queue: queue.oid, role: None, named_as: source, spec };
        role::pinned(|| check(&queue, &wanted, source, &events))?;
        let id = remember(&queue, source, role, &wanted.spec)?;
        for (name, statement) in table.triggers(id, &events, for_each_row) {
            spi::run(&statement, &[], &[]);
            queue::table::tie_to_extension(&name, &catalog::qualified_name(source));
        }
        Ok(())
    })
}

/// What the source's owner puts on it (types with casts, for example) runs when the trigger does, so the
/// owner must have the rights it runs with anyway.
fn check_rights(source: Oid, owner: Oid, role: Oid) -> Result<(), Error> {
    if catalog::role_acts_for(owner, role) {
        return Ok(());
    }
    Err(Error::AttachRights {
        source: catalog::relation_name(source).unwrap_or_default(),
        role: catalog::role_name(role),
    })
}

/// The role that attaches, if the source's owner has its rights anyway; else the source's owner, if that
/// one acts for the queue's owner: a superuser may attach what belongs to others.
fn role_to_run_as(source: Oid, source_owner: Oid, queue_owner: Oid) -> Result<Oid, Error> {
    let user = catalog::current_user();
    if !catalog::role_acts_for(source_owner, user) && catalog::role_acts_for(source_owner, queue_owner) {
        return Ok(source_owner);
    }
    check_rights(source, source_owner, user).map(|()| user)
}

/// `set` as given: an object whose values are expressions.
fn expressions(set: pgrx::JsonB) -> Result<BTreeMap<String, String>, Error> {
    serde_json::from_value(set.0).map_err(|_| Error::BadOption {
        message: "set must be an object whose values are SQL expressions in text".into(),
        hint: "For example {\"recipient\": \"new.email\"}.".into(),
    })
}

fn column_names(columns: Vec<Option<String>>) -> Result<Vec<String>, Error> {
    columns.into_iter().collect::<Option<Vec<_>>>().filter(|names| !names.is_empty()).ok_or_else(|| {
        Error::BadOption {
            message: "columns must be a list of column names".into(),
            hint: "Leave it out to have every update count.".into(),
        }
    })
}

fn check(queue: &Queue, wanted: &Wanted, source: Oid, events: &[&str]) -> Result<(), Error> {
    for event in events {
        let event = match *event {
            "insert" => Event::Insert,
            "update" => Event::Update,
            _ => Event::Delete,
        };
        statement::check(queue, wanted, &Shape { event, form: Form::Nulls, table: source })?;
    }
    Ok(())
}

/// The table to attach.
struct Source {
    oid: Oid,
    name: String,
    owner: Oid,
    partitioned: bool,
    /// Changes can reach it, or pass it by, under another table's name.
    in_hierarchy: bool,
}

impl Source {
    fn open(oid: Oid) -> Result<Source, Error> {
        const SOURCE: &str = "
            SELECT c.relname::text, c.relkind::text, c.relowner,
                   c.relispartition OR EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent))
            FROM pg_catalog.pg_class c WHERE c.oid = $1";
        let rows = role::pinned(|| spi::run(SOURCE, &[pg_sys::OIDOID], &[spi::arg(oid)]));
        let name: String =
            (!rows.is_empty()).then(|| rows.get(0, 1)).flatten().unwrap_or_else(|| oid.to_string());
        let kind: String = (!rows.is_empty()).then(|| rows.get(0, 2)).flatten().unwrap_or_default();
        if kind != "r" && kind != "p" {
            return Err(Error::NotATable(name));
        }
        if !catalog::acts_for(rows.get(0, 3).unwrap_or(Oid::INVALID)) {
            return Err(Error::NotOwner(name));
        }
        Ok(Source {
            oid,
            name,
            owner: rows.get(0, 3).unwrap_or(Oid::INVALID),
            partitioned: kind == "p",
            in_hierarchy: rows.get(0, 4).unwrap_or(true),
        })
    }

    /// FOR EACH ROW? A statement trigger costs least, one bulk insert a statement; but it fires only for
    /// the table that a statement names, so a table with parents or children needs row triggers.
    fn level(&self, asked: Option<&str>) -> Result<bool, Error> {
        match asked {
            None => Ok(self.in_hierarchy || self.partitioned),
            Some("row") => Ok(true),
            Some("statement") if !self.in_hierarchy && !self.partitioned => Ok(false),
            Some("statement") => Err(Error::BadOption {
                message: format!("table \"{}\" cannot be attached at statement level", self.name),
                hint: "It has partitions, parents or children, whose statements would pass by: use row."
                    .into(),
            }),
            Some(_) => Err(Error::BadOption {
                message: "level must be row or statement".into(),
                hint: "Leave it out to have the cheaper one chosen.".into(),
            }),
        }
    }

    /// The triggers' names and CREATE statements. Transition tables allow one event a trigger only.
    fn triggers(&self, id: i32, events: &[&str], for_each_row: bool) -> Vec<(String, String)> {
        let table = catalog::qualified_name(self.oid);
        let function = format!("EXECUTE FUNCTION queue.enqueue_attached('{id}')");
        if for_each_row {
            let (name, events) = (format!("queue_ext_{id}_row"), events.join(" OR "));
            let create = format!("CREATE TRIGGER {name} AFTER {events} ON {table} FOR EACH ROW {function}");
            return vec![(name, create)];
        }
        events
            .iter()
            .map(|event| {
                let tables = match *event {
                    "insert" => "NEW TABLE AS new_rows",
                    "delete" => "OLD TABLE AS old_rows",
                    _ => "OLD TABLE AS old_rows NEW TABLE AS new_rows",
                };
                let name = format!("queue_ext_{id}_{event}");
                let create = format!(
                    "CREATE TRIGGER {name} AFTER {event} ON {table}
                     REFERENCING {tables} FOR EACH STATEMENT {function}"
                );
                (name, create)
            })
            .collect()
    }
}

fn remember(queue: &Queue, source: Oid, role: Oid, spec: &Spec) -> Result<i32, Error> {
    const REMEMBER: &str = "
        INSERT INTO queue.attachments (source, queue, role, options) VALUES ($1, $2, $3, $4::jsonb)
        ON CONFLICT (source, queue) DO NOTHING RETURNING id";
    let options = serde_json::to_string(spec).unwrap_or_default();
    let rows = queue::as_extension(|| {
        let types = [pg_sys::REGCLASSOID, pg_sys::REGCLASSOID, pg_sys::OIDOID, pg_sys::TEXTOID];
        spi::run(
            REMEMBER,
            &types,
            &[spi::arg(source), spi::arg(queue.oid), spi::arg(role), spi::arg(options)],
        )
    });
    if rows.is_empty() {
        return Err(Error::AlreadyAttached {
            source: catalog::relation_name(source).unwrap_or_default(),
            queue: queue.name.clone(),
        });
    }
    Ok(rows.get(0, 1).unwrap_or_default())
}

/// What an attachment's trigger is to do; its table or an ancestor of it must be the attached one. Must
/// be called inside `spi::connect`.
pub fn find(id: Option<i32>, tables: &[Oid]) -> Result<Wanted, Error> {
    const FIND: &str = "SELECT a.queue::oid, a.role::oid, a.source::oid, a.options::text, c.relowner
         FROM queue.attachments a JOIN pg_class c ON c.oid = a.source WHERE a.id = $1";
    let rows = queue::as_extension(|| spi::run(FIND, &[pg_sys::INT4OID], &[id.and_then(spi::arg)]));
    let row = |column| (!rows.is_empty()).then(|| rows.get::<Oid>(0, column)).flatten();
    match (row(1), row(2), row(3)) {
        (Some(queue), Some(role), Some(source)) if tables.contains(&source) => {
            let options: String = rows.get(0, 4).unwrap_or_default();
            let spec = serde_json::from_str(&options)
                .map_err(|e| Error::TriggerUse(format!("unreadable options of attachment {id:?}: {e}")))?;
            check_rights(source, rows.get(0, 5).unwrap_or(Oid::INVALID), role)?;
            Ok(Wanted { queue, role: Some(role), named_as: source, spec })
        }
        _ => Err(Error::TriggerUse("this trigger's table is not attached to a queue".into())),
    }
}

/// `queue.detach`
#[pg_extern(sql = false)]
fn detach(source: Option<Oid>, queue: Option<Oid>) -> SqlResult<()> {
    let (source, queue) = (required("source", source)?, required("queue", queue)?);
    spi::connect(|| {
        let queue = queue::open(queue)?;
        if !catalog::acts_for(queue.owner) {
            Source::open(source)?;
        }
        if !remove(source, &queue) {
            return Err(Error::NotAttached {
                source: catalog::relation_name(source).unwrap_or_else(|| source.to_string()),
                queue: queue.name.clone(),
            }
            .into());
        }
        Ok(())
    })
}

/// Removes an attachment and its triggers; false if there is none. The triggers are dropped with the
/// extension's rights: the owner of either table may end what both agreed on.
pub fn remove(source: Oid, queue: &Queue) -> bool {
    const REMOVE: &str = "DELETE FROM queue.attachments WHERE source = $1 AND queue = $2 RETURNING id";
    const TRIGGERS: &str = "
        SELECT tgname::text FROM pg_trigger
        WHERE tgrelid = $1 AND tgparentid = 0 AND tgname LIKE 'queue\\_ext\\_' || $2 || '\\_%'";
    queue::as_extension(|| {
        let types = [pg_sys::REGCLASSOID, pg_sys::REGCLASSOID];
        let rows = spi::run(REMOVE, &types, &[spi::arg(source), spi::arg(queue.oid)]);
        if rows.is_empty() {
            return false;
        }
        let id: i32 = rows.get(0, 1).unwrap_or_default();
        xact::next_command();
        let found = spi::run(
            TRIGGERS,
            &[pg_sys::OIDOID, pg_sys::TEXTOID],
            &[spi::arg(source), spi::arg(id.to_string())],
        );
        let names: Vec<String> = (0..found.len()).filter_map(|row| found.get(row, 1)).collect();
        for name in names {
            let table = catalog::qualified_name(source);
            spi::run(&format!("DROP TRIGGER {} ON {table}", queue::quoted(&name)), &[], &[]);
        }
        cache::announce(queue.oid);
        true
    })
}
