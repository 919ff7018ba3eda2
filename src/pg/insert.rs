//! Rows put into a partition directly: what INSERT does once the row is made (constraints, heap, indexes),
//! without planning, routing and triggers, many rows to a page and WAL record. Only for tables on which
//! an INSERT does nothing more: see [`Target::open`].

use super::relation::Open;
use super::{Datum, Oid};
use pgrx::pg_sys;
use std::ffi::CStr;

/// Rows kept back to be written together.
const MOST_ROWS: usize = 1000;
const MOST_BYTES: usize = 65_536;

/// Triggers of ours, for statements that are not ours.
const OUR_TRIGGERS: &[&CStr] = &[c"queue_ext_wake", c"queue_ext_check"];

/// A partition that rows can be put into directly, open.
pub struct Target {
    parent: Open,
    table: Open,
}

impl Target {
    /// `None` if an INSERT would do more than what is done here, or run code of a user's.
    pub fn open(parent: Oid, partition: Oid) -> Option<Target> {
        let (parent, table) = (Open::table(parent), Open::table(partition));
        let plain = table.is_plain_heap()
            && !table.computes_on_insert()
            && !table.insert_has_side_effects(OUR_TRIGGERS)
            && !parent.insert_has_side_effects(OUR_TRIGGERS)
            && table.indexes_plain_columns_only();
        plain.then_some(Target { parent, table })
    }
}

/// Writes rows into one partition.
pub struct Inserter {
    on: Target,
    state: *mut pg_sys::EState,
    target: *mut pg_sys::ResultRelInfo,
    slots: Vec<*mut pg_sys::TupleTableSlot>,
    filled: usize,
    bytes: usize,
}

/// A row being made: all columns are null at first. Values by reference need to live until the closure
/// that sets them returns.
pub struct Cells<'a> {
    values: &'a mut [Datum],
    nulls: &'a mut [bool],
}

impl Cells<'_> {
    /// Sets a column, by its number.
    pub fn set(&mut self, column: i16, value: Option<Datum>) {
        let index = column as usize - 1;
        self.nulls[index] = value.is_none();
        self.values[index] = value.unwrap_or(Datum::from(0));
    }

    /// Sets all columns.
    pub fn copy_all(&mut self, values: &[Datum], nulls: &[bool]) {
        self.values.copy_from_slice(values);
        self.nulls.copy_from_slice(nulls);
    }

    /// Sets all columns to those of a row of the queue, given as a composite value.
    pub fn copy(&mut self, row: Datum, desc: &Desc) {
        // SAFETY: a composite value of the queue's row type, whose description this is; there is room for
        // all its columns: the partition has the same.
        unsafe {
            let mut tuple = super::row::tuple(row);
            assert_eq!(self.values.len(), (*desc.0).natts as usize);
            pg_sys::heap_deform_tuple(&mut tuple, desc.0, self.values.as_mut_ptr(), self.nulls.as_mut_ptr());
        }
    }
}

/// A row type's description.
pub struct Desc(pg_sys::TupleDesc);

impl Desc {
    pub fn of(row_type: Oid) -> Desc {
        // SAFETY: raises for anything but a row type; given back by `drop`.
        Desc(unsafe { pg_sys::lookup_rowtype_tupdesc(row_type, -1) })
    }

    pub fn raw(&self) -> pg_sys::TupleDesc {
        self.0
    }

    /// How many columns there are, dropped ones included.
    pub fn columns(&self) -> usize {
        // SAFETY: valid while this value lives.
        unsafe { (*self.0).natts as usize }
    }

    /// A column's type, if it was not dropped. Counted from 0.
    pub fn column_type(&self, column: usize) -> Option<Oid> {
        assert!(column < self.columns());
        // SAFETY: there is such a column.
        unsafe {
            #[cfg(not(feature = "pg18"))]
            let attribute = (*self.0).attrs.as_ptr().add(column);
            #[cfg(feature = "pg18")]
            let attribute = pg_sys::TupleDescAttr(self.0, column as i32);
            (!(*attribute).attisdropped).then(|| (*attribute).atttypid)
        }
    }

