//! Attachments by which the jobs of a queue would come back to it.
//!
//! A queue may be a source. But what is enqueued in a circle would enqueue again in the same statement, without
//! end, so that is refused: by way of queues, of topics with the queues subscribed to them now, and when a
//! queue subscribes. Whoever attaches a queue, or subscribes, waits for others that do, so that two of them
//! together make no circle either. What goes by triggers of the user's own is bounded in [`super::nesting`].

use crate::error::Error;
use crate::pg::{Oid, catalog, spi};
use crate::queue;
use crate::queue::circle::{told, way_back};
use crate::topics::{pattern, subscriptions};
use pgrx::pg_sys;

/// Where an attachment puts jobs.
pub enum Target {
    Queue(Oid),
    Topic(String),
}

impl Target {
    fn queues(&self) -> Vec<Oid> {
        match self {
            Target::Queue(queue) => vec![*queue],
            Target::Topic(topic) => subscriptions::queues_of(topic).to_vec(),
        }
    }
}

/// May changes of `source` go there? To be called inside `spi::connect`, and before any queue is locked, as
/// planning an INSERT does: who waits here must not keep another from creating the triggers.
pub fn check(source: Oid, target: &Target) -> Result<(), Error> {
    let Some(queue) = filled_through(source) else { return Ok(()) };
    lock();
    let leads_to = |queue| attached_to(queue).iter().flat_map(Target::queues).collect();
    refuse(queue, way_back(queue, target.queues(), &leads_to))
}

/// May the queue subscribe to this pattern? To be called like `check`.
pub fn check_subscription(subscriber: Oid, wanted: &str) -> Result<(), Error> {
    lock();
    let leads_to = |queue: Oid| -> Vec<Oid> {
        let targets = attached_to(queue);
        let comes_back = targets
            .iter()
            .any(|target| matches!(target, Target::Topic(topic) if pattern::matches(wanted, topic)));
        targets.iter().flat_map(Target::queues).chain(comes_back.then_some(subscriber)).collect()
    };
    refuse(subscriber, way_back(subscriber, leads_to(subscriber), &leads_to))
}

fn refuse(queue: Oid, way: Option<Vec<Oid>>) -> Result<(), Error> {
    let Some(way) = way else { return Ok(()) };
    let queue = catalog::relation_name(queue).unwrap_or_default();
    Err(Error::AttachLoop { queue, way: told(way) })
}

/// Detaching, and attaching tables that are no queues, waits for it as well.
fn lock() {
    queue::as_extension(|| {
        spi::run("LOCK TABLE queue.attachments IN SHARE ROW EXCLUSIVE MODE", &[], &[]);
    });
}

/// The partitions that jobs are put into. Those they come to later have no part in a circle within a statement.
const ENTRIES: &str = "
    SELECT i.inhrelid AS entry, i.inhparent AS queue
    FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
    WHERE pg_catalog.pg_get_expr(c.relpartbound, c.oid) IN
        ('FOR VALUES IN (''ready'')', 'FOR VALUES IN (''scheduled'')', 'FOR VALUES IN (''blocked'')')";

/// The queue whose new jobs change this table: itself, or the one it is such a partition of.
fn filled_through(source: Oid) -> Option<Oid> {
    let find = format!(
        "SELECT q.queue::oid FROM queue.queues q
         WHERE q.queue = $1 OR q.queue = (SELECT e.queue FROM ({ENTRIES} AND i.inhrelid = $1) e)"
    );
    let found = queue::as_extension(|| spi::run(&find, &[pg_sys::OIDOID], &[spi::arg(source)]));
    (!found.is_empty()).then(|| found.get(0, 1)).flatten()
}

/// Where changes of the queue, or of such a partition of it, go.
fn attached_to(queue: Oid) -> Vec<Target> {
    let find = format!(
        "SELECT a.queue::oid, a.topic FROM queue.attachments a
         WHERE a.source = $1 OR a.source IN (SELECT e.entry FROM ({ENTRIES} AND i.inhparent = $1) e)
         ORDER BY a.id"
    );
    let found = queue::as_extension(|| spi::run(&find, &[pg_sys::OIDOID], &[spi::arg(queue)]));
    let target = |row| {
        let queue = found.get::<Oid>(row, 1).map(Target::Queue);
        queue.or_else(|| found.get(row, 2).map(Target::Topic))
    };
    (0..found.len()).filter_map(target).collect()
}
