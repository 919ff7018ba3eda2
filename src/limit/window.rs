//! How many may start within an interval: the arithmetic. Pure.
//!
//! What starts is counted until a *stamp* plus the interval, where the stamp is no earlier than the start
//! itself: a claim is given `leeway` to start what it took, and the time is rounded up to the end of a
//! bucket, so that few rows hold many starts. Both only hold back what could have started earlier, never
//! let too many start: among the starts of any window the one whose room was taken last was let in when all
//! others of that window were still counted.

/// Microseconds, as Postgres counts time.
type Micros = i64;

/// Buckets of an interval.
const BUCKETS: Micros = 20;
const SHORTEST_BUCKET: Micros = 1_000;
/// The part of an interval that a claim has to start what it took.
const LEEWAY: Micros = 10;
const SHORTEST_LEEWAY: Micros = 100_000;
/// Open claims are told apart by epochs that are at least so long.
const SHORTEST_EPOCH: Micros = 1 << 20;
/// While claims are open, nobody knows when there is room: look again after so long.
const LOOK_AGAIN: Micros = 1_000_000;

/// So many starts within an interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    pub most: i64,
    pub interval: Micros,
}

/// Starts that are counted until `at` plus the interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Starts {
    pub at: Micros,
    pub count: i64,
}

impl Rate {
    fn bucket(&self) -> Micros {
        (self.interval / BUCKETS).max(SHORTEST_BUCKET)
    }

    /// What was claimed must have started after so long.
    pub fn leeway(&self) -> Micros {
        (self.interval / LEEWAY).max(SHORTEST_LEEWAY)
    }

    /// The stamp of what is claimed now.
    pub fn stamp(&self, now: Micros) -> Micros {
        let (bucket, last) = (self.bucket(), now.saturating_add(self.leeway()));
        last.div_euclid(bucket).saturating_add(1).saturating_mul(bucket)
    }

    /// Starts with stamps after this are counted now.
    pub fn since(&self, now: Micros) -> Micros {
        now.saturating_sub(self.interval)
    }

    /// The latest stamp that a claim can have made by now. A later one was made before the clock was set back.
    pub fn latest(&self, now: Micros) -> Micros {
        self.stamp(now).saturating_add(self.bucket())
    }

    /// How many may start now, with so many of claims that are still open.
    pub fn free(&self, now: Micros, starts: &[Starts], open: i64) -> i64 {
        let since = self.since(now);
        let counted: i64 = starts.iter().filter(|starts| starts.at > since).map(|starts| starts.count).sum();
        self.most - open - counted
    }

    /// When one more may start; now, if that is so already.
    pub fn room_at(&self, now: Micros, starts: &[Starts], open: i64) -> Micros {
        let mut free = self.free(now, starts, open);
        if free > 0 {
            return now;
        }
        let (since, latest) = (self.since(now), self.latest(now));
        let mut counted: Vec<Starts> = starts
            .iter()
            .filter(|starts| starts.at > since)
            // Upkeep will give it the time it has now.
            .map(|starts| Starts { at: if starts.at > latest { latest } else { starts.at }, ..*starts })
            .collect();
        counted.sort_unstable_by_key(|starts| starts.at);
        for starts in counted {
            free += starts.count;
            if free > 0 {
                let room = starts.at.saturating_add(self.interval);
                return if open > 0 { room.min(now.saturating_add(LOOK_AGAIN)) } else { room };
            }
        }
        now.saturating_add(LOOK_AGAIN)
    }

    /// The length of an epoch: the same for intervals that differ a little, so that they may change.
    pub fn epoch_length(&self) -> Micros {
        let longest = 1 << 61;
        let interval = self.interval.clamp(SHORTEST_EPOCH, longest);
        interval.unsigned_abs().next_power_of_two() as Micros
    }

    /// The epoch in which something with this stamp is counted while it is open.
    pub fn epoch(&self, stamp: Micros) -> Micros {
        stamp.div_euclid(self.epoch_length())
    }

    /// Epochs that may hold what is counted now.
    pub fn epochs(&self, now: Micros) -> std::ops::RangeInclusive<Micros> {
        // One before: a claim has its locks before it knows its stamp. One after: the clock may be set back a
        // little while claims are open.
        self.epoch(self.since(now)).saturating_sub(1)..=self.epoch(self.latest(now)).saturating_add(1)
    }
}

