//! What a trigger function is told.

use super::entry::Call;
use super::guard::guarded;
use super::raw;
use pgrx::pg_sys::{self, Datum, Oid};
use std::ffi::CStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    Insert,
    Update,
    Delete,
    Truncate,
}

/// How deep in triggers we are; 0 outside of any.
pub fn depth() -> i32 {
    // SAFETY: takes no arguments and reads a global.
    unsafe { pgrx::direct_function_call::<i32>(pg_sys::pg_trigger_depth, &[]).unwrap_or(0) }
}

/// A trigger being fired; valid during its call.
pub struct Firing<'a> {
    data: &'a pg_sys::TriggerData,
}

impl<'a> Firing<'a> {
    /// `None` if the function was not called as a trigger.
    pub fn of(call: &'a Call) -> Option<Firing<'a>> {
        // SAFETY: the context is null or a node; a TriggerData node is one and lives through the call.
        unsafe {
            let context = (*call.raw()).context;
            if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
                return None;
            }
            Some(Firing { data: &*context.cast::<pg_sys::TriggerData>() })
        }
    }

    fn has(&self, bits: u32, value: u32) -> bool {
        self.data.tg_event & bits == value
    }

    pub fn event(&self) -> Event {
        match self.data.tg_event & pg_sys::TRIGGER_EVENT_OPMASK {
            pg_sys::TRIGGER_EVENT_INSERT => Event::Insert,
            pg_sys::TRIGGER_EVENT_UPDATE => Event::Update,
            pg_sys::TRIGGER_EVENT_DELETE => Event::Delete,
            _ => Event::Truncate,
        }
    }

    pub fn for_each_row(&self) -> bool {
        self.has(pg_sys::TRIGGER_EVENT_ROW, pg_sys::TRIGGER_EVENT_ROW)
    }

    pub fn is_after(&self) -> bool {
        self.has(pg_sys::TRIGGER_EVENT_TIMINGMASK, pg_sys::TRIGGER_EVENT_AFTER)
    }

    pub fn table(&self) -> Oid {
        // SAFETY: the relation is open during the call.
        unsafe { (*self.data.tg_relation).rd_id }
    }

    pub fn trigger(&self) -> Oid {
        // SAFETY: set for every trigger call.
        unsafe { (*self.data.tg_trigger).tgoid }
    }

    /// The arguments of CREATE TRIGGER.
    pub fn arguments(&self) -> Vec<String> {
        // SAFETY: tgargs holds tgnargs C strings.
        unsafe {
            let trigger = &*self.data.tg_trigger;
            (0..trigger.tgnargs as usize)
                .map(|i| CStr::from_ptr(*trigger.tgargs.add(i)).to_string_lossy().into_owned())
                .collect()
        }
    }

    /// Has the trigger been declared with the transition tables that its event has?
    pub fn has_transition_tables(&self) -> bool {
        let (old, new) = (!self.data.tg_oldtable.is_null(), !self.data.tg_newtable.is_null());
        match self.event() {
            Event::Insert => new,
            Event::Delete => old,
            Event::Update => old && new,
            Event::Truncate => false,
        }
    }

    /// Is the table that fires of the row type its rows are declared with (not a partition whose
    /// columns are laid out differently)? The row before and after the change, as composite values.
    pub fn rows(&self) -> (Option<Datum>, Option<Datum>) {
        let (old, new) = match self.event() {
            Event::Insert => (std::ptr::null_mut(), self.data.tg_trigtuple),
            Event::Update => (self.data.tg_trigtuple, self.data.tg_newtuple),
            _ => (self.data.tg_trigtuple, std::ptr::null_mut()),
        };
        (self.composite(old), self.composite(new))
    }

    fn composite(&self, tuple: pg_sys::HeapTuple) -> Option<Datum> {
        // SAFETY: null or a tuple of the trigger's relation; the datum is a copy.
        unsafe {
            (!tuple.is_null())
                .then(|| pg_sys::heap_copy_tuple_as_datum(tuple, (*self.data.tg_relation).rd_att))
        }
    }

