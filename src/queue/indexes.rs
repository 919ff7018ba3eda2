//! The indexes that the partitions of a queue have: made with it, and missed when an admin has dropped one.

use super::{Queue, as_extension};
use crate::pg::spi;
use crate::pg::{Oid, catalog, role};
use pgrx::pg_sys;

/// What finds a job by its id; each partition has one of them.
pub fn identity(state: &str) -> &'static str {
    if state == "ready" { "btree (priority, id)" } else { "btree (id)" }
}

/// The others, in the words that Postgres describes them with.
pub fn others(state: &str) -> &'static [&'static str] {
    match state {
        "ready" => &["btree (group_key COLLATE \"C\", id) WHERE (group_key IS NOT NULL)"],
        "scheduled" => {
            &["btree (run_at)", "btree (group_key COLLATE \"C\", attempt) WHERE (group_key IS NOT NULL)"]
        }
        // Of jobs that wait for others, who they are, and who waits for a job; of those over the limit of their
        // key, the first of each key, which keys there are, and which groups wait for one; of those that wait for their group (one that
        // waits for others by their ids is none), where they are.
        "blocked" => &[
            "btree (id) WHERE (after IS NOT NULL)",
            "gin (after) WITH (fastupdate='off') WHERE (after IS NOT NULL)",
            "btree (key, id) WHERE ((key IS NOT NULL) AND (group_key IS NULL) AND (after IS NULL))",
            "btree (key, group_key COLLATE \"C\") WHERE ((key IS NOT NULL) AND (group_key IS NOT NULL) AND (after IS NULL))",
            "btree (group_key COLLATE \"C\", id) WHERE ((group_key IS NOT NULL) AND (after IS NULL))",
        ],
        // How many with a key are leased.
        "running" => &[
            "btree (lease_until)",
            "btree (key) WHERE (key IS NOT NULL)",
            "btree (group_key COLLATE \"C\") WHERE (group_key IS NOT NULL)",
        ],
        "failed" => &[
            "btree (finished_at)",
            "btree (correlation_id) WHERE (correlation_id IS NOT NULL)",
            "btree (group_key COLLATE \"C\") WHERE (group_key IS NOT NULL)",
        ],
        _ => &[
            "btree (finished_at)",
            "btree (correlation_id) WHERE (correlation_id IS NOT NULL)",
            "btree (finished_at) WHERE (keep_result IS NOT NULL)",
        ],
    }
}

/// The partitions with states $2 that have no valid index $3, which is unique if $4 says so, but for its storage
/// parameters; and an invalid one. Quotes say nothing (quote_all_identifiers).
const MISSING: &str = "
    WITH partitions AS (
        SELECT h.inhrelid AS oid, pg_get_expr(c.relpartbound, c.oid) AS bound
        FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid WHERE h.inhparent = $1),
    known AS MATERIALIZED (
        SELECT i.indrelid, i.indexrelid, i.indisvalid, i.indisunique,
               regexp_replace(replace(pg_get_indexdef(i.indexrelid), '\"', ''), ' WITH \\(.*?\\)', '') AS definition
        FROM partitions p JOIN pg_index i ON i.indrelid = p.oid),
    wanted AS (
        SELECT p.oid, w.definition, w.is_unique,
               ' USING ' || regexp_replace(replace(w.definition, '\"', ''), ' WITH \\(.*?\\)', '') AS ending
        FROM unnest($2, $3, $4) AS w (state, definition, is_unique)
        JOIN partitions p ON p.bound = 'FOR VALUES IN (''' || w.state || ''')'),
    found AS (
        SELECT w.oid, w.definition, k.indexrelid, k.indisvalid
        FROM wanted w LEFT JOIN known k
             ON k.indrelid = w.oid AND (k.indisunique OR NOT w.is_unique)
            AND right(k.definition, length(w.ending)) = w.ending)
    SELECT oid, definition, max(indexrelid::bigint)::oid FROM found GROUP BY 1, 2
    HAVING NOT coalesce(bool_or(indisvalid), false) ORDER BY oid, definition";

/// What of its storage keeps the queue from working as it should, and how to mend it. Must be called inside
/// `spi::connect`.
pub fn problem(queue: &Queue) -> Option<String> {
    let wanted = super::STATES.iter().flat_map(|state| {
        let others = others(state).iter().map(|definition| (*state, *definition, false));
        std::iter::once((*state, identity(state), true)).chain(others)
    });
    let wanted: Vec<(&str, &str, bool)> = wanted.collect();
    let args = [
        spi::arg(queue.oid),
        spi::arg(wanted.iter().map(|w| w.0).collect::<Vec<_>>()),
        spi::arg(wanted.iter().map(|w| w.1).collect::<Vec<_>>()),
        spi::arg(wanted.iter().map(|w| w.2).collect::<Vec<_>>()),
    ];
    let types = [pg_sys::OIDOID, pg_sys::TEXTARRAYOID, pg_sys::TEXTARRAYOID, pg_sys::BOOLARRAYOID];
    let rows = as_extension(|| spi::run_kept(MISSING, &types, &args));
    let missing: Vec<(Oid, String, Option<Oid>)> = (0..rows.len())
        .filter_map(|row| Some((rows.get(row, 1)?, rows.get(row, 2)?, rows.get(row, 3))))
        .collect();
    if missing.is_empty() {
        let is_as_made = queue.layout.as_ref().is_some_and(|layout| layout.groups().is_some());
        return (!is_as_made && has_groups(queue)).then(|| {
            "its partitions are not as queue.create_queue made them: jobs of groups are not taken".into()
        });
    }
    let effect = match missing.iter().any(|(_, definition, _)| definition.contains("group_key COLLATE")) {
        true => "jobs of groups are not taken",
        false => "jobs are found slowly",
    };
    let remedies: Vec<String> =
        missing.iter().map(|(table, what, invalid)| remedy(*table, what, *invalid)).collect();
    Some(format!("an index is missing, so {effect}; to mend it: {}", remedies.join("; ")))
}

fn remedy(table: Oid, definition: &str, invalid: Option<Oid>) -> String {
    let name = catalog::qualified_name(table);
    if let Some(index) = invalid {
        return format!("REINDEX INDEX {}", catalog::qualified_name(index));
    }
    if definition == identity("ready") {
        let bare = catalog::relation_name(table).unwrap_or_default();
        let index =
            super::quoted(&catalog::free_relation_name(&bare, "priority_id_idx", catalog::schema_of(table)));
        return format!(
            "CREATE UNIQUE INDEX {index} ON {name} USING {definition}; ALTER TABLE {name} REPLICA IDENTITY USING INDEX {index}"
        );
    }
    if definition == identity("failed") {
        return format!("ALTER TABLE {name} ADD PRIMARY KEY (id)");
    }
    format!("CREATE INDEX ON {name} USING {definition}")
}

fn has_groups(queue: &Queue) -> bool {
    let sql = format!(
        "SELECT EXISTS (SELECT FROM {} WHERE state IN ('ready', 'blocked') AND group_key IS NOT NULL)",
        queue.table
    );
    role::as_restricted(queue.owner, || queue.plan(sql, &[]).execute(&[])).get(0, 1).unwrap_or(false)
}
