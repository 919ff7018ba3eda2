//! How a queue's table is stored: the numbers of its columns, its partitions and the indexes that claims
//! use. Known only if it is stored as it was made; else jobs are moved by SQL.

use super::{HEADER, STATES};
use crate::pg::Oid;
use crate::pg::group;
use crate::pg::leased;
use crate::pg::ready::{Columns, Place};
use crate::pg::spi;
use pgrx::pg_sys;

/// The header's columns, in the order of `HEADER`.
#[derive(Debug, Clone, Copy)]
#[repr(usize)]
pub enum Col {
    Id,
    State,
    Priority,
    RunAt,
    EnqueuedAt,
    Attempt,
    MaxAttempts,
    Key,
    GroupKey,
    Payload,
    LeaseUntil,
    Errors,
    Result,
    FinishedAt,
    CorrelationId,
    Topic,
    Once,
    After,
    AfterFailure,
    KeepResult,
}

#[derive(Debug, Clone)]
pub struct Layout {
    pub parent: Oid,
    pub row_type: Oid,
    numbers: [i16; HEADER.len()],
    /// In the order of `STATES`.
    partitions: [Oid; STATES.len()],
    ready_index: Oid,
    running_index: Oid,
    /// In the order of `STATES`; for the states that have one.
    group_indexes: [Oid; STATES.len()],
}

