//! Rows put into a partition directly: what INSERT does once the row is made (constraints, heap, indexes),
//! without planning, routing and triggers, many rows to a page and WAL record. Only for tables on which
//! an INSERT does nothing more: see [`Target::open`].

pub use super::cells::{Cells, Desc};
use super::guard::guarded;
use super::indexes::{self, Indexes, Plain};
use super::relation::Open;
use super::{Datum, Oid, cache, raw};
use pgrx::pg_sys;
use std::cell::RefCell;
use std::ffi::CStr;
use std::mem::ManuallyDrop;
use std::rc::Rc;

/// Rows kept back to be written together: more than a page has, fewer than a slot for each costs.
const MOST_ROWS: usize = 100;
const MOST_BYTES: usize = 65_536;

/// Triggers of ours, for statements that are not ours.
const OUR_TRIGGERS: &[&CStr] = &[c"queue_ext_wake", c"queue_ext_check"];

/// A partition that rows can be put into directly, open.
pub struct Target {
    parent: Open,
    table: Open,
    indexes: Rc<[Plain]>,
}

/// What was found of a partition, as long as no table changes.
struct Found {
    partition: Oid,
    generation: u64,
    /// `None`: rows cannot be put into it directly.
    indexes: Option<Rc<[Plain]>>,
}

thread_local! {
    /// By their oids.
    static FOUND: [RefCell<Option<Found>>; 64] = const { [const { RefCell::new(None) }; 64] };
}

impl Found {
    /// What is known of a partition, if nothing has changed since.
    fn of(partition: Oid, generation: Option<u64>) -> Option<Option<Rc<[Plain]>>> {
        FOUND.with(|all| {
            let found = all[partition.to_u32() as usize % all.len()].borrow();
            let is_it = |known: &&Found| known.partition == partition && Some(known.generation) == generation;
            found.as_ref().filter(is_it).map(|known| known.indexes.clone())
        })
    }

    fn keep(self) {
        FOUND.with(|all| all[self.partition.to_u32() as usize % all.len()].replace(Some(self)));
    }
}

impl Target {
    /// `None` if an INSERT would do more than what is done here, or run code of a user's.
    pub fn open(parent: Oid, partition: Oid) -> Option<Target> {
        let [parent, table] = Open::tables(parent, partition);
        // The locks tell of changes.
        let generation = cache::generation();
        let indexes = Found::of(partition, generation).unwrap_or_else(|| {
            let found = is_plain(&parent, &table).then(|| indexes::of(&table)).flatten();
            let indexes: Option<Rc<[Plain]>> = found.map(Rc::from);
            // Looking at it may itself read of changes.
            if let Some(generation) = generation {
                Found { partition, generation, indexes: indexes.clone() }.keep();
            }
            indexes
        })?;
        Some(Target { parent, table, indexes })
    }

    /// Would `open` find it fit, as far as this session has heard? Locks it only to look at it anew.
    pub fn fits(parent: Oid, partition: Oid) -> bool {
        match Found::of(partition, cache::generation()) {
            Some(indexes) => indexes.is_some(),
            None => Target::open(parent, partition).is_some(),
        }
    }

    /// Would the triggers fire whose work is done here?
    pub fn fires_our_triggers(&self) -> bool {
        self.table.fires(OUR_TRIGGERS) && self.parent.fires(OUR_TRIGGERS)
    }
}

fn is_plain(parent: &Open, table: &Open) -> bool {
    table.is_plain_heap()
        && !table.computes_on_insert()
        && !table.insert_has_side_effects(OUR_TRIGGERS)
        && !parent.insert_has_side_effects(OUR_TRIGGERS)
}

/// Writes rows into one partition.
pub struct Inserter {
    on: ManuallyDrop<Target>,
    /// What it keeps until it is dropped.
    memory: pg_sys::MemoryContext,
    /// What is used up by writing, once there are many rows.
    scratch: pg_sys::MemoryContext,
    target: *mut pg_sys::ResultRelInfo,
    indexes: Indexes,
    slots: Vec<*mut pg_sys::TupleTableSlot>,
    filled: usize,
    bytes: usize,
    has_written: bool,
}

