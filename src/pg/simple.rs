//! Evaluating the one row of an `INSERT … SELECT expressions` without the executor, whose start and end cost
//! more than the expressions. Only for expressions of built-in functions over built-in types: those depend
//! neither on the search_path nor on the role, and keep nothing that belongs to a transaction.

use super::feed::{InUse, Row, insert_of, query_under};
use super::spi::{Arg, Plan};
use pgrx::pg_sys::{self, Node, NodeTag, Oid};
use std::cell::Cell;

/// Objects with a lower oid come with Postgres.
const FIRST_OF_USERS: u32 = 10_000;

/// Built-in functions that are stable only because of time, time zone or the output of their arguments.
const STABLE: [u32; 12] = [1174, 1178, 1189, 1190, 1299, 3058, 3059, 3271, 3272, 3273, 3274, 3787];

/// Types whose input and output look up names: regproc and the like, and arrays of them.
const NAMES: [u32; 22] = [
    24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191, 1008, 2207, 2208, 2209, 2210, 2211, 3735,
    3770, 4090, 4097, 4192,
];

/// As many as any statement of ours has.
const MOST_ARGUMENTS: usize = 16;

/// The expressions of a plan, ready to be evaluated again and again.
pub struct Simple {
    context: pg_sys::MemoryContext,
    projection: *mut pg_sys::ProjectionInfo,
    expressions: *mut pg_sys::ExprContext,
    condition: *mut pg_sys::ExprState,
    /// Filled anew for each row.
    parameters: pg_sys::ParamListInfo,
    /// What the executor would check privileges by.
    range_table: *mut pg_sys::List,
    #[cfg(not(feature = "pg15"))]
    permissions: *mut pg_sys::List,
    /// Being evaluated: what is evaluated within must find another way.
    in_use: Cell<bool>,
    /// The plan they were made from.
    made_from: (*mut pg_sys::CachedPlan, i32),
}

/// While it lives, a Simple is being evaluated; an ERROR ends it, too.
struct Evaluating<'a>(&'a Cell<bool>);

impl<'a> Evaluating<'a> {
    fn now(in_use: &'a Cell<bool>) -> Evaluating<'a> {
        in_use.set(true);
        Evaluating(in_use)
    }
}

impl Drop for Evaluating<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

impl Drop for Simple {
    fn drop(&mut self) {
        // SAFETY: all of it was allocated in this context.
        unsafe { pg_sys::MemoryContextDelete(self.context) };
    }
}

impl Simple {
    /// `None` if the statement is no such INSERT.
    ///
    /// # Safety
    /// The plan is in use, and is the one that `of` has now.
    unsafe fn of(of: &Plan, plan: *mut pg_sys::CachedPlan) -> Option<Simple> {
        // SAFETY: by the contract above; `query_under` has checked the topmost node. Everything that is kept
        // is copied into a context of its own.
        unsafe {
            let statement = (*(*(*plan).stmt_list).elements).ptr_value.cast::<pg_sys::PlannedStmt>();
            let top = (*statement).planTree;
            let node = (*insert_of(statement)?).plan.lefttree;
            let is_one_row = (*node).type_ == NodeTag::T_Result
                && (*node).lefttree.is_null()
                && (*node).qual.is_null()
                && (*node).initPlan.is_null()
                && (*top).initPlan.is_null();
            if !is_one_row || (*plan).dependsOnRole || (*plan).saved_xmin != pg_sys::InvalidTransactionId {
                return None;
            }
            let condition = (*node.cast::<pg_sys::Result>()).resconstantqual;
            if !is_simple((*node).targetlist.cast()) || !is_simple(condition) {
                return None;
            }
            let context = pg_sys::AllocSetContextCreateInternal(
                pg_sys::CacheMemoryContext,
                c"queue_ext expressions".as_ptr(),
                0,
                1024,
                8192,
            );
            let before = pg_sys::MemoryContextSwitchTo(context);
            let copy = |node: *mut pg_sys::List| pg_sys::copyObjectImpl(node.cast()).cast::<pg_sys::List>();
            let targets = copy((*node).targetlist);
            let expressions = pg_sys::CreateStandaloneExprContext();
            let slot =
                pg_sys::MakeTupleTableSlot(pg_sys::ExecTypeFromTL(targets), &raw const pg_sys::TTSOpsVirtual);
            let none = std::ptr::null_mut();
            let simple = Simple {
                context,
                projection: pg_sys::ExecBuildProjectionInfo(
                    targets,
                    expressions,
                    slot,
                    none,
                    std::ptr::null_mut(),
                ),
                expressions,
                condition: pg_sys::ExecInitQual(copy(condition.cast()), none),
                parameters: super::dest::parameters(of.raw(), &vec![None; of.arguments()]),
                range_table: copy((*statement).rtable),
                #[cfg(not(feature = "pg15"))]
                permissions: copy((*statement).permInfos),
                in_use: Cell::new(false),
                made_from: (plan, (*of.source()).generation),
            };
            pg_sys::MemoryContextSwitchTo(before);
            Some(simple)
        }
    }

