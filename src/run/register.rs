//! `register_processor` and `unregister_processor`.

use super::next;
use crate::claim::floor;
use crate::error::{Error, SqlResult, required};
use crate::pg::time::interval_micros;
use crate::pg::{Oid, cache, catalog, role, spi};
use crate::queue::limits::check_processor;
use crate::queue::{self, Queue};
use crate::sql_function;
use crate::wake;
use pgrx::pg_sys;
use pgrx::prelude::*;

sql_function!(register_processor);
sql_function!(unregister_processor);

/// `queue.register_processor`
#[allow(clippy::too_many_arguments)]
fn register_processor(
    queue: Option<Oid>,
    processor: Option<Oid>,
    batch_size: Option<i32>,
    parallelism: Option<i32>,
    load_balanced: Option<bool>,
    timeout: Option<Interval>,
    replace: Option<bool>,
    then_queue: Option<Oid>,
) -> SqlResult<()> {
    let (oid, processor) = (required("queue", queue)?, required("processor", processor)?);
    let batch_size = required("batch_size", batch_size)?;
    let parallelism = required("parallelism", parallelism)?;
    let load_balanced = required("load_balanced", load_balanced)?;
    let timeout = timeout.as_ref().map(interval_micros);
    check_processor(batch_size, parallelism, timeout)?;
    spi::connect(|| {
        // Locked: it cannot be dropped before its processor is there to go with it.
        let queue = queue::open_owned(oid)?.locked()?;
        let (name, shape) = check_function(&queue, processor, then_queue.is_some())?;
        let user = catalog::current_user();
        check_login(user)?;
        if let Some(then_queue) = then_queue {
            next::check(&queue, then_queue)?;
        }
        const REGISTER: &str = "
            INSERT INTO queue.processors AS p
                (queue, processor, processor_oid, shape, role, batch_size, parallelism, load_balanced, timeout,
                 then_queue)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9 * '1 microsecond'::interval, $11)
            ON CONFLICT (queue) DO UPDATE SET
                processor = excluded.processor, processor_oid = excluded.processor_oid, shape = excluded.shape,
                role = excluded.role, batch_size = excluded.batch_size, parallelism = excluded.parallelism,
                load_balanced = excluded.load_balanced, timeout = excluded.timeout,
                then_queue = excluded.then_queue
            WHERE $10";
        let types = [
            pg_sys::REGCLASSOID,
            pg_sys::TEXTOID,
            pg_sys::OIDOID,
            pg_sys::TEXTOID,
            pg_sys::OIDOID,
            pg_sys::INT4OID,
            pg_sys::INT4OID,
            pg_sys::BOOLOID,
            pg_sys::INT8OID,
            pg_sys::BOOLOID,
            pg_sys::REGCLASSOID,
        ];
        let args = [
            spi::arg(oid),
            spi::arg(name),
            spi::arg(processor),
            spi::arg(shape),
            spi::arg(user),
            spi::arg(batch_size),
            spi::arg(parallelism),
            spi::arg(load_balanced),
            spi::arg(timeout),
            spi::arg(replace.unwrap_or(false)),
            spi::arg(then_queue),
        ];
        if queue::as_extension(|| spi::run(REGISTER, &types, &args)).is_empty() {
            return Err(Error::AlreadyRegistered(queue.name.clone()).into());
        }
        cache::announce(oid);
        wake::configuration_changed();
        wake::enqueued(oid, &floor::NONE);
        Ok(())
    })
}

const JOB_OR_BATCH: &str = "A processor is a function of one job or of an array of jobs.";

/// The function's qualified name and shape, if it can be a processor of this queue for the caller.
fn check_function(queue: &Queue, processor: Oid, feeds: bool) -> Result<(String, &'static str), Error> {
    const FUNCTION: &str = "
        SELECT quote_ident(n.nspname) || '.' || quote_ident(f.proname), f.oid::regprocedure::text, f.prokind::text,
               f.proretset, f.pronargs = 1 AND f.proargtypes[0] = $2, f.pronargs = 1 AND f.proargtypes[0] = $3,
               $2::regtype::text, f.prorettype = 'void'::regtype, f.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype),
               f.prorettype = 'record'::regtype AND f.proallargtypes IS NULL
        FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace WHERE f.oid = $1";
    let types = [pg_sys::OIDOID, pg_sys::OIDOID, pg_sys::OIDOID];
    let args = [spi::arg(processor), spi::arg(queue.row_type), spi::arg(queue.row_array_type)];
    let rows = role::pinned(|| spi::run(FUNCTION, &types, &args));
    if rows.is_empty() {
        return Err(Error::ProcessorSignature {
            processor: processor.to_string(),
            wants: catalog::type_name(queue.row_type),
        });
    }
    let text = |column| rows.get::<String>(0, column).unwrap_or_default();
    let flag = |column| rows.get::<bool>(0, column).unwrap_or(false);
    let signature = text(2);
    let refused = match text(3).as_str() {
        "p" => Some((
            "it is a procedure",
            "Make it a function. What has to commit in between takes its jobs by queue.dequeue.",
        )),
        "a" | "w" => Some(("it is an aggregate or window function", JOB_OR_BATCH)),
        _ if flag(4) && !feeds => Some((
            "it returns a set",
            "Pass then_queue, for which each row becomes a job, or let it return an array.",
        )),
        _ if flag(9) => Some(("it is a trigger function", JOB_OR_BATCH)),
        _ if flag(10) && feeds => Some((
            "it returns records whose columns nobody knows, which then_queue needs",
            "Declare them by RETURNS TABLE or OUT, or let it return jsonb.",
        )),
        _ if flag(8) && feeds => Some((
            "it returns nothing that could become a job of then_queue",
            "Let it return what is to be the payload of the next job, as jsonb for example.",
        )),
        _ => None,
    };
    if let Some((reason, hint)) = refused {
        return Err(Error::ProcessorKind { processor: signature, reason, hint });
    }
    let shape = match (flag(5), flag(6)) {
        (true, _) => "job",
        (_, true) => "batch",
        _ => {
            return Err(Error::ProcessorSignature { processor: signature, wants: text(7) });
        }
    };
    if !catalog::may_execute(processor) {
        let user = catalog::role_name(catalog::current_user());
        return Err(Error::ProcessorPrivilege { processor: signature, role: user });
    }
    Ok((text(1), shape))
}

fn check_login(user: Oid) -> Result<(), Error> {
    const LOGIN: &str = "SELECT rolcanlogin FROM pg_roles WHERE oid = $1";
    let rows = role::pinned(|| spi::run(LOGIN, &[pg_sys::OIDOID], &[spi::arg(user)]));
    if rows.get(0, 1).unwrap_or(false) {
        return Ok(());
    }
    Err(Error::RoleCannotLogin(catalog::role_name(user)))
}

/// `queue.unregister_processor`
fn unregister_processor(queue: Option<Oid>) -> SqlResult<()> {
    let oid = required("queue", queue)?;
    spi::connect(|| {
        let queue = queue::open_owned(oid)?;
        const UNREGISTER: &str = "DELETE FROM queue.processors WHERE queue = $1";
        if queue::as_extension(|| spi::run(UNREGISTER, &[pg_sys::REGCLASSOID], &[spi::arg(oid)])).is_empty() {
            return Err(Error::NotRegistered(queue.name.clone()).into());
        }
        cache::announce(oid);
        wake::configuration_changed();
        Ok(())
    })
}