    /// The row before and after, as passed in: what trigger functions of FOR EACH ROW return.
    pub fn returned_row(&self) -> Datum {
        Datum::from(self.data.tg_trigtuple)
    }

    fn new_tuple(&self) -> pg_sys::HeapTuple {
        if self.event() == Event::Update { self.data.tg_newtuple } else { self.data.tg_trigtuple }
    }

    /// Where the inserted or changed row lies.
    pub fn new_row_ctid(&self) -> Datum {
        // SAFETY: a row trigger's tuple is set and lives through the call.
        unsafe { Datum::from(&raw mut (*self.new_tuple()).t_self) }
    }

    /// A column of the inserted or changed row; `None` if it is null, or not there, or of another type.
    pub fn new_column<T: pgrx::FromDatum + pgrx::IntoDatum>(&self, name: &CStr) -> Option<T> {
        // SAFETY: any table may have the trigger, with columns of any types: a row trigger's tuple belongs to
        // the trigger's relation, and what is read is of this type or of one that is stored as it is. 0 and
        // below are no columns of a user's.
        unsafe {
            let desc = (*self.data.tg_relation).rd_att;
            let number = pg_sys::SPI_fnumber(desc, name.as_ptr());
            let fits = number > 0 && {
                let (found, wanted) = (pg_sys::SPI_gettypeid(desc, number), T::type_oid());
                found == wanted || pg_sys::IsBinaryCoercible(found, wanted)
            };
            if !fits {
                return None;
            }
            T::from_datum(self.new_datum(name)?, false)
        }
    }

    /// The same as it is, of whatever type.
    pub fn new_datum(&self, name: &CStr) -> Option<Datum> {
        // SAFETY: as for `new_column`.
        unsafe {
            let desc = (*self.data.tg_relation).rd_att;
            let number = pg_sys::SPI_fnumber(desc, name.as_ptr());
            let mut is_null = true;
            let value =
                (number > 0).then(|| pg_sys::SPI_getbinval(self.new_tuple(), desc, number, &mut is_null));
            value.filter(|_| !is_null)
        }
    }

    /// What a BEFORE ROW trigger returns to let the row pass.
    pub fn unchanged_row(&self) -> Datum {
        Datum::from(self.data.tg_trigtuple)
    }

    /// How many rows the transition tables have.
    pub fn changed_rows(&self) -> i64 {
        let tables = [self.data.tg_newtable, self.data.tg_oldtable];
        let table = tables.into_iter().find(|table| !table.is_null());
        // SAFETY: a transition table of the trigger; reads a number.
        table.map_or(0, |table| unsafe { raw::tuplestore_tuple_count(table) })
    }

