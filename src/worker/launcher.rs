//! The launcher: sees to it that each database with the extension has a scheduler.
//!
//! Connected to no database. It cannot see which databases have the extension, so it starts a scheduler
//! in each; one that finds no extension ends at once, and is not started again until that database
//! announces a change.

use super::shared::{DatabaseSlot, Shared};
use super::{LAUNCHER, SCHEDULER};
use crate::pg::bgworker::{self, Handle, Life, Start};
use crate::pg::time::{Micros, now};
use crate::pg::{Oid, catalog, failure, interrupt, latch, shmem, xact};
use crate::{settings, worker_main};
use pgrx::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;

worker_main!(queue_ext_launcher, run);

/// Databases are listed again after so long, for those that were created or renamed.
const LIST_EVERY_MS: i64 = 30_000;
/// A scheduler that ended though its database has the extension is started again after so long.
const RESTART_AFTER: Micros = 1_000_000;

/// Registers the launcher; while the library is being preloaded.
pub fn register() {
    bgworker::register_static(LAUNCHER, LAUNCHER, "queue_ext_launcher", 5);
}

/// What the launcher knows of a database.
#[derive(Default)]
struct Known {
    scheduler: Option<Handle>,
    started: Micros,
}

fn run() {
    bgworker::accept_signals();
    bgworker::connect(Oid::INVALID, Oid::INVALID);
    let Some(shared) = shmem::get() else { return };
    shared.launcher.take();
    bgworker::on_exit(|| {
        if let Some(shared) = shmem::get() {
            shared.launcher.release();
        }
    });
    let mut known: HashMap<u32, Known> = HashMap::new();
    let mut listed: Vec<(Oid, String)> = Vec::new();
    let mut listed_at: Micros = 0;
    loop {
        interrupt::check_idle();
        interrupt::reload_settings();
        if shared.rescan.swap(false, SeqCst) || now() - listed_at > LIST_EVERY_MS * 1000 {
            match databases() {
                Ok(list) => listed = list,
                Err(failure) => log!("{LAUNCHER}: could not list the databases: {}", failure.message),
            }
            listed_at = now();
            forget_missing(shared, &mut known, &listed);
        }
        let mut soon = false;
        for (oid, name) in &listed {
            soon |= tend(shared, known.entry(oid.to_u32()).or_default(), *oid, name);
        }
        latch::sleep(Some(if soon { 250 } else { LIST_EVERY_MS }));
    }
}

fn databases() -> Result<Vec<(Oid, String)>, failure::Failure> {
    let listed = failure::catch(|| {
        xact::begin();
        let list = catalog::databases();
        xact::commit();
        list
    });
    if listed.is_err() {
        xact::abort();
    }
    listed
}

fn forget_missing(shared: &Shared, known: &mut HashMap<u32, Known>, listed: &[(Oid, String)]) {
    let exists = |database: u32| listed.iter().any(|(oid, _)| oid.to_u32() == database);
    known.retain(|database, _| exists(*database));
    for slot in &shared.databases {
        let database = slot.database.load(SeqCst);
        if database != 0 && !exists(database) && slot.scheduler_pid.load(SeqCst) == 0 {
            slot.release();
            shared.retain_queues(database, |_| false);
        }
    }
}

/// Starts the database's scheduler if it should have one and has none. True: look again soon.
fn tend(shared: &Shared, known: &mut Known, oid: Oid, name: &str) -> bool {
    let Some(slot) = shared.take_database(oid.to_u32()) else {
        return false;
    };
    let serves = settings::serves_database(name);
    slot.unserved.store(!serves, SeqCst);
    if let Some(handle) = &known.scheduler {
        if handle.life() != Life::Gone {
            if !serves || !slot.is_open() {
                handle.terminate();
            }
            return false;
        }
        known.scheduler = None;
        if slot.no_extension.load(SeqCst) {
            // It ended in order, and may be wanted at once: the extension is made there just now.
            known.started = 0;
        }
    }
    if !serves || slot.stopped.load(SeqCst) {
        return false;
    }
    if !slot.is_open() {
        return true;
    }
    if bgworker::is_alive(slot.scheduler_pid.load(SeqCst)) {
        // Started by somebody else: by a launcher before this one, or by start_workers.
        return false;
    }
    if slot.no_extension.load(SeqCst) && !slot.changed.load(SeqCst) {
        return false;
    }
    if now() - known.started < RESTART_AFTER {
        return true;
    }
    slot.changed.store(false, SeqCst);
    // That is for the one started now to find out: what ends it before tells nothing.
    slot.no_extension.store(false, SeqCst);
    start_scheduler(shared, slot, known, oid, name)
}

fn start_scheduler(shared: &Shared, slot: &DatabaseSlot, known: &mut Known, oid: Oid, name: &str) -> bool {
    let start = Start { database: oid.to_u32(), role: 0, slot: u32::MAX, generation: 0 };
    known.started = now();
    known.scheduler =
        bgworker::start(&format!("{SCHEDULER}: {name}"), SCHEDULER, "queue_ext_scheduler", start);
    if known.scheduler.is_none() {
        if !slot.out_of_slots.swap(true, SeqCst) {
            warning!(
                "{LAUNCHER}: no free worker slot for the scheduler of database \"{name}\"; raise max_worker_processes"
            );
        }
        slot.changed.store(true, SeqCst);
        shared.make_room(|_| true);
        return true;
    }
    slot.out_of_slots.store(false, SeqCst);
    false
}
