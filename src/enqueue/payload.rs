//! From payloads to rows: which columns a payload fills, and the INSERTs that write it.

use super::nesting::Level;
use super::{Header, direct};
use crate::claim::{self, floor};
use crate::error::{Error, SqlResult};
use crate::pg::spi::{self, Arg, Plan};
use crate::pg::{Datum, Oid, array, catalog, role, xact};
use crate::queue::{self, Column, HEADER, Queue, quoted};
use crate::{after, keys, settings, wake};
use pgrx::pg_sys;
use std::rc::Rc;

/// Inserts jobs with the caller's rights, in order, and returns their ids.
pub fn insert(oid: Oid, payloads: &[Datum], header: &Header) -> SqlResult<Vec<i64>> {
    let queue = queue::open(oid)?;
    queue.require(catalog::INSERT, "INSERT")?;
    xact::require_writable(c"INSERT");
    let _level = Level::enter(&queue.name)?;
    let settled = after::settle(&queue, header)?;
    let header = settled.as_ref().unwrap_or(header);
    for payload in payloads {
        check_payload(&queue, *payload)?;
    }
    let mut ids = Vec::with_capacity(payloads.len());
    // Payloads with the same fields share a statement that names just those columns, so that the others
    // get their defaults.
    for (run, fields) in alike(&queue, payloads) {
        if !insert_simply(&queue, fields, run, header, &mut ids)? {
            let columns: Vec<&Column> = filled(&queue, run[0]).collect();
            spi::connect(|| role::pinned(|| insert_alike(&queue, &columns, run, header, &mut ids)))?;
        }
    }
    Ok(ids)
}

/// Runs of payloads that fill the same columns, and these columns as bits if they are few enough.
fn alike<'a>(queue: &Queue, payloads: &'a [Datum]) -> Vec<(&'a [Datum], Option<u64>)> {
    if queue.settable().count() > u64::BITS as usize {
        let runs = payloads.chunk_by(|a, b| filled(queue, *a).eq(filled(queue, *b)));
        return runs.map(|run| (run, None)).collect();
    }
    let names = || queue.settable().map(|column| column.name.as_str());
    let fields: Vec<u64> = payloads.iter().map(|payload| array::fields_of(*payload, names())).collect();
    let mut left = payloads;
    let runs = fields.chunk_by(|a, b| a == b).map(|run| {
        let same;
        (same, left) = left.split_at(run.len());
        (same, Some(run[0]))
    });
    runs.collect()
}

const TYPES: [Oid; 13] = [
    pg_sys::JSONBOID,
    pg_sys::INT4OID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::TEXTOID,
    pg_sys::INT4OID,
    pg_sys::TEXTOID,
    pg_sys::INTERVALOID,
    pg_sys::INT8ARRAYOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::BOOLOID,
    pg_sys::JSONBOID,
];
/// Those of a header without `more`.
const FEW: usize = 5;

fn types_for(header: &Header) -> &'static [Oid] {
    if header.more.is_some() { &TYPES } else { &TYPES[..FEW] }
}

/// What the statements take from their second argument on.
fn header_args(header: &Header) -> Vec<Arg> {
    let mut args = vec![
        spi::arg(header.priority),
        header.run_at.map(Datum::from),
        spi::arg(header.key.as_deref()),
        spi::arg(header.max_attempts),
    ];
    if let Some(more) = &header.more {
        args.extend([
            spi::arg(more.group_key.as_deref()),
            more.once,
            spi::arg(more.after.clone()),
            spi::arg(more.after_failure.as_deref()),
            spi::arg(more.correlation_id.as_deref()),
            spi::arg(more.topic.as_deref()),
            spi::arg(more.keep_result.then_some(true)),
            more.errors,
        ]);
    }
    args
}

/// The header's columns and their values, as the statements name them.
fn header_columns(header: &Header) -> (&'static str, &'static str) {
    match header.more {
        None => ("priority, run_at, key, max_attempts", "coalesce($2, 5), $3, $4, $5"),
        Some(_) => (
            "priority, run_at, key, max_attempts, group_key, once, after, after_failure, correlation_id, topic, keep_result, errors",
            "coalesce($2, 5), $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13",
        ),
    }
}

/// One statement evaluated for each payload; false, with nothing done, if that cannot be.
fn insert_simply(
    queue: &Queue,
    fields: Option<u64>,
    payloads: &[Datum],
    header: &Header,
    ids: &mut Vec<i64>,
) -> SqlResult<bool> {
    let Some(fields) = fields.filter(|_| header.waits_for().is_none()) else { return Ok(false) };
    let place = (fields, header.run_at.is_some(), header.more.is_some());
    let known = queue.enqueue_plans.borrow().get(&place).cloned();
    let plan = match known {
        Some(plan) => plan,
        None => {
            let columns: Vec<&Column> = filled(queue, payloads[0]).collect();
            let plan = spi::connect(|| role::pinned(|| simple_plan(queue, &columns, header)));
            queue.enqueue_plans.borrow_mut().insert(place, plan.clone());
            plan
        }
    };
    let Some(plan) = plan else { return Ok(false) };
    let rest = header_args(header);
    let mut left = payloads.iter();
    let mut arguments = |list: &mut [Arg]| {
        let payload = left.next().copied();
        list[0] = payload;
        list[1..].copy_from_slice(&rest);
        payload.is_some()
    };
    let on_conflict = header.on_conflict(queue);
    let done = direct::insert_simply(queue, &plan, &mut arguments, on_conflict, &mut |id| ids.push(id))?;
    if !done {
        // Something changed since: made anew the next time.
        queue.enqueue_plans.borrow_mut().remove(&place);
    }
    Ok(done)
}