    /// Is the plan they were made from still the one that would be used? To be asked after the table was
    /// locked, which tells of changes.
    ///
    /// # Safety
    /// The source is that of the plan.
    unsafe fn is_valid(&self, source: *mut pg_sys::CachedPlanSource) -> bool {
        // SAFETY: a source's current plan exists as long as the source refers to it.
        unsafe {
            let plan = (*source).gplan;
            (*source).is_valid && self.made_from == (plan, (*source).generation) && (*plan).is_valid
        }
    }

    /// Raises unless the current user has the privileges.
    fn check_privileges(&self) {
        // SAFETY: copies of the statement's own lists.
        unsafe {
            #[cfg(feature = "pg15")]
            pg_sys::ExecCheckRTPerms(self.range_table, true);
            #[cfg(not(feature = "pg15"))]
            pg_sys::ExecCheckPermissions(self.range_table, self.permissions, true);
        }
    }

    /// Hands over the row that these arguments make, if the condition holds.
    ///
    /// # Safety
    /// As many arguments as the plan has parameters, of their types.
    unsafe fn evaluate(&self, arguments: &[Arg], on_row: &mut dyn FnMut(Row)) {
        // SAFETY: by the contract above; a list of no parameters is null.
        unsafe {
            if let Some(parameters) = self.parameters.as_mut() {
                let list = parameters.params.as_mut_slice(arguments.len());
                for (parameter, argument) in list.iter_mut().zip(arguments) {
                    parameter.value = argument.unwrap_or(pg_sys::Datum::from(0));
                    parameter.isnull = argument.is_none();
                }
            }
            (*self.expressions).ecxt_param_list_info = self.parameters;
            if !self.condition.is_null() && !pg_sys::ExecQual(self.condition, self.expressions) {
                return;
            }
            let slot = pg_sys::ExecProject(self.projection);
            on_row(Row::of(slot));
        }
    }
}

impl Plan {
    /// Makes ready to feed simply, if this is an INSERT that can be. Must be called inside `spi::connect`,
    /// with the rights and the search_path that the statement is to have.
    pub fn make_simple(&self) -> bool {
        // SAFETY: a kept plan, in use while it is looked at.
        unsafe {
            let Some(in_use) = InUse::of(self) else { return false };
            let simple = query_under(in_use.0).and_then(|_| Simple::of(self, in_use.0));
            let made = simple.is_some();
            *self.simple.borrow_mut() = simple;
            made
        }
    }

    /// Evaluates this INSERT, for one list of arguments after the other, until `arguments`, which is to fill
    /// them in, says that there are none. False, with nothing done, if it was not made ready for that, or
    /// has changed since. The caller holds a lock on the table, and its rights are those of the statement;
    /// the search_path does not matter.
    pub fn feed_simply(
        &self,
        arguments: &mut dyn FnMut(&mut [Arg]) -> bool,
        on_row: &mut dyn FnMut(Row),
    ) -> bool {
        let simple = self.simple.borrow();
        let Some(simple) = simple.as_ref() else { return false };
        // SAFETY: the plan's own source; as many arguments as it has parameters. All that is
        // allocated for a row goes before the next; `on_row` keeps none of it.
        unsafe {
            if simple.in_use.get() || !simple.is_valid(self.source()) {
                return false;
            }
            let _evaluating = Evaluating::now(&simple.in_use);
            simple.check_privileges();
            let for_row = (*simple.expressions).ecxt_per_tuple_memory;
            let before = pg_sys::MemoryContextSwitchTo(for_row);
            let (mut few, mut many) = ([None; MOST_ARGUMENTS], Vec::new());
            let list = match few.get_mut(..self.arguments()) {
                Some(list) => list,
                None => {
                    many.resize(self.arguments(), None);
                    &mut many[..]
                }
            };
            while arguments(list) {
                simple.evaluate(list, on_row);
                // Does not raise.
                super::raw::MemoryContextReset(for_row);
            }
            pg_sys::MemoryContextSwitchTo(before);
        }
        true
    }

