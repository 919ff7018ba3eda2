//! Making, changing and removing queues.

use super::limits::Given;
use super::{Queue, STATES, open_owned, table};
use crate::claim::floor;
use crate::error::{Error, SqlResult, required};
use crate::pg::entry::Call;
use crate::pg::time::{Micros, interval_micros};
use crate::pg::{Datum, Oid, cache, catalog, failure, parse, role, spi, xact};
use crate::run::next;
use crate::{claim, enqueue, group, keys, limit, queue, raw_function, sql_function, wake};
use pgrx::pg_sys;
use pgrx::prelude::*;

sql_function!(create_queue);
sql_function!(alter_queue);
sql_function!(pause);
sql_function!(resume);
sql_function!(drop_queue);
raw_function!(purge, purge_states);

/// `queue.create_queue`
#[allow(clippy::too_many_arguments)]
fn create_queue(
    name: Option<&str>,
    columns: Option<&str>,
    max_attempts: Option<i32>,
    backoff: Option<Interval>,
    backoff_factor: Option<f64>,
    backoff_max: Option<Interval>,
    lease: Option<Interval>,
    keep_done: Option<Interval>,
    keep_failed: Option<Interval>,
    on_conflict: Option<String>,
    on_group_failure: Option<String>,
    max_running: Option<i32>,
    max_running_per_key: Option<i32>,
    rate_limit: Option<i32>,
    rate_limit_per_key: Option<i32>,
    rate_interval: Option<Interval>,
) -> SqlResult<Oid> {
    let name = required("name", name)?;
    let given = Given {
        max_attempts: Some(required("max_attempts", max_attempts)?),
        backoff: Some(interval_micros(&required("backoff", backoff)?)),
        backoff_factor: Some(required("backoff_factor", backoff_factor)?),
        backoff_max: Some(interval_micros(&required("backoff_max", backoff_max)?)),
        lease: Some(interval_micros(&required("lease", lease)?)),
        keep_done: keep_done.as_ref().map(interval_micros),
        keep_failed: keep_failed.as_ref().map(interval_micros),
        on_conflict,
        on_group_failure: Some(required("on_group_failure", on_group_failure)?),
        max_running,
        max_running_per_key,
        rate_limit,
        rate_limit_per_key,
        rate_interval: Some(interval_micros(&required("rate_interval", rate_interval)?)),
    };
    given.check()?;
    let (schema, name) = parse::qualified_name(name)
        .ok_or_else(|| Error::out_of_range(format!("\"{name}\" is not the name of a table")))?;
    spi::connect(|| {
        let schema = match schema {
            Some(schema) => schema,
            None => table::creation_schema()?,
        };
        if schema == "queue" {
            return Err(Error::ReservedSchema.into());
        }
        if schema.starts_with("pg_temp") {
            return Err(Error::out_of_range("a queue cannot be a temporary table").into());
        }
        let oid = table::create(&schema, &name, columns)?;
        remember(oid, &given);
        wake::configuration_changed();
        Ok(oid)
    })
}

/// Intervals are handed to SQL in microseconds.
const INTERVAL: &str = "* '1 microsecond'::interval";

fn remember(oid: Oid, given: &Given) {
    let sql = format!(
        "INSERT INTO queue.queues (queue, max_attempts, backoff, backoff_factor, backoff_max, lease, keep_done, keep_failed,
                                   on_conflict, on_group_failure, max_running, max_running_per_key, rate_limit,
                                   rate_limit_per_key, rate_interval)
         VALUES ($1, $2, $3 {INTERVAL}, $4, $5 {INTERVAL}, $6 {INTERVAL}, $7 {INTERVAL}, $8 {INTERVAL}, nullif($9, 'none'),
                 $10, nullif($11, 0), nullif($12, 0), nullif($13, 0), nullif($14, 0), $15 {INTERVAL})"
    );
    queue::as_extension(|| spi::run(&sql, &OPTION_TYPES, &option_args(oid, given)));
}

const OPTION_TYPES: [Oid; 15] = [
    pg_sys::REGCLASSOID,
    pg_sys::INT4OID,
    pg_sys::INT8OID,
    pg_sys::FLOAT8OID,
    pg_sys::INT8OID,
    pg_sys::INT8OID,
    pg_sys::INT8OID,
    pg_sys::INT8OID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::INT4OID,
    pg_sys::INT4OID,
    pg_sys::INT4OID,
    pg_sys::INT4OID,
    pg_sys::INT8OID,
];

