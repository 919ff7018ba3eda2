//! Plain INSERTs into a queue: the plan that Postgres makes gets a node of ours on top, which puts the rows
//! directly if that comes to the same, and else runs the plan as it is ([`super::put_node`]). What it is
//! good for: no routing, no trigger with a WHEN clause whose text is read at every statement, and many rows
//! to a page and WAL record.
//!
//! Which statements: those that only insert (no RETURNING, ON CONFLICT, checks of row security or data-modifying
//! WITH), and leave everything to the extension that they should: `id` comes from the sequence, `state` is
//! ready, nothing but content, priority, times and limits is set.

use super::feed::only_inserts;
use super::put_node::{self, PutNode};
use super::relation::Open;
use super::{Oid, raw};
use pgrx::pg_sys::{self, Node, NodeTag};
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::CStr;

struct State {
    previous: Cell<pg_sys::planner_hook_type>,
    must_be_left_out: Cell<&'static [&'static CStr]>,
}
// SAFETY: written once while the library loads, read by the process's only thread.
unsafe impl Sync for State {}
static STATE: State = State { previous: Cell::new(None), must_be_left_out: Cell::new(&[]) };

/// The trigger by which a queue is known.
const OUR_TRIGGER: &CStr = c"queue_ext_wake";

/// Installs the hook; once in a process. `must_be_left_out`: columns of a queue that a plain INSERT that is
/// put directly has no values for.
pub fn install(listeners: &'static put_node::Listeners, must_be_left_out: &'static [&'static CStr]) {
    put_node::listen(listeners);
    STATE.must_be_left_out.set(must_be_left_out);
    // SAFETY: the previous hook is kept and called.
    unsafe {
        STATE.previous.set(pg_sys::planner_hook);
        pg_sys::planner_hook = Some(on_plan);
    }
}

/// Called for every statement that is planned. What is no INSERT into a partitioned table passes straight
/// through: no guard, no destructor on the frame, so that an ERROR passes through as it is.
unsafe extern "C-unwind" fn on_plan(
    parse: *mut pg_sys::Query,
    text: *const std::ffi::c_char,
    options: i32,
    parameters: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: passes on what it was given; the query is valid, and has a range table entry for its result.
    unsafe {
        let mut queue = Oid::INVALID;
        let mut one_by_one = false;
        if (*parse).commandType == pg_sys::CmdType::CMD_INSERT {
            let tables = (*parse).rtable;
            let place = (*parse).resultRelation as usize - 1;
            let table = (*(*tables).elements.add(place)).ptr_value.cast::<pg_sys::RangeTblEntry>();
            if (*table).relkind as u8 == pg_sys::RELKIND_PARTITIONED_TABLE && is_queue((*table).relid) {
                queue = (*table).relid;
                // Such a function may look at the queue, and is to see the rows before its own.
                one_by_one = raw::contain_volatile_functions_not_nextval(parse.cast());
            }
        }
        let statement = match STATE.previous.get() {
            Some(previous) => previous(parse, text, options, parameters),
            None => raw::standard_planner(parse, text, options, parameters),
        };
        if queue != Oid::INVALID {
            put_on_top(statement, queue, one_by_one);
        }
        statement
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn is_queue(table: Oid) -> bool {
    Open::locked_before(table).has_trigger(OUR_TRIGGER)
}

#[pg_guard]
unsafe extern "C-unwind" fn put_on_top(statement: *mut pg_sys::PlannedStmt, queue: Oid, one_by_one: bool) {
    // SAFETY: a statement just planned; node tags tell what the nodes are. The node that is made lies
    // in the planner's own memory, as the statement does.
    unsafe {
        let top = (*statement).planTree;
        if (*top).type_ != NodeTag::T_ModifyTable || !only_inserts(statement, top.cast()) {
            return;
        }
        let columns = (*(*top).lefttree).targetlist;
        let number = |name: &CStr| pg_sys::get_attnum(queue, name.as_ptr());
        let is = |name: &CStr, kind: unsafe fn(*mut Node) -> bool| {
            value_of(columns, number(name)).is_some_and(|value| kind(value))
        };
        let leaves_out = STATE.must_be_left_out.get().iter().all(|name| is(name, is_null));
        if leaves_out
            && is(c"id", is_next_value)
            && is(c"state", is_ready)
            && is(c"attempt", is_one)
            && (*columns).length == i32::from(Open::locked_before(queue).columns())
        {
            (*statement).planTree = PutNode::over(top.cast(), queue, one_by_one);
        }
    }
}

/// # Safety
/// A target list.
unsafe fn value_of(columns: *mut pg_sys::List, number: i16) -> Option<*mut Node> {
    // SAFETY: by the contract above.
    unsafe {
        if number <= 0 || columns.is_null() || i32::from(number) > (*columns).length {
            return None;
        }
        let entry = (*(*columns).elements.add(number as usize - 1)).ptr_value.cast::<pg_sys::TargetEntry>();
        ((*entry).resno == number && !(*entry).resjunk).then(|| (*entry).expr.cast())
    }
}

unsafe fn constant(node: *mut Node) -> Option<*mut pg_sys::Const> {
    // SAFETY: a node; its tag tells what it is.
    unsafe { (!node.is_null() && (*node).type_ == NodeTag::T_Const).then(|| node.cast()) }
}

unsafe fn is_null(node: *mut Node) -> bool {
    // SAFETY: a node.
    unsafe { constant(node).is_some_and(|value| (*value).constisnull) }
}

unsafe fn is_next_value(node: *mut Node) -> bool {
    // SAFETY: a node.
    unsafe { (*node).type_ == NodeTag::T_NextValueExpr }
}

unsafe fn is_one(node: *mut Node) -> bool {
    // SAFETY: a node.
    unsafe {
        constant(node).is_some_and(|value| {
            !(*value).constisnull && (*value).consttype == pg_sys::INT4OID && (*value).constvalue.value() == 1
        })
    }
}

unsafe fn is_ready(node: *mut Node) -> bool {
    // SAFETY: a node; a text that is not null.
    unsafe {
        constant(node).is_some_and(|value| {
            !(*value).constisnull
                && (*value).consttype == pg_sys::TEXTOID
                && super::spi::text_of((*value).constvalue).as_deref() == Some("ready")
        })
    }
}
