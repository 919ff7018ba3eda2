//! Who runs a statement, and under which search_path.

use super::raw;
use pgrx::pg_sys::{self, Oid};

/// Runs `work` with the rights of `role` under a pinned search_path. Row security and privileges are
/// those of the role; SET ROLE is refused meanwhile; a (sub)transaction abort undoes both switches.
pub fn as_role<R>(role: Oid, work: impl FnOnce() -> R) -> R {
    switched(role, pg_sys::SECURITY_LOCAL_USERID_CHANGE, work)
}

/// The same in a security-restricted operation, for reading only: code of the role's own that planning
/// or reading its tables may run (index expressions, casts) can leave nothing behind.
pub fn as_restricted<R>(role: Oid, work: impl FnOnce() -> R) -> R {
    switched(role, pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_RESTRICTED_OPERATION, work)
}

/// The same for an owner to whom no policies apply, not even with FORCE ROW LEVEL SECURITY: for reading what
/// is to be counted whole. As Postgres does for foreign keys.
pub fn as_owner_of_all<R>(owner: Oid, work: impl FnOnce() -> R) -> R {
    switched(owner, pg_sys::SECURITY_LOCAL_USERID_CHANGE | pg_sys::SECURITY_NOFORCE_RLS, work)
}

/// The same without pinning the search_path: for work that looks up nothing by name.
pub fn with_rights_of<R>(role: Oid, work: impl FnOnce() -> R) -> R {
    acting_as(role, pg_sys::SECURITY_LOCAL_USERID_CHANGE, work)
}

/// Runs `work` so that a superuser who took the present role by SET SESSION AUTHORIZATION stays down: code of the
/// role's own could take that back, also when the transaction commits (deferred triggers, cursors WITH HOLD). So
/// it is a security-restricted operation, in which Postgres refuses all of these. Else nothing is restricted.
pub fn kept_down<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: both read globals.
    let (login, session) = unsafe { (pg_sys::GetAuthenticatedUserId(), pg_sys::GetSessionUserId()) };
    if login == session {
        return work();
    }
    // SAFETY: reads a global.
    let user = unsafe { pg_sys::GetUserId() };
    acting_as(user, pg_sys::SECURITY_RESTRICTED_OPERATION, work)
}

fn switched<R>(role: Oid, flags: u32, work: impl FnOnce() -> R) -> R {
    acting_as(role, flags, || pinned(work))
}

fn acting_as<R>(role: Oid, flags: u32, work: impl FnOnce() -> R) -> R {
    let mut user = Oid::INVALID;
    let mut context = 0;
    // SAFETY: what fmgr does for SECURITY DEFINER: save, switch, restore. Both only touch globals.
    unsafe {
        raw::GetUserIdAndSecContext(&mut user, &mut context);
        raw::SetUserIdAndSecContext(role, context | flags as i32);
    }
    let result = work();
    // SAFETY: the values saved above.
    unsafe { raw::SetUserIdAndSecContext(user, context) };
    result
}

/// Runs `work` with the caller's rights under search_path `pg_catalog, pg_temp`.
pub fn pinned<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: a nest level of settings, closed below or by the (sub)transaction's abort.
    let level = unsafe { pg_sys::NewGUCNestLevel() };
    // SAFETY: constant strings; GUC_ACTION_SAVE binds the value to the nest level.
    unsafe {
        pg_sys::set_config_option(
            c"search_path".as_ptr(),
            c"pg_catalog, pg_temp".as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
    }
    let result = work();
    // SAFETY: the level opened above; `false`: what a table owner's code has set meanwhile is not kept.
    unsafe { pg_sys::AtEOXact_GUC(false, level) };
    result
}

/// A level of settings: `renew` and dropping it put back every setting changed meanwhile, the role
/// included, as a rollback would. On ERROR the (sub)transaction's abort does it.
pub struct Settings {
    level: i32,
}

