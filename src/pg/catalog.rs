//! Questions to the catalogs that are asked on hot paths or need no SQL.

use super::guard::guarded;
use super::lookup::in_row;
use super::raw;
use pgrx::pg_sys::{self, Oid};
use std::ffi::CStr;

pub const SELECT: u64 = pg_sys::ACL_SELECT as u64;
pub const INSERT: u64 = pg_sys::ACL_INSERT as u64;
pub const DELETE: u64 = pg_sys::ACL_DELETE as u64;

pub fn current_user() -> Oid {
    // SAFETY: reads a global, and does not raise.
    unsafe { super::raw::GetUserId() }
}

pub fn session_user() -> Oid {
    // SAFETY: reads a global.
    unsafe { pg_sys::GetSessionUserId() }
}

pub fn my_database() -> Oid {
    // SAFETY: reads a global.
    unsafe { pg_sys::MyDatabaseId }
}

/// Has the current user all of these privileges on the table?
pub fn may(relation: Oid, privileges: u64) -> bool {
    // SAFETY: a syscache lookup; an unknown oid would raise, callers hold a relation that exists.
    unsafe {
        pg_sys::pg_class_aclmask(
            relation,
            current_user(),
            privileges as pg_sys::AclMode,
            pg_sys::AclMaskHow::ACLMASK_ALL,
        ) == privileges as pg_sys::AclMode
    }
}

/// Has a role all of these privileges on the table? False if it does not exist any more.
pub fn role_may(role: Oid, relation: Oid, privileges: u64) -> bool {
    let privileges = privileges as pg_sys::AclMode;
    // SAFETY: syscache lookups, as in `may`.
    unsafe {
        !pg_sys::GetUserNameFromId(role, true).is_null()
            && pg_sys::pg_class_aclmask(relation, role, privileges, pg_sys::AclMaskHow::ACLMASK_ALL)
                == privileges
    }
}

/// Has the current user the rights of this role (is it the role, a member of it, or a superuser)?
pub fn acts_for(role: Oid) -> bool {
    // SAFETY: syscache lookups.
    unsafe { pg_sys::has_privs_of_role(current_user(), role) }
}

/// Has `role` the rights of `owner`? False if it does not exist any more.
pub fn role_acts_for(role: Oid, owner: Oid) -> bool {
    // SAFETY: syscache lookups.
    unsafe { !pg_sys::GetUserNameFromId(role, true).is_null() && pg_sys::has_privs_of_role(role, owner) }
}

/// Waits for whoever changes the table's definition, and keeps others from changing it until the
/// transaction ends.
pub fn lock_definition(relation: Oid) {
    // SAFETY: an ordinary lock, released at the transaction's end. Nothing has a destructor.
    unsafe {
        guarded(|| {
            raw::LockRelationOid(relation, pg_sys::RowExclusiveLock as i32);
            // A lock held already is no reason to look, but a pause since then is to be seen.
            raw::AcceptInvalidationMessages();
        });
    }
}

/// Do row security policies apply to the current user on this table?
pub fn row_security_applies(relation: Oid) -> bool {
    // SAFETY: a syscache lookup; `true`: do not raise.
    unsafe {
        pg_sys::check_enable_rls(relation, Oid::INVALID, true)
            == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32
    }
}

/// Do row security policies apply to this role on this table?
pub fn row_security_applies_to(role: Oid, relation: Oid) -> bool {
    // SAFETY: syscache lookups of a role that exists; `true`: do not raise.
    unsafe {
        pg_sys::check_enable_rls(relation, role, true) == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32
    }
}

/// Is the extension there, as this transaction sees it?
pub fn extension_oid() -> Option<Oid> {
    // SAFETY: a catalog scan; `true`: do not raise.
    let oid = unsafe { pg_sys::get_extension_oid(c"queue_ext".as_ptr(), true) };
    (oid != Oid::INVALID).then_some(oid)
}

/// A relation's unqualified name, if it exists.
pub fn relation_name(relation: Oid) -> Option<String> {
    // SAFETY: returns null or a palloc'd string.
    unsafe { owned_string(pg_sys::get_rel_name(relation)) }
}

pub fn role_name(role: Oid) -> String {
    // SAFETY: `true`: null instead of an ERROR.
    unsafe { owned_string(pg_sys::GetUserNameFromId(role, true)) }.unwrap_or_else(|| role.to_string())
}

pub fn database_name(database: Oid) -> String {
    // SAFETY: returns null or a palloc'd string.
    unsafe { owned_string(pg_sys::get_database_name(database)) }.unwrap_or_else(|| database.to_string())
}

/// The table whose row type this is, if it is one.
pub fn table_of_row_type(row_type: Oid) -> Option<Oid> {
    // SAFETY: a syscache lookup that gives InvalidOid for other types.
    let relation = unsafe { pg_sys::get_typ_typrelid(row_type) };
    (relation != Oid::INVALID).then_some(relation)
}

