//! A registered processor: finding its function, and calling it.

use crate::pg::interrupt::StatementTimer;
use crate::pg::spi::{self, Plan};
use crate::pg::{Datum, Oid, array, cache, role};
use crate::queue::{self, Queue};
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `f(mail)`, called for each job.
    Job,
    /// `f(mail[])`, called once for the batch.
    Batch,
}

/// A queue's processor as registered.
#[derive(Debug, Clone, PartialEq)]
pub struct Processor {
    /// Qualified and quoted.
    pub function: String,
    pub shape: Shape,
    pub role: Oid,
    pub batch_size: i32,
    pub parallelism: i32,
    pub load_balanced: bool,
    pub timeout_ms: Option<i32>,
    /// Returns an array: with f(mail[]), one result a job.
    pub returns_array: bool,
    pub returns_void: bool,
    /// Returns a set: only where it feeds a queue.
    pub returns_set: bool,
    /// What it returns becomes jobs of this queue.
    pub then_queue: Option<Oid>,
    /// The one column that it returns, if that has a name.
    pub result_name: Option<String>,
    /// As `Queue::registration`.
    pub registration: String,
}

/// The argument must be what this queue holds, however the function is found.
macro_rules! find_function {
    ($which:literal) => {
        concat!(
            "SELECT quote_ident(n.nspname) || '.' || quote_ident(f.proname), p.shape, p.role::oid, p.batch_size,
                    p.parallelism, p.load_balanced, ceil(extract(epoch FROM p.timeout) * 1000)::float8,
                    r.typcategory = 'A', f.prorettype = 'void'::regtype, p.xmin::text,
                    f.proretset, p.then_queue::oid,
                    (SELECT min(a.name) FROM unnest(f.proargnames, f.proargmodes) AS a (name, mode)
                     WHERE a.mode IN ('o', 't') HAVING count(*) = 1)
             FROM queue.processors p
             JOIN pg_class c ON c.oid = p.queue
             JOIN pg_type t ON t.oid = c.reltype
             JOIN pg_authid a ON a.oid = p.role::oid
             JOIN pg_proc f ON f.pronargs = 1
                           AND f.proargtypes[0] = CASE p.shape WHEN 'job' THEN t.oid ELSE t.typarray END
             JOIN pg_namespace n ON n.oid = f.pronamespace
             JOIN pg_type r ON r.oid = f.prorettype
             WHERE p.queue = $1
               AND f.proretset <= (p.then_queue IS NOT NULL)
               AND (p.then_queue IS NULL OR EXISTS (SELECT FROM queue.queues x WHERE x.queue = p.then_queue)) AND ",
            $which
        )
    };
}

/// Follows a rename.
const BY_OID: &str = find_function!("f.oid = p.processor_oid");

/// After a restore, when the oid is gone. The function must belong to somebody whose code the role runs
/// anyway, since whoever may create functions in the schema could have put it there.
const BY_NAME: &str = find_function!(
    "f.proname = (parse_ident(p.processor))[2]
     AND quote_ident(n.nspname) || '.' || quote_ident(f.proname) = p.processor
     AND (pg_has_role(a.oid, f.proowner, 'USAGE')
          OR (SELECT o.rolsuper FROM pg_authid o WHERE o.oid = f.proowner))"
);

thread_local! {
    /// What `current` found, and the generation of functions and roles it was found in.
    static KNOWN: RefCell<HashMap<Oid, (u64, Rc<Processor>)>> = RefCell::new(HashMap::new());
}

/// The same as `find`, from the session's cache: looked for again when the registration, or any function
/// or role, has changed. Must be called inside `spi::connect`.
pub fn current(queue: &Queue) -> Option<Rc<Processor>> {
    let registration = queue.registration()?;
    let generation = cache::code_generation();
    let known = KNOWN.with(|known| known.borrow().get(&queue.oid).cloned());
    if let Some((found_in, processor)) = known
        && found_in == generation
        && processor.registration == *registration
    {
        return Some(processor);
    }
    let found = Rc::new(find(queue.oid)?);
    KNOWN.with(|known| {
        let mut known = known.borrow_mut();
        // Nothing found in another generation is of use any more.
        known.retain(|_, (found_in, _)| *found_in == generation);
        known.insert(queue.oid, (generation, found.clone()));
    });
    Some(found)
}

/// The queue's processor; `None` if none is registered or its function is gone. Must be called inside
/// `spi::connect`.
pub fn find(queue: Oid) -> Option<Processor> {
    let rows = queue::as_extension(|| {
        // Planned over tables that are mostly empty, and kept.
        let _planner = role::Planner::by_index();
        [BY_OID, BY_NAME]
            .iter()
            .map(|sql| spi::run_kept(sql, &[pg_sys::REGCLASSOID], &[spi::arg(queue)]))
            .find(|rows| !rows.is_empty())
    })?;
    let shape: String = rows.get(0, 2)?;
    Some(Processor {
        function: rows.get(0, 1)?,
        shape: if shape == "job" { Shape::Job } else { Shape::Batch },
        role: rows.get(0, 3)?,
        batch_size: rows.get(0, 4)?,
        parallelism: rows.get(0, 5)?,
        load_balanced: rows.get(0, 6)?,
        timeout_ms: rows.get::<f64>(0, 7).map(|ms| ms.clamp(1.0, f64::from(i32::MAX)) as i32),
        returns_array: rows.get(0, 8)?,
        returns_void: rows.get(0, 9)?,
        registration: rows.get(0, 10)?,
        returns_set: rows.get(0, 11)?,
        then_queue: rows.get(0, 12),
        result_name: rows.get(0, 13),
    })
}

