//! Request and reply: waiting for the end of a job, and its result.
//!
//! A result that somebody asks for is kept on the job's row among the done ones (`keep_result`), also by a
//! queue that keeps none, until it is fetched (`call`) or for `queue_ext.keep_results`. A caller that goes
//! away, by a timeout, a cancel or a crash, leaves the job as it is: it was committed before the wait
//! began. Nothing is locked and no snapshot is held during the wait; whoever ends jobs wakes us when they
//! commit (`worker::ending`), and a look now and then covers what tells nobody (COMMIT PREPARED).

mod call;
mod late;
mod wait_for;

use crate::error::{Error, SqlResult};
use crate::history;
use crate::pg::raise::Raised;
use crate::pg::time::{self, Micros};
use crate::pg::{Oid, catalog, interrupt, latch, role, shmem, spi};
use crate::queue::{self, Queue, statements};
use crate::worker::ending::AwaitingEnd;
use crate::{settings, wake};
use pgrx::pg_sys;

/// Looks so often when nobody can wake us.
const POLL_MS: i64 = 100;

/// How a job ended.
enum End {
    /// Well, and with this result.
    Done(Option<String>),
    /// As an error row.
    Failed(Raised),
    /// Well, and not kept; or it was removed.
    Gone,
}

/// Waits until the job has ended; `call` names the procedure. Must be called inside
/// `spi::connect_nonatomic`, and ends the transaction it is called in.
fn until_ended(oid: Oid, id: i64, timeout: Micros) -> SqlResult<End> {
    let deadline = time::now().saturating_add(timeout);
    let waiting = AwaitingEnd::at(shmem::get(), wake::place_of(oid));
    loop {
        // Looked at after registering as waiting: a job that ends in between wakes us.
        waiting.look();
        // In a connection of its own: what is read is freed at once.
        if let Some(end) = spi::connect(|| look(oid, id))? {
            return Ok(end);
        }
        // Ends the transaction with its snapshot: nothing is held while asleep.
        spi::commit();
        let left = deadline - time::now();
        if left <= 0 {
            return Err(spi::connect(|| late::not_ended(oid, id, timeout)).into());
        }
        let nap_ms = if waiting.is_woken() { settings::poll_interval_ms() } else { POLL_MS };
        sleep(&waiting, left.min(nap_ms * 1000));
    }
}

/// Until something ended, or so long. What else sets the latch (statistics that are due, say) is no reason to
/// look.
fn sleep(waiting: &AwaitingEnd, longest: Micros) {
    let until = time::now().saturating_add(longest);
    loop {
        let left = until - time::now();
        if left <= 0 || waiting.has_news() {
            return;
        }
        latch::sleep(Some(left / 1000 + 1));
        interrupt::check();
    }
}

/// `None`: it has not ended.
fn look(oid: Oid, id: i64) -> SqlResult<Option<End>> {
    let queue = queue::open(oid)?;
    let rows = read(&queue, id);
    if rows.is_empty() {
        history::check_issued(&queue, id)?;
        // Looked at again, since it may have come after the first look.
        if is_hidden(&queue, id) {
            return Err(hidden(&queue, id).into());
        }
        return Ok(Some(End::Gone));
    }
    let text = |column| rows.get::<String>(0, column);
    Ok(match text(1).as_deref() {
        Some("done") => Some(End::Done(text(2))),
        Some("failed") => Some(End::Failed(Raised {
            sqlstate: text(3).unwrap_or_default(),
            message: text(4).unwrap_or_else(|| "the job failed".into()),
            detail: text(5),
            hint: text(6),
            context: Some(context(&queue, id, text(7))),
        })),
        _ => None,
    })
}

fn context(queue: &Queue, id: i64, of_job: Option<String>) -> String {
    let here = format!("job {id} of queue \"{}\"", queue.name);
    of_job.map_or(here.clone(), |context| format!("{context}\n{here}"))
}

/// The job's row, if the caller may see it: state, result, the last of its errors, and its time.
fn read(queue: &Queue, id: i64) -> spi::Rows {
    // Each partition has an index that finds an id; that of the ready ones begins with the priority.
    let sql = format!(
        "SELECT state, result::text, e ->> 'sqlstate', e ->> 'message', e ->> 'detail', e ->> 'hint', e ->> 'context',
                e ->> 'attempt', run_at::text
         FROM (SELECT state, result, errors -> -1 AS e, run_at FROM {table}
               WHERE id = $1 AND state IN ('scheduled', 'blocked', 'running', 'failed', 'done')
               UNION ALL
               SELECT state, NULL, errors -> -1, run_at FROM {table}
               WHERE id = $1 AND state = 'ready' AND priority = ANY ('{{0,1,2,3,4,5,6,7,8,9}}'::smallint[])) AS job",
        table = queue.table
    );
    let work = || {
        let _order = role::Planner::by_index();
        queue.plan(sql, &[pg_sys::INT8OID]).execute(&[spi::arg(id)])
    };
    // Else planning would run the owner's index expressions with the caller's rights.
    if catalog::row_security_applies(queue.oid) {
        role::pinned(work)
    } else {
        role::as_restricted(queue.owner, work)
    }
}

/// Is the job there, but not for the caller to see?
fn is_hidden(queue: &Queue, id: i64) -> bool {
    catalog::row_security_applies(queue.oid)
        && exists(queue, id)
        && read(queue, id).is_empty()
        && exists(queue, id)
}

fn exists(queue: &Queue, id: i64) -> bool {
    let sql = format!("SELECT {} OR {}", statements::exists(queue, "$1"), statements::is_done(queue, "$1"));
    let look = || {
        let _order = role::Planner::by_index();
        queue.plan(sql, &[pg_sys::INT8OID]).execute(&[spi::arg(id)])
    };
    role::as_restricted(queue.owner, look).get(0, 1).unwrap_or(false)
}

/// To a caller who saw nothing, a hidden job would look like one that has ended.
fn hidden(queue: &Queue, id: i64) -> Error {
    Error::JobHidden { queue: queue.name.clone(), id, role: catalog::role_name(catalog::current_user()) }
}
