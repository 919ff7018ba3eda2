//! Background workers: starting them, and the manners of being one.

use pgrx::pg_sys::{self, Oid};
use pgrx::prelude::*;
use std::ffi::{CStr, CString, c_char};

/// What a worker is told at its start, in the 128 bytes that Postgres passes on.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Start {
    pub database: u32,
    pub role: u32,
    /// Its place in shared memory; `u32::MAX` without.
    pub slot: u32,
    pub generation: u32,
}

/// Copies text into a fixed field, cut at 95 bytes.
fn fill(field: &mut [c_char], text: &str) {
    let last = field.len() - 1;
    for (place, byte) in field[..last].iter_mut().zip(text.bytes()) {
        *place = byte as c_char;
    }
}

fn describe(name: &str, kind: &str, function: &str, start: Start) -> pg_sys::BackgroundWorker {
    let mut worker = pg_sys::BackgroundWorker {
        bgw_flags: (pg_sys::BGWORKER_SHMEM_ACCESS | pg_sys::BGWORKER_BACKEND_DATABASE_CONNECTION) as i32,
        bgw_start_time: pg_sys::BgWorkerStartTime::BgWorkerStart_RecoveryFinished,
        bgw_restart_time: pg_sys::BGW_NEVER_RESTART,
        ..Default::default()
    };
    fill(&mut worker.bgw_name, name);
    fill(&mut worker.bgw_type, kind);
    fill(&mut worker.bgw_library_name, "queue_ext");
    fill(&mut worker.bgw_function_name, function);
    // SAFETY: `Start` is plain data and smaller than bgw_extra.
    unsafe {
        std::ptr::copy_nonoverlapping(
            (&raw const start).cast::<c_char>(),
            worker.bgw_extra.as_mut_ptr(),
            size_of::<Start>(),
        );
    }
    worker
}

/// Registers a worker that the postmaster itself keeps alive; while preloading only.
pub fn register_static(name: &str, kind: &str, function: &str, restart_seconds: i32) {
    let mut worker =
        describe(name, kind, function, Start { database: 0, role: 0, slot: u32::MAX, generation: 0 });
    worker.bgw_restart_time = restart_seconds;
    // SAFETY: the postmaster copies the record.
    unsafe { pg_sys::RegisterBackgroundWorker(&mut worker) };
}

/// A worker that this process started.
pub struct Handle(*mut pg_sys::BackgroundWorkerHandle);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    NotYetStarted,
    Running,
    Gone,
}

/// Starts a worker; `None` when no slot of max_worker_processes is free.
pub fn start(name: &str, kind: &str, function: &str, start: Start) -> Option<Handle> {
    let mut worker = describe(name, kind, function, start);
    let mut handle = std::ptr::null_mut();
    // SAFETY: the record is copied to shared memory; the handle is allocated in TopMemoryContext, so
    // that it lives as long as this process needs it.
    unsafe {
        worker.bgw_notify_pid = pg_sys::MyProcPid;
        let before = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let registered = pg_sys::RegisterDynamicBackgroundWorker(&mut worker, &mut handle);
        pg_sys::MemoryContextSwitchTo(before);
        registered.then(|| Handle(handle))
    }
}

impl Handle {
    pub fn life(&self) -> Life {
        let mut pid = 0;
        // SAFETY: the handle is valid until dropped.
        match unsafe { pg_sys::GetBackgroundWorkerPid(self.0, &mut pid) } {
            pg_sys::BgwHandleStatus::BGWH_NOT_YET_STARTED => Life::NotYetStarted,
            pg_sys::BgwHandleStatus::BGWH_STARTED => Life::Running,
            _ => Life::Gone,
        }
    }

    pub fn terminate(&self) {
        // SAFETY: sends SIGTERM through the postmaster, if it still runs.
        unsafe { pg_sys::TerminateBackgroundWorker(self.0) };
    }

