//! `attach` and `detach`: triggers without code.

use super::circle::{self, Target};
use super::fire::bad_option;
use super::source::Source;
use super::spec::{self, Spec};
use super::statement::{self, Form, Shape, Wanted};
use crate::error::{Error, SqlResult, required};
use crate::pg::rows::{self, Key};
use crate::pg::scan::Fresh;
use crate::pg::time::interval_micros;
use crate::pg::trigger::Event;
use crate::pg::{Oid, cache, catalog, role, spi, xact};
use crate::queue::limits::{check_interval, check_priority};
use crate::queue::{self, Queue};
use crate::sql_function;
use crate::topics;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::collections::BTreeMap;

sql_function!(attach);
sql_function!(detach);

/// `queue.attach`
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
    topic: Option<&str>,
) -> SqlResult<()> {
    let source = required("source", source)?;
    if queue.is_some() && topic.is_some() {
        return Err(Error::out_of_range("only one of queue and topic may be given").into());
    }
    let target = if topic.is_none() { Some(required("queue", queue)?) } else { None };
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
        // Locked: it cannot be dropped before the attachment is there to go with it.
        let queue = target.map(|oid| queue::open_owned(oid)?.locked()).transpose()?;
        let table = Source::open(source)?;
        if catalog::is_temporary(source) {
            // It goes without a word, and would leave the attachment behind.
            return Err(Error::out_of_range("a temporary table cannot be attached").into());
        }
        let for_each_row = table.level(level)?;
        let Some(queue) = queue else {
            let topic = topic.unwrap_or_default();
            // Its owner may give away what is the table's.
            let role = role_to_run_as(source, table.owner, table.owner)?;
            let wanted = topics::attach::Wanted { topic: topic.into(), role, named_as: source, spec };
            circle::check(source, &Target::Topic(topic.into()))?;
            topics::attach::check(&wanted, source, &events)?;
            let id = remember(source, None, Some(topic), role, &wanted.spec)
                .ok_or_else(|| not_twice(source, format!("topic \"{topic}\"")))?;
            table.create_triggers(id, &events, for_each_row, "publish_attached");
            return Ok(());
        };
        let role = role_to_run_as(source, table.owner, queue.owner)?;
        let wanted = Wanted { queue: queue.oid, role: None, named_as: source, spec };
        circle::check(source, &Target::Queue(queue.oid))?;
        role::pinned(|| check(&queue, &wanted, source, &events))?;
        let id = remember(source, Some(queue.oid), None, role, &wanted.spec)
            .ok_or_else(|| not_twice(source, format!("queue \"{}\"", queue.name)))?;
        table.create_triggers(id, &events, for_each_row, "enqueue_attached");
        Ok(())
    })
}

fn not_twice(source: Oid, target: String) -> Error {
    Error::AlreadyAttached { source: catalog::relation_name(source).unwrap_or_default(), target }
}

/// What the source's owner puts on it (types with casts, for example) runs when the trigger does, so the
/// owner must have the rights it runs with anyway.
pub fn check_rights(source: Oid, owner: Oid, role: Oid) -> Result<(), Error> {
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
    shapes(source, events).try_for_each(|shape| statement::check(queue, wanted, &shape))
}