/// One row for each partition: its state; whether its columns are laid out as the queue's; its index for
/// claims: (priority, id) on the ready ones, (id) on the others; and its index
/// for groups.
const PARTITIONS: &str = "
    SELECT s.state, c.oid,
           NOT EXISTS (
               SELECT FROM (SELECT * FROM pg_attribute WHERE attrelid = $1 AND attnum > 0) p
               FULL JOIN (SELECT * FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0) r ON r.attnum = p.attnum
               WHERE (p.atttypid, p.attisdropped, p.attlen, p.attname)
                     IS DISTINCT FROM (r.atttypid, r.attisdropped, r.attlen, r.attname)),
           (SELECT i.indexrelid
            FROM pg_index i
            JOIN pg_class x ON x.oid = i.indexrelid
            JOIN pg_am m ON m.oid = x.relam AND m.amname = 'btree'
            WHERE i.indrelid = c.oid AND i.indisvalid AND i.indisunique AND i.indimmediate
              AND i.indpred IS NULL AND i.indexprs IS NULL
              AND 0 = ALL (i.indoption::int2[])
              AND (SELECT array_agg(a.attname ORDER BY k.place)
                   FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
                   JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum)
                  = CASE s.state WHEN 'ready' THEN '{priority,id}'::name[] ELSE '{id}'::name[] END
            ORDER BY i.indisreplident DESC, i.indisprimary DESC, i.indexrelid LIMIT 1),
           (SELECT i.indexrelid
            FROM pg_index i
            JOIN pg_class x ON x.oid = i.indexrelid
            JOIN pg_am m ON m.oid = x.relam AND m.amname = 'btree'
            WHERE i.indrelid = c.oid AND i.indisvalid AND i.indexprs IS NULL
              AND replace(pg_get_expr(i.indpred, i.indrelid), '\"', '')
                  = CASE s.state WHEN 'blocked' THEN '((group_key IS NOT NULL) AND (after IS NULL))'
                                 ELSE '(group_key IS NOT NULL)' END
              AND 0 = ALL (i.indoption::int2[]) AND i.indcollation[0] = 'pg_catalog.\"C\"'::regcollation
              AND (SELECT array_agg(a.attname ORDER BY k.place)
                   FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
                   JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum)
                  = CASE WHEN s.state IN ('ready', 'blocked') THEN '{group_key,id}'::name[]
                         WHEN s.state = 'scheduled' THEN '{group_key,attempt}'::name[]
                         ELSE '{group_key}'::name[] END
            ORDER BY i.indexrelid LIMIT 1)
    FROM pg_inherits h
    JOIN pg_class c ON c.oid = h.inhrelid
    JOIN (SELECT state, 'FOR VALUES IN (''' || state || ''')' AS bound
          FROM unnest('{ready,scheduled,blocked,running,failed,done}'::text[]) AS state) s
         ON s.bound = pg_get_expr(c.relpartbound, c.oid)
    WHERE h.inhparent = $1";

const NUMBERS: &str = "
    SELECT a.attname::text, a.attnum FROM pg_attribute a
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped";

impl Layout {
    /// Must be called inside `spi::connect`, with the rights of the extension's owner.
    pub fn of(parent: Oid, row_type: Oid) -> Option<Layout> {
        let args = [spi::arg(parent)];
        let mut partitions = [Oid::INVALID; STATES.len()];
        let (mut indexes, mut group_indexes) = (partitions, partitions);
        let found = spi::run_kept(PARTITIONS, &[pg_sys::OIDOID], &args);
        for row in 0..found.len() {
            let state: Option<String> = found.get(row, 1);
            let is_alike: bool = found.get(row, 3)?;
            if let Some(place) = state.and_then(|state| position(&state)).filter(|_| is_alike) {
                partitions[place] = found.get(row, 2)?;
                indexes[place] = found.get(row, 4)?;
                group_indexes[place] = found.get(row, 5).unwrap_or(Oid::INVALID);
            }
        }
        let mut numbers = [0; HEADER.len()];
        let found = spi::run_kept(NUMBERS, &[pg_sys::OIDOID], &args);
        for row in 0..found.len() {
            let name: String = found.get(row, 1)?;
            if let Some(place) = HEADER.iter().position(|header| *header == name) {
                numbers[place] = found.get(row, 2)?;
            }
        }
        let complete = !partitions.contains(&Oid::INVALID) && !numbers.contains(&0);
        complete.then(|| Layout {
            parent,
            row_type,
            numbers,
            partitions,
            ready_index: indexes[0],
            running_index: indexes[3],
            group_indexes,
        })
    }

    pub fn number(&self, column: Col) -> i16 {
        self.numbers[column as usize]
    }

    pub fn partition(&self, state: &str) -> Option<Oid> {
        position(state).map(|place| self.partitions[place])
    }

    pub fn partitions(&self) -> &[Oid] {
        &self.partitions
    }

    /// The columns that make a job more than a plain one, if they are filled.
    pub fn special(&self) -> [i16; 4] {
        [Col::Key, Col::GroupKey, Col::After, Col::KeepResult].map(|column| self.number(column))
    }

    /// What a claim of ready rows needs.
    pub fn ready(&self) -> Place {
        Place {
            parent: self.parent,
            table: self.partitions[0],
            index: self.ready_index,
            row_type: self.row_type,
            columns: Columns {
                id: self.number(Col::Id),
                priority: self.number(Col::Priority),
                run_at: self.number(Col::RunAt),
                attempt: self.number(Col::Attempt),
                max_attempts: self.number(Col::MaxAttempts),
                group_key: self.number(Col::GroupKey),
            },
        }
    }

    /// What looking after groups needs; `None` if an index was dropped.
    pub fn groups(&self) -> Option<group::Place> {
        let side =
            |place: usize| group::Side { table: self.partitions[place], index: self.group_indexes[place] };
        let (ready, scheduled, blocked) = (side(0), side(1), side(2));
        let (running, failed) = (side(3), side(4));
        let all = [ready, scheduled, blocked, running, failed];
        let complete = all.iter().all(|side| side.index != Oid::INVALID);
        complete.then(|| group::Place {
            ready,
            blocked,
            running,
            failed,
            scheduled,
            row_type: self.row_type,
            columns: self.ready().columns,
        })
    }

    /// What ending a lease needs.
    pub fn leased(&self) -> leased::Place {
        leased::Place {
            parent: self.parent,
            table: self.partitions[3],
            index: self.running_index,
            row_type: self.row_type,
            special: self.special(),
            columns: leased::Columns {
                id: self.number(Col::Id),
                priority: self.number(Col::Priority),
                run_at: self.number(Col::RunAt),
                attempt: self.number(Col::Attempt),
                max_attempts: self.number(Col::MaxAttempts),
                lease_until: self.number(Col::LeaseUntil),
            },
        }
    }
}

fn position(state: &str) -> Option<usize> {
    STATES.iter().position(|known| *known == state)
}
