//! Putting jobs on a queue: by function, by plain INSERT, from a trigger.

pub mod attach;
mod direct;
pub mod fire;
pub mod plain;
pub mod spec;
pub mod statement;

use crate::claim::{self, floor};
use crate::error::{Error, SqlResult, required};
use crate::pg::entry::Call;
use crate::pg::srf::RowSink;
use crate::pg::time::{self, Micros, interval_micros};
use crate::pg::{Datum, Oid, array, catalog, role, spi, xact};
use crate::queue::limits::{check_interval, check_max_attempts, check_priority};
use crate::queue::{self, Column, HEADER, Queue, quoted};
use crate::{raw_function, settings, wake};
use pgrx::pg_sys;
use pgrx::prelude::*;

/// What a caller may say about a job besides its content.
struct Header {
    priority: Option<i32>,
    run_at: Option<Micros>,
    key: Option<String>,
    max_attempts: Option<i32>,
}

impl Header {
    fn new(
        priority: Option<i32>,
        run_at: Option<TimestampWithTimeZone>,
        delay: Option<Interval>,
        key: Option<String>,
        max_attempts: Option<i32>,
    ) -> Result<Header, Error> {
        check_priority(priority)?;
        check_max_attempts(max_attempts)?;
        let delay = delay.as_ref().map(interval_micros);
        check_interval("delay", delay)?;
        if run_at.is_some() && delay.is_some() {
            return Err(Error::out_of_range("only one of run_at and delay may be given"));
        }
        let run_at =
            run_at.map(Micros::from).or(delay.map(|micros| time::after(time::transaction_start(), micros)));
        // A time that has come is no time to wait for.
        let run_at = run_at.filter(|at| *at > time::transaction_start());
        Ok(Header { priority, run_at, key, max_attempts })
    }

    fn state(&self) -> &'static str {
        if self.run_at.is_some() { "scheduled" } else { "ready" }
    }
}

raw_function!(enqueue, enqueue_one);
raw_function!(enqueue_many, enqueue_all);

/// The arguments that both functions take from their third on.
fn header_of(call: &Call) -> Result<Header, Error> {
    Header::new(call.arg(2), call.arg(3), call.arg(4), call.arg(5), call.arg(6))
}

/// `queue.enqueue`
fn enqueue_one(call: &Call) -> SqlResult<Datum> {
    let oid = required("queue", call.arg(0))?;
    let header = header_of(call)?;
    let payload = array::detoasted(required("payload", call.datum(1))?);
    let ids = spi::connect(|| insert(oid, &[payload], &header))?;
    Ok(Datum::from(ids[0]))
}

/// `queue.enqueue_many`
fn enqueue_all(call: &Call) -> SqlResult<Datum> {
    let oid = required("queue", call.arg(0))?;
    let header = header_of(call)?;
    let payloads = array::jsonb_elements(required("payloads", call.datum(1))?)
        .ok_or_else(|| Error::ArrayMismatch("payloads must not contain nulls".into()))?;
    let sink = RowSink::open_scalar(call);
    for id in spi::connect(|| insert(oid, &payloads, &header))? {
        sink.put(&[Some(Datum::from(id))]);
    }
    Ok(call.null())
}

/// Inserts jobs with the caller's rights, in order, and returns their ids.
fn insert(oid: Oid, payloads: &[Datum], header: &Header) -> SqlResult<Vec<i64>> {
    let queue = queue::open(oid)?;
    queue.require(catalog::INSERT, "INSERT")?;
    xact::require_writable(c"INSERT");
    for payload in payloads {
        check_payload(&queue, *payload)?;
    }
    let mut ids = Vec::with_capacity(payloads.len());
    role::pinned(|| -> SqlResult<()> {
        // Payloads with the same fields share a statement that names just those columns, so that the
        // others get their defaults.
        for run in payloads.chunk_by(|a, b| filled(&queue, *a).eq(filled(&queue, *b))) {
            insert_alike(&queue, run, header, &mut ids)?;
        }
        Ok(())
    })?;
    Ok(ids)
}

