//! The SQL that moves jobs. Two statements do all of it: one takes rows out of a state, the other puts
//! rows into states. Every change of a job's state, by whomever, is a take followed by a put.
//!
//! Why never `UPDATE … SET state`: moving a row to another partition that way leaves a mark that makes
//! a concurrent FOR UPDATE SKIP LOCKED raise a serialization error instead of skipping.
//!
//! All statements name the partitioned table and a constant state: the planner prunes to the one
//! partition, and Postgres checks privileges on the table that the user knows.

use super::{Column, Queue, quoted};

/// Which rows a take is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Up to $1 ready rows, most urgent first.
    Next,
    /// Up to $1 scheduled rows whose time has come.
    Due,
    /// Up to $1 leased rows whose lease has run out.
    Expired,
    /// Up to $1 done rows that finished before $2.
    Old,
    /// The ready row with id $1 (after a batch of it failed as a whole).
    ReadyJob,
    /// The leased row with id $1 in attempt $2; waits for a concurrent change of it.
    Lease,
    /// The failed row with id $1.
    FailedJob,
    /// The waiting row with id $1: ready.
    WaitingReady,
    /// The waiting row with id $1: scheduled.
    WaitingScheduled,
    /// The waiting row with id $1: blocked.
    WaitingBlocked,
    /// The leased row with id $1, whatever its attempt.
    RunningJob,
}

impl Which {
    pub fn state(self) -> &'static str {
        match self {
            Which::Next | Which::ReadyJob | Which::WaitingReady => "ready",
            Which::Due | Which::WaitingScheduled => "scheduled",
            Which::Expired | Which::Lease | Which::RunningJob => "running",
            Which::WaitingBlocked => "blocked",
            Which::FailedJob => "failed",
            Which::Old => "done",
        }
    }

    fn selection(self) -> &'static str {
        match self {
            Which::Next => "ORDER BY c.priority, c.id LIMIT $1 FOR UPDATE SKIP LOCKED",
            Which::Due => {
                "AND c.run_at <= pg_catalog.clock_timestamp() ORDER BY c.run_at LIMIT $1 FOR UPDATE SKIP LOCKED"
            }
            Which::Expired => {
                "AND c.lease_until <= pg_catalog.clock_timestamp() ORDER BY c.lease_until LIMIT $1 FOR UPDATE SKIP LOCKED"
            }
            Which::Old => "AND c.finished_at < $2 ORDER BY c.finished_at LIMIT $1 FOR UPDATE SKIP LOCKED",
            // The priority is spelled out so that the one index, which begins with it, serves.
            Which::ReadyJob | Which::WaitingReady => {
                "AND c.priority = ANY ('{0,1,2,3,4,5,6,7,8,9}'::smallint[]) AND c.id = $1 FOR UPDATE SKIP LOCKED"
            }
            Which::Lease => "AND c.id = $1 AND c.attempt = $2 FOR UPDATE",
            Which::FailedJob | Which::WaitingScheduled | Which::WaitingBlocked | Which::RunningJob => {
                "AND c.id = $1 FOR UPDATE"
            }
        }
    }
}

/// What a take returns, in this order: the row and what moving it needs to know.
const TAKEN: &str = "m, m.id, m.priority::integer, m.attempt, m.max_attempts, m.run_at, m.lease_until";

/// Takes rows out of their state.
pub fn take(queue: &Queue, which: Which) -> String {
    let (table, state) = (&queue.table, which.state());
    format!(
        "DELETE FROM {table} AS m WHERE m.state = '{state}' AND m.ctid = ANY (ARRAY(
             SELECT c.ctid FROM {table} AS c WHERE c.state = '{state}' {}))
         RETURNING {TAKEN}",
        which.selection()
    )
}

/// Takes the leased rows with ids $1 in attempts $2, locking them in the order of their ids.
pub fn take_leases(queue: &Queue) -> String {
    let table = &queue.table;
    format!(
        "DELETE FROM {table} AS m WHERE m.state = 'running' AND m.ctid = ANY (ARRAY(
             SELECT c.ctid FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS l (id, attempt)
             JOIN {table} AS c ON c.id = l.id AND c.attempt = l.attempt
             WHERE c.state = 'running' ORDER BY c.id FOR UPDATE OF c))
         RETURNING {TAKEN}"
    )
}

