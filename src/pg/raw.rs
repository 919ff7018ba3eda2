//! Functions of Postgres that put rows, without pgrx's guard around each: to be called under one guard for
//! all of them ([`super::guard::guarded`], which says what holds there), or between Postgres and Postgres,
//! where an ERROR is to pass as it is.

use pgrx::pg_sys::{self, EState, List, ResultRelInfo, TupleTableSlot};

// Declared here as they are in Postgres' own headers.
unsafe extern "C-unwind" {
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
    #[cfg(feature = "pg15")]
    fn ExecInsertIndexTuples(
        target: *mut ResultRelInfo,
        slot: *mut TupleTableSlot,
        state: *mut EState,
        update: bool,
        no_error: bool,
        conflict: *mut bool,
        arbiters: *mut List,
    ) -> *mut List;
    #[cfg(not(feature = "pg15"))]
    fn ExecInsertIndexTuples(
        target: *mut ResultRelInfo,
        slot: *mut TupleTableSlot,
        state: *mut EState,
        update: bool,
        no_error: bool,
        conflict: *mut bool,
        arbiters: *mut List,
        only_summarizing: bool,
    ) -> *mut List;
    pub fn CreateExecutorState() -> *mut EState;
    pub fn FreeExecutorState(state: *mut EState);
    pub fn ExecOpenIndices(target: *mut ResultRelInfo, speculative: bool);
    pub fn ExecCloseIndices(target: *mut ResultRelInfo);
    pub fn MakePerTupleExprContext(state: *mut EState) -> *mut pg_sys::ExprContext;
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
    pub fn palloc0(size: usize) -> *mut std::ffi::c_void;
    pub fn MemoryContextReset(context: pg_sys::MemoryContext);
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

/// # Safety
/// The slot holds a row that was just inserted into the target's table, whose indexes are open, and none of
/// which defers its check. Called inside `guarded`.
pub unsafe fn insert_index_entries(
    target: *mut ResultRelInfo,
    slot: *mut TupleTableSlot,
    state: *mut EState,
) {
    // SAFETY: by the contract above. The list of deferred unique indexes is empty.
    unsafe {
        let none = std::ptr::null_mut();
        #[cfg(feature = "pg15")]
        ExecInsertIndexTuples(target, slot, state, false, false, none, std::ptr::null_mut());
        #[cfg(not(feature = "pg15"))]
        ExecInsertIndexTuples(target, slot, state, false, false, none, std::ptr::null_mut(), false);
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
            super::guard::raw::slot_getsomeattrs_int(slot, columns);
        }
    }
}
