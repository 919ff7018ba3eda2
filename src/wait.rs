//! `CALL queue.wait`: asleep until there is a job, holding no snapshot meanwhile.

use crate::claim::glance;
use crate::error::{Error, SqlResult, required};
use crate::pg::entry::Call;
use crate::pg::time::{self, interval_micros};
use crate::pg::{Datum, Oid, catalog, interrupt, latch, role, shmem, spi};
use crate::queue::limits::check_interval;
use crate::queue::{self, Queue};
use crate::worker::shared::Waiter;
use crate::{limit, raw_function, wake};
use pgrx::pg_sys;
use pgrx::prelude::*;
use std::rc::Rc;

raw_function!(wait, wait_for_job);

/// `queue.wait`
fn wait_for_job(call: &Call) -> SqlResult<Datum> {
    let oid = required("queue", call.arg::<Oid>(0))?;
    let timeout = interval_micros(&required("timeout", call.arg::<Interval>(1))?);
    check_interval("timeout", Some(timeout))?;
    if !call.may_commit() {
        return Err(Error::InTransactionBlock("queue.wait").into());
    }
    let deadline = time::now().saturating_add(timeout);
    spi::connect_nonatomic(|| {
        queue::open(oid)?.require(catalog::SELECT, "SELECT")?;
        let place = wake::place_of(oid);
        let waiting = Waiting::at(place);
        loop {
            // Looked at after registering as waiting: a job committed in between wakes us.
            let queue: Rc<Queue> = queue::open(oid)?;
            let room_at = limit::next_room(&queue);
            if has_job(&queue) && !limit::rate::is_full(&queue) || room_at <= time::now() {
                return Ok(call.null());
            }
            drop(queue);
            // Ends the transaction with its snapshot: nothing is held while asleep.
            spi::commit();
            let left = deadline - time::now();
            if left <= 0 {
                return Ok(call.null());
            }
            let nap_ms = if waiting.is_woken() { 1_000 } else { 100 };
            let room_ms = room_at.saturating_sub(time::now()).max(0) / 1000 + 1;
            latch::sleep(Some((left / 1000 + 1).min(nap_ms).min(room_ms)));
            interrupt::check();
        }
    })
}

/// Is there a job to hand out, or will there be one once somebody looks after what is due?
fn has_job(queue: &Queue) -> bool {
    if queue.options.paused {
        return false;
    }
    // Quicker than asking for all of it.
    if glance::is_in_sight(queue) {
        return true;
    }
    let table = &queue.table;
    let sql = format!(
        "SELECT EXISTS (SELECT FROM {table} WHERE state = 'ready')
             OR EXISTS (SELECT FROM {table} WHERE state = 'scheduled' AND run_at <= $1)
             OR EXISTS (SELECT FROM {table} WHERE state = 'running' AND lease_until <= $1)"
    );
    role::pinned(|| {
        let _order = role::Planner::by_index();
        let now = time::to_arg(Some(time::now()));
        queue.plan(sql, &[pg_sys::TIMESTAMPTZOID]).execute(&[now]).get(0, 1).unwrap_or(false)
    })
}

/// A session's entry among those to be woken, taken back on every way out.
struct Waiting(Option<&'static Waiter>);

impl Waiting {
    fn at(place: Option<usize>) -> Waiting {
        Waiting(shmem::get().zip(place).and_then(|(shared, place)| shared.take_waiter(place)))
    }

    fn is_woken(&self) -> bool {
        self.0.is_some()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let (Some(shared), Some(waiter)) = (shmem::get(), self.0) {
            shared.release_waiter(waiter);
        }
    }
}
