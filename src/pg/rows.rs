//! Rows of the catalogs, and of the extension's own small tables, by an oid and without SQL: a session that is new
//! would spend more time on planning a statement than on reading all of them.
//!
//! What such a scan sees. A catalog is read through Postgres' own catalog snapshot, as its caches are filled:
//! opening the catalog takes a lock that the session did not hold, and with it hears of all changes that were
//! announced so far, which drops that snapshot if it could miss one of them. Changes are announced before the locks
//! of who made them are released, so whoever has waited for such a lock sees what was made under it. What this
//! transaction has changed itself is seen from the next command on (`xact::next_command`). The extension's tables
//! are read through a snapshot that the caller takes.

use super::catalog;
use super::relation::Open;
use super::scan::Fresh;
use pgrx::FromDatum;
use pgrx::pg_sys::{self, Datum, Oid};
use std::ffi::CStr;

/// A row that a scan has come to.
pub(super) struct Row {
    tuple: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
}

impl Row {
    /// Its columns of fixed width, as a struct of Postgres' own.
    ///
    /// # Safety
    /// A row of the catalog whose rows `T` describes.
    pub(super) unsafe fn form<T>(&self) -> &T {
        // SAFETY: by the contract above; the tuple stays where it is until the scan goes on.
        unsafe { &*pg_sys::GETSTRUCT(self.tuple).cast::<T>() }
    }

    /// A column, or (negative) a system column.
    pub(super) fn column(&self, number: i32) -> Option<Datum> {
        let mut is_null = true;
        // SAFETY: the tuple and the description of its table; a number beyond it is null.
        let value = unsafe { pg_sys::heap_getattr(self.tuple, number, self.desc, &mut is_null) };
        (!is_null).then_some(value)
    }

    fn number(&self, name: &CStr) -> Option<i32> {
        // SAFETY: a valid description and a C string; 0 and -9 (SPI_ERROR_NOATTRIBUTE) are no columns.
        let number = unsafe { pg_sys::SPI_fnumber(self.desc, name.as_ptr()) };
        (number != 0 && number != pg_sys::SPI_ERROR_NOATTRIBUTE).then_some(number)
    }
}

/// A row of one of the extension's own tables.
pub struct Own<'a>(&'a Row);

impl Own<'_> {
    /// A column, of the type that the extension's script gives it.
    pub fn get<T: FromDatum>(&self, name: &CStr) -> Option<T> {
        let value = self.0.column(self.0.number(name)?)?;
        // SAFETY: not null, and of that type; what it refers to is copied.
        unsafe { T::from_datum(value, false) }
    }

    /// The transaction that wrote it.
    pub fn written_by(&self) -> Option<u32> {
        let number = pg_sys::MinTransactionIdAttributeNumber;
        self.0.column(number).map(|xid| xid.value() as u32)
    }
}

/// Goes through the rows of a catalog that have an oid in a column, in the order of the index.
///
/// # Safety
/// An index of that catalog, whose first column is that one.
pub(super) unsafe fn of_catalog(
    catalog: Oid,
    index: u32,
    (column, oid): (u32, Oid),
    on_row: &mut dyn FnMut(&Row),
) {
    let mode = pg_sys::AccessShareLock as i32;
    // SAFETY: the catalog exists; without a snapshot it is the one for catalogs. On ERROR the abort closes both.
    unsafe {
        let table = pg_sys::table_open(catalog, mode);
        scan(table, Oid::from(index), (column as i16, Key::Oid(oid)), std::ptr::null_mut(), &mut |row| {
            on_row(row);
            true
        });
        pg_sys::table_close(table, mode);
    }
}

/// What a column is to be.
#[derive(Clone, Copy)]
pub enum Key {
    Oid(Oid),
    Int4(i32),
}

impl Key {
    /// The function that compares it, and the value.
    fn parts(self) -> (u32, Datum) {
        match self {
            Key::Oid(oid) => (pg_sys::F_OIDEQ, Datum::from(oid)),
            Key::Int4(number) => (pg_sys::F_INT4EQ, Datum::from(number)),
        }
    }
}

