//! Which ids the rows of a statement are expected to have, for statements within statements: a function that an
//! INSERT calls may itself insert, into the same queue or another. Pure.
//!
//! A statement is known by the number of its command, which its snapshot has: one that runs within another has a
//! higher number. Once a row of a statement is met, all within it are over.

use std::collections::VecDeque;

/// Of further ones the outermost are forgotten.
const MOST: usize = 32;

/// The statements of a transaction that may be under way, the innermost last.
pub struct Expected {
    /// When the transaction began, whose commands are meant.
    transaction: i64,
    /// Numbers of commands, and the ids from which on their rows' are expected.
    list: VecDeque<(u32, i64)>,
}

impl Expected {
    pub const fn new() -> Expected {
        Expected { transaction: 0, list: VecDeque::new() }
    }

    /// A statement expects ids from this one on; the higher, if it says so twice.
    pub fn set(&mut self, transaction: i64, command: u32, lowest: i64) {
        if self.transaction != transaction {
            self.transaction = transaction;
            self.list.clear();
        }
        self.end_after(command);
        match self.list.back_mut().filter(|known| known.0 == command) {
            Some(known) => known.1 = known.1.max(lowest),
            None => self.list.push_back((command, lowest)),
        }
        if self.list.len() > MOST {
            self.list.pop_front();
        }
    }

    /// From which id on a row of the statement is expected; the highest there is if nothing is known of it.
    pub fn of(&mut self, transaction: i64, command: u32) -> i64 {
        self.end_after(command);
        match self.list.back() {
            Some((known, lowest)) if self.transaction == transaction && *known == command => *lowest,
            _ => i64::MAX,
        }
    }

    fn end_after(&mut self, command: u32) {
        while self.list.back().is_some_and(|known| known.0 > command) {
            self.list.pop_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_within_another_has_its_own() {
        let mut expected = Expected::new();
        expected.set(1, 0, 100);
        expected.set(1, 3, 5);
        assert_eq!(expected.of(1, 3), 5);
        assert_eq!(expected.of(1, 0), 100);
        assert_eq!(expected.of(1, 3), i64::MAX);
    }

    #[test]
    fn one_that_says_so_twice_has_the_higher() {
        let mut expected = Expected::new();
        expected.set(1, 0, 100);
        expected.set(1, 0, 5);
        assert_eq!(expected.of(1, 0), 100);
    }

    #[test]
    fn another_transaction_begins_anew() {
        let mut expected = Expected::new();
        expected.set(1, 0, 100);
        assert_eq!(expected.of(2, 0), i64::MAX);
        expected.set(2, 0, 5);
        assert_eq!(expected.of(2, 0), 5);
    }

    #[test]
    fn what_is_forgotten_is_looked_at() {
        let mut expected = Expected::new();
        (0..40).for_each(|command| expected.set(1, command, 5));
        assert_eq!(expected.of(1, 39), 5);
        assert_eq!(expected.of(1, 0), i64::MAX);
    }
}
