//! The SQL that moves jobs. Two statements do all of it: one takes rows out of a state, the other puts
//! rows into states. Every change of a job's state, by whomever, is a take followed by a put.
//!
//! Why never `UPDATE … SET state`: moving a row to another partition that way leaves a mark that makes
//! a concurrent FOR UPDATE SKIP LOCKED raise a serialization error instead of skipping.
//!
//! All statements name the partitioned table and a constant state: the planner prunes to the one
//! partition, and Postgres checks privileges on the table that the user knows.

use super::limits::OnConflict;
use super::{Column, Queue, STATES, quoted};

/// Which rows a take is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Up to $1 ready rows that are in no group, most urgent first.
    Next,
    /// Up to $1 scheduled rows whose time came before $2, but for those with ids $3.
    Due,
    /// Up to $1 leased rows whose lease ran out before $2, but for those with ids $3.
    Expired,
    /// Up to $1 done rows that finished before $2, but for those with ids $3.
    Old,
    /// The same of failed rows.
    OldFailed,
    /// Up to $1 blocked rows with ids $4 that have others to wait for, but for those with ids $3.
    Waiting,
    /// The ready row with id $1, unless somebody else has it.
    ReadyJob,
    /// The failed row with id $1.
    FailedJob,
    /// The scheduled row with id $1.
    ScheduledJob,
    /// The blocked row with id $1.
    BlockedJob,
    /// The leased row with id $1, whatever its attempt.
    RunningJob,
    /// The done row with id $1.
    DoneJob,
    /// Up to $1 done rows of which only the result is kept, finished before $2, but for those with ids $3.
    OldResult,
    /// Up to $1 blocked jobs that only wait for others with the key $2 to end.
    OfKey,
}

impl Which {
    pub fn state(self) -> &'static str {
        match self {
            Which::Next | Which::ReadyJob => "ready",
            Which::Due | Which::ScheduledJob => "scheduled",
            Which::Expired | Which::RunningJob => "running",
            Which::BlockedJob | Which::Waiting | Which::OfKey => "blocked",
            Which::FailedJob | Which::OldFailed => "failed",
            Which::Old | Which::DoneJob | Which::OldResult => "done",
        }
    }

    /// Rows locked by others are passed over. A time is always a parameter: compared with a volatile
    /// function, an index would be read to its end.
    fn passing_over(self) -> Option<&'static str> {
        match self {
            // Those of groups are taken one by one.
            Which::Next => Some("AND c.group_key IS NULL ORDER BY c.priority, c.id LIMIT $1"),
            Which::Due => Some(
                "AND c.run_at <= $2 AND c.id NOT IN (SELECT pg_catalog.unnest($3)) ORDER BY c.run_at LIMIT $1",
            ),
            Which::Expired => Some(
                "AND c.lease_until <= $2 AND c.id NOT IN (SELECT pg_catalog.unnest($3)) ORDER BY c.lease_until LIMIT $1",
            ),
            Which::Old | Which::OldFailed => Some(
                "AND c.finished_at < $2 AND c.id NOT IN (SELECT pg_catalog.unnest($3)) ORDER BY c.finished_at LIMIT $1",
            ),
            Which::OfKey => {
                Some("AND c.key = $2 AND c.group_key IS NULL AND c.after IS NULL ORDER BY c.id LIMIT $1")
            }
            Which::Waiting => Some(
                "AND c.after IS NOT NULL AND c.id = ANY ($4) AND c.id NOT IN (SELECT pg_catalog.unnest($3)) ORDER BY c.id LIMIT $1",
            ),
            Which::OldResult => Some(
                "AND c.keep_result IS NOT NULL AND c.finished_at < $2 AND c.id NOT IN (SELECT pg_catalog.unnest($3)) ORDER BY c.finished_at LIMIT $1",
            ),
            // The priority is spelled out so that the one index, which begins with it, serves.
            Which::ReadyJob => {
                Some("AND c.priority = ANY ('{0,1,2,3,4,5,6,7,8,9}'::smallint[]) AND c.id = $1")
            }
            _ => None,
        }
    }
}

