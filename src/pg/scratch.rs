//! Memory for what is collected row by row, while a query runs in memory of its own.

use pgrx::pg_sys::{self, Datum};

/// A memory context, gone when dropped.
pub struct Scratch(pg_sys::MemoryContext);

impl Scratch {
    pub fn within_present() -> Scratch {
        // SAFETY: a child of the present context, which outlives this value: on ERROR it is dropped by
        // unwinding, before the transaction's contexts go.
        Scratch(unsafe {
            pg_sys::AllocSetContextCreateInternal(
                pg_sys::CurrentMemoryContext,
                c"queue_ext scratch".as_ptr(),
                0,
                8192,
                8 * 1024 * 1024,
            )
        })
    }

    /// Runs `work` with this as the present memory.
    pub fn within<R>(&self, work: impl FnOnce() -> R) -> R {
        // SAFETY: alive as long as this value; an ERROR resets the present context anyway.
        let before = unsafe { pg_sys::MemoryContextSwitchTo(self.0) };
        let result = work();
        // SAFETY: the context that was the present one.
        unsafe { pg_sys::MemoryContextSwitchTo(before) };
        result
    }

    /// A copy of a value of variable length, whole and uncompressed.
    pub fn copy(&self, value: Datum) -> Datum {
        // SAFETY: a non-null varlena datum.
        self.within(|| unsafe { Datum::from(pg_sys::pg_detoast_datum_copy(value.cast_mut_ptr())) })
    }

    /// Frees everything in it. Nothing that was copied may be used after that.
    pub fn reset(&mut self) {
        // SAFETY: a context of this value's own.
        unsafe { pg_sys::MemoryContextReset(self.0) };
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: made by `within_present`.
        unsafe { pg_sys::MemoryContextDelete(self.0) };
    }
}
