//! What the catalogs say about a queue's table: read by scans of catalogs, without SQL, since every session does so
//! at its first use of a queue, and when the table was changed.

use super::STATES;
use crate::pg::stored::{self, Attribute, Index};
use crate::pg::{Oid, partitions};

pub struct Stored {
    pub parent: Oid,
    attributes: Vec<Attribute>,
    /// With their states; `None` for one that is not of just one state.
    pub partitions: Vec<(Oid, Option<usize>)>,
}

impl Stored {
    pub fn of(parent: Oid) -> Stored {
        let state = |value: &[u8]| STATES.iter().position(|state| state.as_bytes() == value);
        let partitions = partitions::of(parent).into_iter();
        let partitions = partitions.map(|(oid, value)| (oid, value.as_deref().and_then(state))).collect();
        Stored { parent, attributes: stored::attributes(parent), partitions }
    }

    /// The columns of the table, in order.
    pub fn columns(&self) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter().filter(|column| !column.dropped)
    }

    pub fn column(&self, name: &str) -> Option<&Attribute> {
        self.columns().find(|column| column.name == name)
    }

    /// The indexes of a partition.
    pub fn indexes_of(&self, table: Oid) -> Vec<Index> {
        stored::indexes(table)
    }

    /// Are the columns of a partition laid out as those of the table, dropped ones included?
    pub fn is_alike(&self, partition: Oid) -> bool {
        stored::is_laid_out_as(partition, &self.attributes)
    }
}
