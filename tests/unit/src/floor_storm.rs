//! The floor's protocol under threads: rows that become claimable in any order, claims that are rolled back,
//! snapshots taken in between. Rows are cells of an array; a snapshot is a copy of them. What is claimable in
//! the end, a claim from the floor must find.

use crate::floor::{ALL, Floors, NONE, include};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::SeqCst};
use std::time::{SystemTime, UNIX_EPOCH};

/// Few, and many rounds: what was hidden must not be uncovered by a later lowering.
const ROUNDS: u64 = 3_000;
const ROWS: usize = 30;
const CLAIMERS: u64 = 2;
const ENQUEUERS: u64 = 2;
const PRIORITY: i32 = 5;

const ABSENT: u8 = 0;
const CLAIMABLE: u8 = 1;
const HELD: u8 = 2;
const GONE: u8 = 3;

/// Enough of a generator for a test (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

struct World {
    floors: Floors,
    rows: Vec<AtomicU8>,
    gone: AtomicUsize,
}

impl World {
    fn lower(&self, id: usize) {
        let mut keys = NONE;
        include(&mut keys, PRIORITY, id as i64);
        self.floors.lower(&keys);
    }

    /// Claims up to `limit` rows as `Ready::take` does; returns how many it took.
    fn claim(&self, limit: usize, dice: &mut Dice) -> usize {
        let reading = self.floors.begin();
        let start = reading.floor[PRIORITY as usize].max(1);
        let snapshot: Vec<u8> = self.rows.iter().map(|row| row.load(SeqCst)).collect();
        if dice.roll(4) == 0 {
            std::thread::yield_now();
        }
        let (mut mine, mut reached) = (Vec::new(), i64::MAX);
        for (id, seen) in snapshot.iter().enumerate().skip(usize::try_from(start).unwrap_or(usize::MAX)) {
            // Seen by the snapshot: there, whoever may hold it now.
            let is_visible = matches!(*seen, CLAIMABLE | HELD);
            if is_visible && self.rows[id].compare_exchange(CLAIMABLE, HELD, SeqCst, SeqCst).is_ok() {
                mine.push(id);
            }
            if mine.len() >= limit {
                reached = id as i64 + 1;
                break;
            }
        }
        let mut keys = ALL;
        keys[PRIORITY as usize] = reached;
        self.floors.finish(&reading, &keys, &ALL);
        if dice.roll(3) == 0 {
            // Rolled back: claimable first, then the floor.
            mine.iter().for_each(|id| self.rows[*id].store(CLAIMABLE, SeqCst));
            if let Some(first) = mine.first() {
                self.lower(*first);
            }
            return 0;
        }
        mine.iter().for_each(|id| self.rows[*id].store(GONE, SeqCst));
        self.gone.fetch_add(mine.len(), SeqCst);
        mine.len()
    }
}

#[test]
fn nothing_stays_hidden() {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64) | 1;
    println!("seed {seed}");
    for round in 0..ROUNDS {
        let world = World {
            floors: Floors::default(),
            rows: (0..ROWS).map(|_| AtomicU8::new(ABSENT)).collect(),
            gone: AtomicUsize::new(0),
        };
        std::thread::scope(|scope| {
            for number in 0..ENQUEUERS {
                let world = &world;
                scope.spawn(move || {
                    let mut dice = Dice(seed.wrapping_mul(2 * number + 3) ^ round);
                    // Its own ids, mostly in order, some late.
                    let mut late = Vec::new();
                    for id in (1 + number as usize..ROWS).step_by(ENQUEUERS as usize) {
                        if dice.roll(5) == 0 {
                            late.push(id);
                            continue;
                        }
                        world.rows[id].store(CLAIMABLE, SeqCst);
                        world.lower(id);
                        if dice.roll(3) == 0 {
                            std::thread::yield_now();
                        }
                        if dice.roll(8) == 0
                            && let Some(id) = late.pop()
                        {
                            world.rows[id].store(CLAIMABLE, SeqCst);
                            world.lower(id);
                        }
                    }
                    for id in late {
                        world.rows[id].store(CLAIMABLE, SeqCst);
                        world.lower(id);
                    }
                });
            }
            for number in 0..CLAIMERS {
                let world = &world;
                scope.spawn(move || {
                    let mut dice = Dice(seed.wrapping_mul(2 * number + 5) ^ (round << 8));
                    for _ in 0..6 {
                        let limit = 1 + dice.roll(20) as usize;
                        world.claim(limit, &mut dice);
                    }
                });
            }
        });
        let mut dice = Dice(seed);
        let mut idle = 0;
        while idle < 20 {
            idle = if world.claim(100, &mut dice) == 0 { idle + 1 } else { 0 };
        }
        assert_eq!(world.gone.load(SeqCst), ROWS - 1, "hidden rows; seed {seed}, round {round}");
    }
}
