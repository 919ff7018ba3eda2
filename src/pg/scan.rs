//! Reading a table through one of its indexes, and deleting from it what was read, as an executor's
//! index scan and DELETE would do it.

use super::guard::guarded;
use super::raw;
use super::relation::Open;
use super::sweep::{next_row_within, tuple_in};
use super::{Datum, Oid};
use pgrx::pg_sys;

/// Marks of a row that somebody has locked, or has both locked and deleted.
pub(super) const LOCKED: u32 = pg_sys::HEAP_XMAX_LOCK_ONLY | pg_sys::HEAP_XMAX_IS_MULTI;

/// A snapshot taken now. Dropping it gives it back.
pub struct Fresh(pg_sys::Snapshot);

impl Fresh {
    pub fn take() -> Fresh {
        // SAFETY: inside a transaction; registered with the current resource owner, which also gives it
        // back on ERROR. Nothing has a destructor.
        unsafe { Fresh(guarded(|| raw::RegisterSnapshot(raw::GetLatestSnapshot()))) }
    }

    pub(super) fn raw(&self) -> pg_sys::Snapshot {
        self.0
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if super::failure::is_raised() {
            return;
        }
        // SAFETY: registered by `take`.
        unsafe { pg_sys::UnregisterSnapshot(self.0) };
    }
}

/// How an index column is compared with a key.
#[derive(Clone, Copy)]
pub enum Key {
    Int2Is(i16),
    Int8From(i64),
    /// Of the column of the key before.
    Int8To(i64),
    Int4From(i32),
    TextIs(Datum),
    TextFrom(Datum),
    TextAfter(Datum),
}

/// A scan of an index with the slot its rows come in.
pub struct Cursor<'a> {
    pub(super) scan: pg_sys::IndexScanDesc,
    pub(super) slot: *mut pg_sys::TupleTableSlot,
    keys: [pg_sys::ScanKeyData; 2],
    pub(super) table: &'a Open,
    /// Rows are read up to this column.
    pub(super) columns: i16,
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

    /// For the rows that a snapshot sees which is exchanged later.
    ///
    /// # Safety
    /// The snapshot is exchanged by `look_through` before it is dropped, or outlives the cursor.
    pub(super) unsafe fn of_changing(
        table: &'a Open,
        index: &'a Open,
        snapshot: &Fresh,
        keys: usize,
        columns: i16,
    ) -> Cursor<'a> {
        Cursor::open(table, index, snapshot.0, keys, columns)
    }

    /// From the next `seek` on, the rows that this snapshot sees.
    ///
    /// # Safety
    /// As for `of_changing`.
    pub(super) unsafe fn look_through(&mut self, snapshot: &Fresh) {
        // SAFETY: a heap's scan reads the snapshot anew for each row.
        unsafe { (*self.scan).xs_snapshot = snapshot.0 };
    }

    /// Stands on the row at a place, if this snapshot sees one there.
    pub(super) fn stand_on(&mut self, mut place: pg_sys::ItemPointerData, snapshot: &Fresh) -> bool {
        // SAFETY: the slot is one for the open table, the snapshot is registered.
        unsafe {
            let found =
                pg_sys::table_tuple_fetch_row_version(self.table.raw(), &mut place, snapshot.0, self.slot);
            if found {
                pg_sys::slot_getsomeattrs_int(self.slot, i32::from(self.columns));
            }
            found
        }
    }

    /// The row that it stands on.
    ///
    /// # Safety
    /// It stands on one: the last step met it, or a sweep stopped at it.
    pub(super) unsafe fn current(&self) -> Current<'_> {
        Current { slot: self.slot, columns: self.columns, cursor: std::marker::PhantomData }
    }

    fn open(
        table: &'a Open,
        index: &'a Open,
        snapshot: pg_sys::Snapshot,
        keys: usize,
        columns: i16,
    ) -> Cursor<'a> {
        let (heap, index) = (table.raw(), index.raw());
        // SAFETY: table and index are open and belong together; the snapshot outlives the cursor. Nothing has
        // a destructor.
        let (scan, slot) = unsafe {
            guarded(|| {
                let scan = begin_scan(heap, index, snapshot, keys as i32);
                (scan, raw::table_slot_create(heap, std::ptr::null_mut()))
            })
        };
        Cursor { scan, slot, keys: [pg_sys::ScanKeyData::default(); 2], table, columns }
    }

    /// Goes to the first entry that fits; as many keys as the cursor was opened for, for the index's first
    /// columns in turn, which are of the keys' types.
    pub fn seek(&mut self, keys: &[Key]) {
        assert!(keys.len() <= self.keys.len());
        let list = self.keys.as_mut_ptr();
        let (scan, wanted, count) = (self.scan, keys.as_ptr(), keys.len());
        // SAFETY: so many keys are wanted, and there is room for them. The procedures compare values of the
        // columns' types, by the index's collations. The keys are copied; their number is that of `open`.
        // Nothing has a destructor.
        unsafe {
            guarded(|| {
                for place in 0..count {
                    let (is_same_column, strategy, procedure, value) = compared(*wanted.add(place));
                    let column = if is_same_column { place } else { place + 1 };
                    let key = list.add(place);
                    raw::ScanKeyInit(key, column as i16, strategy as u16, Oid::from(procedure), value);
                    (*key).sk_collation = *(*(*scan).indexRelation).rd_indcollation.add(column - 1);
                }
                raw::index_rescan(scan, list, count as i32, std::ptr::null_mut(), 0);
            });
        }
    }

    /// The next row, if it comes before so many entries of the index have been looked at. Those of rows that
    /// were vacuumed away, say, count, too.
    pub fn advance(&mut self, entries: &mut usize) -> Step<'_> {
        // Here nothing is half done.
        super::interrupt::check();
        let (scan, slot, columns) = (self.scan, self.slot, self.columns);
        let left = *entries;
        // SAFETY: scan and slot are valid; nothing with a destructor is made inside.
        let (met, left) = unsafe { guarded(|| next_row_within(scan, slot, columns, left)) };
        *entries = left;
        match met {
            None => Step::TooMany,
            Some(false) => Step::Over,
            Some(true) => Step::Row(Current {
                slot: self.slot,
                columns: self.columns,
                cursor: std::marker::PhantomData,
            }),
        }
    }
}

