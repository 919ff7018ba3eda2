//! The partitions of a table, and which rows they have.

use super::stored::{elements, text_of};
use super::{row, rows};
use pgrx::pg_sys::{self, Datum, NodeTag, Oid, SysCacheIdentifier};
use std::ffi::{CStr, CString};

// Not among the declarations of pgrx, and the same in all versions.
const INHERITS: u32 = 2611;
const INHERITS_BY_PARENT: u32 = 2187;
const INHPARENT: u32 = 2;

#[repr(C)]
struct Inherits {
    inhrelid: Oid,
}

/// The partitions of a table, with the text that a row has which belongs to it, if just one value does. One that is
/// being detached is there until that has come to its end.
pub fn of(parent: Oid) -> Vec<(Oid, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    // SAFETY: pg_inherits and its index on inhparent; its rows begin with inhrelid.
    unsafe {
        rows::of_catalog(Oid::from(INHERITS), INHERITS_BY_PARENT, (INHPARENT, parent), &mut |row| {
            found.push(row.form::<Inherits>().inhrelid);
        });
    }
    found.into_iter().filter_map(|partition| Some((partition, only_value(&bound_of(partition)?)))).collect()
}

fn bound_of(partition: Oid) -> Option<CString> {
    // SAFETY: the cache of pg_class; a row stays where it is until it is given back, and the text is copied.
    unsafe {
        let cache = SysCacheIdentifier::RELOID as i32;
        let row = pg_sys::SearchSysCache1(cache, Datum::from(partition));
        if row.is_null() {
            return None;
        }
        let mut is_null = true;
        let column = pg_sys::Anum_pg_class_relpartbound as i16;
        let bound = pg_sys::SysCacheGetAttr(cache, row, column, &mut is_null);
        let bound = (!is_null).then(|| text_of(bound));
        pg_sys::ReleaseSysCache(row);
        bound
    }
}

/// Of a partition of a table partitioned by list.
fn only_value(bound: &CStr) -> Option<Vec<u8>> {
    // SAFETY: what Postgres has written into pg_class reads as a partition's bound; its values are constants.
    unsafe {
        let bound = &*pg_sys::stringToNode(bound.as_ptr()).cast::<pg_sys::PartitionBoundSpec>();
        if bound.is_default {
            return None;
        }
        let mut values = elements(bound.listdatums);
        let value = values.next()?.cast::<pg_sys::Const>();
        let is_text = (*value).xpr.type_ == NodeTag::T_Const && (*value).consttype == pg_sys::TEXTOID;
        let is_only = is_text && !(*value).constisnull && values.next().is_none();
        is_only.then(|| row::bytes_of_text((*value).constvalue))
    }
}
