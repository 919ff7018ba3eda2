//! The INSERT … SELECT that a trigger runs, built from its options.

use super::spec::{SETTABLE_HEADER, Spec};
use crate::error::Error;
use crate::pg::spi::Plan;
use crate::pg::trigger::Event;
use crate::pg::{Oid, catalog, failure, parse};
use crate::queue::{Queue, quoted};

/// What a trigger is to do.
pub struct Wanted {
    pub queue: Oid,
    pub role: Option<Oid>,
    /// The table's name in payloads: the attached one, also when one of its partitions fires.
    pub named_as: Oid,
    pub spec: Spec,
}

/// The form in which the changed rows come.
pub struct Shape {
    pub event: Event,
    pub form: Form,
    pub table: Oid,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As parameters, old and new.
    Row,
    /// As transition tables.
    Tables,
    /// As rows of the table itself, which are taken for inserted ones.
    Stored,
    /// Not at all: for checking expressions before any row is there.
    Nulls,
}

impl Shape {
    pub fn parameter_types(&self) -> Vec<Oid> {
        if self.form != Form::Row {
            return Vec::new();
        }
        let row_type = catalog::row_type_of(self.table);
        vec![row_type, row_type]
    }

    /// FROM clause that offers `new` and `old`, each with the table's columns, nulls where there is none.
    pub fn rows(&self, columns: &[String]) -> String {
        let table = catalog::qualified_name(self.table);
        let nothing = format!("LATERAL (SELECT (NULL::{table}).*)");
        match self.form {
            Form::Nulls => return format!("{nothing} AS new, {nothing} AS old"),
            Form::Row => return "(SELECT ($1).*) AS new, LATERAL (SELECT ($2).*) AS old".into(),
            Form::Stored => return format!("ONLY {table} AS new, {nothing} AS old"),
            Form::Tables => {}
        }
        match self.event {
            Event::Insert => format!("new_rows AS new, {nothing} AS old"),
            Event::Delete => format!("old_rows AS old, {nothing} AS new"),
            // Both tables list the rows in the order in which they were updated.
            _ => {
                let list = |of: &str| -> String {
                    columns.iter().map(|c| format!("{of}.{}", quoted(c))).collect::<Vec<_>>().join(", ")
                };
                let mut place = String::from("queue_ext_row");
                while columns.contains(&place) {
                    place.push('_');
                }
                format!(
                    "(SELECT row_number() OVER () AS {place}, n.* FROM new_rows n) AS a
                     JOIN (SELECT row_number() OVER () AS {place}, o.* FROM old_rows o) AS b
                          USING ({place}),
                     LATERAL (SELECT {}) AS new, LATERAL (SELECT {}) AS old",
                    list("a"),
                    list("b")
                )
            }
        }
    }
}

/// The INSERT … SELECT of a trigger.
pub fn statement(queue: &Queue, wanted: &Wanted, shape: &Shape) -> Result<String, Error> {
    let spec = &wanted.spec;
    let source = catalog::columns(shape.table);
    let (mut columns, mut values) = (Vec::new(), Vec::new());
    let mut fields = Vec::new();
    for (target, expression) in &spec.set {
        match target.strip_prefix("payload.") {
            Some(field) => {
                fields.push(format!("{}, ({expression}\n)", pgrx::spi::quote_literal(field)));
            }
            None => {
                require_settable(queue, target)?;
                columns.push(quoted(target));
                values.push(format!("({expression}\n)"));
            }
        }
    }
    if !fields.is_empty() {
        columns.push("payload".into());
        values.push(format!("jsonb_build_object({})", fields.join(", ")));
    } else if spec.set.is_empty() {
        columns.push("payload".into());
        values.push(default_payload(wanted.named_as, shape));
    }
    if let Some(key) = &spec.key {
        columns.push("key".into());
        values.push(format!("({key}\n)::text"));
    }
    if let Some(priority) = spec.priority {
        columns.push("priority".into());
        values.push(priority.to_string());
    }
    if let Some(delay) = &spec.delay {
        // A row that is to wait for others begins among the ready ones, whose trigger says where it goes.
        if !spec.set.contains_key("after") {
            columns.push("state".into());
            values.push("'scheduled'".into());
        }
        columns.push("run_at".into());
        values.push(format!("now() + {}::interval", pgrx::spi::quote_literal(delay)));
    }
    Ok(format!(
        "INSERT INTO {} ({}) SELECT {} FROM {}{}",
        queue.table,
        columns.join(", "),
        values.join(", "),
        shape.rows(&source),
        where_clause(spec, shape),
    ))
}