/// What the next step of a cursor meets.
pub enum Step<'a> {
    Row(Current<'a>),
    Over,
    /// Entries that lead nowhere, more than were to be looked at.
    TooMany,
}

impl Drop for Cursor<'_> {
    fn drop(&mut self) {
        if super::failure::is_raised() {
            return;
        }
        let (scan, slot) = (self.scan, self.slot);
        // SAFETY: both made by `open`; ending the scan lets go of its pins. Nothing has a destructor.
        unsafe {
            guarded(|| {
                super::raw::ExecDropSingleTupleTableSlot(slot);
                raw::index_endscan(scan);
            });
        }
    }
}

/// Is a key of the column of the one before; how it is compared, and with what.
fn compared(key: Key) -> (bool, u32, u32, Datum) {
    use pg_sys::{BTEqualStrategyNumber, BTGreaterEqualStrategyNumber, BTGreaterStrategyNumber};
    match key {
        Key::Int2Is(value) => (false, BTEqualStrategyNumber, pg_sys::F_INT2EQ, Datum::from(value)),
        Key::Int8From(value) => (false, BTGreaterEqualStrategyNumber, pg_sys::F_INT8GE, Datum::from(value)),
        Key::Int8To(value) => (true, pg_sys::BTLessEqualStrategyNumber, pg_sys::F_INT8LE, Datum::from(value)),
        Key::Int4From(value) => (false, BTGreaterEqualStrategyNumber, pg_sys::F_INT4GE, Datum::from(value)),
        Key::TextIs(value) => (false, BTEqualStrategyNumber, pg_sys::F_TEXTEQ, value),
        Key::TextFrom(value) => (false, BTGreaterEqualStrategyNumber, pg_sys::F_TEXT_GE, value),
        Key::TextAfter(value) => (false, BTGreaterStrategyNumber, pg_sys::F_TEXT_GT, value),
    }
}

/// # Safety
/// Called inside `guarded`. The index is one of the table's; the snapshot stays valid until the scan is ended.
unsafe fn begin_scan(
    table: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    keys: i32,
) -> pg_sys::IndexScanDesc {
    // SAFETY: by the contract above.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return raw::index_beginscan(table, index, snapshot, keys, 0);
        #[cfg(feature = "pg18")]
        return raw::index_beginscan(table, index, snapshot, std::ptr::null_mut(), keys, 0);
    }
}

/// The row that a cursor stands on, until the cursor moves.
pub struct Current<'a> {
    slot: *mut pg_sys::TupleTableSlot,
    columns: i16,
    cursor: std::marker::PhantomData<&'a Cursor<'a>>,
}

/// What became of an attempt to delete a row.
#[derive(Clone, Copy)]
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

    /// Has it something in any of these columns?
    pub fn any_filled(&self, numbers: &[i16]) -> bool {
        // SAFETY: the slot's tuple is valid while the cursor stands on it.
        unsafe { super::row::any_filled_of((*self.tuple()).t_data, numbers) }
    }

    /// The bytes of a text in a column that may lie behind those that are read anyway.
    pub fn text(&self, number: i16) -> Option<Vec<u8>> {
        let index = number as usize - 1;
        // SAFETY: the column is one of the table's, and a text; the slot keeps the row meanwhile.
        unsafe {
            pg_sys::slot_getsomeattrs_int(self.slot, i32::from(number));
            let filled = !*(*self.slot).tts_isnull.add(index);
            filled.then(|| super::row::bytes_of_text(*(*self.slot).tts_values.add(index)))
        }
    }

    /// Where the row is.
    pub(super) fn place(&self) -> pg_sys::ItemPointerData {
        // SAFETY: the slot holds a row of the table.
        unsafe { (*self.slot).tts_tid }
    }

    fn tuple(&self) -> pg_sys::HeapTuple {
        // SAFETY: the slot was filled by an index scan.
        unsafe { tuple_in(self.slot) }
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
