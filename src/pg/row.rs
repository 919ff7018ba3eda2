//! Looking into a row that is a value, without taking it apart.

use super::Datum;
use pgrx::pg_sys;

/// Has the row, a value of a composite type, something in any of these columns? Numbers count from 1. False
/// for no row at all, the zero datum.
pub fn any_filled(row: Datum, numbers: &[i16]) -> bool {
    if row.value() == 0 {
        return false;
    }
    // SAFETY: a composite value is a heap tuple's header with its data, flat in memory once it is detoasted,
    // which returns a flat one as it is.
    unsafe {
        let header = pg_sys::pg_detoast_datum(row.cast_mut_ptr()).cast::<pg_sys::HeapTupleHeaderData>();
        any_filled_of(header, numbers)
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
