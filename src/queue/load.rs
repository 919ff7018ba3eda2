//! Reading from the catalogs what a queue is.

use super::layout::Layout;
use super::options::Options;
use super::{Column, HEADER, Queue, as_extension};
use crate::error::Error;
use crate::pg::json::Kind;
use crate::pg::spi::{self, Rows};
use crate::pg::{Oid, catalog};
use pgrx::pg_sys;
use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

const LOAD: &str = "
    SELECT n.nspname::text, c.relname::text, c.relowner, c.reltype, t.typarray,
           q.max_attempts, extract(epoch FROM q.backoff)::float8, q.backoff_factor,
           extract(epoch FROM q.backoff_max)::float8, extract(epoch FROM q.lease)::float8,
           extract(epoch FROM q.keep_done)::float8, q.paused, q.on_conflict, q.on_group_failure,
           q.max_running, q.max_running_per_key, q.rate_limit, q.rate_limit_per_key,
           extract(epoch FROM q.rate_interval)::float8, extract(epoch FROM q.keep_failed)::float8, p.xmin::text,
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
    SELECT h.name, h.type || CASE WHEN h.filled THEN ' NOT NULL' ELSE '' END FROM (VALUES
        ('id', 'bigint', true), ('state', 'text', true), ('priority', 'smallint', true),
        ('run_at', 'timestamptz', false), ('attempt', 'integer', true), ('max_attempts', 'integer', false),
        ('key', 'text', false), ('group_key', 'text', false), ('payload', 'jsonb', false),
        ('enqueued_at', 'timestamptz', true), ('lease_until', 'timestamptz', false), ('errors', 'jsonb', false),
        ('result', 'jsonb', false), ('finished_at', 'timestamptz', false), ('correlation_id', 'text', false),
        ('topic', 'text', false), ('once', 'interval', false), ('after', 'bigint[]', false),
        ('after_failure', 'text', false), ('keep_result', 'boolean', false)) AS h (name, type, filled)
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

const HAS_SCHEDULES: &str = "SELECT EXISTS (SELECT FROM queue.timetable WHERE queue = $1)";

const PARTITIONS: &str = "SELECT inhrelid FROM pg_inherits WHERE inhparent = $1";

/// Must be called inside `spi::connect`.
pub fn load(oid: Oid) -> Result<Queue, Error> {
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
            let (column, definition) = (text(&changed, 1), text(&changed, 2));
            return Err(Error::HeaderChanged { queue: text(&found, 2), column, definition });
        }
        let columns = columns_of(&spi::run(COLUMNS, &[pg_sys::OIDOID], &args));
        let schema: String = text(&found, 1);
        let name: String = text(&found, 2);
        let row_type = found.get(0, 4).unwrap_or(Oid::INVALID);
        let no_sequence = || Error::HeaderChanged {
            queue: text(&found, 2),
            column: "id".into(),
            definition: "bigint GENERATED ALWAYS AS IDENTITY".into(),
        };
        let sequence = found.get(0, 22).ok_or_else(no_sequence)?;
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
            registration: found.get(0, 21),
            sequence,
            in_order: spi::run_kept(IN_ORDER, &[pg_sys::OIDOID], &[spi::arg(sequence)])
                .get(0, 1)
                .unwrap_or(false),
            has_schedules: spi::run_kept(HAS_SCHEDULES, &types, &args).get(0, 1).unwrap_or(false),
            layout: Layout::of(oid, row_type),
            parts: (0..partitions.len()).filter_map(|row| partitions.get(row, 1)).chain([sequence]).collect(),
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
