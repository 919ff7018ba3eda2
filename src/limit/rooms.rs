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

    /// Without a bound.
    pub fn any(queue: &'a Queue) -> Rooms<'a> {
        Rooms { queue, left: HashMap::new(), is_counted: false }
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
