//! Being told when something cached about a table, a schema, a function or a role may have changed.

use pgrx::pg_sys::{self, Datum, Oid};
use pgrx::prelude::*;
use std::cell::{Cell, RefCell};

thread_local! {
    static STALE: RefCell<Vec<Oid>> = const { RefCell::new(Vec::new()) };
    static ALL_STALE: Cell<bool> = const { Cell::new(false) };
    static CODE_GENERATION: Cell<u64> = const { Cell::new(0) };
    /// 0 until somebody watches.
    static GENERATION: Cell<u64> = const { Cell::new(0) };
}

const MOST_REMEMBERED: usize = 1000;

#[pg_guard]
unsafe extern "C-unwind" fn relation_changed(_arg: Datum, relation: Oid) {
    GENERATION.set(GENERATION.get() + 1);
    let noted = relation != Oid::INVALID
        && STALE.with(|stale| match stale.try_borrow_mut() {
            Ok(mut list) if list.len() < MOST_REMEMBERED => {
                if !list.contains(&relation) {
                    list.push(relation);
                }
                true
            }
            _ => false,
        });
    if !noted {
        ALL_STALE.set(true);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn schema_changed(_arg: Datum, _cache: i32, _hash: u32) {
    ALL_STALE.set(true);
}

#[pg_guard]
unsafe extern "C-unwind" fn code_changed(_arg: Datum, _cache: i32, _hash: u32) {
    CODE_GENERATION.set(CODE_GENERATION.get() + 1);
}

/// Changes when a function, its schema, a role or a membership does, anywhere in the database.
pub fn code_generation() -> u64 {
    CODE_GENERATION.get()
}

/// Changes when some relation does; `None` as long as nobody watches.
pub fn generation() -> Option<u64> {
    Some(GENERATION.get()).filter(|generation| *generation > 0)
}

/// Registers the callbacks; once in a process.
pub fn watch() {
    GENERATION.set(1);
    use pg_sys::SysCacheIdentifier::{AUTHMEMMEMROLE, AUTHOID, NAMESPACEOID, PROCOID};
    // SAFETY: the callbacks are static and only touch this thread's own memory, without Postgres calls.
    unsafe {
        for cache in [PROCOID, NAMESPACEOID, AUTHOID, AUTHMEMMEMROLE] {
            pg_sys::CacheRegisterSyscacheCallback(cache as i32, Some(code_changed), Datum::from(0));
        }
        pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), Datum::from(0));
        pg_sys::CacheRegisterSyscacheCallback(NAMESPACEOID as i32, Some(schema_changed), Datum::from(0));
    }
}

/// What became stale since the last call: some relations, or everything.
pub enum Stale {
    Nothing,
    These(Vec<Oid>),
    Everything,
}

pub fn take_stale() -> Stale {
    if ALL_STALE.replace(false) {
        STALE.with(|stale| stale.borrow_mut().clear());
        return Stale::Everything;
    }
    STALE.with(|stale| {
        let mut list = stale.borrow_mut();
        if list.is_empty() { Stale::Nothing } else { Stale::These(std::mem::take(&mut list)) }
    })
}

/// Tells every session, when this transaction commits, that something about the table changed.
pub fn announce(relation: Oid) {
    // SAFETY: raises if the relation does not exist; callers hold one that does.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation) };
}

/// Hears what other sessions have announced so far. Without it that happens at the latest when a relation
/// is locked that was not.
pub fn hear() {
    // SAFETY: inside a transaction, where all SQL-callable code runs.
    unsafe { pg_sys::AcceptInvalidationMessages() };
}