/// What a take returns, in this order: the row and what moving it needs to know. The alias is no
/// column's name: else it would mean the column, not the row.
fn taken(row: &str) -> String {
    format!(
        "RETURNING {row}, {row}.id, {row}.priority::integer, {row}.attempt, {row}.max_attempts,
                   {row}.run_at, {row}.lease_until"
    )
}

/// Takes rows out of their state. By id, a concurrent change of the row is waited for: a plain DELETE
/// then sees the changed row, which a search by place (ctid) would not.
pub fn take(queue: &Queue, which: Which) -> String {
    let (table, state, row) = (&queue.table, which.state(), &queue.alias);
    let rows = match which.passing_over() {
        Some(selection) => format!(
            "{row}.ctid = ANY (ARRAY(
                 SELECT c.ctid FROM {table} AS c WHERE c.state = '{state}' {selection} FOR UPDATE SKIP LOCKED))"
        ),
        None => format!("{row}.id = $1"),
    };
    format!("DELETE FROM {table} AS {row} WHERE {row}.state = '{state}' AND {rows} {}", taken(row))
}

/// The ids of the rows that such a take would find, in its order. Those rows are then locked.
pub fn find(queue: &Queue, which: Which) -> String {
    let (table, state) = (&queue.table, which.state());
    let selection = which.passing_over().unwrap_or_default();
    format!("SELECT c.id FROM {table} AS c WHERE c.state = '{state}' {selection} FOR UPDATE SKIP LOCKED")
}

/// The first rows with a key that such a take would find if nobody had locked them: their ids and places. What it
/// has taken is not among them.
pub fn left_over(queue: &Queue, which: Which) -> String {
    let (table, state) = (&queue.table, which.state());
    let selection = which.passing_over().unwrap_or_default();
    format!(
        "SELECT c.id, c.ctid FROM {table} AS c WHERE c.state = '{state}' AND c.key IS NOT NULL {selection}"
    )
}

/// Takes the ready row at place $1, just inserted by the same statement.
pub fn take_inserted(queue: &Queue) -> String {
    let (table, row) = (&queue.table, &queue.alias);
    format!("DELETE FROM {table} AS {row} WHERE {row}.state = 'ready' AND {row}.ctid = $1 {}", taken(row))
}

/// How one row is taken by its id, $1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum One {
    /// Unless somebody else has it.
    IfFree,
    /// It is ours, or is waited for.
    Own,
}

/// Finds a row of a state by its id. The priority is spelled out so that the one index of the ready rows, which
/// begins with it, serves.
fn by_id(row: &str, state: &str, id: &str) -> String {
    let priority = match state {
        "ready" => format!("{row}.priority = ANY ('{{0,1,2,3,4,5,6,7,8,9}}'::smallint[]) AND "),
        _ => String::new(),
    };
    format!("{row}.state = '{state}' AND {priority}{row}.id = {id}")
}

/// Takes the row with id $1 out of a state.
pub fn take_one(queue: &Queue, how: One, state: &str) -> String {
    let (table, row) = (&queue.table, &queue.alias);
    let rows = match how {
        One::Own => by_id(row, state, "$1"),
        One::IfFree => format!(
            "{row}.state = '{state}' AND {row}.ctid = ANY (ARRAY(
                 SELECT c.ctid FROM {table} AS c WHERE {} FOR UPDATE SKIP LOCKED))",
            by_id("c", state, "$1")
        ),
    };
    format!("DELETE FROM {table} AS {row} WHERE {rows} {}", taken(row))
}

/// Keeps the row with id $1 from being taken, if nobody is taking it. Returns its priority and time.
pub fn hold(queue: &Queue, state: &str) -> String {
    let table = &queue.table;
    format!(
        "SELECT c.priority::integer, c.run_at FROM {table} AS c WHERE {} FOR KEY SHARE SKIP LOCKED",
        by_id("c", state, "$1")
    )
}

