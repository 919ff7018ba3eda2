//! Plain INSERT into a queue, where its rows can be put directly instead of by routing and triggers.

use super::direct;
use crate::claim;
use crate::error::{Error, SqlResult};
use crate::pg::Oid;
use crate::pg::put_node::{Listeners, Rows};
use crate::queue;
use std::ffi::CStr;

pub static LISTENERS: Listeners = Listeners { may_put, put };

/// What a plain INSERT that is put directly leaves out: all that makes a job more than content to be run at
/// some time, and what only the extension sets. Any other INSERT goes by the triggers.
pub const LEFT_OUT: &[&CStr] = &[
    c"key",
    c"group_key",
    c"lease_until",
    c"errors",
    c"result",
    c"finished_at",
    c"once",
    c"after",
    c"after_failure",
    c"keep_result",
];

fn may_put(oid: Oid) -> bool {
    !claim::is_moving(oid) && queue::open(oid).is_ok_and(|queue| direct::may_replace_triggers(&queue))
}

/// Most times that the queue is looked at anew: each time something else in the database had changed meanwhile.
const MOST_LOOKS: usize = 10;

fn put(oid: Oid, one_by_one: bool, rows: Rows) -> SqlResult<u64> {
    let mut queue = queue::open(oid)?;
    for _ in 0..MOST_LOOKS {
        let mut count = 0;
        let done = direct::into_sink(&queue, None, one_by_one, &mut |_| count += 1, |on_row| {
            rows(on_row);
            true
        })?;
        if done {
            return Ok(count);
        }
        queue = queue::open(oid)?;
    }
    // It could when the statement began, and is locked since: the statement itself changed it.
    Err(Error::ChangedMeanwhile(queue.name.clone()).into())
}
