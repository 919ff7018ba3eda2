//! Rows of a queue shown as JSON, each by itself: not every row can be. jsonb has no \u0000, which json may have, is of
//! limited size, and the cast of a type may refuse a value. Whoever may insert is not to hide other rows by such a one.

use crate::pg::failure::{self, Failure};
use crate::pg::spi::{self, Arg};
use crate::pg::srf::RowSink;
use crate::pg::{Datum, Oid};
use crate::queue::Queue;

/// Is it a value that cannot be written? What else is wrong (a right that the owner lacks, a function that is gone, a
/// row type that was altered) would be wrong with all rows, and is for the caller to know.
pub fn is_of_a_row(failure: &Failure) -> bool {
    const ROW_TYPE_ALTERED: &str = "22P07";
    let of_values = ["22", "23", "54", "P0"].iter().any(|class| failure.sqlstate.starts_with(class));
    of_values && failure.sqlstate != ROW_TYPE_ALTERED && !failure.by_interrupt
}

/// Hands over what a statement finds. Its last column, an expression that it is made with, shows the whole row; it is
/// null for a row that cannot be shown. The statement gives its rows in the same order each time. Must be called
/// inside `spi::connect`.
pub fn put(queue: &Queue, sql: &dyn Fn(&str) -> String, types: &[Oid], args: &[Arg], sink: &RowSink) {
    let row = &queue.alias;
    let mut put = 0;
    let outcome = failure::in_subtransaction(|| {
        let plan = queue.plan(sql(&format!("pg_catalog.to_jsonb({row}.*)")), types);
        plan.for_each(args, &mut |columns| {
            sink.put(columns);
            put += 1;
        });
    });
    match outcome {
        Ok(()) => return,
        Err(failure) if !is_of_a_row(&failure) => failure.raise(),
        Err(_) => {}
    }
    queue.plan(sql(row), types).for_each(args, &mut |columns| {
        let (Some((whole, others)), 0) = (columns.split_last(), put) else {
            put -= 1;
            return;
        };
        spi::connect(|| sink.put(&[others, &[whole.and_then(|whole| shown(queue, whole))]].concat()));
    });
}

/// Valid as long as the SPI connection is.
fn shown(queue: &Queue, row: Datum) -> Arg {
    let plan = queue.plan("SELECT pg_catalog.to_jsonb($1)".into(), &[queue.row_type]);
    match failure::in_subtransaction(|| plan.execute(&[Some(row)]).datum(0, 1)) {
        Err(failure) if !is_of_a_row(&failure) => failure.raise(),
        outcome => outcome.ok().flatten(),
    }
}
