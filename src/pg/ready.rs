//! The ready partition, read and deleted from directly in the order of its index (priority, id): what an
//! executor would do for the same DELETE, without planning, row locks and statement overhead. The only
//! code that knows how ready rows are stored.

use super::relation::Open;
use super::time::Micros;
use super::{Datum, Oid};
use crate::claim::floor::{BOTTOM, Keys, PRIORITIES, TOP};
use pgrx::pg_sys;

/// Marks of a row that somebody has locked, or has both locked and deleted.
const LOCKED: u32 = pg_sys::HEAP_XMAX_LOCK_ONLY | pg_sys::HEAP_XMAX_IS_MULTI;
/// Transaction numbers below this are no transactions.
const FIRST_TRANSACTION: u32 = 3;

/// Numbers of the columns that a claim reads.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    pub id: i16,
    pub priority: i16,
    pub run_at: i16,
    pub attempt: i16,
    pub max_attempts: i16,
}

/// Where a queue's ready rows are.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub parent: Oid,
    pub table: Oid,
    pub index: Oid,
    pub row_type: Oid,
    pub columns: Columns,
}

/// A row that this transaction has deleted; the value lies in the memory context it was taken in.
pub struct Row {
    pub datum: Datum,
    pub id: i64,
    pub priority: i32,
    pub attempt: i32,
    pub max_attempts: Option<i32>,
    pub run_at: Option<Micros>,
}

/// What a scan took, and for each priority the key below which it left nothing claimable.
pub struct Scan {
    pub rows: Vec<Row>,
    pub reached: Keys,
}

/// A row that can be claimed, as the safety scan met it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Met {
    pub id: i64,
    pub xmin: u32,
    pub xmax: u32,
}

/// What a look at part of the index found.
pub struct Look {
    /// Below this all is dead for good.
    pub dead: i64,
    /// The first row that can be claimed.
    pub met: Option<Met>,
    /// Where a further look goes on; none: the part is done.
    pub next: Option<i64>,
    /// Entries looked at.
    pub seen: usize,
}

/// The ready partition, open.
pub struct Ready {
    table: Open,
    index: Open,
    place: Place,
    plain: bool,
}

/// A snapshot taken now. Dropping it gives it back.
struct Fresh(pg_sys::Snapshot);

impl Fresh {
    fn take() -> Fresh {
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

/// A scan of the index with the slot its rows come in.
struct Cursor<'a> {
    scan: pg_sys::IndexScanDesc,
    slot: *mut pg_sys::TupleTableSlot,
    keys: [pg_sys::ScanKeyData; 2],
    ready: &'a Ready,
}

impl<'a> Cursor<'a> {
    fn open(ready: &'a Ready, snapshot: pg_sys::Snapshot) -> Cursor<'a> {
        // SAFETY: table and index are open and belong together; the snapshot outlives the cursor.
        unsafe {
            Cursor {
                scan: begin_scan(ready.table.raw(), ready.index.raw(), snapshot),
                slot: pg_sys::table_slot_create(ready.table.raw(), std::ptr::null_mut()),
                keys: [pg_sys::ScanKeyData::default(); 2],
                ready,
            }
        }
    }

    /// Goes to the first entry of this priority with at least this id.
    fn seek(&mut self, priority: usize, id: i64) {
        let lowest = if id <= BOTTOM { i64::MIN } else { id };
        // SAFETY: the index has these two columns in this order (`Place` is made that way); the
        // procedures belong to their types; the keys are copied by the rescan.
        unsafe {
            pg_sys::ScanKeyInit(
                &mut self.keys[0],
                1,
                pg_sys::BTEqualStrategyNumber as u16,
                pg_sys::Oid::from(pg_sys::F_INT2EQ),
                Datum::from(priority as i16),
            );
            pg_sys::ScanKeyInit(
                &mut self.keys[1],
                2,
                pg_sys::BTGreaterEqualStrategyNumber as u16,
                pg_sys::Oid::from(pg_sys::F_INT8GE),
                Datum::from(lowest),
            );
            pg_sys::index_rescan(self.scan, self.keys.as_mut_ptr(), 2, std::ptr::null_mut(), 0);
        }
    }

    /// The next row that the snapshot sees.
    fn next(&mut self) -> Option<Current> {
        // SAFETY: scan and slot are valid; an interrupt raises here, where nothing is half done.
        unsafe {
            super::interrupt::check();
            if !pg_sys::index_getnext_slot(self.scan, pg_sys::ScanDirection::ForwardScanDirection, self.slot)
            {
                return None;
            }
            let columns = &self.ready.place.columns;
            pg_sys::slot_getsomeattrs_int(self.slot, i32::from(columns.highest()));
            Some(Current { slot: self.slot })
        }
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
) -> pg_sys::IndexScanDesc {
    // SAFETY: by the contract above.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return pg_sys::index_beginscan(table, index, snapshot, 2, 0);
        #[cfg(feature = "pg18")]
        return pg_sys::index_beginscan(table, index, snapshot, std::ptr::null_mut(), 2, 0);
    }
}

impl Columns {
    fn highest(&self) -> i16 {
        [self.id, self.priority, self.run_at, self.attempt, self.max_attempts].into_iter().max().unwrap_or(0)
    }
}

/// The row that a cursor stands on.
struct Current {
    slot: *mut pg_sys::TupleTableSlot,
}

impl Current {
    fn column(&self, number: i16) -> Option<Datum> {
        let index = number as usize - 1;
        // SAFETY: `next` has deformed the row up to the highest column that is asked for.
        unsafe { (!*(*self.slot).tts_isnull.add(index)).then(|| *(*self.slot).tts_values.add(index)) }
    }