fn option_args(oid: Oid, given: &Given) -> [spi::Arg; 15] {
    [
        spi::arg(oid),
        spi::arg(given.max_attempts),
        spi::arg(given.backoff),
        spi::arg(given.backoff_factor),
        spi::arg(given.backoff_max),
        spi::arg(given.lease),
        spi::arg(given.keep_done),
        spi::arg(given.keep_failed),
        spi::arg(given.on_conflict.as_deref()),
        spi::arg(given.on_group_failure.as_deref()),
        spi::arg(given.max_running),
        spi::arg(given.max_running_per_key),
        spi::arg(given.rate_limit),
        spi::arg(given.rate_limit_per_key),
        spi::arg(given.rate_interval),
    ]
}

/// `queue.alter_queue`
#[allow(clippy::too_many_arguments)]
fn alter_queue(
    queue: Option<Oid>,
    max_attempts: Option<i32>,
    backoff: Option<Interval>,
    backoff_factor: Option<f64>,
    backoff_max: Option<Interval>,
    lease: Option<Interval>,
    keep_done: Option<Interval>,
    keep_failed: Option<Interval>,
    on_conflict: Option<String>,
    on_group_failure: Option<String>,
    max_running: Option<i32>,
    max_running_per_key: Option<i32>,
    rate_limit: Option<i32>,
    rate_limit_per_key: Option<i32>,
    rate_interval: Option<Interval>,
) -> SqlResult<()> {
    let oid = required("queue", queue)?;
    let micros = |interval: Option<Interval>| -> Option<Micros> { interval.as_ref().map(interval_micros) };
    let given = Given {
        max_attempts,
        backoff: micros(backoff),
        backoff_factor,
        backoff_max: micros(backoff_max),
        lease: micros(lease),
        keep_done: micros(keep_done),
        keep_failed: micros(keep_failed),
        on_conflict,
        on_group_failure,
        max_running,
        max_running_per_key,
        rate_limit,
        rate_limit_per_key,
        rate_interval: micros(rate_interval),
    };
    given.check()?;
    let sql = format!(
        "UPDATE queue.queues SET
             max_attempts = coalesce($2, max_attempts), backoff = coalesce($3 {INTERVAL}, backoff),
             backoff_factor = coalesce($4, backoff_factor), backoff_max = coalesce($5 {INTERVAL}, backoff_max),
             lease = coalesce($6 {INTERVAL}, lease),
             keep_done = CASE WHEN $7 = 0 THEN NULL ELSE coalesce($7 {INTERVAL}, keep_done) END,
             keep_failed = CASE WHEN $8 = 0 THEN NULL ELSE coalesce($8 {INTERVAL}, keep_failed) END,
             on_conflict = nullif(coalesce($9, on_conflict), 'none'), on_group_failure = coalesce($10, on_group_failure),
             max_running = nullif(coalesce($11, max_running), 0),
             max_running_per_key = nullif(coalesce($12, max_running_per_key), 0),
             rate_limit = nullif(coalesce($13, rate_limit), 0),
             rate_limit_per_key = nullif(coalesce($14, rate_limit_per_key), 0),
             rate_interval = coalesce($15 {INTERVAL}, rate_interval)
         WHERE queue = $1"
    );
    change(oid, |_| {
        spi::run(&sql, &OPTION_TYPES, &option_args(oid, &given));
        if given.rate_limit == Some(0) || given.rate_limit_per_key == Some(0) {
            limit::rate::forget_unlimited(oid);
        }
    })
}

/// Changes what is remembered about a queue the caller owns, and tells everyone.
fn change(oid: Oid, work: impl FnOnce(&Queue)) -> SqlResult<()> {
    spi::connect(|| {
        let queue = open_owned(oid)?;
        queue::as_extension(|| work(&queue));
        cache::announce(oid);
        group::changed_by_hand(oid);
        wake::configuration_changed();
        wake::enqueued(oid, &floor::NONE);
        // What is kept may be kept for less long from now on.
        wake::due(oid, 0);
        Ok(())
    })
}