/// Why `find` finds nothing, of a queue with a processor; `None`: there is no such function. Must be called inside
/// `spi::connect`.
pub fn why_not_found(queue: Oid) -> Option<String> {
    const CANDIDATE: &str = "
        SELECT f.oid::regprocedure::text, r.rolname::text, o.rolname::text,
               pg_has_role(r.oid, f.proowner, 'USAGE') OR o.rolsuper OR f.oid = p.processor_oid,
               f.proretset AND p.then_queue IS NULL
        FROM queue.processors p
        JOIN pg_class c ON c.oid = p.queue
        JOIN pg_type t ON t.oid = c.reltype
        LEFT JOIN pg_authid r ON r.oid = p.role::oid
        LEFT JOIN (pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace JOIN pg_authid o ON o.oid = f.proowner)
               ON f.pronargs = 1
              AND f.proargtypes[0] = CASE p.shape WHEN 'job' THEN t.oid ELSE t.typarray END
              AND (f.oid = p.processor_oid OR quote_ident(n.nspname) || '.' || quote_ident(f.proname) = p.processor)
        WHERE p.queue = $1 ORDER BY f.oid = p.processor_oid DESC LIMIT 1";
    let rows = queue::as_extension(|| spi::run(CANDIDATE, &[pg_sys::REGCLASSOID], &[spi::arg(queue)]));
    if rows.is_empty() {
        return None;
    }
    let text = |column| rows.get::<String>(0, column);
    let Some(role) = text(2) else {
        return Some(
            "the role that registered the processor does not exist any more: register it again".into(),
        );
    };
    let (function, owner) = (text(1)?, text(3)?);
    if rows.get(0, 4) == Some(false) {
        return Some(format!(
            "function {function} was made again since it was registered (by a restore, say), and belongs to role \
             \"{owner}\", whose rights role \"{role}\" does not have: if that is well, register it again with replace => true"
        ));
    }
    let returns_set = rows.get(0, 5) == Some(true);
    returns_set.then(|| {
        format!(
            "function {function} returns a set now: register it again with then_queue and replace => true"
        )
    })
}

/// Who registered a processor for the queue, if one is registered. Must be called inside `spi::connect`.
pub fn registered_role(queue: Oid) -> Option<Oid> {
    const ROLE: &str = "SELECT role::oid FROM queue.processors WHERE queue = $1";
    let rows = queue::as_extension(|| spi::run_kept(ROLE, &[pg_sys::REGCLASSOID], &[spi::arg(queue)]));
    (!rows.is_empty()).then(|| rows.get(0, 1)).flatten()
}

impl Processor {
    /// `alone`: for a single job, which is the argument itself.
    fn plan(&self, queue: &Queue, with_results: bool, alone: bool) -> Rc<Plan> {
        let call = |argument: &str| {
            let call = format!("{}({argument})", self.function);
            if with_results && !self.returns_void {
                format!("pg_catalog.to_jsonb({call})::pg_catalog.text")
            } else {
                call
            }
        };
        let (sql, argument) = match self.shape {
            // The shortest way for a job that a worker was woken for. Named, so that it is not the text for a batch.
            Shape::Job if alone => (format!("SELECT {} AS job", call("$1")), queue.row_type),
            // Not FROM unnest(), which takes each row apart and keeps all of them, to put them together again.
            // A query that returns a set stays a query of its own, so the call is made once for each of its rows.
            Shape::Job => (
                format!("SELECT {} FROM (SELECT pg_catalog.unnest($1) AS job) AS jobs", call("jobs.job")),
                queue.row_array_type,
            ),
            Shape::Batch => (format!("SELECT {}", call("$1")), queue.row_array_type),
        };
        queue.plan(sql, &[argument])
    }

    /// Calls the function over these jobs, in order. `on_job` is told the number of jobs finished so far
    /// after each call, before the next begins. Returns a result for each job, if they are wanted.
    pub fn call(
        &self,
        queue: &Queue,
        rows: &[Datum],
        with_results: bool,
        on_job: &mut dyn FnMut(usize),
    ) -> Vec<Option<String>> {
        let alone = self.shape == Shape::Job && rows.len() == 1;
        let plan = self.plan(queue, with_results, alone);
        let argument = if alone { rows[0] } else { array::of_rows(queue.row_type, rows) };
        let wanted = with_results && !self.returns_void;
        let timer = StatementTimer::start(self.timeout_ms);
        let mut results = Vec::with_capacity(rows.len());
        let mut finished = 0;
        plan.for_each(&[Some(argument)], &mut |row| {
            if wanted {
                results.push(row[0].and_then(spi::text_of));
            }
            finished += 1;
            timer.restart();
            on_job(finished);
        });
        drop(timer);
        match self.shape {
            Shape::Batch if wanted => self.share(results.pop().flatten(), rows.len()),
            _ => results,
        }
    }

    /// The one result of a batch call as one for each job: element by element if it is an array of the
    /// right length, else the same for all.
    fn share(&self, result: Option<String>, jobs: usize) -> Vec<Option<String>> {
        if self.returns_array
            && let Some(Ok(serde_json::Value::Array(list))) = result.as_deref().map(serde_json::from_str)
            && list.len() == jobs
        {
            return list.into_iter().map(|value| Some(value.to_string())).collect();
        }
        vec![result; jobs]
    }
}