    /// Reads all columns of a composite value of this row type.
    pub fn read(&self, row: Datum, values: &mut [Datum], nulls: &mut [bool]) {
        assert!(values.len() == self.columns() && nulls.len() == self.columns());
        // SAFETY: a composite value; there is room for all its columns.
        unsafe {
            let mut tuple = super::row::tuple(row);
            pg_sys::heap_deform_tuple(&mut tuple, self.0, values.as_mut_ptr(), nulls.as_mut_ptr());
        }
    }
}

impl Drop for Desc {
    fn drop(&mut self) {
        // SAFETY: looked up by `of`; a negative count means that it is not counted.
        unsafe {
            if (*self.0).tdrefcount >= 0 {
                pg_sys::DecrTupleDescRefCount(self.0);
            }
        }
    }
}

impl Inserter {
    pub fn open(on: Target) -> Inserter {
        // SAFETY: the executor's own set-up for inserting into a partition, as COPY does it; all of it is
        // allocated in the state's memory and freed with it.
        unsafe {
            // Not in the present context, which may be that of a row being handed over.
            let before = pg_sys::MemoryContextSwitchTo(pg_sys::CurTransactionContext);
            let state = pg_sys::CreateExecutorState();
            pg_sys::MemoryContextSwitchTo((*state).es_query_cxt);
            let make = |relation: pg_sys::Relation, root: *mut pg_sys::ResultRelInfo| {
                let info =
                    pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast::<pg_sys::ResultRelInfo>();
                pg_sys::InitResultRelInfo(info, relation, 0, root, 0);
                info
            };
            // The parent is the table that messages name.
            let info = make(on.table.raw(), make(on.parent.raw(), std::ptr::null_mut()));
            pg_sys::ExecOpenIndices(info, false);
            pg_sys::MemoryContextSwitchTo(before);
            Inserter { on, state, target: info, slots: Vec::new(), filled: 0, bytes: 0 }
        }
    }

    /// Checks a row as `add` does, without adding it.
    pub fn check(&mut self, fill: impl FnOnce(&mut Cells)) {
        let slot = self.free_slot();
        // SAFETY: as in `add`; the slot is emptied again.
        unsafe {
            let columns = (*(*slot).tts_tupleDescriptor).natts as usize;
            let mut cells = Cells {
                values: std::slice::from_raw_parts_mut((*slot).tts_values, columns),
                nulls: std::slice::from_raw_parts_mut((*slot).tts_isnull, columns),
            };
            cells.nulls.fill(true);
            fill(&mut cells);
            pg_sys::ExecStoreVirtualTuple(slot);
            if !(*(*self.on.table.raw()).rd_att).constr.is_null() {
                pg_sys::ExecConstraints(self.target, slot, self.state);
            }
            pg_sys::ExecClearTuple(slot);
        }
    }

    /// Adds a row. It is written with others, at the latest by `finish`. Returns it as a value of the row
    /// type that is asked for.
    pub fn add(&mut self, wanted: Option<&Desc>, fill: impl FnOnce(&mut Cells)) -> Option<Datum> {
        let slot = self.free_slot();
        // SAFETY: an empty slot of the table, with room for as many values as it has columns; what is
        // stored is copied into the slot before the values can go away.
        let row = unsafe {
            let columns = (*(*slot).tts_tupleDescriptor).natts as usize;
            let mut cells = Cells {
                values: std::slice::from_raw_parts_mut((*slot).tts_values, columns),
                nulls: std::slice::from_raw_parts_mut((*slot).tts_isnull, columns),
            };
            cells.nulls.fill(true);
            fill(&mut cells);
            pg_sys::ExecStoreVirtualTuple(slot);
            if !(*(*self.on.table.raw()).rd_att).constr.is_null() {
                pg_sys::ExecConstraints(self.target, slot, self.state);
            }
            pg_sys::ExecMaterializeSlot(slot);
            let mut must_free = false;
            let tuple = pg_sys::ExecFetchSlotHeapTuple(slot, false, &mut must_free);
            self.bytes += (*tuple).t_len as usize;
            wanted.map(|desc| pg_sys::heap_copy_tuple_as_datum(tuple, desc.raw()))
        };
        self.filled += 1;
        if self.filled >= MOST_ROWS || self.bytes >= MOST_BYTES {
            self.flush();
        }
        row
    }

