//! What a table attached to a topic publishes: its options become one SELECT that makes a job of each changed
//! row. What is published is made once, whatever the number of queues that get it.

use crate::enqueue::attach::shapes;
use crate::enqueue::fire::bad_option;
use crate::enqueue::spec::Spec;
use crate::enqueue::statement::{Shape, attempt, check_expressions, default_payload, where_clause};
use crate::error::Error;
use crate::pg::{Oid, catalog, role};

pub struct Wanted {
    pub topic: String,
    pub role: Oid,
    /// The table's name in payloads.
    pub named_as: Oid,
    pub spec: Spec,
}

/// What the SELECT gives, in this order, with the type of each.
const COLUMNS: [(&str, &str); 8] = [
    ("payload", "jsonb"),
    ("priority", "integer"),
    ("run_at", "timestamptz"),
    ("key", "text"),
    ("max_attempts", "integer"),
    ("group_key", "text"),
    ("once", "interval"),
    ("correlation_id", "text"),
];

/// Must be called inside `spi::connect`.
pub fn check(wanted: &Wanted, source: Oid, events: &[&str]) -> Result<(), Error> {
    super::check_topic(&wanted.topic)?;
    wanted.spec.check_key().map_err(bad_option)?;
    role::pinned(|| {
        shapes(source, events).try_for_each(|shape| {
            check_expressions(&wanted.spec, &shape, &require_settable)?;
            attempt("the job", &statement(wanted, &shape)?, &shape)
        })
    })
}

fn require_settable(target: &str) -> Result<(), Error> {
    if target.starts_with("payload.") || COLUMNS.iter().any(|(name, _)| *name == target) {
        return Ok(());
    }
    let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    Err(Error::BadOption {
        message: format!("\"{target}\" cannot be set in what is published"),
        hint: format!("Can be set: {}, payload.<field>.", names.join(", ")),
    })
}

/// A row for each job, with the columns above.
pub fn statement(wanted: &Wanted, shape: &Shape) -> Result<String, Error> {
    let spec = &wanted.spec;
    let values: Vec<String> = COLUMNS
        .iter()
        .map(|(name, sql_type)| {
            let value = value_of(wanted, shape, name)?;
            Ok(format!("({})::{sql_type}", value.unwrap_or_else(|| "NULL".into())))
        })
        .collect::<Result<_, Error>>()?;
    let rows = shape.rows(&catalog::columns(shape.table));
    Ok(format!("SELECT {} FROM {rows}{}", values.join(", "), where_clause(spec, shape)))
}

/// The expression for a column, if it has one.
fn value_of(wanted: &Wanted, shape: &Shape, name: &str) -> Result<Option<String>, Error> {
    let spec = &wanted.spec;
    let set = spec.set.get(name).map(|expression| format!("{expression}\n"));
    let option = match name {
        "payload" => {
            let fields: Vec<String> = spec
                .set
                .iter()
                .filter_map(|(target, expression)| Some((target.strip_prefix("payload.")?, expression)))
                .map(|(field, expression)| format!("{}, ({expression}\n)", pgrx::spi::quote_literal(field)))
                .collect();
            match fields.is_empty() {
                true => spec.set.is_empty().then(|| default_payload(wanted.named_as, shape)),
                false => Some(format!("jsonb_build_object({})", fields.join(", "))),
            }
        }
        "key" => spec.key.as_ref().map(|key| format!("{key}\n")),
        "priority" => spec.priority.map(|priority| priority.to_string()),
        "run_at" => {
            spec.delay.as_ref().map(|delay| format!("now() + {}::interval", pgrx::spi::quote_literal(delay)))
        }
        _ => None,
    };
    if set.is_some() && option.is_some() {
        return Err(Error::out_of_range(format!("{name} is given twice")));
    }
    Ok(set.or(option))
}
