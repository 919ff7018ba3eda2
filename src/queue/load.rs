//! Reading from the catalogs what a queue is.

use super::layout::Layout;
use super::options::Options;
use super::stored::{Attribute, Stored};
use super::{Column, HEADER, Queue, as_extension};
use crate::error::Error;
use crate::pg::json::Kind;
use crate::pg::spi;
use crate::pg::{Oid, catalog, lookup};
use pgrx::pg_sys;
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

/// A sequence does not give out numbers in order if sessions keep some in stock, or if it runs backwards or in a
/// circle.
const LOAD: &str = "
    SELECT q.max_attempts, extract(epoch FROM q.backoff)::float8, q.backoff_factor,
           extract(epoch FROM q.backoff_max)::float8, extract(epoch FROM q.lease)::float8,
           extract(epoch FROM q.keep_done)::float8, q.paused, q.on_conflict, q.on_group_failure,
           q.max_running, q.max_running_per_key, q.rate_limit, q.rate_limit_per_key,
           extract(epoch FROM q.rate_interval)::float8, extract(epoch FROM q.keep_failed)::float8, p.xmin::text,
           EXISTS (SELECT FROM queue.timetable t WHERE t.queue = q.queue),
           (SELECT seqcache = 1 AND seqincrement > 0 AND NOT seqcycle FROM pg_sequence WHERE seqrelid = $2)
    FROM queue.queues q LEFT JOIN queue.processors p ON p.queue = q.queue
    WHERE q.queue = $1";
const TYPES: [Oid; 2] = [pg_sys::REGCLASSOID, pg_sys::OIDOID];

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

/// Must be called inside `spi::connect`.
pub fn load(oid: Oid) -> Result<Queue, Error> {
    as_extension(|| {
        let name = catalog::relation_name(oid).unwrap_or_else(|| oid.to_string());
        let sequence = lookup::identity_sequence(oid, c"id");
        let found = spi::run_kept(LOAD, &TYPES, &[spi::arg(oid), sequence.and_then(spi::arg)]);
        if found.is_empty() {
            return Err(Error::NotAQueue(name));
        }
        let stored = Stored::of(oid);
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
            options: Options::of_row(&found, 1),
            registration: found.get(0, 16),
            sequence,
            in_order: found.get(0, 18).unwrap_or(false),
            has_schedules: found.get(0, 17).unwrap_or(false),
            layout: Layout::of(&stored, row_type),
            parts: stored.partitions.iter().map(|(partition, _)| *partition).chain([sequence]).collect(),
            deferred: OnceCell::new(),
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

fn columns_of(stored: &Stored) -> Vec<Column> {
    let own = stored.columns().filter(|column| !HEADER.contains(&column.name.as_str()));
    own.map(|column| Column {
        name: column.name.clone(),
        generated: column.generated,
        number: column.number,
        kind: Kind::of(column.type_oid),
        cast: (column.type_modifier == -1).then(|| lookup::base_type_name(column.type_oid)).flatten(),
    })
    .collect()
}
