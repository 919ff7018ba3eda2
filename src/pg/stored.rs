//! What the catalogs say about a table: its columns and its indexes.

use super::lookup::in_row;
use super::{row, rows};
use pgrx::pg_sys::{self, Datum, NodeTag, Oid, SysCacheIdentifier};
use std::ffi::{CStr, CString};

/// A column of a table, dropped ones included.
pub struct Attribute {
    pub name: String,
    pub number: i16,
    pub type_oid: Oid,
    length: i16,
    pub type_modifier: i32,
    pub dropped: bool,
    pub filled: bool,
    pub generated: bool,
}

impl Attribute {
    fn of(form: &pg_sys::FormData_pg_attribute) -> Attribute {
        Attribute {
            name: name_of(form).to_string_lossy().into_owned(),
            number: form.attnum,
            type_oid: form.atttypid,
            length: form.attlen,
            type_modifier: form.atttypmod,
            dropped: form.attisdropped,
            filled: form.attnotnull,
            generated: form.attgenerated != 0,
        }
    }

    /// Is this one stored as that one?
    fn is_as(&self, form: &pg_sys::FormData_pg_attribute) -> bool {
        (self.number, self.type_oid, self.dropped, self.length)
            == (form.attnum, form.atttypid, form.attisdropped, form.attlen)
            && self.name == name_of(form).to_string_lossy()
    }
}

fn name_of(form: &pg_sys::FormData_pg_attribute) -> &CStr {
    // SAFETY: a name is NUL-terminated.
    unsafe { CStr::from_ptr(form.attname.data.as_ptr()) }
}

/// A table's columns, in order: all numbers from 1 on.
pub fn attributes(table: Oid) -> Vec<Attribute> {
    let mut found = Vec::new();
    each_attribute(table, &mut |form| found.push(Attribute::of(form)));
    // In a server that does without the indexes of catalogs they come in any order.
    found.sort_by_key(|column| column.number);
    found
}

/// Are a table's columns laid out as these of another, dropped ones included?
pub fn is_laid_out_as(table: Oid, columns: &[Attribute]) -> bool {
    let (mut count, mut alike) = (0, true);
    each_attribute(table, &mut |form| {
        count += 1;
        alike &= columns.get(form.attnum as usize - 1).is_some_and(|column| column.is_as(form));
    });
    alike && count == columns.len()
}

fn each_attribute(table: Oid, on_column: &mut dyn FnMut(&pg_sys::FormData_pg_attribute)) {
    let key = (pg_sys::Anum_pg_attribute_attrelid, table);
    // SAFETY: pg_attribute and its index on (attrelid, attnum); its rows are what they are read as.
    unsafe {
        rows::of_catalog(pg_sys::AttributeRelationId, pg_sys::AttributeRelidNumIndexId, key, &mut |row| {
            let form = row.form::<pg_sys::FormData_pg_attribute>();
            if form.attnum > 0 {
                on_column(form);
            }
        });
    }
}

/// A valid index of a table, a b-tree over columns in their ordinary order.
pub struct Index {
    pub oid: Oid,
    /// Numbers of its columns.
    pub columns: Vec<i16>,
    /// Of its first column.
    pub collation: Oid,
    pub condition: Option<Condition>,
    /// Keeps rows apart at once.
    pub unique: bool,
    /// Replica identity, primary key.
    pub standing: (bool, bool),
}

/// Which rows an index has, as an expression in Postgres' own notation.
pub struct Condition(CString);

/// A column is filled (true), or null.
pub type NullTest = (i16, bool);

impl Condition {
    /// Is it that all these hold, in that order, and nothing else? Read when it is asked for: most are not.
    pub fn is(&self, tests: &[NullTest]) -> bool {
        // SAFETY: what Postgres has written into pg_index reads as an expression; tags tell what nodes are.
        unsafe {
            let node = pg_sys::stringToNode(self.0.as_ptr()).cast::<pg_sys::Node>();
            if let [test] = tests {
                return null_test(node) == Some(*test);
            }
            let both = node.cast::<pg_sys::BoolExpr>();
            if (*node).type_ != NodeTag::T_BoolExpr || (*both).boolop != pg_sys::BoolExprType::AND_EXPR {
                return false;
            }
            elements((*both).args).map(|node| null_test(node.cast())).eq(tests.iter().map(|test| Some(*test)))
        }
    }
}

/// # Safety
/// An expression's node.
unsafe fn null_test(node: *mut pg_sys::Node) -> Option<NullTest> {
    // SAFETY: by the contract above; tags tell what nodes are.
    unsafe {
        if (*node).type_ != NodeTag::T_NullTest {
            return None;
        }
        let test = &*node.cast::<pg_sys::NullTest>();
        let column = test.arg.cast::<pg_sys::Var>();
        let is_filled = test.nulltesttype == pg_sys::NullTestType::IS_NOT_NULL;
        ((*column).xpr.type_ == NodeTag::T_Var).then(|| ((*column).varattno, is_filled))
    }
}