impl Inserter {
    pub fn open(on: Target) -> Inserter {
        // Not in the present context, which may be that of a row being handed over.
        // SAFETY: what the executor does to insert into a partition, without the triggers and partitions,
        // which there are none of here; all of it is allocated in memory of its own and freed with it.
        // Nothing with a destructor is between the guard and the calls.
        unsafe {
            let (table, parent) = (on.table.raw(), on.parent.raw());
            let (list, count) = (on.indexes.as_ptr(), on.indexes.len());
            let (memory, target, indexes, first) = guarded(|| {
                let memory = raw::make_memory(pg_sys::CurTransactionContext);
                let before = pg_sys::CurrentMemoryContext;
                pg_sys::CurrentMemoryContext = memory;
                // The parent is the table that messages name.
                let target = raw::info(table, raw::info(parent, std::ptr::null_mut()));
                let indexes = Indexes::of(list, count);
                let kind = &raw const pg_sys::TTSOpsBufferHeapTuple;
                let first = raw::MakeSingleTupleTableSlot((*table).rd_att, kind);
                pg_sys::CurrentMemoryContext = before;
                (memory, target, indexes, first)
            });
            let scratch = std::ptr::null_mut();
            Inserter {
                on: ManuallyDrop::new(on),
                memory,
                scratch,
                target,
                indexes,
                slots: vec![first],
                filled: 0,
                bytes: 0,
                has_written: false,
            }
        }
    }

    /// Checks a row as `add` does, without adding it.
    pub fn check(&mut self, fill: impl FnOnce(&mut Cells)) {
        let slot = self.fill(fill);
        // SAFETY: as in `add`; the slot is emptied again.
        unsafe {
            let is_constrained = !(*(*self.on.table.raw()).rd_att).constr.is_null();
            let (target, state) = (self.target, std::ptr::null_mut());
            guarded(|| {
                raw::ExecStoreVirtualTuple(slot);
                if is_constrained {
                    raw::ExecConstraints(target, slot, state);
                }
                raw::clear(slot);
            });
        }
    }

    /// Adds a row. It is written with others, at the latest by `finish`. Returns it as a value of the row
    /// type that is asked for.
    pub fn add(&mut self, wanted: Option<&Desc>, fill: impl FnOnce(&mut Cells)) -> Option<Datum> {
        let slot = self.fill(fill);
        // SAFETY: the slot is filled; what is stored is copied into it before the values can go away. Nothing
        // with a destructor is between the guard and the calls.
        let row = unsafe {
            let is_constrained = !(*(*self.on.table.raw()).rd_att).constr.is_null();
            let (target, state) = (self.target, std::ptr::null_mut());
            let wanted = wanted.map(Desc::raw);
            let (bytes, row) = guarded(|| {
                raw::ExecStoreVirtualTuple(slot);
                if is_constrained {
                    raw::ExecConstraints(target, slot, state);
                }
                raw::materialize(slot);
                let mut must_free = false;
                let tuple = raw::ExecFetchSlotHeapTuple(slot, false, &mut must_free);
                ((*tuple).t_len as usize, wanted.map(|desc| raw::heap_copy_tuple_as_datum(tuple, desc)))
            });
            self.bytes += bytes;
            row
        };
        self.filled += 1;
        if self.filled >= MOST_ROWS || self.bytes >= MOST_BYTES {
            self.flush();
        }
        row
    }

    fn fill(&mut self, fill: impl FnOnce(&mut Cells)) -> *mut pg_sys::TupleTableSlot {
        let slot = self.free_slot();
        // SAFETY: an empty slot of the table, with room for as many values as it has columns.
        let mut cells = unsafe {
            let columns = (*(*slot).tts_tupleDescriptor).natts as usize;
            Cells {
                values: std::slice::from_raw_parts_mut((*slot).tts_values, columns),
                nulls: std::slice::from_raw_parts_mut((*slot).tts_isnull, columns),
            }
        };
        cells.nulls.fill(true);
        fill(&mut cells);
        slot
    }

