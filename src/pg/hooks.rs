//! Noticing DROP EXTENSION, and statements that need a database without connections.

use pgrx::pg_sys::{self, Oid};
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::CStr;

/// What the crate does when it is told.
pub struct Listeners {
    /// The extension is being dropped in this transaction.
    pub extension_dropped: fn(),
    /// Nobody may be connected to this database while the statement runs.
    pub database_claimed: fn(Oid),
    /// The statement is over, however it ended.
    pub database_released: fn(Oid),
}

struct State {
    access: Cell<pg_sys::object_access_hook_type>,
    utility: Cell<pg_sys::ProcessUtility_hook_type>,
    listeners: Cell<Option<&'static Listeners>>,
}
// SAFETY: written once while the library loads, read by the process's only thread.
unsafe impl Sync for State {}
static STATE: State = State { access: Cell::new(None), utility: Cell::new(None), listeners: Cell::new(None) };

/// Installs the hooks; once in a process.
pub fn install(listeners: &'static Listeners) {
    STATE.listeners.set(Some(listeners));
    // SAFETY: the previous hooks are kept and called.
    unsafe {
        STATE.access.set(pg_sys::object_access_hook);
        pg_sys::object_access_hook = Some(on_object_access);
        STATE.utility.set(pg_sys::ProcessUtility_hook);
        pg_sys::ProcessUtility_hook = Some(on_utility);
    }
}

/// Called for nearly everything, so what does not concern us passes through untouched.
unsafe extern "C-unwind" fn on_object_access(
    access: pg_sys::ObjectAccessType::Type,
    class: Oid,
    object: Oid,
    sub: i32,
    arg: *mut std::ffi::c_void,
) {
    // SAFETY: passes on what it was given; nothing with a destructor is on this frame.
    unsafe {
        if let Some(previous) = STATE.access.get() {
            previous(access, class, object, sub, arg);
        }
        if access == pg_sys::ObjectAccessType::OAT_DROP && class == pg_sys::ExtensionRelationId {
            on_extension_drop(object);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_extension_drop(extension: Oid) {
    if super::catalog::extension_oid() == Some(extension)
        && let Some(listeners) = STATE.listeners.get()
    {
        (listeners.extension_dropped)();
    }
}

type Utility = unsafe extern "C-unwind" fn(
    *mut pg_sys::PlannedStmt,
    *const std::ffi::c_char,
    bool,
    pg_sys::ProcessUtilityContext::Type,
    pg_sys::ParamListInfo,
    *mut pg_sys::QueryEnvironment,
    *mut pg_sys::DestReceiver,
    *mut pg_sys::QueryCompletion,
);

// Declared here as it is: pgrx's binding would catch errors and lose their position and context, for
// every utility statement of the server.
unsafe extern "C-unwind" {
    fn standard_ProcessUtility(
        statement: *mut pg_sys::PlannedStmt,
        text: *const std::ffi::c_char,
        read_only_tree: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        params: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        dest: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

/// Called for every utility statement. Those that do not concern us pass straight through: no guard, no
/// destructor on the frame, so that an ERROR passes through as it is.
unsafe extern "C-unwind" fn on_utility(
    statement: *mut pg_sys::PlannedStmt,
    text: *const std::ffi::c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    dest: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: passes on what it was given; the statement's node is valid.
    unsafe {
        let next: Utility = STATE.utility.get().unwrap_or(standard_ProcessUtility);
        if concerns_a_database((*statement).utilityStmt) {
            on_database_utility(
                statement,
                text,
                read_only_tree,
                context,
                params,
                environment,
                dest,
                completion,
            );
        } else {
            next(statement, text, read_only_tree, context, params, environment, dest, completion);
        }
    }
}

/// # Safety
/// `node` is a valid statement node.
unsafe fn concerns_a_database(node: *mut pg_sys::Node) -> bool {
    // SAFETY: the cast follows the node's tag.
    unsafe {
        match (*node).type_ {
            pg_sys::NodeTag::T_RenameStmt => {
                (*node.cast::<pg_sys::RenameStmt>()).renameType == pg_sys::ObjectType::OBJECT_DATABASE
            }
            pg_sys::NodeTag::T_DropdbStmt
            | pg_sys::NodeTag::T_CreatedbStmt
            | pg_sys::NodeTag::T_AlterDatabaseStmt => true,
            _ => false,
        }
    }
}

#[pg_guard]
#[allow(clippy::too_many_arguments)]
unsafe extern "C-unwind" fn on_database_utility(
    statement: *mut pg_sys::PlannedStmt,
    text: *const std::ffi::c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    dest: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: passes on what it was given. The next function is called through pgrx's boundary, so that
    // an ERROR unwinds and the database is released.
    unsafe {
        let database = claimed_database((*statement).utilityStmt);
        let listeners = STATE.listeners.get();
        if let (Some(database), Some(listeners)) = (database, listeners) {
            (listeners.database_claimed)(database);
        }
        let _release = Release { database, listeners };
        let next: Utility = STATE.utility.get().unwrap_or(standard_ProcessUtility);
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            next(statement, text, read_only_tree, context, params, environment, dest, completion)
        });
    }
}

/// Releases the database on every way out, an ERROR included.
struct Release {
    database: Option<Oid>,
    listeners: Option<&'static Listeners>,
}

impl Drop for Release {
    fn drop(&mut self) {
        if let (Some(database), Some(listeners)) = (self.database, self.listeners) {
            (listeners.database_released)(database);
        }
    }
}

/// The database that a statement needs for itself, if it is such a statement and the database exists.
///
/// # Safety
/// `node` is a valid statement node.
unsafe fn claimed_database(node: *mut pg_sys::Node) -> Option<Oid> {
    // SAFETY: the casts follow the node's tag.
    unsafe {
        let name = match (*node).type_ {
            pg_sys::NodeTag::T_DropdbStmt => (*node.cast::<pg_sys::DropdbStmt>()).dbname,
            pg_sys::NodeTag::T_CreatedbStmt => {
                string_option((*node.cast::<pg_sys::CreatedbStmt>()).options, c"template")
            }
            pg_sys::NodeTag::T_AlterDatabaseStmt => {
                let alter = &*node.cast::<pg_sys::AlterDatabaseStmt>();
                if string_option(alter.options, c"tablespace").is_null() {
                    std::ptr::null_mut()
                } else {
                    alter.dbname
                }
            }
            pg_sys::NodeTag::T_RenameStmt => {
                let rename = &*node.cast::<pg_sys::RenameStmt>();
                if rename.renameType == pg_sys::ObjectType::OBJECT_DATABASE {
                    rename.subname
                } else {
                    std::ptr::null_mut()
                }
            }
            _ => std::ptr::null_mut(),
        };
        if name.is_null() || !pg_sys::IsTransactionState() {
            return None;
        }
        let oid = pg_sys::get_database_oid(name, true);
        (oid != Oid::INVALID).then_some(oid)
    }
}

/// # Safety
/// `options` is null or a list of DefElem nodes.
unsafe fn string_option(options: *mut pg_sys::List, name: &CStr) -> *mut std::ffi::c_char {
    // SAFETY: by the contract above; defGetString copies where it must.
    unsafe {
        if !options.is_null() {
            for i in 0..(*options).length as usize {
                let element = (*(*options).elements.add(i)).ptr_value.cast::<pg_sys::DefElem>();
                if CStr::from_ptr((*element).defname) == name && !(*element).arg.is_null() {
                    return pg_sys::defGetString(element);
                }
            }
        }
        std::ptr::null_mut()
    }
}
