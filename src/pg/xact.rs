//! Transactions of background workers, and callbacks at their end.

use pgrx::pg_sys;
use std::sync::Once;

/// What the crate does when a transaction ends. The functions run where nothing may allocate, look up
/// a catalog or raise.
pub struct EndActions {
    /// Before it becomes visible. May yet be followed by `aborted`.
    pub before_commit: fn(),
    pub committed: fn(),
    pub aborted: fn(),
    pub prepared: fn(),
    pub subtransaction_aborted: fn(),
}

static REGISTERED: Once = Once::new();
static ACTIONS: std::sync::OnceLock<EndActions> = std::sync::OnceLock::new();

unsafe extern "C-unwind" fn at_end(event: pg_sys::XactEvent::Type, _: *mut std::ffi::c_void) {
    let Some(actions) = ACTIONS.get() else { return };
    match event {
        pg_sys::XactEvent::XACT_EVENT_COMMIT | pg_sys::XactEvent::XACT_EVENT_PARALLEL_COMMIT => {
            (actions.committed)()
        }
        pg_sys::XactEvent::XACT_EVENT_ABORT | pg_sys::XactEvent::XACT_EVENT_PARALLEL_ABORT => {
            (actions.aborted)()
        }
        pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT => (actions.before_commit)(),
        pg_sys::XactEvent::XACT_EVENT_PREPARE => (actions.prepared)(),
        _ => {}
    }
}

unsafe extern "C-unwind" fn at_sub_end(
    event: pg_sys::SubXactEvent::Type,
    _: pg_sys::SubTransactionId,
    _: pg_sys::SubTransactionId,
    _: *mut std::ffi::c_void,
) {
    if event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB
        && let Some(actions) = ACTIONS.get()
    {
        (actions.subtransaction_aborted)();
    }
}

/// Registers the callbacks once in a process; later calls do nothing.
pub fn on_end(actions: EndActions) {
    REGISTERED.call_once(|| {
        let _ = ACTIONS.set(actions);
        // SAFETY: static functions that neither allocate nor raise.
        unsafe {
            pg_sys::RegisterXactCallback(Some(at_end), std::ptr::null_mut());
            pg_sys::RegisterSubXactCallback(Some(at_sub_end), std::ptr::null_mut());
        }
    });
}

unsafe extern "C-unwind" fn at_release(
    phase: pg_sys::ResourceReleasePhase::Type,
    _: bool,
    is_top_level: bool,
    action: *mut std::ffi::c_void,
) {
    if is_top_level && phase == pg_sys::ResourceReleasePhase::RESOURCE_RELEASE_AFTER_LOCKS {
        // SAFETY: what `on_release` registered.
        let action: fn() = unsafe { std::mem::transmute(action) };
        action();
    }
}

/// Has a function called, perhaps more than once, when a transaction's locks are gone, committed or not, and
/// other sessions have been sent what became stale in their caches. It must do no more than those of `on_end`.
/// Registered once for each `once`.
pub fn on_release(once: &Once, action: fn()) {
    once.call_once(|| {
        // SAFETY: a static function that neither allocates nor raises, and the plain function it calls.
        unsafe { pg_sys::RegisterResourceReleaseCallback(Some(at_release), action as *mut std::ffi::c_void) };
    });
}

/// Is this transaction bound to the snapshot of its first statement (REPEATABLE READ and above)?
pub fn sees_only_the_past() -> bool {
    // SAFETY: reads a global.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// Is this transaction to be as if it ran alone?
pub fn is_serializable() -> bool {
    // SAFETY: reads a global.
    unsafe { pg_sys::XactIsoLevel == pg_sys::XACT_SERIALIZABLE as i32 }
}

/// Does this transaction go on after the present statement, for as long as its user likes?
pub fn is_in_block() -> bool {
    // SAFETY: reads the transaction state, and does not raise.
    unsafe { super::raw::IsTransactionBlock() }
}

/// How deep in subtransactions we are; 1 outside of any.
pub fn nest_level() -> i32 {
    // SAFETY: reads the transaction state, and does not raise; allowed in callbacks.
    unsafe { super::raw::GetCurrentTransactionNestLevel() }
}

/// The number of the present command, which is going to write.
pub fn command_to_write() -> u32 {
    // SAFETY: inside a transaction that may write (`require_writable`): no parallel worker, where it would raise.
    unsafe { super::raw::GetCurrentCommandId(true) }
}

/// The number of the command that the present statement sees the work before of: higher in a statement that is run
/// within another. `None` outside of any.
pub fn statement() -> Option<u32> {
    // SAFETY: reads the stack of snapshots, and does not raise.
    unsafe { super::raw::ActiveSnapshotSet().then(|| (*super::raw::GetActiveSnapshot()).curcid) }
}

/// Raises, as the executor does, if this transaction may not write.
pub fn require_writable(command: &'static std::ffi::CStr) {
    // SAFETY: a constant C string; a global, and a function that reads one.
    unsafe {
        if pg_sys::XactReadOnly {
            pg_sys::PreventCommandIfReadOnly(command.as_ptr());
        }
        if super::raw::IsInParallelMode() {
            pg_sys::PreventCommandIfParallelMode(command.as_ptr());
        }
    }
}

/// Is this server a standby?
pub fn in_recovery() -> bool {
    // SAFETY: reads shared memory, and does not raise.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// Raises on a standby.
pub fn refuse_in_recovery(command: &'static std::ffi::CStr) {
    // SAFETY: a constant C string.
    unsafe { pg_sys::PreventCommandDuringRecovery(command.as_ptr()) }
}

/// How many transactions that could change anything have ended, one way or the other, as of now. Whoever
/// takes a snapshot after reading this sees what they did.
pub fn ended() -> u64 {
    // SAFETY: a counter in shared memory, changed under a lock; read whole, as it is aligned.
    unsafe {
        #[cfg(feature = "pg15")]
        let variables = pg_sys::ShmemVariableCache;
        #[cfg(not(feature = "pg15"))]
        let variables = pg_sys::TransamVariables;
        let ended = (&raw const (*variables).xactCompletionCount).read_volatile();
        // What is read after this is read after it.
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        ended
    }
}

/// May there be prepared transactions? When they commit, none of our callbacks is called.
pub fn may_be_prepared() -> bool {
    // SAFETY: a setting that is fixed when the server has started.
    unsafe { super::raw::max_prepared_xacts > 0 }
}

/// Starts a transaction in a background worker, with a snapshot. READ COMMITTED and read-write, whatever
/// defaults the role or the database has: a claim relies on it.
pub fn begin() {
    // SAFETY: no transaction is open in a worker's loop; each begin is matched by commit or abort.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        pg_sys::XactIsoLevel = pg_sys::XACT_READ_COMMITTED as i32;
        pg_sys::XactReadOnly = false;
        pg_sys::XactDeferrable = false;
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
    }
}

/// Commits; raises what deferred constraints raise.
pub fn commit() {
    // SAFETY: pairs with `begin`.
    unsafe {
        while pg_sys::ActiveSnapshotSet() {
            pg_sys::PopActiveSnapshot();
        }
        pg_sys::CommitTransactionCommand();
    }
}

/// Rolls back whatever is open.
pub fn abort() {
    // SAFETY: allowed in any state; the way every worker's loop recovers.
    unsafe {
        pg_sys::AbortCurrentTransaction();
        pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
    }
}

/// Makes what this transaction did so far visible to its own next statement.
pub fn next_command() {
    // SAFETY: inside a transaction.
    unsafe { pg_sys::CommandCounterIncrement() };
}