    fn id(&self, columns: &Columns) -> i64 {
        self.column(columns.id).map_or(0, |value| value.value() as i64)
    }

    fn tuple(&self) -> pg_sys::HeapTuple {
        // SAFETY: a slot for a heap table holds a heap tuple; false: no copy.
        unsafe {
            let mut must_free = false;
            pg_sys::ExecFetchSlotHeapTuple(self.slot, false, &mut must_free)
        }
    }

    /// The whole row as a value of the queue's row type.
    fn datum(&self, desc: pg_sys::TupleDesc) -> Datum {
        // SAFETY: the partition's rows are laid out as the parent's (checked when the queue was loaded);
        // the slot keeps the page pinned. Values stored elsewhere are fetched, while they exist. A row older
        // than a column gets that column's default from the partition's description, which alone has it.
        unsafe {
            let mut tuple = self.tuple();
            let columns = u32::from((*(*tuple).t_data).t_infomask2) & pg_sys::HEAP_NATTS_MASK;
            if columns < (*desc).natts as u32 {
                pg_sys::slot_getsomeattrs_int(self.slot, (*desc).natts);
                tuple = pg_sys::heap_form_tuple(desc, (*self.slot).tts_values, (*self.slot).tts_isnull);
            }
            pg_sys::heap_copy_tuple_as_datum(tuple, desc)
        }
    }
}

/// What became of an attempt to delete a row.
enum Deletion {
    Done,
    /// Gone, or in the hands of somebody whose rollback lowers the floor.
    Past,
    /// Locked, or changed by hand: still claimable, perhaps, so the floor must stay below it.
    Stop,
}

impl Ready {
    /// Opens it. Raises what the executor would raise for a DELETE here.
    pub fn open(place: Place) -> Ready {
        let parent = Open::table(place.parent);
        let table = Open::table(place.table);
        let index = Open::index(place.index);
        let plain =
            table.is_plain_heap() && !table.delete_has_side_effects() && !parent.delete_has_side_effects();
        Ready { table, index, place, plain }
    }

    /// Does deleting directly do all that the executor would do?
    pub fn allows_direct_deletion(&self) -> bool {
        self.plain
    }

    /// Whether what this transaction sees of the table may vanish with its rollback as a whole.
    pub fn is_of_this_transaction(&self) -> bool {
        self.table.is_of_this_transaction()
    }

