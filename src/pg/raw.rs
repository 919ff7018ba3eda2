//! Functions of Postgres without pgrx's guard around each: to be called under one guard for all of them
//! ([`super::guard::guarded`], which says what holds there), or between Postgres and Postgres, where an ERROR is
//! to pass as it is.

use pgrx::pg_sys::{self, Datum, EState, List, ResultRelInfo, TupleTableSlot};

// Declared here as they are in Postgres' own headers.
unsafe extern "C-unwind" {
    /// In a callback of errfinish.
    pub fn errhint(format: *const std::ffi::c_char, ...) -> i32;
    // To claim rows.
    pub fn GetLatestSnapshot() -> pg_sys::Snapshot;
    pub fn RegisterSnapshot(snapshot: pg_sys::Snapshot) -> pg_sys::Snapshot;
    pub fn table_slot_create(table: pg_sys::Relation, list: *mut *mut pg_sys::List) -> *mut TupleTableSlot;
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
        slot: *mut TupleTableSlot,
    ) -> bool;
    pub fn index_getnext_tid(
        scan: pg_sys::IndexScanDesc,
        direction: pg_sys::ScanDirection::Type,
    ) -> pg_sys::ItemPointer;
    pub fn index_fetch_heap(scan: pg_sys::IndexScanDesc, slot: *mut TupleTableSlot) -> bool;
    pub fn slot_getsomeattrs_int(slot: *mut TupleTableSlot, column: i32);
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
    // To put them, and what goes with it.
    pub static max_prepared_xacts: i32;
    pub fn ExecStoreVirtualTuple(slot: *mut TupleTableSlot) -> *mut TupleTableSlot;
    pub fn ExecConstraints(target: *mut ResultRelInfo, slot: *mut TupleTableSlot, state: *mut EState);
    pub fn ExecFetchSlotHeapTuple(
        slot: *mut TupleTableSlot,
        materialize: bool,
        must_free: *mut bool,
    ) -> pg_sys::HeapTuple;
    pub fn simple_table_tuple_insert(relation: pg_sys::Relation, slot: *mut TupleTableSlot);
    pub fn heap_multi_insert(
        relation: pg_sys::Relation,
        slots: *mut *mut TupleTableSlot,
        count: i32,
        command: pg_sys::CommandId,
        options: i32,
        state: pg_sys::BulkInsertState,
    );
    pub fn FormIndexDatum(
        index: *mut pg_sys::IndexInfo,
        slot: *mut TupleTableSlot,
        state: *mut EState,
        values: *mut Datum,
        nulls: *mut bool,
    );
    pub fn index_open(index: pg_sys::Oid, mode: i32) -> pg_sys::Relation;
    pub fn index_close(index: pg_sys::Relation, mode: i32);
    pub fn BuildIndexInfo(index: pg_sys::Relation) -> *mut pg_sys::IndexInfo;
    #[cfg(not(feature = "pg15"))]
    pub fn index_insert_cleanup(index: pg_sys::Relation, info: *mut pg_sys::IndexInfo);
    pub fn index_insert(
        index: pg_sys::Relation,
        values: *mut Datum,
        nulls: *mut bool,
        place: pg_sys::ItemPointer,
        table: pg_sys::Relation,
        unique: pg_sys::IndexUniqueCheck::Type,
        unchanged: bool,
        info: *mut pg_sys::IndexInfo,
    ) -> bool;
    pub fn AllocSetContextCreateInternal(
        parent: pg_sys::MemoryContext,
        name: *const std::ffi::c_char,
        least: usize,
        first: usize,
        most: usize,
    ) -> pg_sys::MemoryContext;
    pub fn MemoryContextDelete(context: pg_sys::MemoryContext);
    pub fn table_open(table: pg_sys::Oid, mode: i32) -> pg_sys::Relation;
    pub fn MakeSingleTupleTableSlot(
        desc: pg_sys::TupleDesc,
        kind: *const pg_sys::TupleTableSlotOps,
    ) -> *mut TupleTableSlot;
    pub fn ExecDropSingleTupleTableSlot(slot: *mut TupleTableSlot);
    pub fn CreateTupleDescCopy(desc: pg_sys::TupleDesc) -> pg_sys::TupleDesc;
    pub fn contain_volatile_functions_not_nextval(node: *mut pg_sys::Node) -> bool;
    pub fn standard_planner(
        parse: *mut pg_sys::Query,
        text: *const std::ffi::c_char,
        options: i32,
        parameters: pg_sys::ParamListInfo,
    ) -> *mut pg_sys::PlannedStmt;
    pub fn ExecInitNode(node: *mut pg_sys::Plan, state: *mut EState, flags: i32) -> *mut pg_sys::PlanState;
    pub fn ExecEndNode(node: *mut pg_sys::PlanState);
    fn ExecReScan(node: *mut pg_sys::PlanState);
    pub fn lappend(list: *mut List, element: *mut std::ffi::c_void) -> *mut List;
    pub fn GetCurrentTimestamp() -> pg_sys::TimestampTz;
    pub fn IsTransactionBlock() -> bool;
    pub fn GetUserId() -> pg_sys::Oid;
    pub fn LockRelationOid(relation: pg_sys::Oid, mode: i32);
    pub fn AcceptInvalidationMessages();
    pub fn GetCurrentTransactionStartTimestamp() -> pg_sys::TimestampTz;
    pub fn GetCurrentTransactionNestLevel() -> i32;
    pub fn GetUserIdAndSecContext(user: *mut pg_sys::Oid, context: *mut i32);
    pub fn SetUserIdAndSecContext(user: pg_sys::Oid, context: i32);
    pub fn SPI_plan_get_plan_sources(plan: pg_sys::SPIPlanPtr) -> *mut List;
    pub fn GetCurrentCommandId(used: bool) -> pg_sys::CommandId;
    pub fn IsInParallelMode() -> bool;
    pub fn ActiveSnapshotSet() -> bool;
    pub fn GetActiveSnapshot() -> pg_sys::Snapshot;
    pub fn heap_deform_tuple(
        tuple: pg_sys::HeapTuple,
        desc: pg_sys::TupleDesc,
        values: *mut Datum,
        nulls: *mut bool,
    );
    pub fn get_partition_ancestors(relation: pg_sys::Oid) -> *mut List;
    pub fn palloc0(size: usize) -> *mut std::ffi::c_void;
    pub fn MemoryContextReset(context: pg_sys::MemoryContext);
    pub fn CommandCounterIncrement();
    pub fn tuplestore_puttuple(store: *mut pg_sys::Tuplestorestate, tuple: pg_sys::HeapTuple);
    pub fn tuplestore_putvalues(
        store: *mut pg_sys::Tuplestorestate,
        desc: pg_sys::TupleDesc,
        values: *const Datum,
        nulls: *const bool,
    );
    pub fn relation_close(relation: pg_sys::Relation, mode: i32);
    pub fn tuplestore_tuple_count(store: *mut pg_sys::Tuplestorestate) -> i64;
    pub fn tuplestore_alloc_read_pointer(store: *mut pg_sys::Tuplestorestate, flags: i32) -> i32;
    pub fn tuplestore_select_read_pointer(store: *mut pg_sys::Tuplestorestate, pointer: i32);
    pub fn tuplestore_rescan(store: *mut pg_sys::Tuplestorestate);
    pub fn tuplestore_gettupleslot(
        store: *mut pg_sys::Tuplestorestate,
        forward: bool,
        copy: bool,
        slot: *mut TupleTableSlot,
    ) -> bool;
    pub fn ExecFetchSlotHeapTupleDatum(slot: *mut TupleTableSlot) -> Datum;
    pub fn getKeyJsonValueFromContainer(
        container: *mut pg_sys::JsonbContainer,
        key: *const std::ffi::c_char,
        length: i32,
        found: *mut pg_sys::JsonbValue,
    ) -> *mut pg_sys::JsonbValue;
}

