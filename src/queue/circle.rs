//! Ways from queue to queue that come back to where they began.

use crate::pg::{Oid, catalog};

/// The first way found that leads from a queue, by the `first` ones, back to it.
pub fn way_back(queue: Oid, first: Vec<Oid>, leads_to: &dyn Fn(Oid) -> Vec<Oid>) -> Option<Vec<Oid>> {
    let mut seen = Vec::new();
    let mut ways: Vec<Vec<Oid>> = first.into_iter().map(|next| vec![queue, next]).collect();
    while let Some(way) = ways.pop() {
        let last = *way.last()?;
        if last == queue {
            return Some(way);
        }
        if !seen.contains(&last) {
            seen.push(last);
            ways.extend(leads_to(last).into_iter().map(|next| [&way[..], &[next]].concat()));
        }
    }
    None
}

/// A way, for messages.
pub fn told(way: Vec<Oid>) -> String {
    let names: Vec<String> = way.into_iter().map(catalog::qualified_name).collect();
    names.join(" → ")
}
