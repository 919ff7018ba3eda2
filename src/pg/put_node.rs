//! The node on top of a plain INSERT's plan. When an execution starts it chooses: either the rows of
//! the query under the INSERT are put directly, or the INSERT runs as it was planned.

use super::feed::Row;
use super::guard::guarded;
use super::{Oid, entry, raw};
use crate::error::SqlResult;
use pgrx::pg_sys::{self, NodeTag, TupleTableSlot};
use std::cell::Cell;

/// Hands over all rows, one after the other.
pub type Rows<'a> = &'a mut dyn FnMut(&mut dyn FnMut(Row));

/// Who puts the rows.
pub struct Listeners {
    /// May rows be put on this queue directly, in this transaction? Locks what it looked at.
    pub may_put: fn(Oid) -> bool,
    /// Puts the rows that `rows` hands over when it is called, and says how many. True: each is to be
    /// written before the next is made.
    pub put: fn(Oid, bool, Rows) -> SqlResult<u64>,
}

struct State(Cell<Option<&'static Listeners>>);
// SAFETY: written once while the library loads, read by the process's only thread.
unsafe impl Sync for State {}
static LISTENERS: State = State(Cell::new(None));

pub(super) fn listen(listeners: &'static Listeners) {
    LISTENERS.0.set(Some(listeners));
}

struct Methods<T>(T);
// SAFETY: constant; the raw pointers in it are to constants.
unsafe impl<T> Sync for Methods<T> {}

static PLAN: Methods<pg_sys::CustomScanMethods> = Methods(pg_sys::CustomScanMethods {
    CustomName: c"queue_ext put".as_ptr(),
    CreateCustomScanState: Some(create),
});

static EXECUTION: Methods<pg_sys::CustomExecMethods> = Methods(pg_sys::CustomExecMethods {
    CustomName: c"queue_ext put".as_ptr(),
    BeginCustomScan: Some(begin),
    ExecCustomScan: Some(execute),
    EndCustomScan: Some(end),
    ReScanCustomScan: Some(again),
    MarkPosCustomScan: None,
    RestrPosCustomScan: None,
    EstimateDSMCustomScan: None,
    InitializeDSMCustomScan: None,
    ReInitializeDSMCustomScan: None,
    InitializeWorkerCustomScan: None,
    ShutdownCustomScan: None,
    ExplainCustomScan: None,
});

/// What an execution keeps.
#[repr(C)]
pub struct PutNode {
    base: pg_sys::CustomScanState,
    queue: Oid,
    is_direct: bool,
    is_over: bool,
}

impl PutNode {
    /// The plan node on top of an INSERT.
    ///
    /// # Safety
    /// The topmost node of a statement just planned.
    pub unsafe fn over(insert: *mut pg_sys::ModifyTable, queue: Oid, one_by_one: bool) -> *mut pg_sys::Plan {
        // SAFETY: by the contract above. A list of numbers and the methods' constant are what a plan can be
        // copied with. Subqueries that are computed once hang on the topmost node.
        unsafe {
            let below = &raw mut (*insert).plan;
            let node = pg_sys::palloc0(size_of::<pg_sys::CustomScan>()).cast::<pg_sys::CustomScan>();
            let plan = &raw mut (*node).scan.plan;
            (*plan).type_ = NodeTag::T_CustomScan;
            (*plan).startup_cost = (*below).startup_cost;
            (*plan).total_cost = (*below).total_cost;
            (*plan).plan_rows = (*below).plan_rows;
            (*plan).plan_width = (*below).plan_width;
            (*plan).plan_node_id = (*below).plan_node_id;
            (*plan).extParam = (*below).extParam;
            (*plan).allParam = (*below).allParam;
            (*plan).initPlan = std::mem::replace(&mut (*below).initPlan, std::ptr::null_mut());
            (*node).custom_plans = pg_sys::lappend(std::ptr::null_mut(), insert.cast());
            let numbers = pg_sys::lappend_oid(std::ptr::null_mut(), queue);
            (*node).custom_private = pg_sys::lappend_oid(numbers, Oid::from(u32::from(one_by_one)));
            (*node).methods = &PLAN.0;
            plan
        }
    }

    /// The INSERT's own node, if this is a node of ours.
    ///
    /// # Safety
    /// A plan node.
    pub unsafe fn insert_under(node: *mut pg_sys::Plan) -> Option<*mut pg_sys::ModifyTable> {
        // SAFETY: the tag tells what a node is; ours have one plan under them.
        unsafe {
            let custom = node.cast::<pg_sys::CustomScan>();
            ((*node).type_ == NodeTag::T_CustomScan && std::ptr::eq((*custom).methods, &PLAN.0))
                .then(|| (*(*(*custom).custom_plans).elements).ptr_value.cast())
        }
    }
}

unsafe extern "C-unwind" fn create(_node: *mut pg_sys::CustomScan) -> *mut pg_sys::Node {
    // SAFETY: all zero, but for tag and methods, is a valid state.
    unsafe {
        let state = raw::palloc0(size_of::<PutNode>()).cast::<PutNode>();
        (*state).base.ss.ps.type_ = NodeTag::T_CustomScanState;
        (*state).base.methods = &EXECUTION.0;
        state.cast()
    }
}

unsafe extern "C-unwind" fn begin(
    node: *mut pg_sys::CustomScanState,
    executor: *mut pg_sys::EState,
    flags: i32,
) {
    // SAFETY: the state made by `create`, of a plan made by `over`. Nothing with a destructor is on this
    // frame.
    unsafe {
        let state = node.cast::<PutNode>();
        let plan = (*node).ss.ps.plan.cast::<pg_sys::CustomScan>();
        let insert = (*(*(*plan).custom_plans).elements).ptr_value.cast::<pg_sys::ModifyTable>();
        (*state).queue = (*(*(*plan).custom_private).elements).oid_value;
        (*state).is_direct = entry::raising_as_is(|| {
            Ok(LISTENERS.0.get().is_some_and(|listeners| (listeners.may_put)((*state).queue)))
        });
        let child = if (*state).is_direct { (*insert).plan.lefttree } else { &raw mut (*insert).plan };
        let child = raw::ExecInitNode(child, executor, flags);
        (*node).custom_ps = raw::lappend(std::ptr::null_mut(), child.cast());
    }
}

unsafe extern "C-unwind" fn execute(node: *mut pg_sys::CustomScanState) -> *mut TupleTableSlot {
    // SAFETY: as for `begin`.
    unsafe {
        let state = node.cast::<PutNode>();
        let child = (*(*(*node).custom_ps).elements).ptr_value.cast::<pg_sys::PlanState>();
        if !(*state).is_direct {
            return raw::next_slot(child);
        }
        if !(*state).is_over {
            (*state).is_over = true;
            let count = entry::raising_as_is(|| put_all(state, child));
            let executor = (*node).ss.ps.state;
            if (*(*executor).es_plannedstmt).canSetTag {
                (*executor).es_processed += count;
            }
        }
        std::ptr::null_mut()
    }
}

/// # Safety
/// The node's own state and the one under it, begun.
unsafe fn put_all(state: *mut PutNode, child: *mut pg_sys::PlanState) -> SqlResult<u64> {
    let Some(listeners) = LISTENERS.0.get() else { return Ok(0) };
    // SAFETY: by the contract above. A row's slot is valid until the next is asked for. Nothing with a
    // destructor is between the guard and the calls.
    unsafe {
        let plan = (*state).base.ss.ps.plan.cast::<pg_sys::CustomScan>();
        let one_by_one = (*(*(*plan).custom_private).elements.add(1)).oid_value != Oid::INVALID;
        (listeners.put)((*state).queue, one_by_one, &mut |on_row| {
            loop {
                let slot = guarded(|| {
                    let slot = raw::next_slot(child);
                    if !slot.is_null() && (*slot).tts_flags as u32 & pg_sys::TTS_FLAG_EMPTY == 0 {
                        raw::get_all_columns(slot);
                        slot
                    } else {
                        std::ptr::null_mut()
                    }
                });
                if slot.is_null() {
                    break;
                }
                on_row(Row::of(slot));
            }
        })
    }
}

unsafe extern "C-unwind" fn end(node: *mut pg_sys::CustomScanState) {
    // SAFETY: the node under this one was begun, and ends with it. Nothing with a destructor is on this
    // frame.
    unsafe { raw::ExecEndNode((*(*(*node).custom_ps).elements).ptr_value.cast()) };
}

/// Nothing reads an INSERT twice.
unsafe extern "C-unwind" fn again(_node: *mut pg_sys::CustomScanState) {}