/// An expression: is there a job with this id that is not done?
pub fn exists(queue: &Queue, id: &str) -> String {
    let table = &queue.table;
    let of = |state| {
        // A subquery of one value is never turned into a join, which would read the partition whole.
        format!("(SELECT 1 FROM {table} AS c WHERE {} LIMIT 1) IS NOT NULL", by_id("c", state, id))
    };
    format!("({})", ["ready", "scheduled", "blocked", "running", "failed"].map(of).join(" OR "))
}

/// Is there a job with an id above $1?
pub fn any_above(queue: &Queue) -> String {
    let table = &queue.table;
    let of = |state| {
        let priority = match state {
            "ready" => "AND c.priority = ANY ('{0,1,2,3,4,5,6,7,8,9}'::smallint[])",
            _ => "",
        };
        format!(
            "(SELECT 1 FROM {table} AS c WHERE c.state = '{state}' {priority} AND c.id > $1 LIMIT 1) IS NOT NULL"
        )
    };
    format!("SELECT {}", STATES.map(of).join(" OR "))
}

/// An expression: is there a done job with this id?
pub fn is_done(queue: &Queue, id: &str) -> String {
    format!("(SELECT 1 FROM {} AS c WHERE {} LIMIT 1) IS NOT NULL", queue.table, by_id("c", "done", id))
}

/// Puts a row back: the one $1, in state $3 and with time $4, with what `mode` takes from the row $2. What goes into a
/// job that waits at a lower importance, put there by a resync, say, is not to wait as long as that.
pub fn combine(queue: &Queue, mode: OnConflict) -> String {
    let priority = match mode {
        OnConflict::Replace | OnConflict::Debounce | OnConflict::Merge => {
            "least((p.o).priority, (p.n).priority)"
        }
        OnConflict::Skip | OnConflict::Error => "(p.o).priority",
    };
    let (payload, column): (&str, fn(String) -> String) = match mode {
        OnConflict::Replace | OnConflict::Debounce => ("(p.n).payload", |name| format!("(p.n).{name}")),
        OnConflict::Merge => {
            ("coalesce((p.o).payload || (p.n).payload, (p.n).payload, (p.o).payload)", |name| {
                format!("coalesce((p.n).{name}, (p.o).{name})")
            })
        }
        OnConflict::Skip | OnConflict::Error => ("(p.o).payload", |name| format!("(p.o).{name}")),
    };
    let own: String = queue.settable().map(|c| format!(", {}", quoted(&c.name))).collect();
    let own_values: String = queue.settable().map(|c| format!(", {}", column(quoted(&c.name)))).collect();
    format!(
        "INSERT INTO {table} AS {row} (id, state, priority, attempt, max_attempts, run_at, errors, key, group_key, payload,
                              enqueued_at, correlation_id, topic, once, after, after_failure, keep_result{own})
         OVERRIDING SYSTEM VALUE
         SELECT (p.o).id, $3, least(greatest({priority}, 0), 9), (p.o).attempt, (p.o).max_attempts, $4,
                (p.o).errors, (p.o).key, (p.o).group_key, {payload}, (p.o).enqueued_at, (p.o).correlation_id,
                (p.o).topic, coalesce((p.n).once, (p.o).once), (p.o).after, (p.o).after_failure,
                coalesce((p.n).keep_result, (p.o).keep_result){own_values}
         FROM (SELECT $1 AS o, $2 AS n) p
         RETURNING {row}.payload",
        table = queue.table,
        row = queue.alias,
    )
}

/// Takes the leased rows with ids $1 in attempts $2, in that order.
pub fn take_leases(queue: &Queue) -> String {
    let (table, row) = (&queue.table, &queue.alias);
    format!(
        "DELETE FROM {table} AS {row}
         USING ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS l (id, attempt)
         WHERE {row}.state = 'running' AND {row}.id = l.id AND {row}.attempt = l.attempt {}",
        taken(row)
    )
}

