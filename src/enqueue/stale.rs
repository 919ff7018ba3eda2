//! What is said when an attachment does not fit its table or its queue any more: Postgres lets columns be renamed
//! and dropped that only the attachment's expressions name.

use crate::error::Error;
use crate::pg::{Oid, catalog, hint};
use std::ffi::CString;

pub struct Remedy(CString);

impl Remedy {
    pub fn of_queue(source: Oid, queue: Oid) -> Remedy {
        let queue = catalog::qualified_name(queue);
        let argument = pgrx::spi::quote_literal(&queue);
        Remedy::new(source, &format!("queue {queue}"), &argument)
    }

    pub fn of_topic(source: Oid, topic: &str) -> Remedy {
        let argument = format!("topic => {}", pgrx::spi::quote_literal(topic));
        Remedy::new(source, &format!("topic {topic}"), &argument)
    }

    fn new(source: Oid, target: &str, argument: &str) -> Remedy {
        let source = catalog::qualified_name(source);
        let text = format!(
            "What was attached to table {source} for {target} does not fit any more: perhaps a column was renamed, \
             dropped or changed. SELECT queue.detach({}, {argument}), and attach again; queue.attached_tables shows \
             what was given.",
            pgrx::spi::quote_literal(&source),
        );
        // No name has a null byte in it.
        Remedy(CString::new(text).unwrap_or_default())
    }

    /// What `work` raises because a name does not exist or a type does not fit says what to do.
    pub fn hinting<R>(&self, work: impl FnOnce() -> R) -> R {
        hint::hinting(&self.0, work)
    }

    /// The same for an error of ours.
    pub fn added_to(&self, error: Error) -> Error {
        match error {
            Error::UnknownColumn { column, relation, hint } => {
                let hint = format!("{hint} {}", self.0.to_string_lossy());
                Error::UnknownColumn { column, relation, hint }
            }
            error => error,
        }
    }
}
