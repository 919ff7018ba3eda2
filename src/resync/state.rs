//! How far a resync is: a row of queue.resyncs, changed in the transaction of each batch.

use super::leaf::Done;
use crate::pg::Oid;
use crate::pg::spi;
use crate::queue;
use pgrx::pg_sys;

/// What the session knows of it; true if the latest transaction has committed.
#[derive(Default)]
pub struct State {
    pub rows_total: Option<i64>,
    pub rows_done: i64,
    pub enqueued: i64,
    pub leaves_done: Vec<Oid>,
    pub leaf: Option<Oid>,
    pub ordered_by: Option<String>,
    pub position: Option<Vec<String>>,
}

/// The tables that hold the source's rows, in the order in which they are read.
const LEAVES: &str = "
    WITH RECURSIVE tables (oid) AS (
        SELECT $1 UNION SELECT i.inhrelid FROM tables t JOIN pg_inherits i ON i.inhparent = t.oid)
    SELECT c.oid, c.relkind::text FROM tables t JOIN pg_class c ON c.oid = t.oid
    WHERE c.relkind IN ('r', 'f') ORDER BY c.oid";

/// Those that are foreign, or those that are not: what cannot be read in an order is not read.
fn leaves(source: Oid, foreign: bool) -> Vec<Oid> {
    let rows = queue::as_extension(|| spi::run_kept(LEAVES, &[pg_sys::OIDOID], &[spi::arg(source)]));
    (0..rows.len())
        .filter(|row| (rows.get::<String>(*row, 2).as_deref() == Some("f")) == foreign)
        .filter_map(|row| rows.get(row, 1))
        .collect()
}

/// Foreign tables among the source's partitions and children.
pub fn passed_over(source: Oid) -> Vec<Oid> {
    leaves(source, true)
}

fn estimate(source: Oid) -> Option<i64> {
    const ESTIMATE: &str = "
        SELECT CASE WHEN bool_and(size = 0 OR relpages > 0 AND reltuples >= 0)
                    THEN sum(CASE WHEN size = 0 THEN 0 ELSE reltuples::numeric * (size / current_setting('block_size')::int) / nullif(relpages, 0) END)::bigint END
        FROM (SELECT c.reltuples, c.relpages, pg_relation_size(c.oid) AS size FROM pg_class c WHERE c.oid = ANY ($1)) s";
    let types = [pg_sys::OIDARRAYOID];
    let args = [spi::arg(leaves(source, false))];
    queue::as_extension(|| spi::run_kept(ESTIMATE, &types, &args)).get(0, 1)
}

impl State {
    /// Of an interrupted resync; or a new one. `None`: the interrupted one had another condition.
    pub fn begin(attachment: i32, source: Oid, condition: Option<&str>, restart: bool) -> Option<State> {
        const FIND: &str = "
            SELECT condition IS NOT DISTINCT FROM $2, rows_total, rows_done, enqueued, leaves_done, leaf, ordered_by, position
            FROM queue.resyncs WHERE attachment = $1 AND finished IS NULL";
        const BEGIN: &str = "
            INSERT INTO queue.resyncs (attachment, condition, rows_total) VALUES ($1, $2, $3)
            ON CONFLICT (attachment) DO UPDATE SET
                condition = excluded.condition, started = excluded.started, last_commit = excluded.last_commit,
                finished = NULL, rows_total = excluded.rows_total, rows_done = 0, enqueued = 0, leaves_done = '{}',
                leaf = NULL, ordered_by = NULL, position = NULL";
        let types = [pg_sys::INT4OID, pg_sys::TEXTOID, pg_sys::INT8OID];
        let args = [spi::arg(attachment), spi::arg(condition), None];
        let found = queue::as_extension(|| spi::run_kept(FIND, &types[..2], &args[..2]));
        if !found.is_empty() && !restart {
            if !found.get(0, 1).unwrap_or(false) {
                return None;
            }
            return Some(State {
                rows_total: found.get(0, 2),
                rows_done: found.get(0, 3).unwrap_or(0),
                enqueued: found.get(0, 4).unwrap_or(0),
                leaves_done: found.get(0, 5).unwrap_or_default(),
                leaf: found.get(0, 6),
                ordered_by: found.get(0, 7),
                position: found.get(0, 8),
            });
        }
        // Those of what was detached or dropped, unless another session is just doing the same.
        const FORGET: &str = "
            DELETE FROM queue.resyncs WHERE attachment IN (
                SELECT r.attachment FROM queue.resyncs r
                WHERE NOT EXISTS (SELECT FROM queue.attachments a WHERE a.id = r.attachment)
                FOR UPDATE SKIP LOCKED)";
        queue::as_extension(|| spi::run_kept(FORGET, &[], &[]));
        let rows_total = estimate(source);
        let args = [args[0], args[1], spi::arg(rows_total)];
        queue::as_extension(|| spi::run_kept(BEGIN, &types, &args));
        Some(State { rows_total, ..State::default() })
    }

    /// The table to go on with; `None`: all are done.
    pub fn next_leaf(&self, source: Oid) -> Option<Oid> {
        let left: Vec<Oid> =
            leaves(source, false).into_iter().filter(|leaf| !self.leaves_done.contains(leaf)).collect();
        // One that is begun is gone on with, if it is still there.
        self.leaf.filter(|leaf| left.contains(leaf)).or_else(|| left.first().copied())
    }

    /// Begins with a table, or with what is left of it.
    pub fn enter(&mut self, leaf: Oid, ordered_by: &str) {
        if self.leaf != Some(leaf) || self.ordered_by.as_deref() != Some(ordered_by) {
            self.leaf = Some(leaf);
            self.ordered_by = Some(ordered_by.into());
            self.position = None;
        }
    }

    /// Notes a batch of the present table.
    pub fn advance(&mut self, done: Done) {
        self.rows_done += done.rows;
        self.enqueued += done.enqueued;
        self.position = done.position;
        if self.position.is_none() {
            self.leave();
        }
    }

    /// The present table is done, or gone.
    pub fn leave(&mut self) {
        self.leaves_done.extend(self.leaf.take());
        (self.ordered_by, self.position) = (None, None);
    }

    /// Writes it down, to be committed with the batch.
    pub fn save(&self, attachment: i32, is_finished: bool) {
        const SAVE: &str = "
            UPDATE queue.resyncs SET last_commit = clock_timestamp(), rows_done = $2, enqueued = $3,
                leaves_done = $4, leaf = $5, ordered_by = $6, position = $7,
                finished = CASE WHEN $8 THEN clock_timestamp() END,
                rows_total = CASE WHEN $8 THEN $2 ELSE rows_total END
            WHERE attachment = $1";
        let types = [
            pg_sys::INT4OID,
            pg_sys::INT8OID,
            pg_sys::INT8OID,
            pg_sys::OIDARRAYOID,
            pg_sys::OIDOID,
            pg_sys::TEXTOID,
            pg_sys::TEXTARRAYOID,
            pg_sys::BOOLOID,
        ];
        let args = [
            spi::arg(attachment),
            spi::arg(self.rows_done),
            spi::arg(self.enqueued),
            spi::arg(self.leaves_done.clone()),
            self.leaf.and_then(spi::arg),
            spi::arg(self.ordered_by.clone()),
            spi::arg(self.position.clone()),
            spi::arg(is_finished),
        ];
        queue::as_extension(|| spi::run_kept(SAVE, &types, &args));
    }
}
