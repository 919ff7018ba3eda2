//! Looking into a row that is a value, without taking it apart.

use super::insert::Desc;
use super::{Datum, Oid};
use pgrx::{IntoDatum, pg_sys};
use std::ffi::CStr;

/// Has the row, a value of a composite type, something in any of these columns? Numbers count from 1. False
/// for no row at all, the zero datum.
pub fn any_filled(row: Datum, numbers: &[i16]) -> bool {
    if row.value() == 0 {
        return false;
    }
    // SAFETY: a composite value is a heap tuple's header with its data.
    unsafe { any_filled_of(header(row), numbers) }
}

/// A composite value's header, with its data behind it.
///
/// # Safety
/// A composite value, not null.
pub(super) unsafe fn header(row: Datum) -> *mut pg_sys::HeapTupleHeaderData {
    // SAFETY: by the contract above; a flat value is what detoasting returns, and need not be asked for.
    unsafe {
        let value = row.cast_mut_ptr::<pg_sys::varlena>();
        if pgrx::varatt_is_4b_u(value) { value } else { pg_sys::pg_detoast_datum(value) }.cast()
    }
}

/// The same as a tuple.
///
/// # Safety
/// As for `header`.
pub(super) unsafe fn tuple(row: Datum) -> pg_sys::HeapTupleData {
    // SAFETY: by the contract above; the length word of a flat value tells its size.
    unsafe {
        let header = header(row);
        pg_sys::HeapTupleData {
            t_len: pgrx::varsize(header.cast()) as u32,
            t_data: header,
            ..Default::default()
        }
    }
}

/// A column of the row, a value of a composite type; `None` if it is null, or there is no row.
pub fn named_column<T: pgrx::FromDatum>(row: Datum, name: &CStr) -> Option<T> {
    if row.value() == 0 {
        return None;
    }
    // SAFETY: a composite value, which names its type; raises if that has no such column. The caller asks for
    // the type that all queues have there.
    unsafe {
        let header = pg_sys::pg_detoast_datum(row.cast_mut_ptr()).cast::<pg_sys::HeapTupleHeaderData>();
        let mut is_null = true;
        let value = pg_sys::GetAttributeByName(header, name.as_ptr(), &mut is_null);
        if is_null { None } else { T::from_datum(value, false) }
    }
}

/// An interval, not null.
pub fn interval(value: Datum) -> Option<pgrx::datum::Interval> {
    // SAFETY: of a column that has this type in all queues.
    unsafe { pgrx::FromDatum::from_datum(value, false) }
}

/// Is this column, a boolean, filled and true? False for no row at all, the zero datum.
pub fn is_true(row: Datum, number: i16) -> bool {
    any_filled(row, &[number]) && {
        // SAFETY: a composite value, as there is something in it; the caller names a column that is boolean.
        unsafe {
            let header = pg_sys::pg_detoast_datum(row.cast_mut_ptr()).cast::<pg_sys::HeapTupleHeaderData>();
            let mut is_null = false;
            let value = pg_sys::GetAttributeByNum(header, number, &mut is_null);
            !is_null && value.value() as u8 != 0
        }
    }
}

/// # Safety
/// The header is followed by the bitmap of nulls that it speaks of.
pub(super) unsafe fn any_filled_of(header: *const pg_sys::HeapTupleHeaderData, numbers: &[i16]) -> bool {
    // SAFETY: by the contract above; the bitmap has a bit for each column that the row has.
    unsafe {
        let columns = u32::from((*header).t_infomask2) & pg_sys::HEAP_NATTS_MASK;
        let has_nulls = u32::from((*header).t_infomask) & pg_sys::HEAP_HASNULL != 0;
        let bits = (&raw const (*header).t_bits).cast::<u8>();
        numbers.iter().any(|number| {
            let place = (*number - 1) as usize;
            place < columns as usize && (!has_nulls || *bits.add(place / 8) & (1 << (place % 8)) != 0)
        })
    }
}

/// A column of a row of this type.
pub fn column(row: Datum, row_type: Oid, number: i16) -> Option<Datum> {
    let desc = Desc::of(row_type);
    let (values, nulls) = columns(row, &desc);
    let place = usize::try_from(number).ok()?.checked_sub(1)?;
    (!*nulls.get(place)?).then(|| values[place])
}

/// The row with another value in one of its columns.
pub fn with_column(row: Datum, row_type: Oid, number: i16, value: Option<Datum>) -> Datum {
    let desc = Desc::of(row_type);
    let (mut values, mut nulls) = columns(row, &desc);
    let place = number as usize - 1;
    nulls[place] = value.is_none();
    values[place] = value.unwrap_or(Datum::from(0));
    // SAFETY: as many values and marks as the description has columns; the result is a copy.
    unsafe {
        let tuple = pg_sys::heap_form_tuple(desc.raw(), values.as_mut_ptr(), nulls.as_mut_ptr());
        pg_sys::heap_copy_tuple_as_datum(tuple, desc.raw())
    }
}

fn columns(row: Datum, desc: &Desc) -> (Vec<Datum>, Vec<bool>) {
    let mut values = vec![Datum::from(0); desc.columns()];
    let mut nulls = vec![true; desc.columns()];
    desc.read(row, &mut values, &mut nulls);
    (values, nulls)
}

/// The bytes of a text in a column of a row; none for null, or for no row.
pub fn text_in(row: Datum, row_type: Oid, number: i16) -> Option<Vec<u8>> {
    if !any_filled(row, &[number]) {
        return None;
    }
    let desc = Desc::of(row_type);
    // SAFETY: a composite value of that type, flat once it is detoasted; the column is a text, not null.
    unsafe {
        let header = pg_sys::pg_detoast_datum(row.cast_mut_ptr()).cast::<pg_sys::HeapTupleHeaderData>();
        let mut tuple = pg_sys::HeapTupleData {
            t_len: pgrx::varsize(header.cast()) as u32,
            t_data: header,
            ..Default::default()
        };
        let mut is_null = false;
        let value = pg_sys::heap_getattr(&mut tuple, i32::from(number), desc.raw(), &mut is_null);
        (!is_null).then(|| bytes_of_text(value))
    }
}

/// # Safety
/// A text, not null.
pub(super) unsafe fn bytes_of_text(value: Datum) -> Vec<u8> {
    // SAFETY: by the contract above; detoasted at most once, which copies, or as it is.
    unsafe {
        let text = pg_sys::pg_detoast_datum_packed(value.cast_mut_ptr());
        let (start, length) = (pgrx::vardata_any(text).cast::<u8>(), pgrx::varsize_any_exhdr(text));
        std::slice::from_raw_parts(start, length).to_vec()
    }
}

/// A text of these bytes, in the present memory context.
pub fn text_of_bytes(bytes: &[u8]) -> Datum {
    // SAFETY: copies so many bytes.
    unsafe { Datum::from(pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), bytes.len() as i32)) }
}

/// A text value that stays as long as the session.
pub fn kept_text(text: &str) -> Option<Datum> {
    // SAFETY: memory of the session's own; the present context is put back.
    unsafe {
        let before = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let value = text.into_datum();
        pg_sys::MemoryContextSwitchTo(before);
        value
    }
}
