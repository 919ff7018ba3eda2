//! All jobs of a queue for which a condition is true, in batches: each is one statement over rows in the order
//! of their ids, whose memory is given back before the next. Jobs that come onto the queue meanwhile are not
//! touched: each part is gone through up to the id that was its highest at first.

use super::walk::Walk;
use crate::claim::{Taken, floor};
use crate::error::{Error, SqlResult};
use crate::pg::failure::{self, Failure};
use crate::pg::{Oid, parse, role, spi};
use crate::queue::statements::{self, Part};
use crate::queue::{self, Queue};
use pgrx::pg_sys;

/// A boolean expression over a queue's columns, and nothing more than that.
pub struct Condition(String);

impl Condition {
    /// Raises if the text is more or less than one expression. Whether that is boolean and speaks of columns
    /// that there are shows when its statement is planned, before anything is done.
    pub fn of(text: Option<&str>) -> Result<Condition, Error> {
        let text = text.unwrap_or("true");
        if !failure::in_subtransaction(|| parse::is_one_expression(text)).map_err(refused)? {
            return Err(Error::NotOneExpression("condition".into()));
        }
        Ok(Condition(text.into()))
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    /// Only rows for which this expression of ours is true, too.
    pub fn and(self, ours: &str) -> Condition {
        Condition(format!("({}\n) AND ({ours})", self.0))
    }
}

/// The parts that a state is gone through in.
fn parts(state: &'static str) -> Vec<Part> {
    match state {
        "ready" => (0..floor::PRIORITIES as i16).map(|p| Part { state, priority: Some(p) }).collect(),
        _ => vec![Part { state, priority: None }],
    }
}

/// The highest id of a part, if it has any row.
fn last_of(queue: &Queue, part: Part) -> Option<i64> {
    let rows = role::as_role(queue.owner, || {
        let _order = role::Planner::by_index();
        queue.plan(statements::last_of(queue, part), &[]).execute(&[])
    });
    (!rows.is_empty()).then(|| rows.get(0, 1)).flatten()
}

/// What is done with jobs taken out of a state.
pub type Work<'a> = &'a mut dyn FnMut(&Queue, &'static str, Vec<Taken>) -> SqlResult<()>;

/// Does `work` with all jobs that can be taken out of these states and for which the condition is true; the
/// caller must own the queue. Those with which it cannot be done are named in a warning. Returns how many
/// others there were.
pub fn each(oid: Oid, states: &[&'static str], condition: &Condition, work: Work) -> SqlResult<i64> {
    let queue = queue::open_owned(oid)?.locked()?;
    let all: Vec<Part> = states.iter().flat_map(|state| parts(state)).collect();
    // A bad condition is refused whatever the queue holds.
    if let Some(part) = all.first() {
        spi::connect(|| check(&queue, *part, condition))?;
    }
    let lasts: Vec<(Part, i64)> = spi::connect(|| {
        all.into_iter().filter_map(|part| last_of(&queue, part).map(|last| (part, last))).collect()
    });
    let mut walk = Walk::new(&queue, condition);
    walk.through(&lasts, work);
    walk.complain();
    Ok(walk.count)
}

/// Plans the condition's statement.
fn check(queue: &Queue, part: Part, condition: &Condition) -> Result<(), Error> {
    let plan = || {
        role::as_role(queue.owner, || {
            let _order = role::Planner::by_index();
            queue.plan(statements::take_where(queue, part, &condition.0), &[pg_sys::INT8OID; 3]);
        });
    };
    failure::in_subtransaction(plan).map_err(refused)
}

fn refused(failure: Failure) -> Error {
    const DATATYPE_MISMATCH: &str = "42804";
    // Postgres speaks of an AND that the user has not written.
    if failure.sqlstate == DATATYPE_MISMATCH
        && let Some((_, found)) = failure.message.split_once("must be type boolean, not type ")
    {
        return Error::NotBoolean(found.into());
    }
    Error::BadExpression {
        what: "condition".into(),
        cause: failure.message,
        sqlstate: failure.code,
        hint: None,
    }
}

/// Hands over the ids of ready jobs for which the condition is true though somebody else has them, after all
/// others were taken.
pub fn held(
    oid: Oid,
    condition: &Condition,
    work: &mut dyn FnMut(&Queue, &[i64]) -> usize,
) -> SqlResult<i64> {
    const MOST: i64 = 10_000;
    let queue = queue::open(oid)?;
    let mut ids: Vec<i64> = Vec::new();
    for part in parts("ready") {
        spi::connect(|| {
            let rows = role::as_role(queue.owner, || {
                let _order = role::Planner::by_index();
                let args = [spi::arg(i64::MIN), spi::arg(i64::MAX), spi::arg(MOST)];
                let sql = statements::ids_where(&queue, part, &condition.0);
                queue.plan(sql, &[pg_sys::INT8OID; 3]).execute(&args)
            });
            ids.extend((0..rows.len()).filter_map(|row| rows.get::<i64>(row, 1)));
        });
    }
    Ok(if ids.is_empty() { 0 } else { spi::connect(|| work(&queue, &ids)) as i64 })
}
