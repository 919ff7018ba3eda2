//! How many jobs a batch takes and how many workers a queue gets, by load. Pure.

/// The next batch size: grows while batches are full and quick, shrinks when they take too long. At most
/// doubles, so that one odd batch does not throw it.
pub fn batch_size(current: i32, most: i32, claimed: usize, took_ms: f64, target_ms: f64) -> i32 {
    if claimed == 0 {
        return current.clamp(1, most);
    }
    let per_job_ms = (took_ms / claimed as f64).max(0.001);
    let fits = (target_ms / per_job_ms).clamp(1.0, f64::from(most)) as i32;
    let grown = if claimed as i32 >= current { current.saturating_mul(2) } else { current };
    fits.min(grown.max(1)).clamp(1, most)
}

/// What is known of a queue's load.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Ready jobs now, counted up to a bound.
    pub waiting: i64,
    /// Ready jobs when last looked.
    pub waiting_before: i64,
    /// Jobs finished since then.
    pub done: u64,
}

/// How many workers a queue should have: enough to work off what waits within a few looks, more if it
/// grows, one fewer at a time when it is nearly empty.
pub fn workers(current: u32, most: u32, load: Load) -> u32 {
    let current = current.clamp(1, most.max(1));
    let per_worker = (load.done / u64::from(current)).max(1) as i64;
    let looks_left = load.waiting / (per_worker * i64::from(current));
    let grows = load.waiting > load.waiting_before;
    let wanted = if load.waiting == 0 {
        current - 1
    } else if looks_left >= 2 || (grows && looks_left >= 1) {
        current.saturating_mul(2)
    } else if looks_left == 0 && !grows {
        current - 1
    } else {
        current
    };
    wanted.clamp(1, most.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_grow_while_quick_and_full() {
        assert_eq!(batch_size(1, 100, 1, 0.1, 50.0), 2);
        assert_eq!(batch_size(64, 100, 64, 1.0, 50.0), 100);
        assert_eq!(batch_size(10, 100, 3, 0.1, 50.0), 10);
    }

    #[test]
    fn batches_shrink_when_slow() {
        assert_eq!(batch_size(100, 100, 100, 1000.0, 50.0), 5);
        assert_eq!(batch_size(100, 100, 10, 10_000.0, 50.0), 1);
    }

    #[test]
    fn batches_stay_within_bounds() {
        for claimed in [0, 1, 50, 100] {
            for took in [0.0, 0.1, 1e9] {
                let size = batch_size(100, 100, claimed, took, 50.0);
                assert!((1..=100).contains(&size));
            }
        }
    }

    #[test]
    fn a_burst_grows_the_workers_and_calm_shrinks_them() {
        let burst = Load { waiting: 10_000, waiting_before: 0, done: 100 };
        assert_eq!(workers(1, 8, burst), 2);
        assert_eq!(workers(2, 8, burst), 4);
        assert_eq!(workers(8, 8, burst), 8);
        let calm = Load { waiting: 0, waiting_before: 0, done: 0 };
        assert_eq!(workers(8, 8, calm), 7);
        assert_eq!(workers(1, 8, calm), 1);
    }

    #[test]
    fn a_steady_load_keeps_its_workers() {
        let steady = Load { waiting: 500, waiting_before: 500, done: 400 };
        assert_eq!(workers(4, 8, steady), 4);
    }

    #[test]
    fn slow_jobs_that_wait_get_more_workers() {
        let slow = Load { waiting: 6, waiting_before: 6, done: 0 };
        assert_eq!(workers(1, 4, slow), 2);
    }
}
