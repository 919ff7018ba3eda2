//! Processors whose results feed another queue (`then_queue`).
//!
//! What a job's call returns is enqueued inside that call's subtransaction, with the rights of the role that
//! runs it: if the next queue refuses it, this job fails, and no other. Job and successors commit together,
//! so that none is lost between two stages and none doubled, wherever a worker or the server goes down.

use super::processor::{Processor, Shape};
use super::{Present, next, set_present};
use crate::claim::Taken;
use crate::correlation;
use crate::enqueue::{Header, payload};
use crate::error::Error;
use crate::pg::interrupt::StatementTimer;
use crate::pg::role::Settings;
use crate::pg::spi::{self, Plan};
use crate::pg::{Datum, Oid, array, catalog, role};
use crate::queue::Queue;
use pgrx::pg_sys::panic::{ErrorReport, ErrorReportable};
use std::rc::Rc;

/// Keeps what the processor feeds from being dropped until the transaction ends. Raises if it is gone: nothing
/// is claimed, and no job is to blame.
pub fn hold(queue: &Queue, processor: &Processor) {
    let Some(next) = processor.then_queue else { return };
    catalog::lock_definition(next);
    if !next::is_there(next) {
        Err(ErrorReport::from(Error::NextQueueGone(queue.name.clone()))).unwrap_or_report()
    }
}

/// What a call returned, element by element: as jsonb, and as text if that is asked for. SQL's null and
/// JSON's are both null here.
type Returned = Vec<(Option<Datum>, Option<String>)>;

/// The same as `Processor::call`, and puts what the function returns on the queue `next`.
pub fn call(
    processor: &Processor,
    queue: &Queue,
    next: Oid,
    jobs: &[&Taken],
    with_results: bool,
    on_job: &mut dyn FnMut(usize),
) -> Vec<Option<String>> {
    let plan = plan(processor, queue, with_results);
    let timer = StatementTimer::start(processor.timeout_ms);
    let results = match processor.shape {
        Shape::Batch => {
            let rows: Vec<Datum> = jobs.iter().map(|job| job.row).collect();
            let argument = array::of_rows(queue.row_type, &rows);
            let results = spi::connect(|| {
                let returned = execute(&plan, argument);
                enqueue_of_batch(queue, next, jobs, &returned);
                shared_results(processor, returned, jobs.len())
            });
            on_job(jobs.len());
            results
        }
        Shape::Job => {
            let mut results = Vec::with_capacity(jobs.len());
            for (place, job) in jobs.iter().enumerate() {
                // In a connection of its own: what it returns is freed at once.
                results.push(spi::connect(|| {
                    let returned = execute(&plan, job.row);
                    enqueue(next, &returned);
                    own_result(processor, returned)
                }));
                timer.restart();
                on_job(place + 1);
            }
            results
        }
    };
    drop(timer);
    if with_results { results } else { vec![None; jobs.len()] }
}

/// In FROM, so that a function with named columns gives objects with these names. (A single column takes
/// the name of the alias there, and its own must be given to it.)
fn plan(processor: &Processor, queue: &Queue, with_results: bool) -> Rc<Plan> {
    let (argument, unnest) = match processor.shape {
        Shape::Job => (queue.row_type, false),
        Shape::Batch => (queue.row_array_type, processor.returns_array && !processor.returns_set),
    };
    let call = match unnest {
        true => format!("pg_catalog.unnest({}($1))", processor.function),
        false => format!("{}($1)", processor.function),
    };
    let value = match &processor.result_name {
        Some(name) if !unnest => {
            format!("pg_catalog.jsonb_build_object({}, queue_ext_value)", pgrx::spi::quote_literal(name))
        }
        _ => "nullif(pg_catalog.to_jsonb(queue_ext_value), 'null')".into(),
    };
    let text = if with_results { ", r.j::pg_catalog.text" } else { "" };
    let sql = format!(
        "SELECT r.j{text}
         FROM (SELECT CASE WHEN NOT queue_ext_value IS NULL
                           THEN {value} END AS j
               FROM {call} AS queue_ext_value) AS r"
    );
    // Its operators are those of pg_catalog, whatever the session's search_path.
    role::pinned(|| queue.plan(sql, &[argument]))
}

/// Calls the function. What it sets (the role, say) ends with it, before anything is enqueued.
fn execute(plan: &Plan, argument: Datum) -> Returned {
    let settings = Settings::enter();
    let rows = plan.execute(&[Some(argument)]);
    settings.leave();
    (0..rows.len())
        .map(|row| {
            let value = rows.datum(row, 1).map(array::detoasted);
            (value, value.and_then(|_| rows.text(row, 2)))
        })
        .collect()
}

fn enqueue(next: Oid, returned: &[(Option<Datum>, Option<String>)]) {
    let payloads: Vec<Datum> = returned.iter().filter_map(|(value, _)| *value).collect();
    if !payloads.is_empty() {
        payload::insert(next, &payloads, &Header::default()).unwrap_or_report();
    }
}

/// Where there is an element for each job, each is the successor of its job; else, of the batch.
fn enqueue_of_batch(queue: &Queue, next: Oid, jobs: &[&Taken], returned: &Returned) {
    if jobs.len() != returned.len() {
        return enqueue(next, returned);
    }
    for (job, element) in jobs.iter().zip(returned) {
        set_present(Some(Present { queue: queue.oid, id: job.id, row: job.row }));
        enqueue(next, std::slice::from_ref(element));
    }
    correlation::begin(queue, Shape::Batch, jobs);
}

fn as_list(returned: Returned) -> String {
    let texts: Vec<String> =
        returned.into_iter().map(|(_, text)| text.unwrap_or_else(|| "null".into())).collect();
    format!("[{}]", texts.join(", "))
}

/// The result of a job: of a set, the list of its elements.
fn own_result(processor: &Processor, returned: Returned) -> Option<String> {
    match processor.returns_set {
        true => Some(as_list(returned)),
        false => returned.into_iter().next().and_then(|(_, text)| text),
    }
}

/// As many elements as jobs: each has its own; else all have the list, or the one value.
fn shared_results(processor: &Processor, returned: Returned, jobs: usize) -> Vec<Option<String>> {
    if !processor.returns_set && !processor.returns_array {
        return vec![own_result(processor, returned); jobs];
    }
    if returned.len() == jobs {
        return returned.into_iter().map(|(_, text)| text).collect();
    }
    vec![Some(as_list(returned)); jobs]
}