fn set_paused(queue: Option<Oid>, paused: bool) -> SqlResult<()> {
    let oid = required("queue", queue)?;
    change(oid, |_| {
        let types = [pg_sys::REGCLASSOID, pg_sys::BOOLOID];
        spi::run(
            "UPDATE queue.queues SET paused = $2 WHERE queue = $1",
            &types,
            &[spi::arg(oid), spi::arg(paused)],
        );
    })
}

/// `queue.pause`
fn pause(queue: Option<Oid>) -> SqlResult<()> {
    set_paused(queue, true)
}

/// `queue.resume`
fn resume(queue: Option<Oid>) -> SqlResult<()> {
    set_paused(queue, false)
}

/// `queue.drop_queue`
fn drop_queue(queue: Option<Oid>, force: Option<bool>) -> SqlResult<()> {
    let oid = required("queue", queue)?;
    let force = force.unwrap_or(false);
    spi::connect(|| {
        let queue = open_owned(oid)?;
        if !force {
            // Nobody can start a job while we look: the lock is the one that DROP takes anyway. A batch
            // that a worker is just running has the table locked: wait for it.
            spi::run(&format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", queue.table), &[], &[]);
            xact::next_command();
            let sql = format!("SELECT count(*) FROM {} WHERE state = 'running'", queue.table);
            let count: i64 =
                role::as_restricted(queue.owner, || spi::run(&sql, &[], &[]).get(0, 1).unwrap_or(0));
            if count > 0 {
                return Err(Error::JobsRunning { queue: queue.name.clone(), count }.into());
            }
            let sources = attached_sources(oid);
            if !sources.is_empty() {
                let names: Vec<String> = sources.iter().map(|s| catalog::qualified_name(*s)).collect();
                return Err(
                    Error::StillAttached { queue: queue.name.clone(), sources: names.join(", ") }.into()
                );
            }
        }
        let feeders = next::feeders(oid);
        if !force && !feeders.is_empty() {
            let names: Vec<String> = feeders.iter().map(|f| catalog::qualified_name(*f)).collect();
            return Err(Error::StillFed { queue: queue.name.clone(), feeders: names.join(", ") }.into());
        }
        // The event trigger stops their processors.
        feeders.into_iter().for_each(cache::announce);
        // One that is attached just now is left to the event trigger. Before the queue's lock, as whoever writes
        // to a source takes them.
        for source in attached_sources(oid) {
            enqueue::attach::remove(source, &queue);
        }
        queue::as_extension(|| {
            spi::run("DELETE FROM queue.queues WHERE queue = $1", &[pg_sys::REGCLASSOID], &[spi::arg(oid)]);
        });
        let cascade = if force { " CASCADE" } else { "" };
        let drop = format!("DROP TABLE {}{cascade}", queue.table);
        failure::in_subtransaction(|| {
            spi::run(&drop, &[], &[]);
        })
        .map_err(|failure| Error::CannotDrop { queue: queue.name.clone(), failure })?;
        wake::configuration_changed();
        Ok(())
    })
}

fn attached_sources(oid: Oid) -> Vec<Oid> {
    const SOURCES: &str = "SELECT source::oid FROM queue.attachments WHERE queue = $1 ORDER BY source::text";
    let rows = queue::as_extension(|| spi::run(SOURCES, &[pg_sys::REGCLASSOID], &[spi::arg(oid)]));
    (0..rows.len()).filter_map(|row| rows.get(row, 1)).collect()
}

fn purge_states(call: &Call) -> SqlResult<Datum> {
    let oid: Oid = required("queue", call.arg(0))?;
    let states: Vec<Option<String>> = required("states", call.arg(1))?;
    let mut wanted = Vec::new();
    for state in states {
        let state = required("states", state)?;
        if state == "running" || !STATES.contains(&state.as_str()) {
            return Err(Error::BadOption {
                message: format!("cannot purge state \"{state}\""),
                hint: "States that can be purged: ready, scheduled, blocked, failed, done.".into(),
            }
            .into());
        }
        wanted.push(state);
    }
    spi::connect(|| {
        let queue = open_owned(oid)?;
        if wanted.iter().any(|state| state == "done") {
            keys::forget_marks(oid);
        }
        let removed: i64 = wanted.iter().map(|state| claim::remove_all(&queue, state)).sum();
        group::changed_by_hand(oid);
        Ok(Datum::from(removed))
    })
}