/// Takes the failed rows a condition over the queue's columns is true for.
pub fn take_failed_where(queue: &Queue, condition: &str) -> String {
    let table = &queue.table;
    format!(
        "DELETE FROM {table} AS m WHERE m.state = 'failed' AND m.ctid = ANY (ARRAY(
             SELECT {name}.ctid FROM {table} AS {name} WHERE {name}.state = 'failed' AND ({condition}\n)
             FOR UPDATE SKIP LOCKED))
         RETURNING {TAKEN}",
        name = quoted(&queue.name),
    )
}

/// Puts rows into states. $1 rows, then arrays with one element a row: $2 state, $3 attempt,
/// $4 max_attempts, $5 run_at, $6 lease_until, $7 error (as text, or null), $8 result (as text).
/// Returns the rows as they now are if asked to. Only the last hundred errors are kept.
pub fn put(queue: &Queue, returning: bool) -> String {
    let returning = if returning { " RETURNING m" } else { "" };
    let own: String = queue.settable().map(|Column { name, .. }| format!(", {}", quoted(name))).collect();
    let own_values: String =
        queue.settable().map(|Column { name, .. }| format!(", (p.j).{}", quoted(name))).collect();
    format!(
        "INSERT INTO {table} AS m (id, state, priority, attempt, max_attempts, run_at, lease_until, errors, result,
                              finished_at, key, group_key, payload, enqueued_at{own})
         OVERRIDING SYSTEM VALUE
         SELECT (p.j).id, p.state, (p.j).priority, p.attempt, p.max_attempts, p.run_at, p.lease_until,
                CASE WHEN p.error IS NULL THEN (p.j).errors
                     ELSE CASE WHEN pg_catalog.jsonb_array_length((p.j).errors) >= 100 THEN (p.j).errors - 0
                               ELSE coalesce((p.j).errors, '[]'::pg_catalog.jsonb) END
                          || (p.error::pg_catalog.jsonb || pg_catalog.jsonb_build_object(
                                'attempt', (p.j).attempt, 'failed_at', pg_catalog.clock_timestamp())) END,
                p.result::pg_catalog.jsonb,
                CASE WHEN p.state IN ('done', 'failed') THEN pg_catalog.clock_timestamp() END,
                (p.j).key, (p.j).group_key, (p.j).payload, (p.j).enqueued_at{own_values}
         FROM (SELECT pg_catalog.unnest($1) AS j, pg_catalog.unnest($2) AS state,
                      pg_catalog.unnest($3) AS attempt, pg_catalog.unnest($4) AS max_attempts,
                      pg_catalog.unnest($5) AS run_at, pg_catalog.unnest($6) AS lease_until,
                      pg_catalog.unnest($7) AS error, pg_catalog.unnest($8) AS result) p{returning}",
        table = queue.table,
    )
}

/// $1: rows. The rows as `queue.job`, own columns folded into the payload; then a lease for each ($2).
pub fn as_jobs(queue: &Queue) -> String {
    let payload = if queue.is_typed() {
        format!("coalesce((p.j).payload, '{{}}'::pg_catalog.jsonb) || {}", own_columns_as_object(queue))
    } else {
        "(p.j).payload".to_string()
    };
    format!(
        "SELECT (p.j).id, '{oid}'::pg_catalog.oid::pg_catalog.regclass, (p.j).priority::integer, (p.j).run_at,
                (p.j).attempt, coalesce((p.j).max_attempts, {max_attempts}), (p.j).key, (p.j).group_key,
                {payload}, (p.j).enqueued_at, p.lease_until
         FROM (SELECT pg_catalog.unnest($1) AS j, pg_catalog.unnest($2) AS lease_until) p",
        oid = queue.oid,
        max_attempts = queue.options.max_attempts,
    )
}

/// The queue's own columns as one object. A call takes at most a hundred arguments, so a wide queue is
/// built in parts.
fn own_columns_as_object(queue: &Queue) -> String {
    const MOST_PAIRS: usize = 50;
    let object = |part: &[Column]| {
        let pairs: Vec<String> = part
            .iter()
            .map(|c| format!("{}, (p.j).{}", pgrx::spi::quote_literal(&c.name), quoted(&c.name)))
            .collect();
        format!("pg_catalog.jsonb_build_object({})", pairs.join(", "))
    };
    queue.columns.chunks(MOST_PAIRS).map(object).collect::<Vec<_>>().join(" || ")
}

/// Removes all rows of a state that nobody else is just taking.
pub fn remove_all(queue: &Queue, state: &str) -> String {
    let table = &queue.table;
    format!(
        "DELETE FROM {table} AS m WHERE m.state = '{state}' AND m.ctid = ANY (ARRAY(
             SELECT c.ctid FROM {table} AS c WHERE c.state = '{state}' FOR UPDATE SKIP LOCKED))"
    )
}