    /// Takes up to `limit` rows, most urgent first, starting at these keys. To be called in READ
    /// COMMITTED, with the caller's privileges checked.
    pub fn take(&self, from: &Keys, limit: usize) -> Scan {
        self.table.check_may_delete();
        // What this transaction did before is to be seen.
        super::xact::next_command();
        let snapshot = Fresh::take();
        // SAFETY: the type cache's description, given back below (or by the abort).
        let desc = unsafe { pg_sys::lookup_rowtype_tupdesc(self.place.row_type, -1) };
        // SAFETY: inside a transaction that may write.
        let command = unsafe { pg_sys::GetCurrentCommandId(true) };
        let mut cursor = Cursor::open(self, snapshot.0);
        let mut scan = Scan { rows: Vec::with_capacity(limit.min(1000)), reached: [BOTTOM; PRIORITIES] };
        for priority in (0..PRIORITIES).filter(|p| from[*p] < TOP) {
            if scan.rows.len() >= limit {
                break;
            }
            scan.reached[priority] =
                self.take_of(priority, from[priority], limit, &mut cursor, desc, command, &mut scan.rows);
        }
        drop(cursor);
        // SAFETY: looked up above.
        unsafe { release_desc(desc) };
        super::xact::next_command();
        scan
    }

    /// The same for one priority; returns the key below which nothing is left.
    #[allow(clippy::too_many_arguments)]
    fn take_of(
        &self,
        priority: usize,
        from: i64,
        limit: usize,
        cursor: &mut Cursor,
        desc: pg_sys::TupleDesc,
        command: u32,
        rows: &mut Vec<Row>,
    ) -> i64 {
        let columns = &self.place.columns;
        let mut stopped = TOP;
        cursor.seek(priority, from);
        while let Some(current) = cursor.next() {
            let id = current.id(columns);
            match self.delete(&current, command, desc) {
                (Deletion::Done, datum) => rows.push(Row {
                    datum,
                    id,
                    priority: priority as i32,
                    attempt: current.column(columns.attempt).map_or(0, |value| value.value() as i32),
                    max_attempts: current.column(columns.max_attempts).map(|value| value.value() as i32),
                    run_at: current.column(columns.run_at).map(|value| value.value() as Micros),
                }),
                (Deletion::Past, _) => {}
                (Deletion::Stop, _) => stopped = stopped.min(id),
            }
            if rows.len() >= limit {
                return stopped.min(id.saturating_add(1));
            }
        }
        stopped
    }

    fn delete(&self, current: &Current, command: u32, desc: pg_sys::TupleDesc) -> (Deletion, Datum) {
        // SAFETY: the slot is pinned and holds a row of the open table; a value stored elsewhere goes
        // with the row, so it is fetched before.
        unsafe {
            let tuple = current.tuple();
            let outside = (*(*tuple).t_data).t_infomask & pg_sys::HEAP_HASEXTERNAL as u16 != 0;
            let fetched = outside.then(|| current.datum(desc));
            let mut failure = pg_sys::TM_FailureData::default();
            let delete = |wait: bool, failure: &mut pg_sys::TM_FailureData| {
                delete_tuple(self.table.raw(), &mut (*current.slot).tts_tid, command, wait, failure)
            };
            let mut outcome = delete(false, &mut failure);
            if outcome == pg_sys::TM_Result::TM_BeingModified
                && pg_sys::TransactionIdIsCurrentTransactionId(failure.xmax)
            {
                // Locked by this transaction itself: no reason to wait for anybody.
                outcome = delete(true, &mut failure);
            }
            match outcome {
                pg_sys::TM_Result::TM_Ok => (Deletion::Done, fetched.unwrap_or_else(|| current.datum(desc))),
                pg_sys::TM_Result::TM_BeingModified => {
                    let mask = u32::from((*(*tuple).t_data).t_infomask);
                    let may_be_locked = mask & LOCKED != 0;
                    (if may_be_locked { Deletion::Stop } else { Deletion::Past }, Datum::from(0))
                }
                pg_sys::TM_Result::TM_Deleted => (Deletion::Past, Datum::from(0)),
                // Deleted by this very statement: its rollback is ours.
                pg_sys::TM_Result::TM_SelfModified => (Deletion::Past, Datum::from(0)),
                _ => (Deletion::Stop, Datum::from(0)),
            }
        }
    }

