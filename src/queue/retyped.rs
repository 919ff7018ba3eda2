//! Has a column got another type since this session first knew its queue? What functions in PL/pgSQL have planned with
//! a job's row goes by the type it had ("type of parameter … does not match that when preparing the plan"), and a
//! session cannot make them forget. So a worker is replaced then.

use super::stored::Stored;
use crate::pg::Oid;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

thread_local! {
    /// The type that a column, by its number, had at first.
    static TYPES: RefCell<HashMap<(Oid, i16), Oid>> = RefCell::default();
    static ANY: Cell<bool> = const { Cell::new(false) };
}

/// To be called whenever a queue is read from the catalogs.
pub fn note(queue: Oid, stored: &Stored) {
    TYPES.with_borrow_mut(|types| {
        for column in stored.columns() {
            let first = *types.entry((queue, column.number)).or_insert(column.type_oid);
            if first != column.type_oid {
                ANY.set(true);
            }
        }
    });
}

pub fn is_any() -> bool {
    ANY.get()
}
