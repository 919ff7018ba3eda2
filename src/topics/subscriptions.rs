//! Which queues are subscribed to a topic: read from queue.subscriptions once, and again when that changed.
//!
//! The table's trigger announces each change of it as one of the table's definition, which every session
//! hears at the latest when it is told to (`cache::hear`): a subscription that was committed before a publish
//! began is among those it reads. A change that comes while the table is read makes what was read stale at
//! once. At REPEATABLE READ and above, where the table as it was is read, nothing is kept.

use super::pattern;
use crate::pg::cache::{self, Stale};
use crate::pg::{Oid, spi, xact};
use crate::queue;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Topics are few, unless they bear ids; then each is looked up by itself.
const MOST_TOPICS: usize = 1000;

struct Known {
    table: Oid,
    patterns: Vec<(String, Oid)>,
    by_topic: HashMap<String, Rc<[Oid]>>,
}

thread_local! {
    static KNOWN: RefCell<Option<Known>> = const { RefCell::new(None) };
}

/// Some tables changed.
pub fn forget(stale: &Stale) {
    KNOWN.with(|known| {
        let mut known = known.borrow_mut();
        let is_stale = match stale {
            Stale::Nothing => false,
            Stale::These(list) => known.as_ref().is_some_and(|known| list.contains(&known.table)),
            Stale::Everything => true,
        };
        if is_stale {
            *known = None;
        }
    });
}

/// The queues subscribed to a topic, each once, in the order of their oids.
pub fn queues_of(topic: &str) -> Rc<[Oid]> {
    if xact::sees_only_the_past() {
        return matching(&load().patterns, topic);
    }
    cache::hear();
    queue::forget_stale();
    if let Some(found) = KNOWN.with(|known| known.borrow().as_ref()?.by_topic.get(topic).cloned()) {
        return found;
    }
    if KNOWN.with(|known| known.borrow().is_none()) {
        let loaded = load();
        KNOWN.with(|known| *known.borrow_mut() = Some(loaded));
    }
    KNOWN.with(|known| {
        let mut known = known.borrow_mut();
        let Some(known) = known.as_mut() else { return Rc::from([]) };
        let found = matching(&known.patterns, topic);
        if known.by_topic.len() >= MOST_TOPICS {
            known.by_topic.clear();
        }
        known.by_topic.insert(topic.into(), found.clone());
        found
    })
}

fn matching(patterns: &[(String, Oid)], topic: &str) -> Rc<[Oid]> {
    let mut queues: Vec<Oid> = patterns
        .iter()
        .filter(|(pattern, _)| pattern::matches(pattern, topic))
        .map(|(_, queue)| *queue)
        .collect();
    queues.sort_unstable_by_key(|oid| oid.to_u32());
    queues.dedup();
    queues.into()
}

fn load() -> Known {
    const LOAD: &str = "SELECT s.pattern, s.queue::oid FROM queue.subscriptions s";
    const TABLE: &str = "SELECT 'queue.subscriptions'::regclass::oid";
    spi::connect(|| {
        queue::as_extension(|| {
            let table = spi::run(TABLE, &[], &[]).get(0, 1).unwrap_or(Oid::INVALID);
            let found = spi::run_kept(LOAD, &[], &[]);
            let patterns =
                (0..found.len()).filter_map(|row| Some((found.get(row, 1)?, found.get(row, 2)?))).collect();
            Known { table, patterns, by_topic: HashMap::new() }
        })
    })
}