/// # Safety
/// A list of pointers, or null, which outlives the result.
pub(super) unsafe fn elements(list: *mut pg_sys::List) -> impl Iterator<Item = *mut std::ffi::c_void> {
    // SAFETY: by the contract above.
    unsafe {
        let count = if list.is_null() { 0 } else { (*list).length as usize };
        (0..count).map(move |place| (*(*list).elements.add(place)).ptr_value)
    }
}

/// The indexes of a table that are of this kind.
pub fn indexes(table: Oid) -> Vec<Index> {
    let mut found = Vec::new();
    // SAFETY: a row of pg_index.
    each_index(table, &mut |row, _| found.extend(unsafe { index_of(row) }));
    found
}

/// The numbers of the columns of a table's primary key, in order; none if it has none.
pub fn key(table: Oid) -> Vec<i16> {
    let mut found = Vec::new();
    each_index(table, &mut |_, form| {
        if form.indisprimary {
            // SAFETY: as many as the index has key columns.
            found = unsafe { form.indkey.values.as_slice(form.indnkeyatts as usize) }.to_vec();
        }
    });
    found
}

fn each_index(table: Oid, on_index: &mut dyn FnMut(&rows::Row, &pg_sys::FormData_pg_index)) {
    let key = (pg_sys::Anum_pg_index_indrelid, table);
    // SAFETY: pg_index and its index on indrelid; its rows are what they are read as.
    unsafe {
        rows::of_catalog(pg_sys::IndexRelationId, pg_sys::IndexIndrelidIndexId, key, &mut |row| {
            on_index(row, row.form());
        });
    }
}

/// # Safety
/// A row of pg_index.
unsafe fn index_of(row: &rows::Row) -> Option<Index> {
    // SAFETY: by the contract above: columns have the types that they are read as, and vectors as many elements
    // as the index has columns, at least one.
    unsafe {
        let form = row.form::<pg_sys::FormData_pg_index>();
        let columns = form.indkey.values.as_slice(form.indnatts as usize).to_vec();
        if !form.indisvalid || row.column(pg_sys::Anum_pg_index_indexprs as i32).is_some() {
            return None;
        }
        let options =
            row.column(pg_sys::Anum_pg_index_indoption as i32)?.cast_mut_ptr::<pg_sys::int2vector>();
        let options = (*options).values.as_slice(form.indnkeyatts as usize);
        if options.iter().any(|option| *option != 0)
            || !is_btree(first_oid(row, pg_sys::Anum_pg_index_indclass)?)
        {
            return None;
        }
        let condition = row.column(pg_sys::Anum_pg_index_indpred as i32);
        Some(Index {
            oid: form.indexrelid,
            columns,
            collation: first_oid(row, pg_sys::Anum_pg_index_indcollation)?,
            condition: condition.map(|text| Condition(text_of(text))),
            unique: form.indisunique && form.indimmediate,
            standing: (form.indisreplident, form.indisprimary),
        })
    }
}

/// # Safety
/// The column is a vector of oids, with one at least.
unsafe fn first_oid(row: &rows::Row, column: u32) -> Option<Oid> {
    // SAFETY: by the contract above; a vector in a catalog is stored as it is.
    row.column(column as i32)
        .map(|vector| unsafe { *(*vector.cast_mut_ptr::<pg_sys::oidvector>()).values.as_ptr() })
}

/// Is an operator class one for b-trees? That tells what kind an index is without its row in pg_class, and most
/// indexes have the same few.
fn is_btree(class: Oid) -> bool {
    let method = |form: &pg_sys::FormData_pg_opclass| form.opcmethod;
    // SAFETY: the cache of pg_opclass.
    unsafe { in_row(SysCacheIdentifier::CLAOID, class, method) == Some(pg_sys::BTREE_AM_OID) }
}

/// # Safety
/// A text, not null.
pub(super) unsafe fn text_of(value: Datum) -> CString {
    // SAFETY: by the contract above.
    CString::new(unsafe { row::bytes_of_text(value) }).unwrap_or_default()
}

#[repr(C)]
struct Sequence {
    relation: Oid,
    type_oid: Oid,
    start: i64,
    increment: i64,
    highest: i64,
    lowest: i64,
    cache: i64,
    cycles: bool,
}

/// Does a sequence give out its numbers in order? Not if sessions keep some in stock, or if it runs backwards or in
/// a circle.
pub fn is_in_order(sequence: Oid) -> bool {
    let in_order = |form: &Sequence| form.cache == 1 && form.increment > 0 && !form.cycles;
    // SAFETY: the cache of pg_sequence, whose rows these are: pgrx does not declare them.
    unsafe { in_row(SysCacheIdentifier::SEQRELID, sequence, in_order) }.unwrap_or(false)
}
