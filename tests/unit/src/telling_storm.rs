//! Who asks whether anybody is about to lower the floor, and hears that nobody is, sees from the floor on all that
//! had been committed by then. Rows are cells of an array, one transaction each; a snapshot is a copy of them.

use crate::floor::{ALL, Floors, NONE, include};
use crate::telling::Telling;
use std::sync::RwLock;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::yield_now;

const ROUNDS: usize = 2_000;
const ROWS: usize = 40;
const ENQUEUERS: usize = 3;
const CLAIMERS: usize = 3;
const PRIORITY: i32 = 5;

#[derive(Clone, Copy, PartialEq)]
enum Row {
    Absent,
    Claimable,
    Gone,
}

/// What a snapshot shows, and how many transactions have ended: they change together.
struct Visible {
    rows: [Row; ROWS],
    ended: usize,
}

struct World {
    floors: Floors,
    telling: Telling,
    visible: RwLock<Visible>,
    /// Ids are given before the commit, and not in its order.
    next: AtomicUsize,
    /// Times that it was quiet.
    quiet: AtomicUsize,
}

/// Lets others go on, now more, now less.
fn pause(number: usize) {
    (0..number % 3).for_each(|_| yield_now());
}

impl World {
    fn enqueue(&self) -> bool {
        let id = self.next.fetch_add(1, SeqCst);
        if id >= ROWS {
            return false;
        }
        pause(id);
        self.telling.begin();
        {
            let mut visible = self.visible.write().unwrap();
            visible.rows[id] = Row::Claimable;
            visible.ended += 1;
        }
        pause(id / 3);
        let mut keys = NONE;
        include(&mut keys, PRIORITY, id as i64);
        self.floors.lower(&keys);
        self.telling.end();
        true
    }

    fn claim(&self) {
        let ended = self.visible.read().unwrap().ended;
        let is_quiet = self.telling.is_quiet();
        pause(ended);
        let reading = self.floors.begin();
        pause(ended / 2);
        let floor = usize::try_from(reading.floor[PRIORITY as usize]).unwrap().min(ROWS);
        let mut visible = self.visible.write().unwrap();
        if is_quiet && visible.ended == ended {
            self.quiet.fetch_add(1, SeqCst);
            let hidden = visible.rows[..floor].iter().position(|row| *row == Row::Claimable);
            assert_eq!(hidden, None, "below the floor at {floor}");
        }
        // Takes all from the floor on.
        let mut last = floor;
        for (id, row) in visible.rows.iter_mut().enumerate().skip(floor) {
            if *row == Row::Claimable {
                *row = Row::Gone;
                last = id + 1;
            }
        }
        // What has changed nothing is not counted.
        visible.ended += usize::from(last > floor);
        drop(visible);
        let mut reached = ALL;
        reached[PRIORITY as usize] = last as i64;
        self.floors.finish(&reading, &reached, &ALL);
    }
}

#[test]
fn where_it_is_quiet_the_floor_shows_all() {
    let mut quiet = 0;
    for _ in 0..ROUNDS {
        let world = World {
            floors: Floors::default(),
            telling: Telling::default(),
            visible: RwLock::new(Visible { rows: [Row::Absent; ROWS], ended: 0 }),
            next: AtomicUsize::new(0),
            quiet: AtomicUsize::new(0),
        };
        std::thread::scope(|scope| {
            for _ in 0..ENQUEUERS {
                scope.spawn(|| while world.enqueue() {});
            }
            for _ in 0..CLAIMERS {
                scope.spawn(|| {
                    while world.next.load(SeqCst) < ROWS {
                        world.claim();
                        yield_now();
                    }
                });
            }
        });
        assert!(world.telling.is_quiet());
        quiet += world.quiet.load(SeqCst);
    }
    assert!(quiet > 0, "it was never quiet");
}
