//! Is this text one statement, one expression? Asked of Postgres' own parser before the text becomes
//! part of a larger statement.

use pgrx::pg_sys;
use std::ffi::CString;

/// Is `CREATE TABLE …` with the user's columns in it still a single CREATE TABLE? Raises the parser's
/// own error if it is not SQL at all.
pub fn is_one_create_table(sql: &str) -> bool {
    let node = only_statement(sql);
    // SAFETY: null or a parsed node.
    unsafe { !node.is_null() && (*node).type_ == pg_sys::NodeTag::T_CreateStmt }
}

/// The columns that a CREATE TABLE defines, in their order.
pub fn columns_of_create(sql: &str) -> Vec<String> {
    let node = only_statement(sql);
    // SAFETY: null or a parsed node; the elements of a CREATE TABLE are nodes, of which ColumnDef has a name.
    unsafe {
        if node.is_null() || (*node).type_ != pg_sys::NodeTag::T_CreateStmt {
            return Vec::new();
        }
        let list = (*node.cast::<pg_sys::CreateStmt>()).tableElts;
        let count = if list.is_null() { 0 } else { (*list).length as usize };
        (0..count)
            .map(|i| (*(*list).elements.add(i)).ptr_value.cast::<pg_sys::Node>())
            .filter(|element| (**element).type_ == pg_sys::NodeTag::T_ColumnDef)
            .map(|element| {
                let name = (*element.cast::<pg_sys::ColumnDef>()).colname;
                std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned()
            })
            .collect()
    }
}

/// Is the text one SQL expression, and nothing more? Raises the parser's own error if it is not SQL.
/// Parsed as it stands, without parentheses around it, which a text could close.
pub fn is_one_expression(text: &str) -> bool {
    let Ok(text) = CString::new(text) else { return false };
    // SAFETY: this mode gives one SELECT, as PL/pgSQL reads its expressions; targets of a raw SELECT are
    // ResTarget nodes.
    unsafe {
        let list = pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_PLPGSQL_EXPR);
        let node = only_node(list);
        if node.is_null() || (*node).type_ != pg_sys::NodeTag::T_SelectStmt {
            return false;
        }
        let select = &*node.cast::<pg_sys::SelectStmt>();
        if select.targetList.is_null() || (*select.targetList).length != 1 {
            return false;
        }
        let target = (*(*select.targetList).elements).ptr_value.cast::<pg_sys::ResTarget>();
        (*target).name.is_null()
            && select.op == pg_sys::SetOperation::SETOP_NONE
            && select.distinctClause.is_null()
            && select.intoClause.is_null()
            && select.fromClause.is_null()
            && select.whereClause.is_null()
            && select.groupClause.is_null()
            && select.havingClause.is_null()
            && select.windowClause.is_null()
            && select.sortClause.is_null()
            && select.limitCount.is_null()
            && select.limitOffset.is_null()
            && select.lockingClause.is_null()
            && select.withClause.is_null()
    }
}

/// The text's only statement, or null if it has none or several.
fn only_statement(sql: &str) -> *mut pg_sys::Node {
    let Ok(text) = CString::new(sql) else { return std::ptr::null_mut() };
    // SAFETY: the parser copies what it keeps into the current memory context.
    unsafe { only_node(pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT)) }
}

/// # Safety
/// A list of RawStmt nodes, as the parser returns it.
unsafe fn only_node(list: *mut pg_sys::List) -> *mut pg_sys::Node {
    // SAFETY: by the contract above.
    unsafe {
        if list.is_null() || (*list).length != 1 {
            return std::ptr::null_mut();
        }
        (*(*(*list).elements).ptr_value.cast::<pg_sys::RawStmt>()).stmt
    }
}

/// Splits a possibly qualified, possibly quoted name as Postgres does: (schema, name).
pub fn qualified_name(name: &str) -> Option<(Option<String>, String)> {
    let bytes = CString::new(name).ok()?;
    // SAFETY: stringToQualifiedNameList raises for malformed names and otherwise returns a list of
    // String nodes.
    unsafe {
        #[cfg(feature = "pg15")]
        let list = pg_sys::stringToQualifiedNameList(bytes.as_ptr());
        #[cfg(not(feature = "pg15"))]
        let list = pg_sys::stringToQualifiedNameList(bytes.as_ptr(), std::ptr::null_mut());
        if list.is_null() || (*list).length > 2 {
            return None;
        }
        let part = |i: usize| {
            let node = (*(*list).elements.add(i)).ptr_value.cast::<pg_sys::String>();
            std::ffi::CStr::from_ptr((*node).sval).to_string_lossy().into_owned()
        };
        Some(if (*list).length == 2 { (Some(part(0)), part(1)) } else { (None, part(0)) })
    }
}
