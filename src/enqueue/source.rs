//! The table that is attached, and the triggers that are put on it.

use crate::error::Error;
use crate::pg::{Oid, catalog, role, spi};
use crate::queue;
use pgrx::pg_sys;

/// The table to attach.
pub struct Source {
    oid: Oid,
    name: String,
    pub owner: Oid,
    partitioned: bool,
    /// Changes can reach it, or pass it by, under another table's name.
    in_hierarchy: bool,
}

impl Source {
    pub fn open(oid: Oid) -> Result<Source, Error> {
        const SOURCE: &str = "
            SELECT c.relname::text, c.relkind::text, c.relowner,
                   c.relispartition OR EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent))
            FROM pg_catalog.pg_class c WHERE c.oid = $1";
        let rows = role::pinned(|| spi::run(SOURCE, &[pg_sys::OIDOID], &[spi::arg(oid)]));
        let name: String =
            (!rows.is_empty()).then(|| rows.get(0, 1)).flatten().unwrap_or_else(|| oid.to_string());
        let kind: String = (!rows.is_empty()).then(|| rows.get(0, 2)).flatten().unwrap_or_default();
        if kind != "r" && kind != "p" {
            return Err(Error::NotATable(name));
        }
        if !catalog::acts_for(rows.get(0, 3).unwrap_or(Oid::INVALID)) {
            return Err(Error::NotOwner(name));
        }
        Ok(Source {
            oid,
            name,
            owner: rows.get(0, 3).unwrap_or(Oid::INVALID),
            partitioned: kind == "p",
            in_hierarchy: rows.get(0, 4).unwrap_or(true),
        })
    }

    /// FOR EACH ROW? A statement trigger costs least, one bulk insert a statement; but it fires only for
    /// the table that a statement names, so a table with parents or children needs row triggers.
    pub fn level(&self, asked: Option<&str>) -> Result<bool, Error> {
        match asked {
            None => Ok(self.in_hierarchy || self.partitioned),
            Some("row") => Ok(true),
            Some("statement") if !self.in_hierarchy && !self.partitioned => Ok(false),
            Some("statement") => Err(Error::BadOption {
                message: format!("table \"{}\" cannot be attached at statement level", self.name),
                hint: "It has partitions, parents or children, whose statements would pass by: use row."
                    .into(),
            }),
            Some(_) => Err(Error::BadOption {
                message: "level must be row or statement".into(),
                hint: "Leave it out to have the cheaper one chosen.".into(),
            }),
        }
    }

    pub fn create_triggers(&self, id: i32, events: &[&str], for_each_row: bool, function: &str) {
        for (name, statement) in self.triggers(id, events, for_each_row, function) {
            spi::run(&statement, &[], &[]);
            queue::table::tie_to_extension(&name, &catalog::qualified_name(self.oid));
        }
    }

    /// The triggers' names and CREATE statements. Transition tables allow one event a trigger only.
    fn triggers(
        &self,
        id: i32,
        events: &[&str],
        for_each_row: bool,
        function: &str,
    ) -> Vec<(String, String)> {
        let table = catalog::qualified_name(self.oid);
        let function = format!("EXECUTE FUNCTION queue.{function}('{id}')");
        if for_each_row {
            let (name, events) = (format!("queue_ext_{id}_row"), events.join(" OR "));
            let create = format!("CREATE TRIGGER {name} AFTER {events} ON {table} FOR EACH ROW {function}");
            return vec![(name, create)];
        }
        events
            .iter()
            .map(|event| {
                let tables = match *event {
                    "insert" => "NEW TABLE AS new_rows",
                    "delete" => "OLD TABLE AS old_rows",
                    _ => "OLD TABLE AS old_rows NEW TABLE AS new_rows",
                };
                let name = format!("queue_ext_{id}_{event}");
                let create = format!(
                    "CREATE TRIGGER {name} AFTER {event} ON {table}
                     REFERENCING {tables} FOR EACH STATEMENT {function}"
                );
                (name, create)
            })
            .collect()
    }
}
