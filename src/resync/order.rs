//! The order in which the rows of a table are read, and the statements that keep to it.

use crate::pg::spi;
use crate::pg::{Oid, catalog};
use crate::queue;
use pgrx::pg_sys;

/// What the rows of a table are ordered by.
#[derive(PartialEq)]
pub struct Order {
    /// Columns, quoted, with the names of their types.
    columns: Vec<(String, String)>,
    /// Changes when positions become worthless.
    pub name: String,
    pub by_place: bool,
}

impl Order {
    /// By primary key, if it can be written as text and compared without a look at the search_path; else by
    /// place. Must be called inside `spi::connect`, with the table locked.
    pub fn of(table: Oid) -> Order {
        const KEY: &str = "
            SELECT coalesce(array_agg(quote_ident(a.attname) ORDER BY k.place), '{}'),
                   coalesce(array_agg('pg_catalog.' || quote_ident(t.typname) ORDER BY k.place), '{}'),
                   coalesce(bool_and(t.oid::bigint < 10000), false), pg_relation_filenode($1)::text
            FROM pg_index i,
                 LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
            JOIN pg_attribute a ON a.attrelid = $1 AND a.attnum = k.attnum
            JOIN pg_type t ON t.oid = a.atttypid
            WHERE i.indrelid = $1 AND i.indisprimary AND i.indisvalid AND k.place <= i.indnkeyatts";
        let found = queue::as_extension(|| spi::run_kept(KEY, &[pg_sys::OIDOID], &[spi::arg(table)]));
        let list = |column| found.get::<Vec<String>>(0, column).unwrap_or_default();
        if found.get(0, 3).unwrap_or(false) {
            let columns: Vec<_> = list(1).into_iter().zip(list(2)).collect();
            let name = columns.iter().map(|(name, kind)| format!("{name} {kind}")).collect::<Vec<_>>();
            return Order { columns, name: name.join(", "), by_place: false };
        }
        let file: String = found.get(0, 4).unwrap_or_default();
        let columns = vec![("ctid".to_string(), "pg_catalog.tid".to_string())];
        Order { columns, name: format!("place in file {file}"), by_place: true }
    }

    fn row(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|(name, _)| format!("new.{name}")).collect();
        format!("ROW({})", names.join(", "))
    }

    /// The position that is parameter `number`, an array of text.
    fn parameter(&self, number: usize) -> String {
        let values: Vec<String> = self
            .columns
            .iter()
            .enumerate()
            .map(|(place, (_, kind))| format!("(${number})[{}]::{kind}", place + 1))
            .collect();
        format!("ROW({})", values.join(", "))
    }

    /// The end of a batch that begins after position $1: how many rows it has, and the position of its last
    /// row. $2: most rows. $3, by place only: a place before which it ends.
    pub fn end_statement(&self, table: Oid, from_start: bool) -> String {
        let numbered = |separator: &str, form: &dyn Fn(usize, &str) -> String| {
            let parts = self.columns.iter().enumerate().map(|(place, (name, _))| form(place + 1, name));
            parts.collect::<Vec<_>>().join(separator)
        };
        let mut conditions = Vec::new();
        if !from_start {
            conditions.push(format!("{} > {}", self.row(), self.parameter(1)));
        }
        if self.by_place {
            conditions.push("new.ctid < $3::pg_catalog.tid".into());
        }
        let condition =
            if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
        format!(
            "SELECT count(*) OVER (), ARRAY[{}]
             FROM (SELECT {} FROM ONLY {} AS new {condition} ORDER BY {} LIMIT $2) AS s
             ORDER BY {} LIMIT 1",
            numbered(", ", &|place, _| format!("s.k{place}::text")),
            numbered(", ", &|place, name| format!("new.{name} AS k{place}")),
            catalog::qualified_name(table),
            numbered(", ", &|_, name| format!("new.{name}")),
            numbered(", ", &|place, _| format!("s.k{place} DESC")),
        )
    }

    /// Which versions of the rows of a range are there.
    pub fn versions_statement(&self, table: Oid, from_start: bool) -> String {
        format!(
            "SELECT count(*)::text || ' ' || sum(hashtextextended(new.ctid::text || new.xmin::text, 0))::text
             FROM ONLY {} AS new WHERE {}",
            catalog::qualified_name(table),
            self.range(from_start)
        )
    }

    /// The rows after position $1 up to position $2.
    pub fn range(&self, from_start: bool) -> String {
        let end = format!("{} <= {}", self.row(), self.parameter(2));
        if from_start { end } else { format!("{} > {} AND {end}", self.row(), self.parameter(1)) }
    }
}
