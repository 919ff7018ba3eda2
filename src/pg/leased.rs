//! The partition of leased rows, deleted from directly by id and attempt.

use super::insert::Desc;
use super::relation::Open;
use super::scan::{Cursor, Deletion, Fresh, Key};
use super::time::Micros;
use super::{Datum, Oid};

/// Tells of changes that are not ours.
const OUR_TRIGGERS: &[&std::ffi::CStr] = &[c"queue_ext_wake"];

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

/// Ends leases, each by its id and attempt; `None` if that is not all that the executor would do. To be
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
    let columns = &place.columns;
    let highest = [
        columns.id,
        columns.priority,
        columns.run_at,
        columns.attempt,
        columns.max_attempts,
        columns.lease_until,
    ]
    .into_iter()
    .max()?;
    let mut cursor = Cursor::of_visible(&table, &index, &snapshot, 1, highest);
    let command = super::xact::command_to_write();
    let mut ended = Ended { rows: Vec::with_capacity(leases.len()), busy: Vec::new() };
    for (id, attempt) in leases {
        cursor.seek(&[Key::Int8Is(*id)]);
        while let Some(current) = cursor.advance() {
            let number = |column| current.column(column).map(|value| value.value() as i32);
            let time = |column| current.column(column).map(|value| value.value() as Micros);
            if number(columns.attempt) != Some(*attempt) {
                // Perhaps an older version of a row that is just changing; as DELETE, go by the newest.
                continue;
            }
            let with_rows = with_rows || current.any_filled(&place.special);
            let fetched = (with_rows && current.has_values_outside()).then(|| current.datum(&desc));
            match current.delete(command) {
                Deletion::Done => ended.rows.push(Row {
                    datum: fetched.or_else(|| with_rows.then(|| current.datum(&desc))),
                    id: *id,
                    priority: number(columns.priority).unwrap_or(0),
                    attempt: *attempt,
                    max_attempts: number(columns.max_attempts),
                    run_at: time(columns.run_at),
                    lease_until: time(columns.lease_until),
                }),
                Deletion::Gone | Deletion::Busy => ended.busy.push((*id, *attempt)),
            }
            break;
        }
    }
    super::xact::next_command();
    Some(ended)
}
