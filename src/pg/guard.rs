//! One guard around many calls of Postgres.
//!
//! pgrx guards each function of Postgres that it declares: a `sigsetjmp` that turns an ERROR into a panic. In
//! a loop of many short calls for each row that costs as much as some of the calls. Here a whole loop has one
//! guard, and calls the functions as they are (`raw`).

use pgrx::pg_sys::{self, Datum};

/// Runs `work` under one guard, in which the functions of `raw` may be called: an ERROR jumps out of it as a
/// whole and goes on as a panic.
///
/// # Safety
/// An ERROR jumps over the frames of `work` and of what it calls. So nothing in them may have a destructor:
/// no value that owns anything is made in it, and it captures only what can be copied (which the bounds ask
/// for). It must not panic, which ends the server, nor call what may: no function of `pg_sys`, whose own guards
/// panic on ERROR, no indexing, no `unwrap`.
#[inline(always)]
pub unsafe fn guarded<T: Copy>(work: impl FnOnce() -> T + Copy) -> T {
    // SAFETY: by the contract above these are plain frames; a backend has one thread.
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(work) }
}

/// Functions of Postgres without a guard of their own: an ERROR in them is a jump to the next one outside.
pub mod raw {
    use super::{Datum, pg_sys};

    unsafe extern "C-unwind" {
        pub fn GetLatestSnapshot() -> pg_sys::Snapshot;
        pub fn RegisterSnapshot(snapshot: pg_sys::Snapshot) -> pg_sys::Snapshot;
        pub fn table_slot_create(
            table: pg_sys::Relation,
            list: *mut *mut pg_sys::List,
        ) -> *mut pg_sys::TupleTableSlot;
        #[cfg(not(feature = "pg18"))]
        pub fn index_beginscan(
            table: pg_sys::Relation,
            index: pg_sys::Relation,
            snapshot: pg_sys::Snapshot,
            keys: i32,
            order_by: i32,
        ) -> pg_sys::IndexScanDesc;
        #[cfg(feature = "pg18")]
        pub fn index_beginscan(
            table: pg_sys::Relation,
            index: pg_sys::Relation,
            snapshot: pg_sys::Snapshot,
            instrument: *mut pg_sys::IndexScanInstrumentation,
            keys: i32,
            order_by: i32,
        ) -> pg_sys::IndexScanDesc;
        pub fn index_rescan(
            scan: pg_sys::IndexScanDesc,
            keys: pg_sys::ScanKey,
            count: i32,
            order_by: pg_sys::ScanKey,
            order_by_count: i32,
        );
        pub fn index_endscan(scan: pg_sys::IndexScanDesc);
        pub fn ScanKeyInit(
            key: pg_sys::ScanKey,
            column: i16,
            strategy: u16,
            procedure: pg_sys::Oid,
            value: Datum,
        );
        pub fn index_getnext_slot(
            scan: pg_sys::IndexScanDesc,
            direction: pg_sys::ScanDirection::Type,
            slot: *mut pg_sys::TupleTableSlot,
        ) -> bool;
        pub fn index_getnext_tid(
            scan: pg_sys::IndexScanDesc,
            direction: pg_sys::ScanDirection::Type,
        ) -> pg_sys::ItemPointer;
        pub fn index_fetch_heap(scan: pg_sys::IndexScanDesc, slot: *mut pg_sys::TupleTableSlot) -> bool;
        pub fn slot_getsomeattrs_int(slot: *mut pg_sys::TupleTableSlot, column: i32);
        pub fn heap_delete(
            relation: pg_sys::Relation,
            tid: pg_sys::ItemPointer,
            cid: pg_sys::CommandId,
            crosscheck: pg_sys::Snapshot,
            wait: bool,
            failure: *mut pg_sys::TM_FailureData,
            changing_partition: bool,
        ) -> pg_sys::TM_Result::Type;
        pub fn heap_form_tuple(
            desc: pg_sys::TupleDesc,
            values: *mut Datum,
            nulls: *mut bool,
        ) -> pg_sys::HeapTuple;
        pub fn heap_copy_tuple_as_datum(tuple: pg_sys::HeapTuple, desc: pg_sys::TupleDesc) -> Datum;
        pub fn LockBuffer(buffer: pg_sys::Buffer, mode: i32);
        pub fn TransactionIdIsCurrentTransactionId(xid: pg_sys::TransactionId) -> bool;
    }
}

/// Is a cancel or termination request pending?
pub fn is_interrupted() -> bool {
    // SAFETY: a flag that signal handlers set; read afresh each time.
    unsafe { (&raw const pg_sys::InterruptPending).read_volatile() != 0 }
}
