//! Running the query that is under an INSERT, and handing over the rows it makes: with defaults, identity,
//! casts and privileges as the planner and the executor see to them, but without the executor's way of
//! inserting them.

use super::put_node::PutNode;
use super::spi::{Arg, Plan};
use super::trigger::Firing;
use pgrx::pg_sys::{self, Datum};
use pgrx::prelude::*;

/// A row for the target table: a value for each of its columns, valid during the call.
pub struct Row<'a> {
    pub values: &'a [Datum],
    pub nulls: &'a [bool],
}

impl Row<'_> {
    /// # Safety
    /// A slot with all columns read, valid for as long as the row is used.
    pub(super) unsafe fn of<'a>(slot: *mut pg_sys::TupleTableSlot) -> Row<'a> {
        // SAFETY: by the contract above: as many values as the description says.
        unsafe {
            let columns = (*(*slot).tts_tupleDescriptor).natts as usize;
            Row {
                values: std::slice::from_raw_parts((*slot).tts_values, columns),
                nulls: std::slice::from_raw_parts((*slot).tts_isnull, columns),
            }
        }
    }

    /// A column by its number.
    pub fn column(&self, number: i16) -> Option<Datum> {
        let index = number as usize - 1;
        (!self.nulls[index]).then(|| self.values[index])
    }
}

#[repr(C)]
struct Receiver<'a> {
    base: pg_sys::DestReceiver,
    on_row: &'a mut dyn FnMut(Row),
}

#[pg_guard]
unsafe extern "C-unwind" fn receive(
    slot: *mut pg_sys::TupleTableSlot,
    this: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: Postgres hands back the receiver it was given, whose base is the first field of a
    // `Receiver` that outlives the execution; the slot is valid for this call, with as many values as its
    // description says.
    unsafe {
        let receiver = &mut *this.cast::<Receiver>();
        pg_sys::slot_getallattrs(slot);
        (receiver.on_row)(Row::of(slot));
    }
    true
}

/// A plan in use: let go of when dropped.
pub(super) struct InUse(pub *mut pg_sys::CachedPlan, pg_sys::ResourceOwner);

