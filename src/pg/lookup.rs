//! Rows of the catalogs by their keys, from Postgres' own caches: what a session asks when it first uses a queue.

use pgrx::pg_sys::{self, Datum, Oid, SysCacheIdentifier};
use std::ffi::CStr;

/// What `read` finds in a row of a catalog: in its columns of fixed width, a struct of Postgres' own. It raises nothing.
///
/// # Safety
/// The cache has one key, an oid, and is of the catalog whose rows `T` describes.
pub(super) unsafe fn in_row<T, R>(
    cache: SysCacheIdentifier::Type,
    oid: Oid,
    read: impl FnOnce(&T) -> R,
) -> Option<R> {
    // SAFETY: by the contract above; null if there is no such row. It stays where it is until it is given back.
    unsafe {
        let row = pg_sys::SearchSysCache1(cache as i32, Datum::from(oid));
        if row.is_null() {
            return None;
        }
        let found = read(&*pg_sys::GETSTRUCT(row).cast::<T>());
        pg_sys::ReleaseSysCache(row);
        Some(found)
    }
}

/// The type of arrays of these.
pub fn array_type_of(type_oid: Oid) -> Oid {
    // SAFETY: a syscache lookup.
    unsafe { pg_sys::get_array_type(type_oid) }
}

/// The name of a type whose values come out of JSON by its input alone: a base type, but no array and no JSON.
pub fn base_type_name(type_oid: Oid) -> Option<String> {
    let is_wanted = |form: &pg_sys::FormData_pg_type| {
        let is_base = form.typtype as u8 == pg_sys::TYPTYPE_BASE;
        let is_array = form.typcategory as u8 == pg_sys::TYPCATEGORY_ARRAY;
        // SAFETY: a name is NUL-terminated.
        let name = unsafe { CStr::from_ptr(form.typname.data.as_ptr()) };
        is_base && !is_array && name != c"json" && name != c"jsonb"
    };
    // SAFETY: the cache of pg_type.
    let is_wanted = unsafe { in_row(SysCacheIdentifier::TYPEOID, type_oid, is_wanted) };
    (is_wanted == Some(true)).then(|| super::catalog::type_name(type_oid))
}

/// The sequence behind an identity column.
pub fn identity_sequence(table: Oid, column: &CStr) -> Option<Oid> {
    let column = super::catalog::column_number(table, column);
    if column == 0 {
        return None;
    }
    // It may wait for somebody who drops it.
    #[cfg(not(feature = "pg15"))]
    let table = super::relation::Open::for_reading_if_there(table)?;
    #[cfg(not(feature = "pg15"))]
    let table = table.raw();
    // SAFETY: a scan of pg_depend for a column that exists; `true`: no ERROR if there is none.
    let sequence = unsafe { pg_sys::getIdentitySequence(table, column, true) };
    (sequence != Oid::INVALID).then_some(sequence)
}