/// Inserts jobs whose payloads fill the same columns.
fn insert_alike(queue: &Queue, payloads: &[Datum], header: &Header, ids: &mut Vec<i64>) -> SqlResult<()> {
    let columns: Vec<&Column> = filled(queue, payloads[0]).collect();
    let mut types = vec![
        pg_sys::JSONBARRAYOID,
        pg_sys::INT4OID,
        pg_sys::TIMESTAMPTZOID,
        pg_sys::TEXTOID,
        pg_sys::INT4OID,
    ];
    let mut args = vec![
        Some(array::of_jsonb(payloads)),
        spi::arg(header.priority),
        header.run_at.map(Datum::from),
        spi::arg(header.key.as_deref()),
        spi::arg(header.max_attempts),
    ];
    let plan = queue.plan(insert_statement(queue, &columns, header.state(), false), &types);
    if direct::insert(queue, &plan, &args, None, &mut |id| ids.push(id))? {
        return Ok(());
    }
    // Taken beforehand: RETURNING would need SELECT, and whoever may only insert has none.
    let taken: Vec<i64> =
        role::as_role(queue.owner, || payloads.iter().map(|_| catalog::next_value(queue.sequence)).collect());
    types.push(pg_sys::INT8ARRAYOID);
    args.push(spi::arg(taken.clone()));
    let _any = claim::ChoosingState::within(queue.oid);
    queue.plan(insert_statement(queue, &columns, header.state(), true), &types).execute(&args);
    match header.run_at {
        Some(at) => wake::due(queue.oid, at),
        None => {
            let mut keys = floor::NONE;
            taken.iter().for_each(|id| floor::include(&mut keys, header.priority.unwrap_or(5), *id));
            wake::enqueued(queue.oid, &keys);
        }
    }
    ids.extend(taken);
    Ok(())
}

fn check_payload(queue: &Queue, payload: Datum) -> Result<(), Error> {
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
fn filled(queue: &Queue, payload: Datum) -> impl Iterator<Item = &Column> {
    queue.settable().filter(move |column| array::has_field(payload, &column.name))
}

impl PartialEq for Column {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// $1 payloads, $2 priority, $3 run_at, $4 key, $5 max_attempts; with `ids`, $6 ids.
fn insert_statement(queue: &Queue, columns: &[&Column], state: &str, with_ids: bool) -> String {
    let (id, overriding, p_id, ids) = match with_ids {
        true => ("id, ", "OVERRIDING SYSTEM VALUE", "p.id, ", ", pg_catalog.unnest($6)"),
        false => ("", "", "", ""),
    };
    let names_of_p = if with_ids { "payload, id" } else { "payload" };
    let table = &queue.table;
    let names: String = columns.iter().map(|c| format!(", {}", quoted(&c.name))).collect();
    let values: String = columns.iter().map(|c| format!(", r.{}", quoted(&c.name))).collect();
    let rest = if queue.is_typed() {
        let taken: Vec<String> = columns.iter().map(|c| pgrx::spi::quote_literal(&c.name)).collect();
        let array = format!("ARRAY[{}]::pg_catalog.text[]", taken.join(", "));
        format!("nullif(p.payload - {array}, '{{}}')")
    } else {
        "p.payload".into()
    };
    let record = if columns.is_empty() {
        String::new()
    } else {
        format!(
            ", LATERAL pg_catalog.jsonb_populate_record(NULL::{table}, p.payload - '{{{}}}'::pg_catalog.text[]) AS r",
            HEADER.join(",")
        )
    };
    format!(
        "INSERT INTO {table} ({id}state, priority, run_at, key, max_attempts, payload{names})
         {overriding}
         SELECT {p_id}'{state}', coalesce($2, 5), $3, $4, $5, {rest}{values}
         FROM ROWS FROM (pg_catalog.unnest($1){ids}) AS p ({names_of_p}){record}"
    )
}