/// Which of the rows count.
pub fn where_clause(spec: &Spec, shape: &Shape) -> String {
    let mut conditions: Vec<String> = spec.condition.iter().map(|c| format!("({c}\n)")).collect();
    if shape.event == Event::Update && !spec.columns.is_empty() {
        let changed: Vec<String> =
            spec.columns.iter().map(|c| format!("old.{0} IS DISTINCT FROM new.{0}", quoted(c))).collect();
        conditions.push(format!("({})", changed.join(" OR ")));
    }
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

fn require_settable(queue: &Queue, target: &str) -> Result<(), Error> {
    let own = queue.settable().any(|column| column.name == target);
    if own || target == "payload" || SETTABLE_HEADER.contains(&target) {
        return Ok(());
    }
    let own: Vec<&str> = queue.settable().map(|column| column.name.as_str()).collect();
    Err(Error::UnknownColumn {
        column: target.into(),
        relation: queue.name.clone(),
        hint: format!(
            "Can be set: {}.",
            own.into_iter()
                .chain(SETTABLE_HEADER)
                .chain(["payload", "payload.<field>"])
                .collect::<Vec<_>>()
                .join(", ")
        ),
    })
}

/// What happened, where, to which row. A row that is read from its table has not changed at all.
pub fn default_payload(named_as: Oid, shape: &Shape) -> String {
    let (operation, row) = match shape.event {
        _ if shape.form == Form::Stored => ("RESYNC", "new"),
        Event::Insert => ("INSERT", "new"),
        Event::Update => ("UPDATE", "new"),
        _ => ("DELETE", "old"),
    };
    let key: Vec<String> = catalog::key_columns(shape.table)
        .iter()
        .map(|c| format!("{}, {row}.{}", pgrx::spi::quote_literal(c), quoted(c)))
        .collect();
    let key = if key.is_empty() { "NULL".into() } else { format!("jsonb_build_object({})", key.join(", ")) };
    format!(
        "jsonb_build_object('operation', '{operation}', 'table', {}, 'key', {key}, 'row', to_jsonb({row}.*))",
        pgrx::spi::quote_literal(catalog::qualified_name(named_as))
    )
}

/// Checks each expression by itself, so that the error names the bad one, and then the whole statement.
/// Must be called inside `spi::connect`, with the rights and search_path the trigger will have.
pub fn check(queue: &Queue, wanted: &Wanted, shape: &Shape) -> Result<(), Error> {
    wanted.spec.check_key().map_err(super::fire::bad_option)?;
    check_expressions(&wanted.spec, shape, &|target| require_settable(queue, target))?;
    attempt(COLUMNS, &statement(queue, wanted, shape)?, shape)
}

const COLUMNS: &str = "the queue's columns";
const AMBIGUOUS_COLUMN: &str = "42702";
const DATATYPE_MISMATCH: &str = "42804";

/// Can it be planned?
pub fn attempt(what: &str, sql: &str, shape: &Shape) -> Result<(), Error> {
    failure::in_subtransaction(|| drop(Plan::prepare(sql, &shape.parameter_types()))).map_err(|failure| {
        let hint = match failure.sqlstate.as_str() {
            AMBIGUOUS_COLUMN => Some("Write new.column or old.column."),
            DATATYPE_MISMATCH if what == COLUMNS => Some("Cast it, as in (new.column)::integer."),
            _ => None,
        };
        Error::BadExpression { what: what.into(), cause: failure.message, sqlstate: failure.code, hint }
    })
}

/// The first part of `check`. `settable`: raises for what cannot be set.
pub fn check_expressions(
    spec: &Spec,
    shape: &Shape,
    settable: &dyn Fn(&str) -> Result<(), Error>,
) -> Result<(), Error> {
    let source = catalog::columns(shape.table);
    for column in &spec.columns {
        if !source.contains(column) {
            return Err(Error::UnknownColumn {
                column: column.clone(),
                relation: catalog::relation_name(shape.table).unwrap_or_default(),
                hint: "columns names columns of the source table.".into(),
            });
        }
    }
    let rows = shape.rows(&source);
    let mut expressions: Vec<(String, &str, bool)> = Vec::new();
    for (target, expression) in &spec.set {
        if !target.starts_with("payload.") {
            settable(target)?;
        }
        expressions.push((format!("\"{target}\" in set"), expression, false));
    }
    expressions.extend(spec.condition.iter().map(|c| ("condition".to_string(), c.as_str(), true)));
    expressions.extend(spec.key.iter().map(|k| ("key".to_string(), k.as_str(), false)));
    for (what, expression, boolean) in expressions {
        let parsed =
            failure::in_subtransaction(|| parse::is_one_expression(expression)).map_err(|failure| {
                Error::BadExpression {
                    what: what.clone(),
                    cause: failure.message,
                    sqlstate: failure.code,
                    hint: None,
                }
            })?;
        if !parsed {
            return Err(Error::NotOneExpression(what));
        }
        let sql = if boolean {
            format!("SELECT 1 FROM {rows} WHERE ({expression}\n)")
        } else {
            // Where aggregates and set-returning functions, which would change the number of jobs, are
            // refused.
            format!("SELECT 1 FROM {rows} WHERE (({expression}\n)) IS NOT NULL")
        };
        attempt(&what, &sql, shape)?;
    }
    Ok(())
}
