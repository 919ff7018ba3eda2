//! Reading a table through one of its indexes, and deleting from it what was read, as an executor's
//! index scan and DELETE would do it.

use super::insert::Desc;
use super::relation::Open;
use super::{Datum, Oid};
use pgrx::pg_sys;

/// Marks of a row that somebody has locked, or has both locked and deleted.
const LOCKED: u32 = pg_sys::HEAP_XMAX_LOCK_ONLY | pg_sys::HEAP_XMAX_IS_MULTI;

/// A snapshot taken now. Dropping it gives it back.
pub struct Fresh(pg_sys::Snapshot);

impl Fresh {
    pub fn take() -> Fresh {
        // SAFETY: inside a transaction; registered with the current resource owner, which also gives it
        // back on ERROR.
        unsafe { Fresh(pg_sys::RegisterSnapshot(pg_sys::GetLatestSnapshot())) }
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // SAFETY: registered by `take`.
        unsafe { pg_sys::UnregisterSnapshot(self.0) };
    }
}

/// How an index column is compared with a key.
#[derive(Clone, Copy)]
pub enum Key {
    Int2Is(i16),
    Int8Is(i64),
    Int8From(i64),
}

/// A scan of an index with the slot its rows come in.
pub struct Cursor<'a> {
    scan: pg_sys::IndexScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
    keys: [pg_sys::ScanKeyData; 2],
    table: &'a Open,
    /// Rows are read up to this column.
    columns: i16,
}

impl<'a> Cursor<'a> {
    /// For the rows that a snapshot sees.
    pub fn of_visible(
        table: &'a Open,
        index: &'a Open,
        snapshot: &'a Fresh,
        keys: usize,
        columns: i16,
    ) -> Cursor<'a> {
        Cursor::open(table, index, snapshot.0, keys, columns)
    }

    /// For every version of a row.
    pub fn of_all(table: &'a Open, index: &'a Open, keys: usize, columns: i16) -> Cursor<'a> {
        Cursor::open(table, index, &raw mut pg_sys::SnapshotAnyData, keys, columns)
    }

    fn open(
        table: &'a Open,
        index: &'a Open,
        snapshot: pg_sys::Snapshot,
        keys: usize,
        columns: i16,
    ) -> Cursor<'a> {
        // SAFETY: table and index are open and belong together; the snapshot outlives the cursor.
        unsafe {
            Cursor {
                scan: begin_scan(table.raw(), index.raw(), snapshot, keys as i32),
                slot: pg_sys::table_slot_create(table.raw(), std::ptr::null_mut()),
                keys: [pg_sys::ScanKeyData::default(); 2],
                table,
                columns,
            }
        }
    }

    /// Goes to the first entry that fits; as many keys as the cursor was opened for, one for each of the
    /// index's first columns, which are of the keys' types.
    pub fn seek(&mut self, keys: &[Key]) {
        for (place, key) in keys.iter().enumerate() {
            let (strategy, procedure, value) = match *key {
                Key::Int2Is(value) => (pg_sys::BTEqualStrategyNumber, pg_sys::F_INT2EQ, Datum::from(value)),
                Key::Int8Is(value) => (pg_sys::BTEqualStrategyNumber, pg_sys::F_INT8EQ, Datum::from(value)),
                Key::Int8From(value) => {
                    (pg_sys::BTGreaterEqualStrategyNumber, pg_sys::F_INT8GE, Datum::from(value))
                }
            };
            // SAFETY: the procedures compare values of the columns' types.
            unsafe {
                pg_sys::ScanKeyInit(
                    &mut self.keys[place],
                    place as i16 + 1,
                    strategy as u16,
                    Oid::from(procedure),
                    value,
                );
            }
        }
        // SAFETY: the keys are copied; their number is that of `open`.
        unsafe {
            pg_sys::index_rescan(
                self.scan,
                self.keys.as_mut_ptr(),
                keys.len() as i32,
                std::ptr::null_mut(),
                0,
            );
        }
    }

    /// The next row.
    pub fn advance(&mut self) -> Option<Current<'_>> {
        // Here nothing is half done.
        super::interrupt::check();
        // SAFETY: scan and slot are valid.
        unsafe {
            if !pg_sys::index_getnext_slot(self.scan, pg_sys::ScanDirection::ForwardScanDirection, self.slot)
            {
                return None;
            }
            pg_sys::slot_getsomeattrs_int(self.slot, i32::from(self.columns));
        }
        Some(Current { slot: self.slot, table: self.table, columns: self.columns })
    }
}

impl Drop for Cursor<'_> {
    fn drop(&mut self) {
        // SAFETY: both made by `open`; ending the scan lets go of its pins.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::index_endscan(self.scan);
        }
    }
}

/// # Safety
/// The index is one of the table's; the snapshot stays valid until the scan is ended.
unsafe fn begin_scan(
    table: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    keys: i32,
) -> pg_sys::IndexScanDesc {
    // SAFETY: by the contract above.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return pg_sys::index_beginscan(table, index, snapshot, keys, 0);
        #[cfg(feature = "pg18")]
        return pg_sys::index_beginscan(table, index, snapshot, std::ptr::null_mut(), keys, 0);
    }
}

/// The row that a cursor stands on, until the cursor moves.
pub struct Current<'a> {
    slot: *mut pg_sys::TupleTableSlot,
    table: &'a Open,
    columns: i16,
}

/// What became of an attempt to delete a row.
pub enum Deletion {
    Done,
    /// Gone, or in the hands of somebody who is deleting it.
    Gone,
    /// Locked or changed by somebody.
    Busy,
}