/// For one payload, $1; `None` if it cannot be evaluated simply.
fn simple_plan(queue: &Queue, columns: &[&Column], header: &Header) -> Option<Rc<Plan>> {
    let values: Vec<String> = columns
        .iter()
        .map(|column| {
            let name = pgrx::spi::quote_literal(&column.name);
            column.cast.as_ref().map(|cast| format!(", ($1 ->> {name})::{cast}"))
        })
        .collect::<Option<_>>()?;
    let (names, values_of_header) = header_columns(header);
    let sql = format!(
        "INSERT INTO {} (state, {names}, payload{})
         SELECT '{}', {values_of_header}, {}{}",
        queue.table,
        names_of(columns),
        header.state(),
        rest_of(queue, columns, "$1"),
        values.concat(),
    );
    let plan = Plan::prepare(&sql, types_for(header));
    plan.make_simple().then(|| Rc::new(plan))
}

/// Inserts jobs whose payloads fill the same columns.
fn insert_alike(
    queue: &Queue,
    columns: &[&Column],
    payloads: &[Datum],
    header: &Header,
    ids: &mut Vec<i64>,
) -> SqlResult<()> {
    let mut types = types_for(header).to_vec();
    types[0] = pg_sys::JSONBARRAYOID;
    let mut args = vec![Some(array::of_jsonb(payloads))];
    args.extend(header_args(header));
    let plan = queue.plan(insert_statement(queue, columns, header, false), &types);
    if direct::insert(queue, &plan, &args, None, header.on_conflict(queue), &mut |id| ids.push(id))? {
        return Ok(());
    }
    // What is inserted directly inherits by itself.
    let header = &header.correlated();
    let mut types = types_for(header).to_vec();
    types[0] = pg_sys::JSONBARRAYOID;
    args.truncate(1);
    args.extend(header_args(header));
    // Taken beforehand: RETURNING would need SELECT, and whoever may only insert has none.
    let taken: Vec<i64> =
        role::as_role(queue.owner, || payloads.iter().map(|_| catalog::next_value(queue.sequence)).collect());
    types.push(pg_sys::INT8ARRAYOID);
    args.push(spi::arg(taken.clone()));
    let collecting = keys::Collecting::begin();
    let any = claim::ChoosingState::within(queue.oid);
    queue.plan(insert_statement(queue, columns, header, true), &types).execute(&args);
    drop(any);
    match (header.waits_for(), header.run_at) {
        (Some(ids), _) => {
            after::check_order(queue, ids, taken.iter().copied().min().unwrap_or(0))?;
            after::notes::added(queue.oid, ids);
        }
        (None, Some(at)) => wake::due(queue.oid, at),
        (None, None) => {
            // A trigger of the user's may give a row another priority.
            let lowest = taken.iter().copied().min().unwrap_or(floor::TOP).max(floor::BOTTOM);
            wake::enqueued(queue.oid, &[lowest; floor::PRIORITIES]);
        }
    }
    let merged = keys::settle(queue, collecting.end(header.on_conflict(queue)))?;
    ids.extend(taken.into_iter().map(|id| keys::now_called(&merged, id)));
    Ok(())
}

pub fn check_payload(queue: &Queue, payload: Datum) -> Result<(), Error> {
    let (bytes, limit) = (array::stored_bytes(payload), settings::max_payload_bytes());
    if bytes > limit {
        return Err(Error::PayloadTooLarge { bytes, limit });
    }
    if queue.is_typed() && !array::is_json_object(payload) {
        return Err(Error::PayloadNotObject(queue.name.clone()));
    }
    Ok(())
}

/// The queue's own columns that this payload has a field for.
pub fn filled(queue: &Queue, payload: Datum) -> impl Iterator<Item = &Column> {
    queue.settable().filter(move |column| array::has_field(payload, &column.name))
}

impl PartialEq for Column {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// $1 payloads, then what `header_args` says; with `ids`, these come last.
fn insert_statement(queue: &Queue, columns: &[&Column], header: &Header, with_ids: bool) -> String {
    let last = format!(", pg_catalog.unnest(${})", types_for(header).len() + 1);
    let (id, overriding, p_id, ids) = match with_ids {
        true => ("id, ", "OVERRIDING SYSTEM VALUE", "p.id, ", last.as_str()),
        false => ("", "", "", ""),
    };
    let (header_names, header_values) = header_columns(header);
    let state = header.state();
    let names_of_p = if with_ids { "payload, id" } else { "payload" };
    let table = &queue.table;
    let names = names_of(columns);
    let rest = rest_of(queue, columns, "p.payload");
    let values: String = columns.iter().map(|c| format!(", r.{}", quoted(&c.name))).collect();
    let record = if columns.is_empty() {
        String::new()
    } else {
        format!(
            ", LATERAL pg_catalog.jsonb_populate_record(NULL::{table}, p.payload - '{{{}}}'::pg_catalog.text[]) AS r",
            HEADER.join(",")
        )
    };
    format!(
        "INSERT INTO {table} ({id}state, {header_names}, payload{names})
         {overriding}
         SELECT {p_id}'{state}', {header_values}, {rest}{values}
         FROM ROWS FROM (pg_catalog.unnest($1){ids}) AS p ({names_of_p}){record}"
    )
}

fn names_of(columns: &[&Column]) -> String {
    columns.iter().map(|c| format!(", {}", quoted(&c.name))).collect()
}

/// What is left of a payload when the columns have had their fields.
fn rest_of(queue: &Queue, columns: &[&Column], payload: &str) -> String {
    if !queue.is_typed() {
        return payload.into();
    }
    let taken: Vec<String> = columns.iter().map(|c| pgrx::spi::quote_literal(&c.name)).collect();
    format!("nullif({payload} - ARRAY[{}]::pg_catalog.text[], '{{}}')", taken.join(", "))
}
