//! The queue that a processor feeds: what is checked at registration, and who feeds whom.
//!
//! Queues that feed each other in a circle would never come to an end, so that is refused; registrations
//! wait for each other meanwhile, so that two of them together make no circle either. There is no foreign
//! key to the queue fed: it is not dropped while it is fed, unless by force or by a plain DROP TABLE. Then
//! the registration stays, with 0 in its place, and the processor does not run: its jobs wait on their
//! queue instead of being lost at the end of the pipe.

use crate::error::{Error, SqlResult};
use crate::pg::{Oid, catalog, spi};
use crate::queue::circle::{told, way_back};
use crate::queue::{self, Queue};
use pgrx::pg_sys;

/// May what the processor of `queue` returns go to `next`? Must be called inside `spi::connect`.
pub fn check(queue: &Queue, next: Oid) -> SqlResult<()> {
    queue::open(next)?.require(catalog::INSERT, "INSERT")?;
    queue::as_extension(|| {
        spi::run("LOCK TABLE queue.processors IN SHARE ROW EXCLUSIVE MODE", &[], &[]);
    });
    // A circle that does not come through here was there before, by whatever way: none of ours.
    match way_back(queue.oid, vec![next], &|queue| fed_by(queue).into_iter().collect()) {
        Some(way) => Err(Error::PipelineLoop { queue: queue.name.clone(), way: told(way) }.into()),
        None => Ok(()),
    }
}

/// The queue that the processor of this one feeds; 0 if it is gone.
fn fed_by(queue: Oid) -> Option<Oid> {
    const THEN: &str = "SELECT then_queue::oid FROM queue.processors WHERE queue = $1";
    let rows = queue::as_extension(|| spi::run(THEN, &[pg_sys::REGCLASSOID], &[spi::arg(queue)]));
    (!rows.is_empty()).then(|| rows.get(0, 1)).flatten()
}

/// Was the queue dropped that this one's processor feeds? Must be called inside `spi::connect`.
pub fn is_gone(queue: Oid) -> bool {
    const GONE: &str = "
        SELECT FROM queue.processors p
        WHERE p.queue = $1 AND p.then_queue IS NOT NULL
          AND NOT EXISTS (SELECT FROM queue.queues q WHERE q.queue = p.then_queue)";
    !queue::as_extension(|| spi::run_kept(GONE, &[pg_sys::REGCLASSOID], &[spi::arg(queue)])).is_empty()
}

/// Is this still a queue? Must be called inside `spi::connect`.
pub fn is_there(queue: Oid) -> bool {
    const THERE: &str = "SELECT FROM queue.queues WHERE queue = $1";
    !queue::as_extension(|| spi::run_kept(THERE, &[pg_sys::REGCLASSOID], &[spi::arg(queue)])).is_empty()
}

/// The queues whose processors feed this one. Must be called inside `spi::connect`.
pub fn feeders(queue: Oid) -> Vec<Oid> {
    const FEEDERS: &str =
        "SELECT queue::oid FROM queue.processors WHERE then_queue = $1 AND queue <> $1 ORDER BY queue::text";
    let rows = queue::as_extension(|| spi::run(FEEDERS, &[pg_sys::REGCLASSOID], &[spi::arg(queue)]));
    (0..rows.len()).filter_map(|row| rows.get(row, 1)).collect()
}