/// What `read` makes of the first row of one of the extension's tables that has this in a column.
pub fn of_own<R>(
    table: &CStr,
    (column, key): (&CStr, Key),
    snapshot: &Fresh,
    read: impl FnOnce(Own) -> R,
) -> Option<R> {
    let table = open_own(table)?;
    let mut read = Some(read);
    let mut found = None;
    // SAFETY: an open table, and one of its indexes, or none; the snapshot outlives the scan.
    unsafe {
        let column = pg_sys::SPI_fnumber((*table.raw()).rd_att, column.as_ptr()) as i16;
        scan(table.raw(), index_for(&table, column), (column, key), snapshot.raw(), &mut |row| {
            found = read.take().map(|read| read(Own(row)));
            false
        });
    }
    found
}

/// A table of the extension, by its name. Somebody else's of that name is none: it may be anything, of any columns.
fn open_own(name: &CStr) -> Option<Open> {
    // SAFETY: syscache lookups; `true`: no ERROR without such a schema.
    let named = || unsafe {
        pg_sys::get_relname_relid(name.as_ptr(), pg_sys::get_namespace_oid(c"queue".as_ptr(), true))
    };
    loop {
        let table = named();
        // SAFETY: a catalog scan.
        let extension = unsafe { pg_sys::getExtensionOfObject(pg_sys::RelationRelationId, table) };
        if extension == Oid::INVALID || Some(extension) != catalog::extension_oid() {
            return None;
        }
        // Its lock may have been waited for, and another be in its place then.
        if let Some(open) = Open::for_reading_if_there(table).filter(|_| named() == table) {
            return open.is_plain_heap().then_some(open);
        }
    }
}

/// A table with no more blocks than these is read as a whole: opening an index costs a new session more.
const FEW_BLOCKS: u32 = 4;

/// The index to find the rows by that have a value in a column; none to read the table as a whole.
fn index_for(table: &Open, column: i16) -> Oid {
    // SAFETY: an open table with storage.
    let blocks =
        unsafe { pg_sys::RelationGetNumberOfBlocksInFork(table.raw(), pg_sys::ForkNumber::MAIN_FORKNUM) };
    // Reading all of it would make any change of it one that a serializable transaction depends on.
    if blocks <= FEW_BLOCKS && !super::xact::is_serializable() {
        return Oid::INVALID;
    }
    let fits = |index: &Oid| {
        let index = Open::index_for_reading(*index);
        // SAFETY: an open index, which has a column at least.
        unsafe {
            let form = &*(*index.raw()).rd_index;
            form.indisvalid
                && !form.indcheckxmin
                && *form.indkey.values.as_ptr() == column
                && (*(*index.raw()).rd_rel).relam == pg_sys::BTREE_AM_OID
                && pg_sys::RelationGetIndexPredicate(index.raw()).is_null()
        }
    };
    table.indexes().into_iter().find(fits).unwrap_or(Oid::INVALID)
}

/// Goes on while `on_row` says so.
///
/// # Safety
/// An open table, an index of it (or none) whose first column is that one, and a snapshot that outlives the call,
/// or none for a catalog.
unsafe fn scan(
    table: pg_sys::Relation,
    index: Oid,
    (column, key): (i16, Key),
    snapshot: pg_sys::Snapshot,
    on_row: &mut dyn FnMut(&Row) -> bool,
) {
    // SAFETY: by the contract above; the key is copied or outlives the scan. A row is looked at before the next.
    unsafe {
        let (procedure, value) = key.parts();
        let mut key = pg_sys::ScanKeyData::default();
        let equal = pg_sys::BTEqualStrategyNumber as u16;
        pg_sys::ScanKeyInit(&mut key, column, equal, Oid::from(procedure), value);
        let scan = pg_sys::systable_beginscan(table, index, index != Oid::INVALID, snapshot, 1, &mut key);
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() || !on_row(&Row { tuple, desc: (*table).rd_att }) {
                break;
            }
        }
        pg_sys::systable_endscan(scan);
    }
}