    /// The rows of the transition tables, one after the other.
    pub fn changes(&self) -> Changes<'_> {
        let table =
            |store: *mut pg_sys::Tuplestorestate| (!store.is_null()).then(|| self.read_from_start(store));
        Changes {
            old: table(self.data.tg_oldtable),
            new: table(self.data.tg_newtable),
            left: self.changed_rows(),
            trigger: self,
        }
    }

    fn read_from_start(&self, store: *mut pg_sys::Tuplestorestate) -> TableReader {
        // SAFETY: a transition table of the trigger, which others read with pointers of their own; its rows
        // are of the relation's type. Nothing with a destructor is between the guard and the calls.
        unsafe {
            let desc = (*self.data.tg_relation).rd_att;
            let (pointer, slot) = guarded(|| {
                let pointer = raw::tuplestore_alloc_read_pointer(store, pg_sys::EXEC_FLAG_REWIND as i32);
                raw::tuplestore_select_read_pointer(store, pointer);
                raw::tuplestore_rescan(store);
                (pointer, raw::MakeSingleTupleTableSlot(desc, &raw const pg_sys::TTSOpsMinimalTuple))
            });
            TableReader { store, pointer, slot }
        }
    }

    /// Makes the transition tables known to statements of the current SPI connection, if they are not yet.
    pub fn register_transition_tables(&self) {
        for table in self.transition_tables() {
            // SAFETY: the name is not used up by the call; what it refers to outlives the connection.
            let code = unsafe { pg_sys::SPI_register_relation(table) };
            if code < 0 && code != pg_sys::SPI_ERROR_REL_DUPLICATE {
                pgrx::error!("could not register the transition tables: SPI result {code}");
            }
        }
    }

    /// The same for a query that is executed without SPI.
    pub fn query_environment(&self) -> *mut pg_sys::QueryEnvironment {
        // SAFETY: it goes with the present memory context, as what is registered in it does.
        unsafe {
            let environment = pg_sys::create_queryEnv();
            for table in self.transition_tables() {
                pg_sys::register_ENR(environment, table);
            }
            environment
        }
    }

    /// As queries know them; in the present memory context.
    fn transition_tables(&self) -> impl Iterator<Item = pg_sys::EphemeralNamedRelation> {
        // SAFETY: names, tuplestores and relation live through the trigger's call.
        unsafe {
            let trigger = &*self.data.tg_trigger;
            let both =
                [(trigger.tgnewtable, self.data.tg_newtable), (trigger.tgoldtable, self.data.tg_oldtable)];
            both.into_iter().filter(|(name, table)| !name.is_null() && !table.is_null()).map(
                |(name, table)| {
                    let size = size_of::<pg_sys::EphemeralNamedRelationData>();
                    let known = pg_sys::palloc0(size).cast::<pg_sys::EphemeralNamedRelationData>();
                    (*known).md.name = name;
                    (*known).md.reliddesc = (*self.data.tg_relation).rd_id;
                    (*known).md.tupdesc = std::ptr::null_mut();
                    (*known).md.enrtype = pg_sys::EphemeralNameRelationType::ENR_NAMED_TUPLESTORE;
                    (*known).md.enrtuples =
                        (pg_sys::tuplestore_tuple_count(table) as f64).max(LEAST_PLANNED_ROWS);
                    (*known).reldata = table.cast();
                    known
                },
            )
        }
    }
}

/// A plan is kept, and the next statement may change a million rows: one that was made for a single row would join
/// what was before and after row by row.
const LEAST_PLANNED_ROWS: f64 = 1000.0;

/// Reads a transition table.
struct TableReader {
    store: *mut pg_sys::Tuplestorestate,
    pointer: i32,
    slot: *mut pg_sys::TupleTableSlot,
}

impl TableReader {
    /// The next row as a composite value in the present memory context.
    fn next_row(&mut self) -> Option<Datum> {
        let TableReader { store, pointer, slot } = *self;
        // SAFETY: store and slot live through the trigger's call. What the slot keeps until the next row must
        // not lie in the present context, which may go before that. Nothing with a destructor is between the
        // guard and the calls.
        unsafe {
            guarded(|| {
                raw::tuplestore_select_read_pointer(store, pointer);
                let before = pg_sys::CurrentMemoryContext;
                pg_sys::CurrentMemoryContext = (*slot).tts_mcxt;
                let found = raw::tuplestore_gettupleslot(store, true, false, slot);
                pg_sys::CurrentMemoryContext = before;
                found.then(|| raw::ExecFetchSlotHeapTupleDatum(slot))
            })
        }
    }
}

impl Drop for TableReader {
    fn drop(&mut self) {
        if super::failure::is_raised() {
            return;
        }
        // SAFETY: made when reading began.
        unsafe { pg_sys::ExecDropSingleTupleTableSlot(self.slot) };
    }
}

/// The changed rows of a statement.
pub struct Changes<'a> {
    old: Option<TableReader>,
    new: Option<TableReader>,
    /// Changes that are still to come.
    left: i64,
    trigger: &'a Firing<'a>,
}

impl Changes<'_> {
    /// The next row before and after its change, in the present memory context.
    pub fn next_change(&mut self) -> Option<(Option<Datum>, Option<Datum>)> {
        debug_assert!(self.trigger.has_transition_tables());
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let old = self.old.as_mut().map(TableReader::next_row);
        let new = self.new.as_mut().map(TableReader::next_row);
        match (old, new) {
            (None, None) | (Some(None), _) | (_, Some(None)) => None,
            (old, new) => Some((old.flatten(), new.flatten())),
        }
    }
}
