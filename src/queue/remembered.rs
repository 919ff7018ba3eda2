//! What the extension remembers about a queue in its own tables, as it is now, also for a transaction that is bound to
//! an older snapshot: the session keeps it beyond that transaction, and has heard of what was changed since the
//! snapshot was taken.

use super::Queue;
use super::options::Options;
use crate::pg::rows::{self, Key, Own};
use crate::pg::scan::Fresh;
use crate::pg::{Oid, xact};
use std::ffi::CStr;

/// `None` if it is no queue.
pub fn options(queue: Oid) -> Option<Options> {
    row_of(c"queues", queue, |row| Options::of(&row))
}

fn row_of<R>(table: &CStr, queue: Oid, read: impl FnOnce(Own) -> R) -> Option<R> {
    // What this transaction itself has changed is to be seen.
    xact::next_command();
    rows::of_own(table, (c"queue", Key::Oid(queue)), &Fresh::take(), read)
}

// Opening a table costs a new session more than reading it, and a client needs neither of these. Whoever changes them
// announces it, so the queue is another one then.
impl Queue {
    /// Which registration of a processor is in force: changes with each.
    pub fn registration(&self) -> Option<&String> {
        let look = || row_of(c"processors", self.oid, |row| row.written_by()).flatten();
        self.registration.get_or_init(|| look().map(|transaction| transaction.to_string())).as_ref()
    }

    /// Do schedules put jobs on it?
    pub fn has_schedules(&self) -> bool {
        *self.has_schedules.get_or_init(|| row_of(c"timetable", self.oid, |_| ()).is_some())
    }
}
