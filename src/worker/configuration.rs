//! What the scheduler knows of the queues: read from the extension's tables in one go.

use crate::pg::failure::Failure;
use crate::pg::{Oid, catalog, role, spi};
use crate::run::processor;
use crate::run::session::{Session, Worker};

/// A queue as configured.
#[derive(PartialEq)]
pub struct Configured {
    pub oid: Oid,
    pub paused: bool,
    /// The processor's role, else the owner's.
    pub role: Oid,
    pub has_processor: bool,
    /// As `Queue::registration`.
    pub registration: Option<String>,
    pub processor_missing: bool,
    pub parallelism: u32,
    pub load_balanced: bool,
    pub batch_size: u32,
    pub can_login: bool,
    /// The role still acts for the queue's owner.
    pub role_owns: bool,
}

/// All queues with what a scheduler needs to know; `None` without the extension.
pub fn load() -> Result<Option<Vec<Configured>>, Failure> {
    const LOAD: &str = "
        SELECT q.queue::oid, q.paused, coalesce(p.role::oid, c.relowner), p.queue IS NOT NULL,
               coalesce(p.parallelism, 1), coalesce(p.load_balanced, false), coalesce(p.batch_size, 0),
               coalesce(r.rolcanlogin, false), coalesce(pg_has_role(r.oid, c.relowner, 'USAGE'), false), p.xmin::text
        FROM queue.queues q
        JOIN pg_class c ON c.oid = q.queue
        LEFT JOIN queue.processors p ON p.queue = q.queue
        LEFT JOIN pg_roles r ON r.oid = coalesce(p.role::oid, c.relowner)";
    Worker.transaction(|| {
        catalog::extension_oid()?;
        let rows = role::pinned(|| spi::run(LOAD, &[], &[]));
        let mut list: Vec<Configured> = (0..rows.len())
            .filter_map(|row| {
                Some(Configured {
                    oid: rows.get(row, 1)?,
                    paused: rows.get(row, 2)?,
                    role: rows.get(row, 3)?,
                    has_processor: rows.get(row, 4)?,
                    registration: rows.get(row, 10),
                    processor_missing: false,
                    parallelism: rows.get::<i32>(row, 5)? as u32,
                    load_balanced: rows.get(row, 6)?,
                    batch_size: rows.get::<i32>(row, 7)? as u32,
                    can_login: rows.get(row, 8)?,
                    role_owns: rows.get(row, 9)?,
                })
            })
            .collect();
        for queue in &mut list {
            // Not from the session's cache, which would look at the queue itself: it may be locked.
            queue.processor_missing =
                queue.has_processor && (!queue.role_owns || processor::find(queue.oid).is_none());
        }
        Some(list)
    })
}