impl InUse {
    /// The plan as SPI would use it now; `None` if it is not of one statement.
    pub fn of(plan: &Plan) -> Option<InUse> {
        // SAFETY: a kept plan; SPI gets it for the current resource owner.
        unsafe {
            let cached = pg_sys::SPI_plan_get_cached_plan(plan.raw());
            (!cached.is_null()).then(|| InUse(cached, pg_sys::CurrentResourceOwner))
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        if super::failure::is_raised() {
            return;
        }
        // SAFETY: got for the current resource owner, and released once.
        unsafe { pg_sys::ReleaseCachedPlan(self.0, self.1) };
    }
}

/// The statement without its topmost node, which would insert; `None` if it is no INSERT that only
/// inserts (RETURNING, ON CONFLICT, checks of row security).
///
/// # Safety
/// The plan is in use for as long as the result is.
pub(super) unsafe fn query_under(plan: *mut pg_sys::CachedPlan) -> Option<pg_sys::PlannedStmt> {
    // SAFETY: a cached plan has a list of planned statements, which is null if rules leave none; node tags tell what
    // the nodes are.
    unsafe {
        let list = (*plan).stmt_list;
        if list.is_null() || (*list).length != 1 {
            return None;
        }
        let statement = (*(*list).elements).ptr_value.cast::<pg_sys::PlannedStmt>();
        let insert = insert_of(statement)?;
        only_inserts(statement, insert).then(|| pg_sys::PlannedStmt {
            commandType: pg_sys::CmdType::CMD_SELECT,
            planTree: (*insert).plan.lefttree,
            resultRelations: std::ptr::null_mut(),
            ..*statement
        })
    }
}

/// The node that inserts: the topmost one, or under ours.
///
/// # Safety
/// A planned statement.
pub(super) unsafe fn insert_of(statement: *mut pg_sys::PlannedStmt) -> Option<*mut pg_sys::ModifyTable> {
    // SAFETY: node tags tell what the nodes are.
    unsafe {
        let top = (*statement).planTree;
        if (*statement).commandType != pg_sys::CmdType::CMD_INSERT {
            return None;
        }
        let is_it = (*top).type_ == pg_sys::NodeTag::T_ModifyTable;
        if is_it { Some(top.cast()) } else { PutNode::insert_under(top) }
    }
}

/// Does it neither return nor check rows, nor resolve conflicts, nor change anything else?
///
/// # Safety
/// A planned INSERT and the node of it that inserts.
pub(super) unsafe fn only_inserts(
    statement: *mut pg_sys::PlannedStmt,
    insert: *mut pg_sys::ModifyTable,
) -> bool {
    // SAFETY: by the contract above.
    unsafe {
        !(*statement).hasModifyingCTE
            && (*insert).withCheckOptionLists.is_null()
            && (*insert).returningLists.is_null()
            && (*insert).onConflictAction == pg_sys::OnConflictAction::ONCONFLICT_NONE
            && (*insert).operation == pg_sys::CmdType::CMD_INSERT
    }
}

/// Subqueries that are computed once hang on the topmost node. While this lives they hang on the one under
/// it, which the executor is to start with; it reads them at its start only.
struct InitPlans {
    node: *mut pg_sys::Plan,
    own: *mut pg_sys::List,
}

impl InitPlans {
    /// # Safety
    /// The plan is in use for as long as the result is; its statement has a topmost node with one under it.
    unsafe fn lend(plan: *mut pg_sys::CachedPlan) -> InitPlans {
        // SAFETY: by the contract above; the tree belongs to this process alone.
        unsafe {
            let statement = (*(*(*plan).stmt_list).elements).ptr_value.cast::<pg_sys::PlannedStmt>();
            let top = (*statement).planTree;
            let insert = insert_of(statement).unwrap_or(top.cast());
            let node = (*insert).plan.lefttree;
            let own = (*node).initPlan;
            (*node).initPlan = pg_sys::list_concat_copy(own, (*top).initPlan);
            InitPlans { node, own }
        }
    }
}

impl Drop for InitPlans {
    fn drop(&mut self) {
        // SAFETY: the plan is still in use.
        unsafe { (*self.node).initPlan = self.own };
    }
}

impl Plan {
    /// Runs the query under this INSERT and hands over each row it makes. False, with nothing done, if the
    /// statement must be executed as it is. `firing`: the trigger whose transition tables it reads. Must be
    /// called inside `spi::connect`.
    pub fn feed(&self, args: &[Arg], firing: Option<&Firing>, on_row: &mut dyn FnMut(Row)) -> bool {
        assert_eq!(args.len(), self.arguments());
        super::xact::next_command();
        // SAFETY: a kept plan; the plan tree stays as it is while it is in use, and is only read. What is
        // allocated here goes with the memory context of the SPI connection. A copy of the snapshot is
        // active while the executor runs, as in SPI.
        unsafe {
            let Some(in_use) = InUse::of(self) else { return false };
            let Some(mut statement) = query_under(in_use.0) else { return false };
            let mut receiver = Receiver { base: super::dest::receiver(receive), on_row };
            pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
            let query = pg_sys::CreateQueryDesc(
                &mut statement,
                (*self.source()).query_string,
                pg_sys::GetActiveSnapshot(),
                std::ptr::null_mut(),
                (&raw mut receiver).cast(),
                super::dest::parameters(self.raw(), args),
                firing.map_or(std::ptr::null_mut(), Firing::query_environment),
                0,
            );
            let init_plans = InitPlans::lend(in_use.0);
            pg_sys::ExecutorStart(query, 0);
            drop(init_plans);
            run(query);
            pg_sys::ExecutorFinish(query);
            pg_sys::ExecutorEnd(query);
            pg_sys::FreeQueryDesc(query);
            pg_sys::PopActiveSnapshot();
        }
        true
    }
}

/// # Safety
/// The query has been started.
unsafe fn run(query: *mut pg_sys::QueryDesc) {
    // SAFETY: by the contract above; 0: all rows.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::ExecutorRun(query, pg_sys::ScanDirection::ForwardScanDirection, 0, true);
        #[cfg(feature = "pg18")]
        pg_sys::ExecutorRun(query, pg_sys::ScanDirection::ForwardScanDirection, 0);
    }
}