/// An inline function in Postgres.
///
/// # Safety
/// A slot that holds a row. Called inside `guarded`.
pub unsafe fn materialize(slot: *mut TupleTableSlot) {
    // SAFETY: by the contract above; every kind of slot has this function.
    unsafe {
        if let Some(materialize) = (*(*slot).tts_ops).materialize {
            materialize(slot);
        }
    }
}

/// An inline function in Postgres.
///
/// # Safety
/// A slot. Called inside `guarded`.
pub unsafe fn clear(slot: *mut TupleTableSlot) {
    // SAFETY: by the contract above; every kind of slot has this function.
    unsafe {
        if let Some(clear) = (*(*slot).tts_ops).clear {
            clear(slot);
        }
    }
}

/// An inline function in Postgres: ExecProcNode.
///
/// # Safety
/// A node whose execution has begun. Called inside `guarded`, or where an ERROR may pass.
pub unsafe fn next_slot(node: *mut pg_sys::PlanState) -> *mut TupleTableSlot {
    // SAFETY: by the contract above; every node has this function.
    unsafe {
        if !(*node).chgParam.is_null() {
            ExecReScan(node);
        }
        match (*node).ExecProcNode {
            Some(next) => next(node),
            None => std::ptr::null_mut(),
        }
    }
}

/// An inline function in Postgres: slot_getallattrs.
///
/// # Safety
/// A slot that holds a row. Called inside `guarded`.
pub unsafe fn get_all_columns(slot: *mut TupleTableSlot) {
    // SAFETY: by the contract above.
    unsafe {
        let columns = (*(*slot).tts_tupleDescriptor).natts;
        if i32::from((*slot).tts_nvalid) < columns {
            slot_getsomeattrs_int(slot, columns);
        }
    }
}

/// # Safety
/// Called inside `guarded`, in a context that outlives it.
pub unsafe fn make_memory(parent: pg_sys::MemoryContext) -> pg_sys::MemoryContext {
    // SAFETY: by the contract above; the usual sizes, of which Postgres keeps some in stock.
    unsafe { AllocSetContextCreateInternal(parent, c"queue_ext insert".as_ptr(), 0, 8192, 8 << 20) }
}

/// What InitResultRelInfo makes for a table whose triggers do not matter.
///
/// # Safety
/// An open table. Called inside `guarded`.
pub unsafe fn info(
    relation: pg_sys::Relation,
    root: *mut pg_sys::ResultRelInfo,
) -> *mut pg_sys::ResultRelInfo {
    // SAFETY: by the contract above; all zero is what that function begins with, too.
    unsafe {
        let info = palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
        (*info).type_ = pg_sys::NodeTag::T_ResultRelInfo;
        (*info).ri_RelationDesc = relation;
        (*info).ri_RootResultRelInfo = root;
        info
    }
}
