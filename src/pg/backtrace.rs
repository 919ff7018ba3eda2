//! Errors of ours are messages to users, whatever the environment says that the server was started in.

use std::backtrace::Backtrace;

const VARIABLE: &str = "RUST_LIB_BACKTRACE";

/// With RUST_BACKTRACE set, pgrx would give each error a backtrace of its Rust code as its DETAIL. The standard
/// library (of this shared library, not of others) looks at the environment once, at the first capture, which is
/// made here. What the server's children inherit stays as it was.
pub fn switch_off() {
    let before = std::env::var_os(VARIABLE);
    // SAFETY: while the library loads, the process has only this thread: nobody else reads the environment.
    unsafe { std::env::set_var(VARIABLE, "0") };
    drop(Backtrace::capture());
    // SAFETY: as above.
    unsafe {
        match before {
            Some(value) => std::env::set_var(VARIABLE, value),
            None => std::env::remove_var(VARIABLE),
        }
    }
}
