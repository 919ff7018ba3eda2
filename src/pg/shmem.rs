//! One structure of atomics in shared memory, when the library is preloaded.

use crate::worker::shared::Shared;
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::cell::Cell;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

static SHARED: AtomicPtr<Shared> = AtomicPtr::new(std::ptr::null_mut());
/// How often this postmaster has made its shared memory: more than once means that it crashed.
static STARTS: AtomicU32 = AtomicU32::new(0);

struct Hooks {
    request: Cell<pg_sys::shmem_request_hook_type>,
    startup: Cell<pg_sys::shmem_startup_hook_type>,
}
// SAFETY: written and read by the postmaster's only thread.
unsafe impl Sync for Hooks {}
static PREVIOUS: Hooks = Hooks { request: Cell::new(None), startup: Cell::new(None) };

#[pg_guard]
unsafe extern "C-unwind" fn request() {
    // SAFETY: hooks are called by the postmaster at the time for requests.
    unsafe {
        if let Some(previous) = PREVIOUS.request.get() {
            previous();
        }
        pg_sys::RequestAddinShmemSpace(size_of::<Shared>());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn startup() {
    // SAFETY: called by the postmaster after shared memory was made; the space was requested above.
    unsafe {
        if let Some(previous) = PREVIOUS.startup.get() {
            previous();
        }
        let mut found = false;
        let place = pg_sys::ShmemInitStruct(c"queue_ext".as_ptr(), size_of::<Shared>(), &mut found);
        if !found {
            // All of it is atomics, for which all bits zero is a valid value.
            std::ptr::write_bytes(place.cast::<u8>(), 0, size_of::<Shared>());
        }
        SHARED.store(place.cast(), Ordering::SeqCst);
        let crashed = STARTS.fetch_add(1, Ordering::SeqCst) > 0;
        if let Some(shared) = get() {
            shared.made_at.store(super::time::now(), Ordering::SeqCst);
            shared.unclean_start.store(crashed || stopped_uncleanly(), Ordering::SeqCst);
        }
    }
}

/// Did the last server on this data directory end without a shutdown checkpoint? Asked before recovery
/// changes the answer.
fn stopped_uncleanly() -> bool {
    // SAFETY: reads pg_control, as pg_controldata does; the data directory is known by now.
    unsafe {
        let mut crc_ok = false;
        let control = pg_sys::get_controlfile(pg_sys::DataDir, &mut crc_ok);
        !matches!(
            (*control).state,
            pg_sys::DBState::DB_SHUTDOWNED | pg_sys::DBState::DB_SHUTDOWNED_IN_RECOVERY
        )
    }
}

pub fn is_preloading() -> bool {
    // SAFETY: reads a global.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

pub fn is_binary_upgrade() -> bool {
    // SAFETY: reads a global.
    unsafe { pg_sys::IsBinaryUpgrade }
}

/// Asks for the memory; to be called while the library is being preloaded.
pub fn register() {
    // SAFETY: hooks may be set while libraries are being preloaded; the previous ones are called.
    unsafe {
        PREVIOUS.request.set(pg_sys::shmem_request_hook);
        pg_sys::shmem_request_hook = Some(request);
        PREVIOUS.startup.set(pg_sys::shmem_startup_hook);
        pg_sys::shmem_startup_hook = Some(startup);
    }
}

/// The shared structure; `None` without preload.
pub fn get() -> Option<&'static Shared> {
    // SAFETY: null or the structure that `startup` made, which stays for the process's life and is
    // atomics throughout.
    unsafe { SHARED.load(Ordering::Relaxed).as_ref() }
}
