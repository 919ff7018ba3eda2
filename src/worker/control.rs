//! Starting and stopping workers from SQL, and making way for statements that need a database alone.

use super::shared::{DatabaseSlot, Shared};
use super::{SCHEDULER, unshared};
use crate::error::{Error, SqlResult};
use crate::pg::bgworker::{self, Start};
use crate::pg::hooks::Listeners;
use crate::pg::time::{Micros, now};
use crate::pg::{Oid, catalog, interrupt, latch, shmem, spi, xact};
use crate::{settings, sql_function, wake};
use std::sync::atomic::Ordering::SeqCst;

sql_function!(announce_change);
sql_function!(start_workers);
sql_function!(stop_workers);

/// What the hooks tell the rest of the crate.
pub static LISTENERS: Listeners = Listeners {
    extension_dropped: wake::configuration_changed,
    database_claimed: make_way,
    database_released: come_back,
};

/// A statement has a database to itself for so long at most; then workers return by themselves.
const BARRED: Micros = 60_000_000;
/// How long starting and stopping is waited for.
const PATIENCE: Micros = 10_000_000;

/// `queue.announce_change`
fn announce_change() -> SqlResult<()> {
    wake::configuration_changed();
    Ok(())
}

/// Ends our processes in a database somebody needs for himself. Only for those who may have it: else
/// anybody could keep the workers from their work by statements that are then refused.
fn make_way(database: Oid) {
    let Some(shared) = shmem::get() else { return };
    let Some(slot) = shared.database(database.to_u32()) else {
        return;
    };
    if !catalog::database_owner(database).is_some_and(catalog::acts_for) {
        return;
    }
    slot.barred_until.store(now() + BARRED, SeqCst);
    end_processes(shared, slot);
}

fn come_back(database: Oid) {
    let Some(shared) = shmem::get() else { return };
    if let Some(slot) = shared.database(database.to_u32()) {
        slot.barred_until.store(0, SeqCst);
        shared.rescan.store(true, SeqCst);
        shared.launcher.wake();
    }
}

/// Ends a database's scheduler and workers and waits until they are gone. False: there were none.
fn end_processes(shared: &Shared, slot: &DatabaseSlot) -> bool {
    let database = slot.database.load(SeqCst);
    let living = || {
        let workers = shared.workers_of(database).map(|(_, worker)| worker.pid.load(SeqCst));
        let scheduler = slot.scheduler_pid.load(SeqCst);
        workers.chain([scheduler]).filter(|pid| bgworker::is_alive(*pid)).collect::<Vec<i32>>()
    };
    let any = !living().is_empty();
    let deadline = now() + PATIENCE;
    loop {
        let pids = living();
        if pids.is_empty() || now() > deadline {
            return any;
        }
        pids.into_iter().for_each(bgworker::terminate);
        latch::sleep(Some(20));
        interrupt::check();
    }
}

/// `queue.start_workers`
fn start_workers() -> SqlResult<bool> {
    xact::refuse_in_recovery(c"queue.start_workers()");
    match shmem::get() {
        Some(shared) => Ok(start_shared(shared)?),
        None => Ok(spi::connect(start_unshared)?),
    }
}

fn start_shared(shared: &Shared) -> Result<bool, Error> {
    let database = catalog::my_database();
    // The launcher would not start its scheduler, and be waited for in vain.
    let name = catalog::database_name(database);
    if !settings::serves_database(&name) {
        return Err(Error::DatabaseNotServed(name));
    }
    let database = database.to_u32();
    let slot = shared.take_database(database).ok_or(Error::NoWorkerSlot)?;
    if bgworker::is_alive(slot.scheduler_pid.load(SeqCst)) {
        return Ok(false);
    }
    slot.stopped.store(false, SeqCst);
    shared.announce_change(database);
    let deadline = now() + PATIENCE;
    while slot.scheduler_pid.load(SeqCst) == 0 {
        if now() > deadline || slot.out_of_slots.load(SeqCst) {
            return Err(Error::NoWorkerSlot);
        }
        latch::sleep(Some(20));
        interrupt::check();
    }
    Ok(true)
}

fn start_unshared() -> Result<bool, Error> {
    if unshared::running_scheduler().is_some() {
        return Ok(false);
    }
    let database = catalog::my_database();
    let start = Start { database: database.to_u32(), role: 0, slot: u32::MAX, generation: 0 };
    let name = format!("{SCHEDULER}: {}", catalog::database_name(database));
    let handle =
        bgworker::start(&name, SCHEDULER, "queue_ext_scheduler", start).ok_or(Error::NoWorkerSlot)?;
    // Until it is connected the next call, or stop_workers, would not find it.
    let deadline = now() + PATIENCE;
    while handle.wait_for_start() && now() < deadline {
        if unshared::running_scheduler().is_some() {
            return Ok(true);
        }
        latch::sleep(Some(20));
        interrupt::check();
    }
    Err(Error::NoWorkerSlot)
}

/// `queue.stop_workers`
fn stop_workers() -> SqlResult<bool> {
    if let Some(shared) = shmem::get() {
        let Some(slot) = shared.take_database(catalog::my_database().to_u32()) else {
            return Ok(false);
        };
        slot.stopped.store(true, SeqCst);
        return Ok(end_processes(shared, slot));
    }
    spi::connect(|| {
        let Some(pid) = unshared::running_scheduler() else {
            return Ok(false);
        };
        let deadline = now() + PATIENCE;
        while bgworker::is_alive(pid) && now() < deadline {
            bgworker::terminate(pid);
            latch::sleep(Some(20));
            interrupt::check();
        }
        Ok(true)
    })
}