/// How many jobs a worker takes at a time: one at first, and after a batch that had to leave some.
pub fn next_size(size: i64, started: i64, left: i64, took: Micros, leeway: Micros) -> i64 {
    if left > 0 || took > leeway {
        1
    } else if started >= size && took < leeway / 2 {
        size.saturating_mul(2)
    } else {
        size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;
    const ONE: Rate = Rate { most: 1, interval: SECOND };

    /// Claims as early as is allowed, from `from` on, each of which starts at `late` of its leeway, until
    /// there are so many starts.
    fn run(rate: Rate, from: Micros, wanted: i64, late: impl Fn(usize) -> Micros) -> Vec<Micros> {
        let (mut now, mut rows, mut starts) = (from, Vec::new(), Vec::new());
        while (starts.len() as i64) < wanted {
            let free = rate.free(now, &rows, 0);
            for _ in 0..free {
                rows.push(Starts { at: rate.stamp(now), count: 1 });
                starts.push(now + late(starts.len()).min(rate.leeway()));
            }
            now = rate.room_at(now, &rows, 0).max(now + 1);
        }
        starts.sort_unstable();
        starts
    }

    fn most_in_any_window(starts: &[Micros], interval: Micros) -> usize {
        let within =
            |first: Micros| starts.iter().filter(|at| (first..first + interval).contains(*at)).count();
        starts.iter().map(|first| within(*first)).max().unwrap_or(0)
    }

    #[test]
    fn no_window_has_more_however_late_a_claim_starts() {
        for (most, interval) in [(1, SECOND), (3, SECOND), (10, 2 * SECOND), (7, 3), (2, 3600 * SECOND)] {
            for from in [0, 1, -5 * SECOND - 3, 800_000_000_123_456] {
                let rate = Rate { most, interval };
                for late in [0, 1, rate.leeway()] {
                    let starts = run(rate, from, 50, |_| late);
                    assert!(most_in_any_window(&starts, interval) <= most as usize);
                }
                let mixed = run(rate, from, 50, |n| if n % 3 == 0 { rate.leeway() } else { n as i64 });
                assert!(most_in_any_window(&mixed, interval) <= most as usize);
            }
        }
    }

    #[test]
    fn it_is_not_held_back_for_much_longer_than_the_interval() {
        let starts = run(ONE, 0, 10, |_| 0);
        for pair in starts.windows(2) {
            assert!((SECOND..=SECOND * 116 / 100).contains(&(pair[1] - pair[0])), "{pair:?}");
        }
    }

    #[test]
    fn the_edge_of_the_window() {
        let rows = [Starts { at: 10 * SECOND, count: 1 }];
        assert_eq!(ONE.free(11 * SECOND - 1, &rows, 0), 0);
        assert_eq!(ONE.free(11 * SECOND, &rows, 0), 1);
        assert_eq!(ONE.room_at(10 * SECOND, &rows, 0), 11 * SECOND);
        assert_eq!(ONE.room_at(11 * SECOND, &rows, 0), 11 * SECOND);
        assert_eq!(ONE.room_at(0, &[], 0), 0);
    }

    #[test]
    fn room_comes_when_enough_has_passed() {
        let rate = Rate { most: 3, interval: SECOND };
        let rows = [Starts { at: 30, count: 2 }, Starts { at: 10, count: 1 }, Starts { at: 20, count: 2 }];
        // Five are counted: three must go for one to start.
        assert_eq!(rate.free(100, &rows, 0), -2);
        assert_eq!(rate.room_at(100, &rows, 0), 20 + SECOND);
    }

    #[test]
    fn what_is_open_counts_and_is_looked_at_again() {
        let rate = Rate { most: 3, interval: 60 * SECOND };
        assert_eq!(rate.free(0, &[], 2), 1);
        assert_eq!(rate.room_at(0, &[], 3), LOOK_AGAIN);
        assert_eq!(rate.room_at(0, &[Starts { at: 5, count: 1 }], 2), LOOK_AGAIN);
    }

    #[test]
    fn a_clock_that_is_set_back_lets_no_more_start_and_holds_nothing_back_for_ever() {
        let rows = [Starts { at: 3600 * SECOND, count: 1 }];
        assert_eq!(ONE.free(0, &rows, 0), 0);
        assert!(rows[0].at > ONE.latest(0));
        let room = ONE.room_at(0, &rows, 0);
        assert!((SECOND..2 * SECOND).contains(&room), "{room}");
        assert!(ONE.stamp(77) <= ONE.latest(77));
    }

    #[test]
    fn open_claims_are_found_as_long_as_they_count() {
        for interval in [1, SECOND, 3 * SECOND, 86_400 * SECOND] {
            let rate = Rate { most: 5, interval };
            for claimed in [0, 999_999, 1 << 40, -17] {
                let stamp = rate.stamp(claimed);
                let epoch = rate.epoch(stamp);
                for now in [claimed, claimed + rate.leeway(), stamp, stamp + interval - 1] {
                    assert!(rate.epochs(now).contains(&epoch));
                }
                assert!(rate.epochs(claimed).count() <= 6);
                assert!(!rate.epochs(stamp + interval + 3 * rate.epoch_length()).contains(&epoch));
            }
        }
    }

    #[test]
    fn nothing_overflows() {
        let rate = Rate { most: 1_000_000, interval: i64::MAX / 4 };
        let rows = [Starts { at: i64::MAX - 1, count: 1_000_000 }];
        assert!(rate.room_at(0, &rows, 0) > 0);
        assert!(rate.epoch_length() > 0);
        assert!(rate.epochs(0).count() <= 6);
        rate.stamp(i64::MAX - 1);
    }

    #[test]
    fn a_worker_takes_one_until_it_is_known_how_long_they_take() {
        assert_eq!(next_size(1, 1, 0, 10, 100), 2);
        assert_eq!(next_size(8, 8, 0, 60, 100), 8);
        assert_eq!(next_size(8, 3, 0, 10, 100), 8);
        assert_eq!(next_size(8, 8, 0, 160, 100), 1);
        assert_eq!(next_size(8, 2, 6, 10, 100), 1);
    }
}