/// A table and the partitioned tables it is a partition of, the topmost last.
pub fn with_ancestors(relation: Oid) -> Vec<Oid> {
    let mut all = vec![relation];
    // SAFETY: a syscache lookup, and, for a partition, a new list.
    unsafe {
        if pg_sys::get_rel_relispartition(relation) {
            let list = guarded(|| raw::get_partition_ancestors(relation));
            let count = if list.is_null() { 0 } else { (*list).length as usize };
            all.extend((0..count).map(|place| (*(*list).elements.add(place)).oid_value));
        }
    }
    all
}

pub fn is_partitioned(relation: Oid) -> bool {
    // SAFETY: a syscache lookup.
    unsafe { pg_sys::get_rel_relkind(relation) as u8 == pg_sys::RELKIND_PARTITIONED_TABLE }
}

/// Connectable databases that are no templates, by a scan of the shared catalog: all that a worker
/// without a database can do.
pub fn databases() -> Vec<(Oid, String)> {
    let mut found = Vec::new();
    // SAFETY: the scan pattern of the autovacuum launcher: inside a transaction, catalog snapshot taken
    // by table_beginscan_catalog, fixed-width columns read through the form struct.
    unsafe {
        let relation = pg_sys::table_open(pg_sys::DatabaseRelationId, pg_sys::AccessShareLock as i32);
        let scan = pg_sys::table_beginscan_catalog(relation, 0, std::ptr::null_mut());
        loop {
            let tuple = pg_sys::heap_getnext(scan, pg_sys::ScanDirection::ForwardScanDirection);
            if tuple.is_null() {
                break;
            }
            let form = pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_database>();
            if (*form).datallowconn && !(*form).datistemplate {
                let name = CStr::from_ptr((*form).datname.data.as_ptr()).to_string_lossy().into_owned();
                found.push(((*form).oid, name));
            }
        }
        pg_sys::table_endscan(scan);
        pg_sys::table_close(relation, pg_sys::AccessShareLock as i32);
    }
    found
}

/// # Safety
/// The pointer is null or a NUL-terminated palloc'd string.
unsafe fn owned_string(text: *mut std::ffi::c_char) -> Option<String> {
    // SAFETY: by the contract above.
    unsafe {
        (!text.is_null()).then(|| {
            let owned = CStr::from_ptr(text).to_string_lossy().into_owned();
            pg_sys::pfree(text.cast());
            owned
        })
    }
}

pub fn is_temporary(relation: Oid) -> bool {
    // SAFETY: a syscache lookup; callers hold a relation that exists.
    unsafe { pg_sys::get_rel_persistence(relation) as u8 == pg_sys::RELPERSISTENCE_TEMP }
}

/// The role that owns a relation, if it exists.
pub fn owner_of(relation: Oid) -> Oid {
    let owner = |form: &pg_sys::FormData_pg_class| form.relowner;
    // SAFETY: the cache of pg_class.
    unsafe { in_row(pg_sys::SysCacheIdentifier::RELOID, relation, owner) }.unwrap_or(Oid::INVALID)
}

/// A type's name, for messages.
pub fn type_name(type_oid: Oid) -> String {
    if type_oid == Oid::INVALID {
        return "unknown".into();
    }
    // SAFETY: returns a palloc'd string for any oid.
    unsafe { owned_string(pg_sys::format_type_be(type_oid)) }.unwrap_or_else(|| type_oid.to_string())
}

/// A relation by its possibly qualified name, as `'name'::regclass` finds it; raises if there is none.
pub fn relation_by_name(name: &str) -> Oid {
    let text = std::ffi::CString::new(name).unwrap_or_default();
    // SAFETY: regclassin takes a C string, which outlives the call.
    unsafe {
        pgrx::direct_function_call::<Oid>(pg_sys::regclassin, &[Some(pg_sys::Datum::from(text.as_ptr()))])
            .unwrap_or(Oid::INVALID)
    }
}

/// Has a table never had a row since it was last emptied by TRUNCATE or VACUUM? The caller has it locked.
pub fn has_no_pages(relation: Oid) -> bool {
    // SAFETY: opened for reading its size, and closed; its lock stays until the transaction ends.
    unsafe {
        let open = pg_sys::table_open(relation, pg_sys::AccessShareLock as i32);
        let pages = pg_sys::RelationGetNumberOfBlocksInFork(open, pg_sys::ForkNumber::MAIN_FORKNUM);
        pg_sys::table_close(open, pg_sys::NoLock as i32);
        pages == 0
    }
}

/// The number of a column of a table, 0 if it has none of this name.
pub fn column_number(relation: Oid, name: &CStr) -> i16 {
    // SAFETY: a syscache lookup.
    unsafe { pg_sys::get_attnum(relation, name.as_ptr()) }
}

