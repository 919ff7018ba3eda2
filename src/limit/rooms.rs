//! Room for jobs of groups that may become ready, shared out among groups with the same keys: asked before a row
//! is touched, and counted once for each key.

use super::{by_key, free_of_key, rate};
use crate::queue::Queue;
use std::collections::HashMap;

pub struct Rooms<'a> {
    queue: &'a Queue,
    left: HashMap<String, i64>,
    is_counted: bool,
}

impl<'a> Rooms<'a> {
    pub fn of(queue: &'a Queue) -> Rooms<'a> {
        Rooms { queue, left: HashMap::new(), is_counted: by_key(queue) }
    }

    /// One key has this room, which is not counted.
    pub fn with(queue: &'a Queue, key: &str, room: i64) -> Rooms<'a> {
        Rooms { left: HashMap::from([(key.to_owned(), room)]), ..Rooms::of(queue) }
    }

    /// Has this key room, for all that is known?
    pub fn is_left(&self, key: &str) -> bool {
        self.left.get(key).is_none_or(|left| *left > 0)
    }

    /// May one more job with this key become ready?
    pub fn take(&mut self, key: impl FnOnce() -> Option<String>) -> bool {
        let Some(key) = self.is_counted.then(key).flatten() else { return true };
        let queue = self.queue;
        let free = |key: &String| free_of_key(queue, key).min(rate::free_of_key(queue, key));
        let known = self.left.get(&key).copied();
        let left = known.unwrap_or_else(|| free(&key));
        self.left.insert(key, left.saturating_sub(1));
        left > 0
    }
}
