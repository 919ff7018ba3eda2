//! Interrupts, reload of settings and the timeout of a processor.

use pgrx::pg_sys;

/// Acts on a pending cancel or termination request.
pub fn check() {
    // SAFETY: raises or ends the process in the regular way.
    pgrx::check_for_interrupts!();
}

/// The same while nothing runs that could be cancelled: a late cancel request is forgotten.
pub fn check_idle() {
    forget_cancel();
    check();
}

/// Reloads the settings if SIGHUP came.
pub fn reload_settings() {
    // SAFETY: the flag is set by the signal handler; reloading is what every loop of a process does.
    unsafe {
        if pg_sys::ConfigReloadPending != 0 {
            pg_sys::ConfigReloadPending = 0;
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}

/// Forgets a cancel request that came for something already over.
pub fn forget_cancel() {
    // SAFETY: the flag is only read by this process.
    unsafe { pg_sys::QueryCancelPending = 0 };
}

// Not in pgrx's bindings; utils/timeout.h, unchanged from 9.3 to 18.
const STATEMENT_TIMEOUT: u32 = 3;
unsafe extern "C-unwind" {
    fn enable_timeout_after(id: u32, delay_ms: i32);
    fn enable_timeout_at(id: u32, at: pg_sys::TimestampTz);
    fn disable_timeout(id: u32, keep_indicator: bool);
    fn get_timeout_active(id: u32) -> bool;
    fn get_timeout_finish_time(id: u32) -> pg_sys::TimestampTz;
}

/// The statement timeout, lent to a processor; a timeout of the surrounding statement is put back.
pub struct StatementTimer {
    limit_ms: Option<i32>,
    outer: Option<pg_sys::TimestampTz>,
}

impl StatementTimer {
    /// Starts counting; `None` leaves everything as it is.
    pub fn start(limit_ms: Option<i32>) -> StatementTimer {
        // SAFETY: STATEMENT_TIMEOUT is registered in every process connected to a database.
        let outer = unsafe {
            (limit_ms.is_some() && get_timeout_active(STATEMENT_TIMEOUT))
                .then(|| get_timeout_finish_time(STATEMENT_TIMEOUT))
        };
        let timer = StatementTimer { limit_ms, outer };
        timer.restart();
        timer
    }

    /// Counts from zero again: the next job begins.
    pub fn restart(&self) {
        if let Some(limit_ms) = self.limit_ms {
            // SAFETY: as in `start`.
            unsafe { enable_timeout_after(STATEMENT_TIMEOUT, limit_ms) };
        }
    }
}

impl Drop for StatementTimer {
    fn drop(&mut self) {
        if self.limit_ms.is_some() {
            // SAFETY: as in `start`.
            unsafe {
                disable_timeout(STATEMENT_TIMEOUT, false);
                if let Some(at) = self.outer {
                    enable_timeout_at(STATEMENT_TIMEOUT, at);
                }
            }
        }
    }
}
