//! Does the floor show all that can be seen? Not while somebody is between becoming visible and lowering it. That
//! is so short a time that most claims need not care: what they miss is announced right after. A claim that is to
//! see *all* jobs of a group (`group::gate`) has to know. Pure: one atomic, no Postgres.
//!
//! Who does what:
//!
//! - **begin**: whoever has made rows that are claimable once he commits, before he commits.
//! - **end**: the same one, after he has lowered the floor, or when he was rolled back.
//! - **a claimer** reads, in this order: how many transactions have ended; `is_quiet`; the floor; then he takes
//!   his snapshot. If it was quiet, the floor shows all rows of transactions that had ended when he began.
//!   Such a row's transaction had called `begin` before it ended, so before the claimer asked; since it was quiet
//!   then, it had called `end`, too, and so had lowered the floor before the claimer read it. That nobody has
//!   raised it past the row is for `floor` to say.
//!
//! A prepared transaction commits without its session, and lowers nothing. It is noted while it is prepared
//! (`worker::slots::Prepared`), and that counts as not quiet until a poll that finds none left has lowered the floor.
//!
//! The count is by place of the queue, and never reset: each `begin` has its `end`, however a transaction ends. If
//! a process is killed, all shared memory is made anew.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// All bits zero is the valid beginning.
#[derive(Default)]
#[repr(C)]
pub struct Telling(AtomicU64);

impl Telling {
    pub fn begin(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    pub fn end(&self) {
        self.0.fetch_sub(1, SeqCst);
    }

    pub fn is_quiet(&self) -> bool {
        self.0.load(SeqCst) == 0
    }
}