    fn free_slot(&mut self) -> *mut pg_sys::TupleTableSlot {
        if let Some(slot) = self.slots.get(self.filled) {
            return *slot;
        }
        // SAFETY: made in the state's memory, freed with it (a slot of an open table pins nothing else).
        let slot = unsafe {
            let before = pg_sys::MemoryContextSwitchTo((*self.state).es_query_cxt);
            let slot = pg_sys::MakeSingleTupleTableSlot(
                (*self.on.table.raw()).rd_att,
                pg_sys::table_slot_callbacks(self.on.table.raw()),
            );
            pg_sys::MemoryContextSwitchTo(before);
            slot
        };
        self.slots.push(slot);
        slot
    }

    fn flush(&mut self) {
        let slots = &mut self.slots[..std::mem::take(&mut self.filled)];
        self.bytes = 0;
        // SAFETY: the slots hold rows of the open table; the table's own indexes are open in `target`.
        unsafe {
            if (*self.state).es_per_tuple_exprcontext.is_null() {
                pg_sys::MakePerTupleExprContext(self.state);
            }
            let scratch = (*(*self.state).es_per_tuple_exprcontext).ecxt_per_tuple_memory;
            let before = pg_sys::MemoryContextSwitchTo(scratch);
            let command = pg_sys::GetCurrentCommandId(true);
            match &mut *slots {
                [] => {}
                [slot] => pg_sys::simple_table_tuple_insert(self.on.table.raw(), *slot),
                many => pg_sys::heap_multi_insert(
                    self.on.table.raw(),
                    many.as_mut_ptr(),
                    many.len() as i32,
                    command,
                    0,
                    std::ptr::null_mut(),
                ),
            }
            for slot in slots {
                if (*self.target).ri_NumIndices > 0 {
                    insert_index_entries(self.target, *slot, self.state);
                }
                pg_sys::ExecClearTuple(*slot);
            }
            pg_sys::MemoryContextSwitchTo(before);
            pg_sys::MemoryContextReset(scratch);
        }
    }

    /// Writes what is left, and makes it visible to this transaction's next command.
    pub fn finish(mut self) {
        self.flush();
        super::xact::next_command();
    }
}

impl Drop for Inserter {
    fn drop(&mut self) {
        // SAFETY: made by `open` and `free_slot`; on ERROR this runs before the transaction's abort, when
        // all of it still exists.
        unsafe {
            for slot in &self.slots {
                pg_sys::ExecDropSingleTupleTableSlot(*slot);
            }
            pg_sys::ExecCloseIndices(self.target);
            pg_sys::FreeExecutorState(self.state);
        }
    }
}

/// # Safety
/// The slot holds a row that was just inserted into the target's table, whose indexes are open.
unsafe fn insert_index_entries(
    target: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    state: *mut pg_sys::EState,
) {
    // SAFETY: by the contract above. The list of deferred unique indexes is empty: their triggers make
    // the table unfit for direct inserts.
    unsafe {
        let none = std::ptr::null_mut();
        #[cfg(feature = "pg15")]
        pg_sys::ExecInsertIndexTuples(target, slot, state, false, false, none, std::ptr::null_mut());
        #[cfg(not(feature = "pg15"))]
        pg_sys::ExecInsertIndexTuples(target, slot, state, false, false, none, std::ptr::null_mut(), false);
    }
}
