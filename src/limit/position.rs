//! The key that the last look at blocked jobs stopped at, for whoever looks next. Only a hint: two who write at the
//! same time may leave something in between, from which the next look just begins. Pure: atomics, no Postgres.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const WORDS: usize = 15;
/// A longer key, in bytes, is not kept.
const LONGEST: usize = WORDS * 8;

/// All bits zero is the valid beginning: none.
#[derive(Default)]
#[repr(C)]
pub struct Position {
    length: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl Position {
    /// An empty key is none. False: it is too long, and there is none now.
    pub fn set(&self, key: &str) -> bool {
        if key.len() > LONGEST {
            self.length.store(0, Relaxed);
            return false;
        }
        let key = key.as_bytes();
        let mut bytes = [0; LONGEST];
        bytes[..key.len()].copy_from_slice(key);
        let (words, _) = bytes.as_chunks::<8>();
        for (place, word) in self.words.iter().zip(words) {
            place.store(u64::from_ne_bytes(*word), Relaxed);
        }
        self.length.store(key.len() as u64, Relaxed);
        true
    }

    pub fn get(&self) -> Option<String> {
        let length = usize::try_from(self.length.load(Relaxed)).ok()?;
        let bytes = self.words.iter().flat_map(|word| word.load(Relaxed).to_ne_bytes());
        let key = String::from_utf8(bytes.take(length).collect()).ok()?;
        // What is in between may be no text.
        (!key.is_empty() && !key.contains('\0')).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Position};

    #[test]
    fn it_is_kept() {
        let position = Position::default();
        assert_eq!(position.get(), None);
        for key in ["a", "customer 17", "ä", &"x".repeat(LONGEST), "b"] {
            assert!(position.set(key));
            assert_eq!(position.get().as_deref(), Some(key));
        }
        assert!(position.set(""));
        assert_eq!(position.get(), None);
    }

    #[test]
    fn one_that_is_too_long_is_not_kept() {
        let position = Position::default();
        position.set("b");
        assert!(!position.set(&"x".repeat(LONGEST + 1)));
        assert_eq!(position.get(), None);
    }
}