/// The row type of a table.
pub fn row_type_of(relation: Oid) -> Oid {
    // SAFETY: a syscache lookup.
    unsafe { pg_sys::get_rel_type_id(relation) }
}

/// Schema and name, quoted.
pub fn qualified_name(relation: Oid) -> String {
    // SAFETY: syscache lookups that return null or palloc'd strings.
    let (schema, name) = unsafe {
        let namespace = pg_sys::get_rel_namespace(relation);
        (owned_string(pg_sys::get_namespace_name(namespace)), owned_string(pg_sys::get_rel_name(relation)))
    };
    pgrx::spi::quote_qualified_identifier(schema.unwrap_or_default(), name.unwrap_or_default())
}

/// The columns of a table, in order.
pub fn columns(relation: Oid) -> Vec<String> {
    let all = super::stored::attributes(relation).into_iter();
    all.filter(|column| !column.dropped).map(|column| column.name).collect()
}

/// The columns of a table's primary key, in order.
pub fn key_columns(relation: Oid) -> Vec<String> {
    let all = super::stored::attributes(relation);
    let numbers = super::stored::key(relation).into_iter();
    numbers.filter_map(|number| Some(all.get(number as usize - 1)?.name.clone())).collect()
}

/// The schema a relation is in.
pub fn schema_of(relation: Oid) -> Oid {
    // SAFETY: a syscache lookup.
    unsafe { pg_sys::get_rel_namespace(relation) }
}

/// `name_label`, shortened and numbered until it is free in the schema, as Postgres names indexes.
pub fn free_relation_name(name: &str, label: &str, schema: Oid) -> String {
    let name = std::ffi::CString::new(name).unwrap_or_default();
    let label = std::ffi::CString::new(label).unwrap_or_default();
    // SAFETY: returns a palloc'd string.
    unsafe {
        owned_string(pg_sys::ChooseRelationName(
            name.as_ptr(),
            std::ptr::null(),
            label.as_ptr(),
            schema,
            false,
        ))
        .unwrap_or_default()
    }
}

/// The one index of a table just made. Must be called inside `spi::connect`.
pub fn only_index_of(table: &str) -> Oid {
    use super::spi;
    let sql = "SELECT indexrelid FROM pg_catalog.pg_index WHERE indrelid = $1";
    let relation = relation_by_name(table);
    let rows = super::role::pinned(|| spi::run(sql, &[pg_sys::OIDOID], &[spi::arg(relation)]));
    (!rows.is_empty()).then(|| rows.get(0, 1)).flatten().unwrap_or(Oid::INVALID)
}

/// A sequence's next value; the current user needs the right to it.
pub fn next_value(sequence: Oid) -> i64 {
    // SAFETY: takes the oid of a sequence; raises if it is none.
    unsafe {
        pgrx::direct_function_call::<i64>(pg_sys::nextval_oid, &[Some(pg_sys::Datum::from(sequence))])
            .unwrap_or_default()
    }
}

/// The number that a sequence gave out last, asked with the rights of its owner; `None` if it has given
/// out none.
pub fn last_value(sequence: Oid, owner: Oid) -> Option<i64> {
    super::role::with_rights_of(owner, || {
        // SAFETY: takes the oid of a sequence; raises if it is none.
        unsafe {
            pgrx::direct_function_call::<i64>(
                pg_sys::pg_sequence_last_value,
                &[Some(pg_sys::Datum::from(sequence))],
            )
        }
    })
}

/// May the current user execute this function?
pub fn may_execute(function: Oid) -> bool {
    // SAFETY: a syscache lookup of a function that exists.
    unsafe {
        #[cfg(feature = "pg15")]
        let result =
            pg_sys::pg_proc_aclcheck(function, current_user(), pg_sys::ACL_EXECUTE as pg_sys::AclMode);
        #[cfg(not(feature = "pg15"))]
        let result = pg_sys::object_aclcheck(
            pg_sys::ProcedureRelationId,
            function,
            current_user(),
            pg_sys::ACL_EXECUTE as pg_sys::AclMode,
        );
        result == pg_sys::AclResult::ACLCHECK_OK
    }
}

/// The role that owns a database.
pub fn database_owner(database: Oid) -> Option<Oid> {
    let owner = |form: &pg_sys::FormData_pg_database| form.datdba;
    // SAFETY: the cache of pg_database.
    unsafe { in_row(pg_sys::SysCacheIdentifier::DATABASEOID, database, owner) }
}

/// How many blocks a table has.
pub fn blocks(relation: Oid) -> u32 {
    let table = super::relation::Open::for_reading(relation);
    // SAFETY: an open relation with storage.
    unsafe { pg_sys::RelationGetNumberOfBlocksInFork(table.raw(), pg_sys::ForkNumber::MAIN_FORKNUM) }
}
