//! Is a row held: locked by somebody who only wants it to stay (FOR KEY SHARE)? Such a row cannot be deleted now,
//! though nobody else is about to.

use super::Datum;
use super::relation::Open;
use super::scan::Fresh;
use super::sweep::tuple_in;
use pgrx::pg_sys;

/// Looks at the row at a place (a tid) of a table. Locks nothing, waits for nobody; false if there is none.
pub fn is_held(table: &Open, place: Datum) -> bool {
    if !table.is_plain_heap() {
        return false;
    }
    let snapshot = Fresh::take();
    // SAFETY: the datum is a tid, the snapshot registered, and the slot one for the open table, which it fills
    // as a buffer slot.
    unsafe {
        let slot = pg_sys::table_slot_create(table.raw(), std::ptr::null_mut());
        let place = place.cast_mut_ptr::<pg_sys::ItemPointerData>();
        let held = pg_sys::table_tuple_fetch_row_version(table.raw(), place, snapshot.raw(), slot)
            && has_holder(slot);
        pg_sys::ExecDropSingleTupleTableSlot(slot);
        held
    }
}

/// # Safety
/// The slot is a buffer slot that holds a row.
unsafe fn has_holder(slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: by the contract above; the page is pinned by the slot, and locked while its row's header is read.
    unsafe {
        let header = (*tuple_in(slot)).t_data;
        let buffer = (*slot.cast::<pg_sys::BufferHeapTupleTableSlot>()).buffer;
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
        let mask = u32::from((*header).t_infomask);
        let xmax = (*header).t_choice.t_heap.t_xmax;
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
        if mask & pg_sys::HEAP_XMAX_INVALID != 0 || mask & pg_sys::HEAP_XMAX_LOCK_ONLY == 0 {
            return false;
        }
        if mask & pg_sys::HEAP_XMAX_IS_MULTI != 0 {
            // Several: none of them has it for himself.
            return pg_sys::MultiXactIdIsRunning(pg_sys::MultiXactId::from(u32::from(xmax)), true);
        }
        mask & pg_sys::HEAP_LOCK_MASK == pg_sys::HEAP_XMAX_KEYSHR_LOCK
            && pg_sys::TransactionIdIsInProgress(xmax)
    }
}
