//! Jobs of several statements of ours that are settled together: a function that puts many jobs one after the
//! other (`move_all`, tables attached to a topic) locks their keys in one order all the same.

use super::{Keyed, settle};
use crate::error::SqlResult;
use crate::pg::{Oid, trigger};
use crate::queue;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// By queue; and how deep in triggers who gathers is: what triggers of a user's put is settled at once.
struct Gathered {
    depth: i32,
    rows: BTreeMap<u32, Vec<Keyed>>,
}

thread_local! {
    static GATHERED: RefCell<Option<Gathered>> = const { RefCell::new(None) };
}

/// While it lives, new jobs with a key are not settled.
pub struct Gathering(Option<Gathered>);

impl Gathering {
    pub fn begin() -> Gathering {
        Gathering(GATHERED.replace(Some(Gathered { depth: trigger::depth(), rows: BTreeMap::new() })))
    }

    /// Settles them in the order of queues and keys.
    pub fn settle(self) -> SqlResult<()> {
        let gathered = GATHERED.take();
        drop(self);
        for (queue, rows) in gathered.map(|gathered| gathered.rows).unwrap_or_default() {
            settle(&*queue::open(Oid::from(queue))?, rows)?;
        }
        Ok(())
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        GATHERED.set(self.0.take());
    }
}

/// Keeps the rows for later, if they are gathered; else gives them back.
pub fn gather(queue: Oid, rows: Vec<Keyed>) -> Option<Vec<Keyed>> {
    GATHERED.with_borrow_mut(|gathered| match gathered {
        Some(gathered) if gathered.depth == trigger::depth() => {
            gathered.rows.entry(queue.to_u32()).or_default().extend(rows);
            None
        }
        _ => Some(rows),
    })
}
