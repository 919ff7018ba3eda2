//! Reading from the catalogs what a queue is.

use super::layout::Layout;
use super::stored::Stored;
use super::{Column, HEADER, Queue, remembered, retyped};
use crate::error::Error;
use crate::pg::json::Kind;
use crate::pg::stored::{self, Attribute};
use crate::pg::{Oid, catalog, lookup, role, xact};
use pgrx::pg_sys;
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

/// The types of the header's columns, and how they are defined, in the order of `HEADER`. Values are read by
/// type, so a column of another type must not pass.
const HEADER_TYPES: [(Oid, &str); HEADER.len()] = [
    (pg_sys::INT8OID, "bigint NOT NULL"),             // id
    (pg_sys::TEXTOID, "text NOT NULL"),               // state
    (pg_sys::INT2OID, "smallint NOT NULL"),           // priority
    (pg_sys::TIMESTAMPTZOID, "timestamptz"),          // run_at
    (pg_sys::TIMESTAMPTZOID, "timestamptz NOT NULL"), // enqueued_at
    (pg_sys::INT4OID, "integer NOT NULL"),            // attempt
    (pg_sys::INT4OID, "integer"),                     // max_attempts
    (pg_sys::TEXTOID, "text"),                        // key
    (pg_sys::TEXTOID, "text"),                        // group_key
    (pg_sys::JSONBOID, "jsonb"),                      // payload
    (pg_sys::TIMESTAMPTZOID, "timestamptz"),          // lease_until
    (pg_sys::JSONBOID, "jsonb"),                      // errors
    (pg_sys::JSONBOID, "jsonb"),                      // result
    (pg_sys::TIMESTAMPTZOID, "timestamptz"),          // finished_at
    (pg_sys::TEXTOID, "text"),                        // correlation_id
    (pg_sys::TEXTOID, "text"),                        // topic
    (pg_sys::INTERVALOID, "interval"),                // once
    (pg_sys::INT8ARRAYOID, "bigint[]"),               // after
    (pg_sys::TEXTOID, "text"),                        // after_failure
    (pg_sys::BOOLOID, "boolean"),                     // keep_result
];

/// Leaves memory behind in the present context.
pub fn load(oid: Oid) -> Result<Queue, Error> {
    // What this transaction itself has changed is to be seen.
    xact::next_command();
    let name = catalog::relation_name(oid).unwrap_or_else(|| oid.to_string());
    let is_none = || Error::NotAQueue(name.clone());
    // Before anything is locked: it may be any table. And again after a lock was waited for.
    remembered::options(oid).ok_or_else(is_none)?;
    let sequence = lookup::identity_sequence(oid, c"id");
    let options = remembered::options(oid).ok_or_else(is_none)?;
    let stored = Stored::of(oid);
    retyped::note(oid, &stored);
    let changed = |column: &str, definition: &str| {
        // Reading it waited for somebody who has dropped it.
        if catalog::relation_name(oid).is_none() {
            return Error::NotAQueue(name.clone());
        }
        Error::HeaderChanged { queue: name.clone(), column: column.into(), definition: definition.into() }
    };
    for (column, (type_oid, definition)) in HEADER.into_iter().zip(HEADER_TYPES) {
        let must_be_filled = definition.ends_with("NOT NULL");
        let fits = |found: &&Attribute| found.type_oid == type_oid && (found.filled || !must_be_filled);
        stored.column(column).filter(fits).ok_or_else(|| changed(column, definition))?;
    }
    let no_sequence = || changed("id", "bigint GENERATED ALWAYS AS IDENTITY");
    let sequence = sequence.ok_or_else(no_sequence)?;
    let columns = columns_of(&stored);
    let row_type = catalog::row_type_of(oid);
    Ok(Queue {
        oid,
        table: catalog::qualified_name(oid),
        name,
        alias: free_alias(&columns),
        owner: catalog::owner_of(oid),
        row_type,
        row_array_type: lookup::array_type_of(row_type),
        columns,
        options,
        registration: OnceCell::new(),
        sequence,
        in_order: stored::is_in_order(sequence),
        has_schedules: OnceCell::new(),
        layout: Layout::of(&stored, row_type),
        parts: stored.partitions.iter().map(|(partition, _)| *partition).chain([sequence]).collect(),
        deferred: OnceCell::new(),
        passed_over: RefCell::default(),
        plans: RefCell::new(HashMap::new()),
        enqueue_plans: RefCell::new(HashMap::new()),
    })
}

fn free_alias(columns: &[Column]) -> String {
    let mut alias = String::from("job_row");
    while columns.iter().any(|column| column.name == alias) {
        alias.push('_');
    }
    alias
}

fn columns_of(stored: &Stored) -> Vec<Column> {
    let own = stored.columns().filter(|column| !HEADER.contains(&column.name.as_str()));
    own.map(|column| Column {
        name: column.name.clone(),
        generated: column.generated,
        number: column.number,
        kind: Kind::of(column.type_oid),
        cast: (column.type_modifier == -1).then(|| cast_of(column.type_oid)).flatten(),
    })
    .collect()
}

/// Qualified where the statements made with it need that.
fn cast_of(type_oid: Oid) -> Option<String> {
    role::pinned(|| lookup::base_type_name(type_oid))
}
