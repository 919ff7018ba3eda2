//! Passing over the rows that others are deleting. Called under a guard only (see [`super::guard`]).

use super::raw;
use super::scan::LOCKED;
use super::sweep::tuple_in;
use pgrx::pg_sys;

/// The rows that others are deleting lie in runs, each of one transaction.
#[derive(Clone, Copy, Default)]
pub struct Passing {
    /// It was seen deleting a row a moment ago: in progress, or committed.
    deleter: u32,
}

impl Passing {
    /// Is this row, too, being deleted by the transaction that was seen before? Then trying to delete it
    /// comes to the same: should that transaction have been rolled back since, it was so after the row before
    /// was met, and so after this claim began, which is what its rollback counts on (see `claim::floor`).
    ///
    /// # Safety
    /// Under a guard. The slot is filled by an index scan.
    pub unsafe fn is_gone(&self, slot: *mut pg_sys::TupleTableSlot) -> bool {
        // SAFETY: the slot keeps the page pinned; the first look, without a lock, is only to spare the lock.
        unsafe {
            let header = (*tuple_in(slot)).t_data;
            let deleter = || u32::from((&raw const (*header).t_choice.t_heap.t_xmax).read_volatile());
            if self.deleter == 0 || deleter() != self.deleter {
                return false;
            }
            let buffer = (*slot.cast::<pg_sys::BufferHeapTupleTableSlot>()).buffer;
            raw::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let gone = deleter() == self.deleter && is_deleted(header);
            raw::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            gone
        }
    }

    /// The row was found gone.
    ///
    /// # Safety
    /// As for `is_gone`.
    pub unsafe fn note(&mut self, slot: *mut pg_sys::TupleTableSlot) {
        // SAFETY: as in `is_gone`. Who deleted the row stays what it is unless his transaction is rolled back.
        unsafe {
            let header = (*tuple_in(slot)).t_data;
            let buffer = (*slot.cast::<pg_sys::BufferHeapTupleTableSlot>()).buffer;
            raw::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            self.deleter = if is_deleted(header) { u32::from((*header).t_choice.t_heap.t_xmax) } else { 0 };
            raw::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
        }
    }
}

/// Says the header that the transaction in it deletes the row, and not only locks it?
///
/// # Safety
/// The row's page is locked.
unsafe fn is_deleted(header: *const pg_sys::HeapTupleHeaderData) -> bool {
    // SAFETY: by the contract above.
    let mask = unsafe { u32::from((*header).t_infomask) };
    mask & (pg_sys::HEAP_XMAX_INVALID | LOCKED) == 0
}