/// The part of a queue that a condition is asked of at a time: a state, and of the ready rows one priority,
/// so that their index gives them in the order of their ids.
#[derive(Clone, Copy)]
pub struct Part {
    pub state: &'static str,
    pub priority: Option<i16>,
}

/// Rows of a part with ids above $1 up to $2 that a condition over the queue's columns is true for, the first
/// $3 of them by id. The queue's name stands for the row, as in a statement of the user's own.
fn rows_where(queue: &Queue, part: Part, condition: &str, columns: &str) -> String {
    let name = quoted(&queue.name);
    let priority = part.priority.map(|p| format!(" AND {name}.priority = {p}::smallint")).unwrap_or_default();
    format!(
        "SELECT {columns} FROM {table} AS {name} WHERE {name}.state = '{state}'{priority}
             AND {name}.id > $1 AND {name}.id <= $2 AND ({condition}\n) ORDER BY {name}.id LIMIT $3",
        table = queue.table,
        state = part.state,
    )
}

/// Takes such rows, but for those that somebody else is just changing.
pub fn take_where(queue: &Queue, part: Part, condition: &str) -> String {
    let (table, row, state) = (&queue.table, &queue.alias, part.state);
    let rows = rows_where(queue, part, condition, &format!("{}.ctid", quoted(&queue.name)));
    format!(
        "DELETE FROM {table} AS {row} WHERE {row}.state = '{state}'
             AND {row}.ctid = ANY (ARRAY({rows} FOR UPDATE SKIP LOCKED)) {}",
        taken(row)
    )
}

/// The ids of such rows, whoever is changing them.
pub fn ids_where(queue: &Queue, part: Part, condition: &str) -> String {
    rows_where(queue, part, condition, &format!("{}.id", quoted(&queue.name)))
}

/// The highest id in a part.
pub fn last_of(queue: &Queue, part: Part) -> String {
    let priority = part.priority.map(|p| format!(" AND priority = {p}::smallint")).unwrap_or_default();
    format!(
        "SELECT id FROM {} WHERE state = '{}'{priority} ORDER BY id DESC LIMIT 1",
        queue.table, part.state
    )
}

/// $1: rows. Each as a payload that holds the queue's own columns, and what of the header goes with a job to
/// another queue.
pub fn contents(queue: &Queue) -> String {
    let settable: Vec<Column> = queue.settable().cloned().collect();
    let payload = payload_with(&settable);
    format!(
        "SELECT {payload}, (p.j).key, (p.j).group_key, (p.j).once, (p.j).correlation_id, (p.j).topic, (p.j).errors
         FROM (SELECT pg_catalog.unnest($1) AS j) p"
    )
}

/// Lends a leased row for longer: stays in its state, so an UPDATE, which a concurrent ack follows.
pub fn extend_lease(queue: &Queue) -> String {
    format!(
        "UPDATE {} SET lease_until = $3 WHERE state = 'running' AND id = $1 AND attempt = $2",
        queue.table
    )
}

