//! Rows as values: composite datums, alone and in arrays.

use super::guard::guarded;
use super::raw;
use pgrx::pg_sys::{self, Datum, Oid};

/// An array of composite values of one row type.
pub fn of_rows(row_type: Oid, rows: &[Datum]) -> Datum {
    let mut elements = rows.to_vec();
    // SAFETY: every element is a composite datum of `row_type` (they come from a `RETURNING row`
    // of that type); -1, not by value and double alignment are what all composite types have.
    unsafe {
        let array = pg_sys::construct_array(
            elements.as_mut_ptr(),
            elements.len() as i32,
            row_type,
            -1,
            false,
            pg_sys::TYPALIGN_DOUBLE as std::ffi::c_char,
        );
        Datum::from(array)
    }
}

/// A jsonb value's size as stored, without reading it whole.
pub fn stored_bytes(value: Datum) -> usize {
    // SAFETY: a non-null varlena datum; the header tells its uncompressed size.
    unsafe {
        let stored = value.cast_mut_ptr::<pg_sys::varlena>();
        if pgrx::varatt_is_4b_u(stored) { pgrx::varsize(stored) } else { pg_sys::toast_raw_datum_size(value) }
    }
}

/// The length of a text, without reading it.
pub fn text_bytes(value: Datum) -> usize {
    stored_bytes(value) - pg_sys::VARHDRSZ
}

/// An array of jsonb values.
pub fn of_jsonb(values: &[Datum]) -> Datum {
    let mut elements = values.to_vec();
    // SAFETY: every element is a jsonb datum; -1, not by value, int alignment are what jsonb has.
    unsafe {
        let array = pg_sys::construct_array(
            elements.as_mut_ptr(),
            elements.len() as i32,
            pg_sys::JSONBOID,
            -1,
            false,
            pg_sys::TYPALIGN_INT as std::ffi::c_char,
        );
        Datum::from(array)
    }
}

/// The value with a full header, uncompressed and in memory.
pub fn detoasted(value: Datum) -> Datum {
    // SAFETY: a non-null varlena datum.
    unsafe {
        let stored = value.cast_mut_ptr::<pg_sys::varlena>();
        if pgrx::varatt_is_4b_u(stored) { value } else { Datum::from(pg_sys::pg_detoast_datum(stored)) }
    }
}

/// A jsonb value from its text, which must be valid.
pub fn jsonb_of_text(text: &str) -> Datum {
    let text = std::ffi::CString::new(text).unwrap_or_default();
    // SAFETY: jsonb_in takes a C string, which outlives the call, and raises if it is no JSON.
    unsafe {
        pgrx::direct_function_call_as_datum(pg_sys::jsonb_in, &[Some(Datum::from(text.as_ptr()))])
            .unwrap_or(Datum::from(0))
    }
}

/// Is this (detoasted) jsonb an object?
pub fn is_json_object(value: Datum) -> bool {
    // SAFETY: a detoasted jsonb begins, after its length word, with the header of its root container.
    unsafe {
        let jsonb = value.cast_mut_ptr::<pg_sys::Jsonb>();
        (*jsonb).root.header & pg_sys::JB_FOBJECT != 0
    }
}

/// Which of these fields has this (detoasted) jsonb object? As bits, in their order; at most 64.
pub fn fields_of<'a>(value: Datum, names: impl Iterator<Item = &'a str>) -> u64 {
    names.enumerate().fold(0, |fields, (place, name)| fields | (u64::from(has_field(value, name)) << place))
}

/// Has this (detoasted) jsonb object a field of that name?
pub fn has_field(value: Datum, name: &str) -> bool {
    // SAFETY: a jsonb in memory, as `is_json_object` says; the name outlives the call, which is told its
    // length; what is found is written to a value of ours. Nothing with a destructor is between the guard
    // and the call.
    unsafe {
        let root = &raw mut (*value.cast_mut_ptr::<pg_sys::Jsonb>()).root;
        let (text, length) = (name.as_ptr().cast(), name.len() as i32);
        if (*root).header & pg_sys::JB_FOBJECT == 0 {
            return false;
        }
        let mut found = std::mem::MaybeUninit::<pg_sys::JsonbValue>::uninit();
        let found = found.as_mut_ptr();
        !guarded(|| raw::getKeyJsonValueFromContainer(root, text, length, found)).is_null()
    }
}

/// The elements of an array of jsonb, detoasted; `None` if one of them is null.
pub fn jsonb_elements(array: Datum) -> Option<Vec<Datum>> {
    // SAFETY: the argument is declared jsonb[]; deconstruct_array allocates both results, with `count`
    // entries each.
    unsafe {
        let array = pg_sys::pg_detoast_datum(array.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        let (mut elements, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        pg_sys::deconstruct_array(
            array,
            pg_sys::JSONBOID,
            -1,
            false,
            pg_sys::TYPALIGN_INT as std::ffi::c_char,
            &mut elements,
            &mut nulls,
            &mut count,
        );
        (0..count as usize).map(|i| (!*nulls.add(i)).then(|| detoasted(*elements.add(i)))).collect()
    }
}

/// The elements of a bigint[], which is not null.
pub fn bigints(array: Datum) -> Vec<Option<i64>> {
    use pgrx::FromDatum;
    // SAFETY: not null, and of the type that is read.
    unsafe { Vec::<Option<i64>>::from_datum(array, false) }.unwrap_or_default()
}
