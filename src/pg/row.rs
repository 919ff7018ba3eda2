//! Looking into a row that is a value, without taking it apart.

use super::Datum;
use pgrx::pg_sys;

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
