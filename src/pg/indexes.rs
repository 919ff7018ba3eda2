//! Entering rows into a table's indexes without the executor: indexes on plain columns, with no condition but
//! that columns are filled or are null. One whose condition a row does not meet is not even opened.

use super::raw::slot_getsomeattrs_int;
use super::relation::Open;
use super::{Datum, Oid, raw};
use pgrx::pg_sys::{self, IndexUniqueCheck, NodeTag, TupleTableSlot};

/// Conditions of one index at most.
const MOST: usize = 3;

/// A column that must be null, or must not; no column: nothing.
#[derive(Clone, Copy)]
struct Condition {
    column: i16,
    is_null: bool,
}

/// Such an index.
#[derive(Clone, Copy)]
pub struct Plain {
    oid: Oid,
    conditions: [Condition; MOST],
}

/// The indexes of a table; `None` if one of them is of another kind.
pub fn of(table: &Open) -> Option<Vec<Plain>> {
    table.indexes().into_iter().map(plain).collect()
}

fn plain(oid: Oid) -> Option<Plain> {
    let index = Open::index(oid);
    // SAFETY: an open index; its expressions and conditions are lists, or null; tags tell what nodes are.
    unsafe {
        let form = &*(*index.raw()).rd_index;
        if form.indisexclusion
            || !form.indimmediate
            || !pg_sys::RelationGetIndexExpressions(index.raw()).is_null()
        {
            return None;
        }
        let mut conditions = [Condition { column: 0, is_null: false }; MOST];
        let list = pg_sys::RelationGetIndexPredicate(index.raw());
        let count = if list.is_null() { 0 } else { (*list).length as usize };
        for place in 0..count {
            let node = (*(*list).elements.add(place)).ptr_value.cast::<pg_sys::NullTest>();
            if (*node).xpr.type_ != NodeTag::T_NullTest
                || (*(*node).arg).type_ != NodeTag::T_Var
                || (*node).argisrow
            {
                return None;
            }
            let column = (*(*node).arg.cast::<pg_sys::Var>()).varattno;
            let is_null = (*node).nulltesttype == pg_sys::NullTestType::IS_NULL;
            *conditions.get_mut(place).filter(|_| column > 0)? = Condition { column, is_null };
        }
        Some(Plain { oid, conditions })
    }
}

/// Indexes in use, opened as rows need them.
#[derive(Clone, Copy)]
pub struct Indexes {
    list: *mut InUse,
    count: usize,
}

#[derive(Clone, Copy)]
struct InUse {
    plain: Plain,
    relation: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
}

impl Indexes {
    /// In the present memory context, in which they stay.
    ///
    /// # Safety
    /// Called inside `guarded`.
    pub unsafe fn of(list: *const Plain, count: usize) -> Indexes {
        // SAFETY: by the contract above; room for so many, all zero but for what they are.
        unsafe {
            let in_use = raw::palloc0(count * size_of::<InUse>()).cast::<InUse>();
            for place in 0..count {
                (*in_use.add(place)).plain = *list.add(place);
            }
            Indexes { list: in_use, count }
        }
    }

    /// Enters a row that was just inserted. What is kept lies in `memory`, what is used up in the present
    /// context.
    ///
    /// # Safety
    /// A row of the table whose indexes these are, which is open and locked. Called inside `guarded`.
    pub unsafe fn enter(
        self,
        table: pg_sys::Relation,
        slot: *mut TupleTableSlot,
        memory: pg_sys::MemoryContext,
    ) {
        // SAFETY: by the contract above. An index has at most so many columns.
        unsafe {
            let mut values = [Datum::from(0); pg_sys::INDEX_MAX_KEYS as usize];
            let mut nulls = [false; pg_sys::INDEX_MAX_KEYS as usize];
            let (values, nulls) = (values.as_mut_ptr(), nulls.as_mut_ptr());
            for place in 0..self.count {
                let index = self.list.add(place);
                if !holds(&raw const (*index).plain, slot) {
                    continue;
                }
                if (*index).relation.is_null() {
                    let before = pg_sys::CurrentMemoryContext;
                    pg_sys::CurrentMemoryContext = memory;
                    let mode = pg_sys::RowExclusiveLock as i32;
                    let relation = raw::index_open((*index).plain.oid, mode);
                    (*index).info = raw::BuildIndexInfo(relation);
                    (*index).relation = relation;
                    pg_sys::CurrentMemoryContext = before;
                }
                let (relation, info) = ((*index).relation, (*index).info);
                if !(*info).ii_ReadyForInserts {
                    continue;
                }
                let unique = match (*(*relation).rd_index).indisunique {
                    true => IndexUniqueCheck::UNIQUE_CHECK_YES,
                    false => IndexUniqueCheck::UNIQUE_CHECK_NO,
                };
                raw::FormIndexDatum(info, slot, std::ptr::null_mut(), values, nulls);
                let at = &raw mut (*slot).tts_tid;
                raw::index_insert(relation, values, nulls, at, table, unique, false, info);
            }
        }
    }

    /// # Safety
    /// Called inside `guarded`, once.
    pub unsafe fn close(self) {
        // SAFETY: opened by `enter`; the locks are kept, as those of the table.
        unsafe {
            for place in 0..self.count {
                let index = self.list.add(place);
                if !(*index).relation.is_null() {
                    #[cfg(not(feature = "pg15"))]
                    raw::index_insert_cleanup((*index).relation, (*index).info);
                    raw::index_close((*index).relation, pg_sys::NoLock as i32);
                }
            }
        }
    }
}

/// Does a row meet an index's conditions?
///
/// # Safety
/// A slot that holds a row of the index's table. Called inside `guarded`.
unsafe fn holds(plain: *const Plain, slot: *mut TupleTableSlot) -> bool {
    // SAFETY: by the contract above: the column is one of the slot's, and is read first.
    unsafe {
        let conditions = (&raw const (*plain).conditions).cast::<Condition>();
        for place in 0..MOST {
            let Condition { column, is_null } = *conditions.add(place);
            if column > 0 {
                if (*slot).tts_nvalid < column {
                    slot_getsomeattrs_int(slot, i32::from(column));
                }
                if *(*slot).tts_isnull.add(column as usize - 1) != is_null {
                    return false;
                }
            }
        }
        true
    }
}