    /// # Safety
    /// The plan was made by SPI from one statement.
    pub unsafe fn source(&self) -> *mut pg_sys::CachedPlanSource {
        // SAFETY: by the contract above the list has one element. Reads it, and does not raise.
        unsafe {
            let list = super::raw::SPI_plan_get_plan_sources(self.raw());
            (*(*list).elements).ptr_value.cast()
        }
    }
}

fn is_plain_type(oid: Oid) -> bool {
    oid.to_u32() < FIRST_OF_USERS && !NAMES.contains(&oid.to_u32())
}

/// A row of columns of built-in types. The row itself is not plain: its type is a user's, who may have
/// made a cast of it that runs code.
fn is_plain_row(oid: Oid) -> bool {
    // SAFETY: a lookup that gives InvalidOid for what is no row type; the description is given back.
    unsafe {
        if pg_sys::get_typ_typrelid(oid) == Oid::INVALID {
            return false;
        }
        let desc = super::insert::Desc::of(oid);
        (0..desc.columns()).all(|column| desc.column_type(column).is_none_or(is_plain_type))
    }
}

fn is_plain_function(oid: Oid) -> bool {
    let number = oid.to_u32();
    // SAFETY: a syscache lookup of a function that exists.
    number < FIRST_OF_USERS
        && (STABLE.contains(&number)
            || unsafe { pg_sys::func_volatile(oid) } as u8 == pg_sys::PROVOLATILE_IMMUTABLE)
}

/// # Safety
/// A list of nodes, or null.
unsafe fn are_simple(list: *mut pg_sys::List) -> bool {
    // SAFETY: by the contract above.
    unsafe {
        list.is_null()
            || (0..(*list).length as usize)
                .all(|place| is_simple((*(*list).elements.add(place)).ptr_value.cast()))
    }
}

/// Is it a parameter of such a type?
///
/// # Safety
/// A node of an expression tree.
unsafe fn is_parameter(node: *mut Node, is_fit: fn(Oid) -> bool) -> bool {
    // SAFETY: the tag tells what a node is.
    unsafe {
        let parameter = node.cast::<pg_sys::Param>();
        (*node).type_ == NodeTag::T_Param
            && (*parameter).paramkind == pg_sys::ParamKind::PARAM_EXTERN
            && is_fit((*parameter).paramtype)
    }
}

/// Is it an expression of the kinds listed here, of plain functions and types?
///
/// # Safety
/// A node of an expression tree, or null.
unsafe fn is_simple(node: *mut Node) -> bool {
    if node.is_null() {
        return true;
    }
    // SAFETY: the tag tells what a node is.
    unsafe {
        match (*node).type_ {
            NodeTag::T_List => are_simple(node.cast()),
            NodeTag::T_NextValueExpr => true,
            NodeTag::T_Const => is_plain_type((*node.cast::<pg_sys::Const>()).consttype),
            NodeTag::T_Param => is_parameter(node, is_plain_type),
            NodeTag::T_TargetEntry => {
                let value = (*node.cast::<pg_sys::TargetEntry>()).expr.cast::<Node>();
                // A column that is left out, of whatever type.
                let is_null =
                    (*value).type_ == NodeTag::T_Const && (*value.cast::<pg_sys::Const>()).constisnull;
                is_null || is_simple(value)
            }
            NodeTag::T_FuncExpr => {
                let call = node.cast::<pg_sys::FuncExpr>();
                is_plain_function((*call).funcid) && !(*call).funcretset && are_simple((*call).args)
            }
            NodeTag::T_OpExpr | NodeTag::T_DistinctExpr | NodeTag::T_NullIfExpr => {
                let call = node.cast::<pg_sys::OpExpr>();
                is_plain_function((*call).opfuncid) && are_simple((*call).args)
            }
            NodeTag::T_BoolExpr => are_simple((*node.cast::<pg_sys::BoolExpr>()).args),
            NodeTag::T_CoalesceExpr => are_simple((*node.cast::<pg_sys::CoalesceExpr>()).args),
            NodeTag::T_ArrayExpr => are_simple((*node.cast::<pg_sys::ArrayExpr>()).elements),
            NodeTag::T_NullTest => is_simple((*node.cast::<pg_sys::NullTest>()).arg.cast()),
            NodeTag::T_BooleanTest => is_simple((*node.cast::<pg_sys::BooleanTest>()).arg.cast()),
            NodeTag::T_RelabelType => {
                let cast = node.cast::<pg_sys::RelabelType>();
                is_plain_type((*cast).resulttype) && is_simple((*cast).arg.cast())
            }
            NodeTag::T_FieldSelect => {
                let field = node.cast::<pg_sys::FieldSelect>();
                is_plain_type((*field).resulttype) && is_parameter((*field).arg.cast(), is_plain_row)
            }
            NodeTag::T_CoerceViaIO => {
                let cast = node.cast::<pg_sys::CoerceViaIO>();
                is_plain_type((*cast).resulttype)
                    && is_plain_type(pg_sys::exprType((*cast).arg.cast()))
                    && is_simple((*cast).arg.cast())
            }
            _ => false,
        }
    }
}
