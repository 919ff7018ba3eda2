//! The columns of a row: being made, and read from a composite value.

use super::{Datum, Oid};
use pgrx::pg_sys;

/// A row being made: all columns are null at first. Values by reference need to live until the closure
/// that sets them returns.
pub struct Cells<'a> {
    pub(super) values: &'a mut [Datum],
    pub(super) nulls: &'a mut [bool],
}

impl Cells<'_> {
    /// Sets a column, by its number.
    pub fn set(&mut self, column: i16, value: Option<Datum>) {
        let index = column as usize - 1;
        self.nulls[index] = value.is_none();
        self.values[index] = value.unwrap_or(Datum::from(0));
    }

    /// Sets all columns.
    pub fn copy_all(&mut self, values: &[Datum], nulls: &[bool]) {
        self.values.copy_from_slice(values);
        self.nulls.copy_from_slice(nulls);
    }

    /// Sets all columns to those of a row of the queue, given as a composite value.
    pub fn copy(&mut self, row: Datum, desc: &Desc) {
        // SAFETY: a composite value of the queue's row type, whose description this is; there is room for
        // all its columns: the partition has the same.
        unsafe {
            assert_eq!(self.values.len(), (*desc.0).natts as usize);
            take_apart(row, desc.0, self.values.as_mut_ptr(), self.nulls.as_mut_ptr());
        }
    }
}

/// A row type's description.
pub struct Desc(pg_sys::TupleDesc);

impl Desc {
    pub fn of(row_type: Oid) -> Desc {
        // SAFETY: raises for anything but a row type; given back by `drop`.
        Desc(unsafe { pg_sys::lookup_rowtype_tupdesc(row_type, -1) })
    }

    pub fn raw(&self) -> pg_sys::TupleDesc {
        self.0
    }

    /// How many columns there are, dropped ones included.
    pub fn columns(&self) -> usize {
        // SAFETY: valid while this value lives.
        unsafe { (*self.0).natts as usize }
    }

    /// A column's type, if it was not dropped. Counted from 0.
    pub fn column_type(&self, column: usize) -> Option<Oid> {
        assert!(column < self.columns());
        // SAFETY: there is such a column.
        unsafe {
            #[cfg(not(feature = "pg18"))]
            let attribute = (*self.0).attrs.as_ptr().add(column);
            #[cfg(feature = "pg18")]
            let attribute = pg_sys::TupleDescAttr(self.0, column as i32);
            (!(*attribute).attisdropped).then(|| (*attribute).atttypid)
        }
    }

    /// Reads all columns of a composite value of this row type.
    pub fn read(&self, row: Datum, values: &mut [Datum], nulls: &mut [bool]) {
        assert!(values.len() == self.columns() && nulls.len() == self.columns());
        // SAFETY: a composite value; there is room for all its columns.
        unsafe { take_apart(row, self.0, values.as_mut_ptr(), nulls.as_mut_ptr()) };
    }
}

/// Reads all columns of a composite value.
///
/// # Safety
/// A composite value of the type that is described; there is room for all its columns.
unsafe fn take_apart(row: Datum, desc: pg_sys::TupleDesc, values: *mut Datum, nulls: *mut bool) {
    // SAFETY: by the contract above. Of a row that has all the columns memory is read and nothing else, so no
    // guard is needed; one that is older than a column gets that column's default, which may be made anew.
    unsafe {
        let mut tuple = super::row::tuple(row);
        let columns = u32::from((*tuple.t_data).t_infomask2) & pg_sys::HEAP_NATTS_MASK;
        if columns >= (*desc).natts as u32 {
            super::raw::heap_deform_tuple(&mut tuple, desc, values, nulls);
        } else {
            pg_sys::heap_deform_tuple(&mut tuple, desc, values, nulls);
        }
    }
}

impl Drop for Desc {
    fn drop(&mut self) {
        if super::failure::is_raised() {
            return;
        }
        // SAFETY: looked up by `of`; a negative count means that it is not counted.
        unsafe {
            if (*self.0).tdrefcount >= 0 {
                pg_sys::DecrTupleDescRefCount(self.0);
            }
        }
    }
}
