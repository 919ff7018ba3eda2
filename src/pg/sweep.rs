//! Deleting row after row of a scan under one guard. Everything here that is unsafe is called under a guard
//! only, and calls Postgres as it is (see [`guarded`]).

use super::Datum;
use super::guard::{guarded, is_interrupted};
use super::insert::Desc;
use super::passing::Passing;
use super::raw;
use super::scan::{Cursor, Deletion, LOCKED};
use pgrx::pg_sys;

/// Rows at most that are deleted under one guard.
const MOST_AT_ONCE: usize = 1000;

/// What to do with a row.
#[derive(Clone, Copy)]
pub enum Wish {
    Leave,
    /// Leave it, and go no further: the cursor stands on it.
    Stop,
    Delete,
    /// The whole row is wanted, too.
    DeleteAndReturn,
}

/// A row that was to be deleted.
#[derive(Clone, Copy)]
pub struct Swept<const N: usize> {
    pub outcome: Deletion,
    /// The columns that were asked for.
    pub columns: [Option<Datum>; N],
    /// The whole row, if it was wanted and is deleted.
    pub row: Option<Datum>,
}

/// How far a sweep came.
#[derive(Clone, Copy, PartialEq)]
pub enum End {
    /// There are no more rows.
    Over,
    /// As many as wanted are deleted.
    Enough,
    /// At a row that is not to be passed.
    Stopped,
    /// For the moment.
    NoRoom,
    Interrupted,
}

/// What a sweep is to do.
pub struct Order<'a, const N: usize> {
    /// The command that deletes.
    pub command: u32,
    /// Of the rows that are returned.
    pub desc: &'a Desc,
    /// Columns to read of each row: numbers up to the one that the cursor was opened for.
    pub columns: [i16; N],
    /// Rows to delete at most.
    pub limit: usize,
    /// Tell of rows, too, that somebody else is deleting.
    pub gone_too: bool,
}

impl Cursor<'_> {
    /// From where the cursor was put, in its order, deletes the rows that `wish` says, without waiting for
    /// anybody. Adds what became of each.
    ///
    /// # Safety
    /// `wish` does not panic and calls nothing of Postgres.
    pub unsafe fn sweep<const N: usize>(
        &mut self,
        order: &Order<N>,
        wish: impl Fn(&[Option<Datum>; N], *const pg_sys::HeapTupleHeaderData) -> Wish + Copy,
        swept: &mut Vec<Swept<N>>,
    ) -> End {
        let Order { command, columns, limit, gone_too, .. } = *order;
        assert!(columns.iter().all(|number| *number > 0 && *number <= self.columns));
        let (scan, slot, table) = (self.scan, self.slot, self.table.raw());
        let (highest, desc) = (self.columns, order.desc.raw());
        let mut left = limit;
        let mut passing = Passing::default();
        while left > 0 {
            // Here nothing is half done.
            super::interrupt::check();
            swept.reserve(left.min(MOST_AT_ONCE));
            let room = left.min(MOST_AT_ONCE);
            let begin = swept.spare_capacity_mut().as_mut_ptr().cast::<Swept<N>>();
            let work = || {
                let (mut count, mut deleted, mut passing) = (0, 0, passing);
                let end = loop {
                    if count >= room {
                        break if deleted >= left { End::Enough } else { End::NoRoom };
                    }
                    if is_interrupted() {
                        break End::Interrupted;
                    }
                    // SAFETY: under a guard; the cursor's scan and slot, which is filled if there is a row.
                    unsafe {
                        if !next_row(scan, slot, highest) {
                            break End::Over;
                        }
                        let tuple = tuple_in(slot);
                        let read = columns.map(|number| column(slot, number));
                        let wish = wish(&read, (*tuple).t_data);
                        match wish {
                            Wish::Leave => continue,
                            Wish::Stop => break End::Stopped,
                            Wish::Delete | Wish::DeleteAndReturn => {}
                        }
                        if !gone_too && passing.is_gone(slot) {
                            continue;
                        }
                        let wanted = matches!(wish, Wish::DeleteAndReturn);
                        // What is stored elsewhere is fetched before it goes with the row.
                        let outside =
                            u32::from((*(*tuple).t_data).t_infomask) & pg_sys::HEAP_HASEXTERNAL != 0;
                        let mut row = (wanted && outside).then(|| value_of_row(slot, desc));
                        let outcome = delete_row(slot, table, command);
                        match outcome {
                            Deletion::Done => {
                                if wanted && !outside {
                                    row = Some(value_of_row(slot, desc));
                                }
                                deleted += 1;
                            }
                            Deletion::Gone if !gone_too => {
                                passing.note(slot);
                                continue;
                            }
                            _ => row = None,
                        }
                        begin.add(count).write(Swept { outcome, columns: read, row });
                    }
                    count += 1;
                };
                (end, count, deleted, passing)
            };
            // SAFETY: plain values only; `wish` by the contract above.
            let (end, count, deleted, seen) = unsafe { guarded(work) };
            passing = seen;
            // SAFETY: so many were written into the room reserved.
            unsafe { swept.set_len(swept.len() + count) };
            left -= deleted;
            if matches!(end, End::Over | End::Stopped) {
                return end;
            }
        }
        End::Enough
    }

    /// Deletes the row that the cursor stands on, without waiting for anybody.
    ///
    /// # Safety
    /// It stands on one.
    pub unsafe fn take_current<const N: usize>(&mut self, order: &Order<N>) -> Swept<N> {
        let Order { command, columns, .. } = *order;
        assert!(columns.iter().all(|number| *number > 0 && *number <= self.columns));
        let (slot, table, desc) = (self.slot, self.table.raw(), order.desc.raw());
        let work = || {
            // SAFETY: under a guard; the slot is filled, by the contract above.
            unsafe {
                let columns = columns.map(|number| column(slot, number));
                // What is stored elsewhere is fetched before it goes with the row.
                let row = value_of_row(slot, desc);
                let outcome = delete_row(slot, table, command);
                Swept { outcome, columns, row: matches!(outcome, Deletion::Done).then_some(row) }
            }
        };
        // SAFETY: plain values only.
        unsafe { guarded(work) }
    }
}

