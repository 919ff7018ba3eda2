//! What the catalogs say about a queue's table: read by few and short statements, since every session does so at
//! its first use of a queue, and when the table was changed.

use super::STATES;
use crate::pg::Oid;
use crate::pg::spi::{self, Rows};
use pgrx::pg_sys;

/// A column of the table or of a partition.
pub struct Attribute {
    table: Oid,
    pub name: String,
    pub number: i16,
    pub type_oid: Oid,
    length: i16,
    pub type_modifier: i32,
    pub dropped: bool,
    pub filled: bool,
    pub generated: bool,
}

/// A valid index of a partition, a b-tree over columns in their ordinary order.
pub struct Index {
    table: Oid,
    pub oid: Oid,
    /// Numbers of its columns.
    pub columns: Vec<i16>,
    /// Of its first column.
    pub collation: Oid,
    /// Without quotes, which say nothing here (quote_all_identifiers).
    pub condition: Option<String>,
    /// Keeps rows apart at once.
    pub unique: bool,
    /// Replica identity, primary key.
    pub standing: (bool, bool),
}

pub struct Stored {
    pub parent: Oid,
    attributes: Vec<Attribute>,
    /// With their states; `None` for one that is not of just one state.
    pub partitions: Vec<(Oid, Option<usize>)>,
    indexes: Vec<Index>,
}

const PARTITIONS: &str = "
    SELECT c.oid, pg_get_expr(c.relpartbound, c.oid)
    FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid WHERE h.inhparent = $1";

const ATTRIBUTES: &str = "
    SELECT attrelid, attname::text, attnum, atttypid, attlen, atttypmod, attisdropped, attnotnull, attgenerated <> ''
    FROM pg_attribute WHERE attrelid = ANY ($1) AND attnum > 0 ORDER BY attrelid, attnum";

const INDEXES: &str = "
    SELECT i.indrelid, i.indexrelid, i.indkey::int2[], i.indcollation[0], pg_get_expr(i.indpred, i.indrelid),
           i.indisunique AND i.indimmediate, i.indisreplident, i.indisprimary
    FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
    WHERE i.indrelid = ANY ($1) AND i.indisvalid AND i.indexprs IS NULL AND x.relam = $2
      AND 0 = ALL (i.indoption::int2[])";

impl Stored {
    /// Must be called inside `spi::connect`, with the rights of the extension's owner.
    pub fn of(parent: Oid) -> Stored {
        let found = spi::run_kept(PARTITIONS, &[pg_sys::OIDOID], &[spi::arg(parent)]);
        let partitions: Vec<(Oid, Option<usize>)> = each(&found, |row| {
            let bound: String = found.get(row, 2)?;
            let state = STATES.iter().position(|state| bound == format!("FOR VALUES IN ('{state}')"));
            Some((found.get(row, 1)?, state))
        });
        let mut tables: Vec<Oid> = partitions.iter().map(|(oid, _)| *oid).collect();
        let types = [pg_sys::OIDARRAYOID, pg_sys::OIDOID];
        let args = [spi::arg(tables.clone()), spi::arg(pg_sys::BTREE_AM_OID)];
        let found = spi::run_kept(INDEXES, &types, &args);
        let indexes = each(&found, |row| index_of(&found, row));
        tables.push(parent);
        let found = spi::run_kept(ATTRIBUTES, &types[..1], &[spi::arg(tables)]);
        let attributes = each(&found, |row| attribute_of(&found, row));
        Stored { parent, attributes, partitions, indexes }
    }

    /// The columns of the table, in order.
    pub fn columns(&self) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter().filter(|column| column.table == self.parent && !column.dropped)
    }

    pub fn column(&self, name: &str) -> Option<&Attribute> {
        self.columns().find(|column| column.name == name)
    }

    pub fn indexes_of(&self, table: Oid) -> impl Iterator<Item = &Index> {
        self.indexes.iter().filter(move |index| index.table == table)
    }

    /// Are the columns of a partition laid out as those of the table, dropped ones included?
    pub fn is_alike(&self, partition: Oid) -> bool {
        let of = |table: Oid| {
            let columns = self.attributes.iter().filter(move |column| column.table == table);
            columns.map(|c| (c.number, c.type_oid, c.dropped, c.length, &c.name))
        };
        of(self.parent).eq(of(partition))
    }
}

fn each<T>(rows: &Rows, of_row: impl FnMut(usize) -> Option<T>) -> Vec<T> {
    (0..rows.len()).filter_map(of_row).collect()
}

fn attribute_of(rows: &Rows, row: usize) -> Option<Attribute> {
    Some(Attribute {
        table: rows.get(row, 1)?,
        name: rows.get(row, 2)?,
        number: rows.get(row, 3)?,
        type_oid: rows.get(row, 4)?,
        length: rows.get(row, 5)?,
        type_modifier: rows.get(row, 6)?,
        dropped: rows.get(row, 7)?,
        filled: rows.get(row, 8)?,
        generated: rows.get(row, 9)?,
    })
}

fn index_of(rows: &Rows, row: usize) -> Option<Index> {
    Some(Index {
        table: rows.get(row, 1)?,
        oid: rows.get(row, 2)?,
        columns: rows.get(row, 3)?,
        collation: rows.get(row, 4)?,
        condition: rows.get::<String>(row, 5).map(|condition| condition.replace('"', "")),
        unique: rows.get(row, 6)?,
        standing: (rows.get(row, 7)?, rows.get(row, 8)?),
    })
}