    fn free_slot(&mut self) -> *mut pg_sys::TupleTableSlot {
        if let Some(slot) = self.slots.get(self.filled) {
            return *slot;
        }
        // SAFETY: made in memory of its own, freed with it. The first slot is of the table's own description;
        // the others share a copy, which need not be noted as in use by each of them. Nothing with a
        // destructor is between the guard and the calls.
        let slot = unsafe {
            let (table, memory) = (self.on.table.raw(), self.memory);
            let second = self.slots.get(1).map(|slot| (**slot).tts_tupleDescriptor);
            guarded(|| {
                let before = pg_sys::CurrentMemoryContext;
                pg_sys::CurrentMemoryContext = memory;
                let desc = match second {
                    Some(desc) => desc,
                    None => raw::CreateTupleDescCopy((*table).rd_att),
                };
                let slot = raw::MakeSingleTupleTableSlot(desc, &raw const pg_sys::TTSOpsBufferHeapTuple);
                pg_sys::CurrentMemoryContext = before;
                slot
            })
        };
        self.slots.push(slot);
        slot
    }

    /// Writes what was added so far.
    pub fn flush(&mut self) {
        self.write(false);
    }

    /// The same, and the present command ends if so asked.
    fn write(&mut self, ends_command: bool) {
        let count = std::mem::take(&mut self.filled);
        self.bytes = 0;
        if count == 0 {
            if ends_command {
                super::xact::next_command();
            }
            return;
        }
        // SAFETY: the first slots hold rows of the open table; the table's own indexes are open in
        // `target`. Nothing with a destructor is between the guard and the calls.
        unsafe {
            let slots = self.slots.as_mut_ptr();
            let (table, indexes) = (self.on.table.raw(), self.indexes);
            let (memory, scratch) = (self.memory, self.scratch);
            let is_all = count == 1 && !std::mem::replace(&mut self.has_written, true);
            self.scratch = guarded(|| {
                // What a single row uses up goes with the rest.
                let scratch = match scratch.is_null() {
                    true if is_all => memory,
                    true => raw::make_memory(memory),
                    false => scratch,
                };
                let before = pg_sys::CurrentMemoryContext;
                pg_sys::CurrentMemoryContext = scratch;
                if count == 1 {
                    raw::simple_table_tuple_insert(table, *slots);
                } else {
                    let command = raw::GetCurrentCommandId(true);
                    raw::heap_multi_insert(table, slots, count as i32, command, 0, std::ptr::null_mut());
                }
                for place in 0..count {
                    let slot = *slots.add(place);
                    indexes.enter(table, slot, memory);
                    raw::clear(slot);
                }
                pg_sys::CurrentMemoryContext = before;
                if ends_command {
                    raw::CommandCounterIncrement();
                }
                if is_all {
                    return std::ptr::null_mut();
                }
                raw::MemoryContextReset(scratch);
                scratch
            });
        }
    }

    /// Writes what is left, and makes it visible to this transaction's next command.
    pub fn finish(mut self) {
        self.write(true);
    }
}

impl Drop for Inserter {
    fn drop(&mut self) {
        // SAFETY: not used again.
        let Target { parent, table, .. } = unsafe { ManuallyDrop::take(&mut self.on) };
        if super::failure::is_raised() {
            return;
        }
        // SAFETY: made by `open` and `free_slot`. Nothing with a destructor is between the guard and the calls.
        unsafe {
            let (slots, count) = (self.slots.as_ptr(), self.slots.len());
            let (memory, indexes) = (self.memory, self.indexes);
            let (parent, table) = (parent.into_raw(), table.into_raw());
            guarded(|| {
                for place in 0..count {
                    raw::ExecDropSingleTupleTableSlot(*slots.add(place));
                }
                indexes.close();
                raw::MemoryContextDelete(memory);
                raw::relation_close(table, pg_sys::NoLock as i32);
                raw::relation_close(parent, pg_sys::NoLock as i32);
            });
        }
    }
}