/// Puts rows into states. $1 rows, then arrays with one element a row: $2 state, $3 attempt,
/// $4 max_attempts, $5 run_at, $6 lease_until, $7 error (as text, or null), $8 result (as text).
/// Returns the rows as they now are if asked to. Only the last hundred errors are kept.
pub fn put(queue: &Queue, returning: bool) -> String {
    let returning = if returning { format!(" RETURNING {}", queue.alias) } else { String::new() };
    let own: String = queue.settable().map(|Column { name, .. }| format!(", {}", quoted(name))).collect();
    let own_values: String =
        queue.settable().map(|Column { name, .. }| format!(", (p.j).{}", quoted(name))).collect();
    format!(
        "INSERT INTO {table} AS {row} (id, state, priority, attempt, max_attempts, run_at, lease_until, errors, result,
                              finished_at, key, group_key, payload, enqueued_at, correlation_id, topic, once, after,
                              after_failure, keep_result{own})
         OVERRIDING SYSTEM VALUE
         SELECT (p.j).id, p.state, least(greatest((p.j).priority, 0), 9), p.attempt, p.max_attempts, p.run_at, p.lease_until,
                CASE WHEN p.error IS NULL THEN (p.j).errors
                     ELSE CASE WHEN pg_catalog.jsonb_typeof((p.j).errors) <> 'array' THEN '[]'::pg_catalog.jsonb
                               WHEN pg_catalog.jsonb_array_length((p.j).errors) >= 100 THEN (p.j).errors - 0
                               ELSE coalesce((p.j).errors, '[]'::pg_catalog.jsonb) END
                          || (p.error::pg_catalog.jsonb || pg_catalog.jsonb_build_object(
                                'attempt', (p.j).attempt, 'failed_at', pg_catalog.clock_timestamp())) END,
                p.result::pg_catalog.jsonb,
                CASE WHEN p.state IN ('done', 'failed') THEN pg_catalog.clock_timestamp() END,
                (p.j).key, (p.j).group_key, (p.j).payload, (p.j).enqueued_at, (p.j).correlation_id, (p.j).topic, (p.j).once,
                (p.j).after, (p.j).after_failure, (p.j).keep_result{own_values}
         FROM (SELECT pg_catalog.unnest($1) AS j, pg_catalog.unnest($2) AS state,
                      pg_catalog.unnest($3) AS attempt, pg_catalog.unnest($4) AS max_attempts,
                      pg_catalog.unnest($5) AS run_at, pg_catalog.unnest($6) AS lease_until,
                      pg_catalog.unnest($7) AS error, pg_catalog.unnest($8) AS result) p{returning}",
        table = queue.table,
        row = queue.alias,
    )
}

/// $1: rows. The rows as `queue.job`, own columns folded into the payload; then a lease for each ($2).
pub fn as_jobs(queue: &Queue) -> String {
    let payload = payload_with(&queue.columns);
    format!(
        "SELECT (p.j).id, '{oid}'::pg_catalog.oid::pg_catalog.regclass, (p.j).priority::integer, (p.j).run_at,
                (p.j).attempt, coalesce((p.j).max_attempts, {max_attempts}), (p.j).key, (p.j).group_key,
                {payload}, (p.j).enqueued_at, p.lease_until, (p.j).correlation_id, (p.j).topic
         FROM (SELECT pg_catalog.unnest($1) AS j, pg_catalog.unnest($2) AS lease_until) p",
        oid = queue.oid,
        max_attempts = queue.options.max_attempts,
    )
}

/// The payload with these columns folded in.
fn payload_with(columns: &[Column]) -> String {
    if columns.is_empty() {
        return "(p.j).payload".into();
    }
    format!("coalesce((p.j).payload, '{{}}'::pg_catalog.jsonb) || {}", as_object(columns))
}

/// Columns as one object. A call takes at most a hundred arguments, so a wide queue is built in parts.
fn as_object(columns: &[Column]) -> String {
    const MOST_PAIRS: usize = 50;
    let object = |part: &[Column]| {
        let pairs: Vec<String> = part
            .iter()
            .map(|c| format!("{}, (p.j).{}", pgrx::spi::quote_literal(&c.name), quoted(&c.name)))
            .collect();
        format!("pg_catalog.jsonb_build_object({})", pairs.join(", "))
    };
    columns.chunks(MOST_PAIRS).map(object).collect::<Vec<_>>().join(" || ")
}

/// Removes all rows of a state that nobody else is just taking.
pub fn remove_all(queue: &Queue, state: &str) -> String {
    let table = &queue.table;
    format!(
        "DELETE FROM {table} AS m WHERE m.state = '{state}' AND m.ctid = ANY (ARRAY(
             SELECT c.ctid FROM {table} AS c WHERE c.state = '{state}' FOR UPDATE SKIP LOCKED))"
    )
}
