//! When the keys of blocked jobs are looked at next. It is kept: whoever computes a queue's due time anew,
//! however often, does not put that look off.

use crate::pg::time::{self, Micros};
use crate::pg::{Oid, shmem};
use crate::wake;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

pub const PAUSE: Micros = 1_000_000;

fn kept(queue: Oid) -> Option<&'static AtomicI64> {
    Some(&shmem::get()?.queues[wake::place_of(queue)?].next_limit_look)
}

/// There are such jobs: when is the next look due?
pub fn next_look(queue: Oid) -> Micros {
    let soon = time::after(time::now(), PAUSE);
    kept(queue).map_or(soon, |kept| kept.fetch_min(soon, SeqCst).min(soon))
}

/// They were looked at.
pub fn is_next(queue: Oid, at: Micros) {
    if let Some(kept) = kept(queue) {
        kept.store(at, SeqCst);
    }
}