impl Settings {
    pub fn enter() -> Settings {
        // SAFETY: closed by `renew`, `leave` or the (sub)transaction's abort.
        Settings { level: unsafe { pg_sys::NewGUCNestLevel() } }
    }

    pub fn renew(&mut self) {
        // SAFETY: the level opened before; `false`: values set within are not kept.
        unsafe {
            pg_sys::AtEOXact_GUC(false, self.level);
            self.level = pg_sys::NewGUCNestLevel();
        }
    }

    pub fn leave(self) {
        // SAFETY: as in `renew`.
        unsafe { pg_sys::AtEOXact_GUC(false, self.level) };
    }
}

/// What SET SESSION AUTHORIZATION DEFAULT, RESET ROLE, RESET ALL and pg_advisory_unlock_all do, without
/// parsing them. Outside a transaction, so nothing takes it back.
pub fn reset_session() {
    // SAFETY: constant names; no value stands for the one after login, which needs no catalog. The lock
    // manager releases session locks outside transactions, too, as it does when a session ends.
    unsafe {
        for name in [c"session_authorization", c"role"] {
            pg_sys::SetConfigOption(
                name.as_ptr(),
                std::ptr::null(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
            );
        }
        pg_sys::ResetAllOptions();
        pg_sys::LockReleaseSession(pg_sys::USER_LOCKMETHOD as pg_sys::LOCKMETHODID);
    }
}

/// Has this session ever had temporary tables?
pub fn has_temporary_tables() -> bool {
    let (mut tables, mut toast) = (Oid::INVALID, Oid::INVALID);
    // SAFETY: writes the two oids.
    unsafe { pg_sys::GetTempNamespaceState(&mut tables, &mut toast) };
    tables != Oid::INVALID
}

/// DISCARD TEMP. In a transaction.
pub fn drop_temporary_tables() {
    // SAFETY: does nothing if there are none.
    unsafe { pg_sys::ResetTempTableNamespace() };
}

/// Steers the planner while it lives. Plans here are made once, often over an empty table, and kept:
/// cost estimates are worth nothing then.
pub struct Planner {
    seqscan: bool,
    bitmap: bool,
    sort: bool,
    jit: bool,
}

impl Planner {
    /// Rows are found and ordered through indexes.
    pub fn by_index() -> Planner {
        let before = Planner::now();
        // SAFETY: the backend's own planner switches.
        unsafe {
            pg_sys::enable_seqscan = false;
            pg_sys::enable_bitmapscan = false;
            pg_sys::enable_sort = false;
        }
        before
    }

    /// The same, through an index that gives them in no order or with a sort after it, which must not count as
    /// dear: a plan that does is thought worth compiling (jit) each time.
    pub fn by_index_in_any_order() -> Planner {
        let before = Planner::now();
        // SAFETY: as above.
        unsafe {
            pg_sys::enable_seqscan = false;
            pg_sys::enable_bitmapscan = true;
        }
        before
    }

    /// As it is now. Nothing of ours is worth compiling, and a plan that reads a table in spite of
    /// `enable_seqscan` looks dear enough to be compiled at each execution.
    fn now() -> Planner {
        // SAFETY: as above.
        unsafe {
            let jit = pg_sys::jit_enabled;
            pg_sys::jit_enabled = false;
            Planner {
                jit,
                seqscan: pg_sys::enable_seqscan,
                bitmap: pg_sys::enable_bitmapscan,
                sort: pg_sys::enable_sort,
            }
        }
    }
}

impl Drop for Planner {
    fn drop(&mut self) {
        // SAFETY: as above; runs on ERROR too, which unwinds.
        unsafe {
            pg_sys::enable_seqscan = self.seqscan;
            pg_sys::enable_bitmapscan = self.bitmap;
            pg_sys::enable_sort = self.sort;
            pg_sys::jit_enabled = self.jit;
        }
    }
}
