//! How much of a table without an order of its own a batch looks at. Pure.

/// Blocks of the first batch.
pub const FIRST: u32 = 16;
const MOST: u32 = 4096;

/// How many blocks to look at next, after so many rows were found in `span` of them. A batch takes the first
/// rows only, and sorts all: so neither many more than wanted nor, where rows are few, next to none.
pub fn next(span: u32, found: usize, wanted: usize) -> u32 {
    if found >= wanted {
        (span / 2).max(1)
    } else if found < wanted / 2 {
        (span * 2).min(MOST)
    } else {
        span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_how_dense_rows_are() {
        // Rows a block, and what a batch of 1000 comes to.
        for (density, least, most) in [(100, 5, 10), (1, 500, 1000), (0, 4096, 4096), (5000, 1, 1)] {
            let mut span = FIRST;
            for _ in 0..20 {
                let found = (span as usize * density).min(1000);
                span = next(span, found, 1000);
            }
            assert!((least..=most).contains(&span), "{density} a block: {span}");
        }
    }

    #[test]
    fn it_is_at_least_one_block() {
        assert_eq!(next(1, 1, 1), 1);
        assert_eq!(next(1, 500, 1), 1);
    }
}