/// For checking what these events are to do.
pub fn shapes<'a>(source: Oid, events: &'a [&'a str]) -> impl Iterator<Item = Shape> + 'a {
    events.iter().map(move |event| {
        let event = match *event {
            "insert" => Event::Insert,
            "update" => Event::Update,
            _ => Event::Delete,
        };
        Shape { event, form: Form::Nulls, table: source }
    })
}

/// The attachment's number; `None` if there is one like it.
fn remember(source: Oid, queue: Option<Oid>, topic: Option<&str>, role: Oid, spec: &Spec) -> Option<i32> {
    const REMEMBER: &str = "
        INSERT INTO queue.attachments (source, queue, topic, role, options) VALUES ($1, $2, $3, $4, $5::jsonb)
        ON CONFLICT DO NOTHING RETURNING id";
    let options = serde_json::to_string(spec).unwrap_or_default();
    let types = [pg_sys::REGCLASSOID, pg_sys::REGCLASSOID, pg_sys::TEXTOID, pg_sys::OIDOID, pg_sys::TEXTOID];
    let args =
        [spi::arg(source), queue.and_then(spi::arg), spi::arg(topic), spi::arg(role), spi::arg(options)];
    let rows = queue::as_extension(|| spi::run(REMEMBER, &types, &args));
    (!rows.is_empty()).then(|| rows.get(0, 1)).flatten()
}

/// An attachment as it is remembered.
pub struct Found {
    pub queue: Option<Oid>,
    pub topic: Option<String>,
    pub role: Oid,
    pub source: Oid,
    pub spec: Spec,
}

/// What an attachment's trigger is to do; its table or an ancestor of it must be the attached one. Must
/// be called inside `spi::connect`.
pub fn find(id: Option<i32>, tables: &[Oid]) -> Result<Found, Error> {
    // What this transaction itself has attached is to be seen.
    xact::next_command();
    // Also what was attached since this transaction's snapshot: the trigger fires.
    let now = Fresh::take();
    let remembered = id.and_then(|id| {
        rows::of_own(c"attachments", (c"id", Key::Int4(id)), &now, |row| {
            let options: Option<pgrx::JsonB> = row.get(c"options");
            (row.get(c"role"), row.get(c"source"), row.get(c"queue"), row.get(c"topic"), options)
        })
    });
    match remembered {
        Some((Some(role), Some(source), queue, topic, options)) if tables.contains(&source) => {
            let options = options.map_or(serde_json::Value::Null, |options| options.0);
            let spec = serde_json::from_value(options)
                .map_err(|e| Error::TriggerUse(format!("unreadable options of attachment {id:?}: {e}")))?;
            check_rights(source, catalog::owner_of(source), role)?;
            Ok(Found { queue, topic, role, source, spec })
        }
        _ => Err(not_attached(id, tables)),
    }
}

/// A trigger without its attachment: what came of an incomplete restore, or was put there by hand. `tables`: the
/// one that fires it and those it is a partition of. Must be called inside `spi::connect`.
pub fn not_attached(id: Option<i32>, tables: &[Oid]) -> Error {
    const TRIGGERS: &str = "
        SELECT quote_ident(tgname), tgrelid FROM pg_trigger
        WHERE tgrelid = ANY ($1) AND tgparentid = 0
          AND tgfoid IN ('queue.enqueue_attached()'::regprocedure, 'queue.publish_attached()'::regprocedure)
          AND tgargs = convert_to($2, 'UTF8') || decode('00', 'hex')
        ORDER BY 1";
    let args = [spi::arg(tables.to_vec()), spi::arg(id.map(|id| id.to_string()))];
    let rows = role::pinned(|| spi::run(TRIGGERS, &[pg_sys::OIDARRAYOID, pg_sys::TEXTOID], &args));
    let drop = |row| {
        Some(format!(
            "DROP TRIGGER {} ON {};",
            rows.get::<String>(row, 1)?,
            catalog::qualified_name(rows.get(row, 2)?)
        ))
    };
    let bearer = (!rows.is_empty()).then(|| rows.get::<Oid>(0, 2)).flatten().or(tables.first().copied());
    let table = bearer.and_then(catalog::relation_name).unwrap_or_default();
    Error::UnknownAttachment { table, remedy: (0..rows.len()).filter_map(drop).collect::<Vec<_>>().join(" ") }
}

/// `queue.detach`
fn detach(source: Option<Oid>, queue: Option<Oid>, topic: Option<&str>) -> SqlResult<()> {
    let source = required("source", source)?;
    if queue.is_some() && topic.is_some() {
        return Err(Error::out_of_range("only one of queue and topic may be given").into());
    }
    spi::connect(|| {
        let target = if let Some(topic) = topic {
            Source::open(source)?;
            if remove_attachment(source, None, Some(topic)) {
                return Ok(());
            }
            format!("topic \"{topic}\"")
        } else {
            let queue = queue::open(required("queue", queue)?)?;
            if !catalog::acts_for(queue.owner) {
                Source::open(source)?;
            }
            if remove(source, &queue) {
                return Ok(());
            }
            format!("queue \"{}\"", queue.name)
        };
        let source = catalog::relation_name(source).unwrap_or_else(|| source.to_string());
        Err(Error::NotAttached { source, target }.into())
    })
}

/// Removes an attachment and its triggers; false if there is none. The triggers are dropped with the
/// extension's rights: the owner of either table may end what both agreed on.
pub fn remove(source: Oid, queue: &Queue) -> bool {
    let removed = remove_attachment(source, Some(queue.oid), None);
    if removed {
        cache::announce(queue.oid);
    }
    removed
}

fn remove_attachment(source: Oid, queue: Option<Oid>, topic: Option<&str>) -> bool {
    const REMOVE: &str = "
        DELETE FROM queue.attachments
        WHERE source = $1 AND queue IS NOT DISTINCT FROM $2 AND topic IS NOT DISTINCT FROM $3 RETURNING id";
    const TRIGGERS: &str = "
        SELECT tgname::text FROM pg_trigger
        WHERE tgrelid = $1 AND tgparentid = 0 AND tgname LIKE 'queue\\_ext\\_' || $2 || '\\_%'";
    queue::as_extension(|| {
        let types = [pg_sys::REGCLASSOID, pg_sys::REGCLASSOID, pg_sys::TEXTOID];
        let rows = spi::run(REMOVE, &types, &[spi::arg(source), queue.and_then(spi::arg), spi::arg(topic)]);
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
        true
    })
}
