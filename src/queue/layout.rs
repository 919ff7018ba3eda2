//! How a queue's table is stored: the numbers of its columns, its partitions and the indexes that claims
//! use. Known only if it is stored as it was made; else jobs are moved by SQL.

use super::stored::Stored;
use super::{HEADER, STATES};
use crate::pg::Oid;
use crate::pg::group;
use crate::pg::leased;
use crate::pg::ready::{Columns, Place};
use crate::pg::stored::Index;
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

impl Layout {
    pub fn of(stored: &Stored, row_type: Oid) -> Option<Layout> {
        let mut numbers = [0; HEADER.len()];
        for (number, name) in numbers.iter_mut().zip(HEADER) {
            *number = stored.column(name)?.number;
        }
        let mut partitions = [Oid::INVALID; STATES.len()];
        let (mut indexes, mut group_indexes) = (partitions, partitions);
        for (table, state) in &stored.partitions {
            if let Some(place) = state.filter(|_| stored.is_alike(*table)) {
                let there = stored.indexes_of(*table);
                partitions[place] = *table;
                indexes[place] = claim_index(&there, place, &numbers)?;
                group_indexes[place] = group_index(&there, place, &numbers).unwrap_or(Oid::INVALID);
            }
        }
        (!partitions.contains(&Oid::INVALID)).then(|| Layout {
            parent: stored.parent,
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

/// A partition's index for claims: (priority, id) on the ready ones, (id) on the others.
fn claim_index(there: &[Index], place: usize, numbers: &[i16]) -> Option<Oid> {
    let columns: &[Col] = if place == 0 { &[Col::Priority, Col::Id] } else { &[Col::Id] };
    let fits = |index: &&Index| index.unique && index.condition.is_none() && is_on(index, columns, numbers);
    let found = there.iter().filter(fits);
    found.max_by_key(|index| (index.standing, std::cmp::Reverse(index.oid.to_u32()))).map(|index| index.oid)
}

/// A partition's index for groups.
fn group_index(there: &[Index], place: usize, numbers: &[i16]) -> Option<Oid> {
    let columns: &[Col] = match STATES[place] {
        "ready" | "blocked" => &[Col::GroupKey, Col::Id],
        "scheduled" => &[Col::GroupKey, Col::Attempt],
        _ => &[Col::GroupKey],
    };
    let number = |column: Col| numbers[column as usize];
    let (in_group, waits_for_none) = ((number(Col::GroupKey), true), (number(Col::After), false));
    let conditions: &[_] = match STATES[place] {
        "blocked" => &[in_group, waits_for_none],
        _ => &[in_group],
    };
    let fits = |index: &&Index| {
        index.collation == pg_sys::C_COLLATION_OID
            && is_on(index, columns, numbers)
            && index.condition.as_ref().is_some_and(|condition| condition.is(conditions))
    };
    there.iter().filter(fits).map(|index| index.oid).min_by_key(|oid| oid.to_u32())
}

fn is_on(index: &Index, columns: &[Col], numbers: &[i16]) -> bool {
    index.columns.iter().copied().eq(columns.iter().map(|column| numbers[*column as usize]))
}
