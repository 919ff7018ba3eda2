//! Returning a set of rows by filling a tuplestore.

use super::entry::Call;
use super::guard::guarded;
use super::raw;
use super::spi::Arg;
use pgrx::pg_sys::{self, Datum};

/// Where a set-returning function puts its rows.
pub struct RowSink {
    store: *mut pg_sys::Tuplestorestate,
    desc: pg_sys::TupleDesc,
}

impl RowSink {
    /// For a function that returns rows. Raises if the caller cannot take a set.
    pub fn open(call: &Call) -> RowSink {
        RowSink::with_flags(call, 0)
    }

    /// For a function that returns a set of single values.
    pub fn open_scalar(call: &Call) -> RowSink {
        RowSink::with_flags(call, pg_sys::MAT_SRF_USE_EXPECTED_DESC)
    }

    fn with_flags(call: &Call, flags: u32) -> RowSink {
        // SAFETY: InitMaterializedSRF checks the call's context and fills in its ReturnSetInfo.
        unsafe {
            pg_sys::InitMaterializedSRF(call.raw(), flags);
            let info = (*call.raw()).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            RowSink { store: (*info).setResult, desc: (*info).setDesc }
        }
    }

    /// Is the row type still laid out as the caller was told? Not if the table was altered since.
    pub fn fits(&self, row_type: pg_sys::Oid) -> bool {
        // SAFETY: both descriptors are valid; the copy is freed with the memory context.
        unsafe {
            let fresh = pg_sys::lookup_rowtype_tupdesc_copy(row_type, -1);
            #[cfg(not(feature = "pg18"))]
            let attribute_of = |desc: pg_sys::TupleDesc, i: usize| (*desc).attrs.as_ptr().add(i);
            #[cfg(feature = "pg18")]
            let attribute_of = |desc: pg_sys::TupleDesc, i: usize| pg_sys::TupleDescAttr(desc, i as i32);
            let attributes = |desc: pg_sys::TupleDesc| {
                (0..(*desc).natts as usize)
                    .map(|i| {
                        let attribute = &*attribute_of(desc, i);
                        (attribute.atttypid, attribute.attlen, attribute.attisdropped)
                    })
                    .collect::<Vec<_>>()
            };
            // Columns added at the end are not looked at.
            attributes(fresh).starts_with(&attributes(self.desc))
        }
    }

    /// A row from its columns; as many as the function declares.
    pub fn put(&self, columns: &[Arg]) {
        self.put_all(&[columns]);
    }

    /// Rows from their columns: arrays or slices.
    pub fn put_all<Row: AsRef<[Arg]>>(&self, rows: &[Row]) {
        const MOST: usize = 32;
        let (store, desc) = (self.store, self.desc);
        // SAFETY: so many columns are declared, and there is room for them; the tuplestore copies the rows. Nothing
        // has a destructor.
        unsafe {
            let declared = (*desc).natts as usize;
            assert!(declared <= MOST && rows.iter().all(|row| row.as_ref().len() == declared));
            guarded(|| {
                let (mut values, mut nulls) = ([Datum::from(0); MOST], [true; MOST]);
                for row in rows {
                    let places = values.iter_mut().zip(&mut nulls);
                    row.as_ref().iter().zip(places).for_each(|(column, (value, is_null))| {
                        (*value, *is_null) = (column.unwrap_or(Datum::from(0)), column.is_none());
                    });
                    raw::tuplestore_putvalues(store, desc, values.as_ptr(), nulls.as_ptr());
                }
            });
        }
    }

    /// Rows that are composite values of the declared type already.
    pub fn put_rows<T>(&self, list: &[T], row_of: impl Fn(&T) -> Datum) {
        let store = self.store;
        // SAFETY: composite values, which may have to be copied: before the guard. The tuplestore copies the rows.
        // Nothing has a destructor inside.
        unsafe {
            let mut tuples: Vec<_> = list.iter().map(|one| super::row::tuple(row_of(one))).collect();
            let (first, count) = (tuples.as_mut_ptr(), tuples.len());
            guarded(|| {
                for place in 0..count {
                    raw::tuplestore_puttuple(store, first.add(place));
                }
            });
        }
    }
}