    /// Waits until it runs, or has come to nothing.
    pub fn wait_for_start(&self) -> bool {
        let mut pid = 0;
        // SAFETY: interruptible wait on this process's latch.
        unsafe {
            pg_sys::WaitForBackgroundWorkerStartup(self.0, &mut pid) == pg_sys::BgwHandleStatus::BGWH_STARTED
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: palloc'd in TopMemoryContext and freed once.
        unsafe { pg_sys::pfree(self.0.cast()) };
    }
}

/// What this worker was told at its start.
pub fn my_start() -> Start {
    // SAFETY: set by the postmaster before the main function is called; `Start` was copied in by
    // `describe` and any bytes make a valid one.
    unsafe { std::ptr::read_unaligned((*pg_sys::MyBgworkerEntry).bgw_extra.as_ptr().cast::<Start>()) }
}

// Declared here as they are: pgrx's bindings wrap functions, and a signal handler must be the function.
unsafe extern "C-unwind" {
    fn die(signal: i32);
    fn StatementCancelHandler(signal: i32);
    fn SignalHandlerForConfigReload(signal: i32);
}

/// Lets signals through: SIGHUP reloads; SIGTERM ends the process at the next interrupt check and
/// SIGINT cancels, just as in a client's session, so that user code can be interrupted.
pub fn accept_signals() {
    #[cfg(not(feature = "pg18"))]
    use pg_sys::pqsignal;
    #[cfg(feature = "pg18")]
    use pg_sys::pqsignal_be as pqsignal;
    // SAFETY: handlers of Postgres itself, installed before signals are unblocked.
    unsafe {
        pqsignal(pg_sys::SIGHUP as i32, Some(SignalHandlerForConfigReload));
        pqsignal(pg_sys::SIGTERM as i32, Some(die));
        pqsignal(pg_sys::SIGINT as i32, Some(StatementCancelHandler));
        pg_sys::BackgroundWorkerUnblockSignals();
    }
}

/// Connects to a database as a role; raises FATAL, which ends the process, if that may not be.
pub fn connect(database: Oid, role: Oid) {
    // SAFETY: once in a worker's life. Zero oids: no database (shared catalogs only), superuser.
    unsafe { pg_sys::BackgroundWorkerInitializeConnectionByOid(database, role, 0) };
}

/// What pg_stat_activity shows as the query; `None`: idle.
pub fn report_activity(what: Option<&str>) {
    let text = what.and_then(|w| CString::new(w).ok());
    // SAFETY: the text is copied.
    unsafe {
        match &text {
            Some(text) => pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, text.as_ptr()),
            None => pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_IDLE, std::ptr::null()),
        }
    }
}

/// What pg_stat_activity shows as application_name.
pub fn report_name(name: &str) {
    let Ok(name) = CString::new(name) else { return };
    // SAFETY: an assignable setting of any session.
    unsafe {
        pg_sys::SetConfigOption(
            c"application_name".as_ptr(),
            name.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
        );
    }
}

/// Sends this process's statistics, outside a transaction. Postgres takes them once a second at most;
/// true: some are left.
pub fn report_statistics() -> bool {
    // SAFETY: rate-limited by Postgres itself.
    unsafe { pg_sys::pgstat_report_stat(false) != 0 }
}

pub fn my_pid() -> i32 {
    // SAFETY: reads a global.
    unsafe { pg_sys::MyProcPid }
}

/// Is a process with this pid still a backend of this server?
pub fn is_alive(pid: i32) -> bool {
    // SAFETY: looks the pid up in the process array.
    pid != 0 && unsafe { !pg_sys::BackendPidGetProc(pid).is_null() }
}

/// Cancels what another backend is doing, as pg_cancel_backend does.
pub fn interrupt(pid: i32) {
    signal(pid, pg_sys::SIGINT as i32);
}

/// Ends another backend, as pg_terminate_backend does.
pub fn terminate(pid: i32) {
    signal(pid, pg_sys::SIGTERM as i32);
}

unsafe extern "C" {
    fn kill(pid: i32, signal: i32) -> i32;
}

fn signal(pid: i32, signal: i32) {
    if is_alive(pid) {
        // SAFETY: a backend of this server, as checked; the race with its end is that of
        // pg_cancel_backend.
        unsafe { kill(pid, signal) };
    }
}

/// Calls `at_exit` when this process ends, while it still has shared memory.
pub fn on_exit(at_exit: fn()) {
    #[pg_guard]
    unsafe extern "C-unwind" fn call(_code: i32, action: pg_sys::Datum) {
        // SAFETY: the datum is the function pointer passed below.
        let action: fn() = unsafe { std::mem::transmute(action.value()) };
        action();
    }
    // SAFETY: a static function and a plain function pointer.
    unsafe { pg_sys::before_shmem_exit(Some(call), pg_sys::Datum::from(at_exit as usize)) };
}

/// This process's text for the server log, e.g. the name of the running database.
pub fn my_name() -> String {
    // SAFETY: set in every background worker.
    unsafe { CStr::from_ptr((*pg_sys::MyBgworkerEntry).bgw_name.as_ptr()).to_string_lossy().into_owned() }
}
