//! The partition of leased rows, deleted from directly by id and attempt.

use super::insert::Desc;
use super::relation::Open;
use super::scan::{Cursor, Deletion, Fresh, Key};
use super::sweep::{Order, Swept, Wish};
use super::time::Micros;
use super::{Datum, Oid};

/// Tells of changes that are not ours.
const OUR_TRIGGERS: &[&std::ffi::CStr] = &[c"queue_ext_wake"];

/// Leases whose ids are so close are found by going from one to the next.
const NEAR: i64 = 16;

/// Where a queue's leased rows are.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub parent: Oid,
    pub table: Oid,
    /// Its unique index on the id.
    pub index: Oid,
    pub row_type: Oid,
    /// A row with something in one of these columns is returned in any case.
    pub special: [i16; 4],
    pub columns: Columns,
}

/// Numbers of the columns that ending a lease reads.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    pub id: i16,
    pub priority: i16,
    pub run_at: i16,
    pub attempt: i16,
    pub max_attempts: i16,
    pub lease_until: i16,
}

/// A leased row that this transaction has deleted.
pub struct Row {
    /// The whole row, if it was asked for or is special.
    pub datum: Option<Datum>,
    pub id: i64,
    pub priority: i32,
    pub attempt: i32,
    pub max_attempts: Option<i32>,
    pub run_at: Option<Micros>,
    pub lease_until: Option<Micros>,
}

/// What became of the leases.
pub struct Ended {
    pub rows: Vec<Row>,
    /// Somebody is changing these: to be waited for.
    pub busy: Vec<(i64, i32)>,
}

/// Ends leases, each by its id and attempt, in order; `None` if that is not all that the executor would do. To be
/// called in READ COMMITTED, with the caller's privileges checked.
pub fn end(
    place: &Place,
    leases: &[(i64, i32)],
    with_rows: bool,
    is_current: impl FnOnce() -> bool,
) -> Option<Ended> {
    let parent = Open::table(place.parent);
    let table = Open::table(place.table);
    let plain = table.is_plain_heap()
        && !table.delete_has_side_effects(OUR_TRIGGERS)
        && !parent.delete_has_side_effects(OUR_TRIGGERS);
    // The index is opened only after the locks are there: it may be gone.
    if !plain || !is_current() {
        return None;
    }
    let index = Open::index(place.index);
    table.check_may_delete();
    super::xact::next_command();
    let snapshot = Fresh::take();
    let desc = Desc::of(place.row_type);
    let of = &place.columns;
    let columns = [of.id, of.attempt, of.priority, of.max_attempts, of.run_at, of.lease_until];
    let highest = columns.into_iter().max()?;
    let mut cursor = Cursor::of_visible(&table, &index, &snapshot, 2, highest);
    let command = super::xact::command_to_write();
    let mut swept = Vec::with_capacity(leases.len());
    // Neighbours are looked for in one pass.
    for run in leases.chunk_by(|a, b| b.0.saturating_sub(a.0) <= NEAR) {
        cursor.seek(&[Key::Int8From(run[0].0), Key::Int8To(run[run.len() - 1].0)]);
        let wish = |read: &[Option<Datum>; 6], header| {
            let id = read[0].map_or(0, |value| value.value() as i64);
            let attempt = read[1].map_or(0, |value| value.value() as i32);
            // Another attempt is perhaps an older version of a row that is just changing; as DELETE, go by
            // the newest.
            if run.binary_search(&(id, attempt)).is_err() {
                return Wish::Leave;
            }
            // SAFETY: the sweep hands over the header of a whole row.
            let special = unsafe { super::row::any_filled_of(header, &place.special) };
            if with_rows || special { Wish::DeleteAndReturn } else { Wish::Delete }
        };
        let order = Order { command, desc: &desc, columns, limit: run.len(), gone_too: true };
        // SAFETY: the closure reads memory, and indexes only where there is something.
        unsafe { cursor.sweep(&order, wish, &mut swept) };
    }
    super::xact::next_command();
    let mut ended = Ended { rows: Vec::with_capacity(leases.len()), busy: Vec::new() };
    for Swept { outcome, columns: [id, attempt, priority, max_attempts, run_at, lease_until], row } in swept {
        let number = |value: Option<Datum>| value.map(|value| value.value() as i32);
        let time = |value: Option<Datum>| value.map(|value| value.value() as Micros);
        let id = id.map_or(0, |value| value.value() as i64);
        let attempt = number(attempt).unwrap_or(0);
        match outcome {
            Deletion::Done => ended.rows.push(Row {
                datum: row,
                id,
                priority: number(priority).unwrap_or(0),
                attempt,
                max_attempts: number(max_attempts),
                run_at: time(run_at),
                lease_until: time(lease_until),
            }),
            Deletion::Gone | Deletion::Busy => ended.busy.push((id, attempt)),
        }
    }
    Some(ended)
}