/// What became of a row, whoever sees it.
pub enum Status {
    /// For good: deleted, or never committed.
    Dead,
    /// Being inserted, deleted or locked.
    InProgress,
    /// With who inserted it, and who tried to delete it last.
    Claimable { xmin: u32, xmax: u32 },
}

impl Current<'_> {
    pub fn column(&self, number: i16) -> Option<Datum> {
        assert!(number > 0 && number <= self.columns);
        let index = number as usize - 1;
        // SAFETY: the cursor has read the row up to that column.
        unsafe { (!*(*self.slot).tts_isnull.add(index)).then(|| *(*self.slot).tts_values.add(index)) }
    }

    fn tuple(&self) -> pg_sys::HeapTuple {
        // SAFETY: a slot for a heap table holds a heap tuple; false: no copy.
        unsafe {
            let mut must_free = false;
            pg_sys::ExecFetchSlotHeapTuple(self.slot, false, &mut must_free)
        }
    }

    /// The whole row as a value of a row type that is laid out as the table.
    pub fn datum(&self, desc: &Desc) -> Datum {
        // SAFETY: the slot keeps the page pinned. Values stored elsewhere are fetched, while they exist. A
        // row older than a column gets that column's default from the table's description, which alone
        // has it.
        unsafe {
            let mut tuple = self.tuple();
            let columns = u32::from((*(*tuple).t_data).t_infomask2) & pg_sys::HEAP_NATTS_MASK;
            if columns < (*desc.raw()).natts as u32 {
                pg_sys::slot_getsomeattrs_int(self.slot, (*desc.raw()).natts);
                tuple = pg_sys::heap_form_tuple(desc.raw(), (*self.slot).tts_values, (*self.slot).tts_isnull);
            }
            pg_sys::heap_copy_tuple_as_datum(tuple, desc.raw())
        }
    }

    /// Has it something in any of these columns?
    pub fn any_filled(&self, numbers: &[i16]) -> bool {
        // SAFETY: the slot's tuple is valid while the cursor stands on it.
        unsafe { super::row::any_filled_of((*self.tuple()).t_data, numbers) }
    }

    /// Has it values that are stored outside of the row, and deleted with it?
    pub fn has_values_outside(&self) -> bool {
        // SAFETY: the slot's tuple is valid while the cursor stands on it.
        unsafe { (*(*self.tuple()).t_data).t_infomask & pg_sys::HEAP_HASEXTERNAL as u16 != 0 }
    }

    /// Deletes the row, without waiting for anybody. READ COMMITTED: a change since the snapshot is seen.
    pub fn delete(&self, command: u32) -> Deletion {
        // SAFETY: the slot holds a row of the open table, and names its place.
        unsafe {
            let mut failure = pg_sys::TM_FailureData::default();
            let delete = |wait: bool, failure: &mut pg_sys::TM_FailureData| {
                let (table, place) = (self.table.raw(), &raw mut (*self.slot).tts_tid);
                pg_sys::heap_delete(table, place, command, std::ptr::null_mut(), wait, failure, false)
            };
            let mut outcome = delete(false, &mut failure);
            let mask = || u32::from((*(*self.tuple()).t_data).t_infomask);
            if outcome == pg_sys::TM_Result::TM_BeingModified
                && mask() & pg_sys::HEAP_XMAX_IS_MULTI == 0
                && pg_sys::TransactionIdIsCurrentTransactionId(failure.xmax)
            {
                // Locked by this transaction itself: there is nobody to wait for.
                outcome = delete(true, &mut failure);
            }
            match outcome {
                pg_sys::TM_Result::TM_Ok => Deletion::Done,
                pg_sys::TM_Result::TM_BeingModified => {
                    if mask() & LOCKED != 0 {
                        Deletion::Busy
                    } else {
                        Deletion::Gone
                    }
                }
                // By another transaction, or by this very statement.
                pg_sys::TM_Result::TM_Deleted | pg_sys::TM_Result::TM_SelfModified => Deletion::Gone,
                _ => Deletion::Busy,
            }
        }
    }

    pub fn status(&self) -> Status {
        use pg_sys::HTSV_Result::{HEAPTUPLE_DEAD, HEAPTUPLE_LIVE, HEAPTUPLE_RECENTLY_DEAD};
        // SAFETY: a slot of a heap table filled by an index scan is a buffer slot, whose page stays
        // pinned; the page is locked for the look, which sets hint bits.
        unsafe {
            let tuple = self.tuple();
            let buffer = (*self.slot.cast::<pg_sys::BufferHeapTupleTableSlot>()).buffer;
            let mut dead_after = pg_sys::TransactionId::from(0);
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let status = pg_sys::HeapTupleSatisfiesVacuumHorizon(tuple, buffer, &mut dead_after);
            let fields = (*(*tuple).t_data).t_choice.t_heap;
            let mask = u32::from((*(*tuple).t_data).t_infomask);
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            let nobody_has_it = mask & pg_sys::HEAP_XMAX_INVALID != 0 || mask & LOCKED == 0;
            match status {
                HEAPTUPLE_DEAD | HEAPTUPLE_RECENTLY_DEAD => Status::Dead,
                HEAPTUPLE_LIVE if nobody_has_it => Status::Claimable {
                    xmin: u32::from(fields.t_xmin),
                    // Also if it is marked as void: that may be just being so. Several lockers are no
                    // transaction.
                    xmax: if mask & pg_sys::HEAP_XMAX_IS_MULTI != 0 { 0 } else { u32::from(fields.t_xmax) },
                },
                _ => Status::InProgress,
            }
        }
    }
}