/// # Safety
/// The slot holds a row, read up to that column at least.
#[inline]
unsafe fn column(slot: *mut pg_sys::TupleTableSlot, number: i16) -> Option<Datum> {
    // SAFETY: by the contract above.
    unsafe {
        let index = number as usize - 1;
        (!*(*slot).tts_isnull.add(index)).then(|| *(*slot).tts_values.add(index))
    }
}

/// Fetches the next row into the slot; false if there is none.
///
/// # Safety
/// Under a guard. The scan has been positioned, the slot is one for its table.
#[inline]
pub(super) unsafe fn next_row(
    scan: pg_sys::IndexScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
    columns: i16,
) -> bool {
    // SAFETY: by the contract above.
    unsafe {
        let found = raw::index_getnext_slot(scan, pg_sys::ScanDirection::ForwardScanDirection, slot);
        if found && (*slot).tts_nvalid < columns {
            raw::slot_getsomeattrs_int(slot, i32::from(columns));
        }
        found
    }
}

/// Fetches the next row into the slot, looking at so many entries of the index at most. Returns whether there is
/// one, none if that cannot be said, and how many entries are left.
///
/// # Safety
/// As for `next_row`.
pub(super) unsafe fn next_row_within(
    scan: pg_sys::IndexScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
    columns: i16,
    entries: usize,
) -> (Option<bool>, usize) {
    let mut left = entries;
    // SAFETY: by the contract above. An entry may lead to several versions of a row.
    unsafe {
        loop {
            if !(*scan).xs_heap_continue {
                if left == 0 {
                    return (None, 0);
                }
                left -= 1;
                if raw::index_getnext_tid(scan, pg_sys::ScanDirection::ForwardScanDirection).is_null() {
                    return (Some(false), left);
                }
            }
            if raw::index_fetch_heap(scan, slot) {
                raw::slot_getsomeattrs_int(slot, i32::from(columns));
                return (Some(true), left);
            }
        }
    }
}

/// The tuple in a slot, on its page.
///
/// # Safety
/// The slot is one of a heap table, filled by an index scan.
pub(super) unsafe fn tuple_in(slot: *mut pg_sys::TupleTableSlot) -> pg_sys::HeapTuple {
    // SAFETY: such a slot refers to a tuple on a pinned page, by this field.
    unsafe { (*slot.cast::<pg_sys::HeapTupleTableSlot>()).tuple }
}

/// The row as a value. What it stores elsewhere is fetched, while it exists. A row older than a column gets
/// that column's default from the table's description, which alone has it.
///
/// # Safety
/// Under a guard. The slot is filled by an index scan; the description is laid out as its table.
unsafe fn value_of_row(slot: *mut pg_sys::TupleTableSlot, desc: pg_sys::TupleDesc) -> Datum {
    // SAFETY: by the contract above.
    unsafe {
        let mut tuple = tuple_in(slot);
        let columns = u32::from((*(*tuple).t_data).t_infomask2) & pg_sys::HEAP_NATTS_MASK;
        if columns < (*desc).natts as u32 {
            raw::slot_getsomeattrs_int(slot, (*desc).natts);
            tuple = raw::heap_form_tuple(desc, (*slot).tts_values, (*slot).tts_isnull);
        }
        raw::heap_copy_tuple_as_datum(tuple, desc)
    }
}

/// # Safety
/// Under a guard. The slot is filled by an index scan of the open table.
unsafe fn delete_row(slot: *mut pg_sys::TupleTableSlot, table: pg_sys::Relation, command: u32) -> Deletion {
    // SAFETY: by the contract above; the slot names the row's place.
    unsafe {
        let mut failure = pg_sys::TM_FailureData::default();
        let (place, failed) = (&raw mut (*slot).tts_tid, &raw mut failure);
        let anything = std::ptr::null_mut();
        let mut outcome = raw::heap_delete(table, place, command, anything, false, failed, false);
        if outcome == pg_sys::TM_Result::TM_Ok {
            return Deletion::Done;
        }
        let mask = || u32::from((*(*tuple_in(slot)).t_data).t_infomask);
        if outcome == pg_sys::TM_Result::TM_BeingModified
            && mask() & pg_sys::HEAP_XMAX_IS_MULTI == 0
            && raw::TransactionIdIsCurrentTransactionId((*failed).xmax)
        {
            // Locked by this transaction itself: there is nobody to wait for.
            outcome = raw::heap_delete(table, place, command, anything, true, failed, false);
        }
        match outcome {
            pg_sys::TM_Result::TM_Ok => Deletion::Done,
            pg_sys::TM_Result::TM_BeingModified if mask() & LOCKED == 0 => Deletion::Gone,
            // By another transaction, or by this very statement.
            pg_sys::TM_Result::TM_Deleted | pg_sys::TM_Result::TM_SelfModified => Deletion::Gone,
            _ => Deletion::Busy,
        }
    }
}