    /// Looks at up to `limit` index entries of a priority from one key up to another, whatever became of
    /// their rows.
    pub fn look(&self, priority: usize, from: i64, to: i64, limit: usize) -> Look {
        // Under this static snapshot every version of a row is returned.
        let any = &raw mut pg_sys::SnapshotAnyData;
        // Classifying rows needs to know which transactions run.
        let _snapshot = Fresh::take();
        let mut cursor = Cursor::open(self, any);
        let mut look = Look { dead: from, met: None, next: None, seen: 0 };
        let mut all_dead = true;
        cursor.seek(priority, from);
        while let Some(current) = cursor.next() {
            let id = current.id(&self.place.columns);
            if id >= to {
                break;
            }
            if look.seen >= limit {
                look.next = Some(id);
                break;
            }
            look.seen += 1;
            match current.status() {
                Status::Dead => {}
                Status::Claimable { xmin, xmax } => {
                    all_dead = false;
                    look.met.get_or_insert(Met { id, xmin, xmax });
                }
                Status::InProgress => all_dead = false,
            }
            if all_dead {
                look.dead = id.saturating_add(1);
            }
        }
        look
    }

    /// Waits until the transactions that last made this row claimable have run their callbacks, which
    /// they do before they let go of their own lock.
    pub fn settle(&self, met: &Met) {
        for xid in [met.xmin, met.xmax] {
            // SAFETY: waiting for a transaction that is neither permanent nor our own.
            unsafe {
                let xid = pg_sys::TransactionId::from(xid);
                if u32::from(xid) >= FIRST_TRANSACTION && !pg_sys::TransactionIdIsCurrentTransactionId(xid) {
                    pg_sys::XactLockTableWait(
                        xid,
                        self.table.raw(),
                        std::ptr::null_mut(),
                        pg_sys::XLTW_Oper::XLTW_None,
                    );
                }
            }
        }
    }
}

/// What became of a row, whoever sees it.
enum Status {
    /// For good: deleted, or never committed.
    Dead,
    /// Being inserted, deleted or locked.
    InProgress,
    /// With who inserted it, and who tried to delete it last.
    Claimable { xmin: u32, xmax: u32 },
}

impl Current {
    fn status(&self) -> Status {
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
            let no_xmax = mask & pg_sys::HEAP_XMAX_INVALID != 0;
            match status {
                HEAPTUPLE_DEAD | HEAPTUPLE_RECENTLY_DEAD => Status::Dead,
                HEAPTUPLE_LIVE if no_xmax || mask & LOCKED == 0 => Status::Claimable {
                    xmin: u32::from(fields.t_xmin),
                    xmax: if no_xmax { 0 } else { u32::from(fields.t_xmax) },
                },
                _ => Status::InProgress,
            }
        }
    }
}

/// # Safety
/// The table is open, the place names a row version of it, and the failure record can be written.
unsafe fn delete_tuple(
    table: pg_sys::Relation,
    place: &mut pg_sys::ItemPointerData,
    command: u32,
    wait: bool,
    failure: &mut pg_sys::TM_FailureData,
) -> pg_sys::TM_Result::Type {
    // SAFETY: by the contract above; no crosscheck snapshot: READ COMMITTED.
    unsafe { pg_sys::heap_delete(table, place, command, std::ptr::null_mut(), wait, failure, false) }
}

/// # Safety
/// The description was looked up in the type cache and is not used any more.
unsafe fn release_desc(desc: pg_sys::TupleDesc) {
    // SAFETY: by the contract above; a negative count means that it is not counted.
    unsafe {
        if (*desc).tdrefcount >= 0 {
            pg_sys::DecrTupleDescRefCount(desc);
        }
    }
}
