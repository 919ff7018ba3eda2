//! Is this text one statement, one expression? Asked of Postgres' own parser before the text becomes
//! part of a larger statement.

use pgrx::pg_sys;
use std::ffi::CString;

/// Is `CREATE TABLE …` with the user's columns in it still a single CREATE TABLE? Raises the parser's
/// own error if it is not SQL at all.
pub fn is_one_create_table(sql: &str) -> bool {
    // SAFETY: `only_statement` returns null or a parsed node.
    unsafe {
        let node = only_statement(sql);
        !node.is_null() && (*node).type_ == pg_sys::NodeTag::T_CreateStmt
    }
}

/// Is the text one SQL expression, and nothing more? Raises the parser's own error if it is not SQL.
pub fn is_one_expression(text: &str) -> bool {
    // SAFETY: a node tagged SelectStmt is one.
    unsafe {
        let node = only_statement(&format!("SELECT ({text}\n)"));
        if node.is_null() || (*node).type_ != pg_sys::NodeTag::T_SelectStmt {
            return false;
        }
        let select = &*node.cast::<pg_sys::SelectStmt>();
        select.op == pg_sys::SetOperation::SETOP_NONE
            && !select.targetList.is_null()
            && (*select.targetList).length == 1
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
            && is_unaliased(select)
    }
}

/// `SELECT (a) AS b` would let a text close the parenthesis and go on.
///
/// # Safety
/// The statement has exactly one target.
unsafe fn is_unaliased(select: &pg_sys::SelectStmt) -> bool {
    // SAFETY: by the contract above; targets of a raw SELECT are ResTarget nodes.
    unsafe {
        let target = (*(*select.targetList).elements).ptr_value.cast::<pg_sys::ResTarget>();
        (*target).name.is_null() && (*target).indirection.is_null()
    }
}

/// The text's only statement, or null if it has none or several.
unsafe fn only_statement(sql: &str) -> *mut pg_sys::Node {
    let Ok(text) = CString::new(sql) else {
        return std::ptr::null_mut();
    };
    // SAFETY: the parser copies what it keeps into the current memory context.
    unsafe {
        let list = pg_sys::raw_parser(text.as_ptr(), pg_sys::RawParseMode::RAW_PARSE_DEFAULT);
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
