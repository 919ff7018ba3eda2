//! What all sessions of a run share: the server, when to stop, what was found wrong.

use postgres::{Client, Error};
use queue_ext_server_tests::Rng;
use queue_ext_server_tests::Server;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// Written by clients, by plain transactions only: callbacks hear of everything that happens to it.
pub const COVERED: &str = "covered";
/// Also by what no callback covers: two-phase commit, ids and changes by hand.
pub const UNCOVERED: &str = "uncovered";
/// By logical replication.
pub const REPLICATED: &str = "replicated";
/// Has a processor.
pub const WORKED: &str = "worked";
pub const QUEUES: [&str; 4] = [COVERED, UNCOVERED, REPLICATED, WORKED];

/// Above so many waiting jobs a queue gets no more for a while: its claimers are to be hungry.
const ENOUGH: i64 = 500;

/// What the sessions know of a queue.
pub struct Hunger {
    /// Claims that brought less than they asked for.
    pub short: AtomicI64,
    /// Jobs waiting when the observer looked last.
    pub waiting: AtomicI64,
    last_found: Mutex<Instant>,
}

pub struct World<'a> {
    pub server: &'a Server,
    pub seed: u64,
    began: Instant,
    /// No more jobs are put.
    pub drain: AtomicBool,
    pub stop: AtomicBool,
    hunger: BTreeMap<&'static str, Hunger>,
    failures: Mutex<Vec<String>>,
    done: Mutex<BTreeMap<&'static str, u64>>,
}

impl World<'_> {
    pub fn new(server: &Server, seed: u64) -> World<'_> {
        let hunger = || Hunger {
            short: AtomicI64::new(0),
            waiting: AtomicI64::new(0),
            last_found: Mutex::new(Instant::now()),
        };
        World {
            server,
            seed,
            began: Instant::now(),
            drain: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            hunger: QUEUES.into_iter().map(|queue| (queue, hunger())).collect(),
            failures: Mutex::new(Vec::new()),
            done: Mutex::new(BTreeMap::new()),
        }
    }

    pub fn hunger(&self, queue: &str) -> &Hunger {
        &self.hunger[queue]
    }

    pub fn is_fed(&self, queue: &str) -> bool {
        self.hunger(queue).waiting.load(SeqCst) >= ENOUGH
    }

    /// All enqueuers like the same one for a while, and then leave it alone for longer than a safety scan is
    /// away: what was hidden in the rush is not brought to light by chance.
    pub fn priority_of_the_moment(&self) -> i64 {
        (self.began.elapsed().as_millis() / 250 % 10) as i64
    }

    /// A claim of `asked` jobs brought `got`.
    pub fn claimed(&self, queue: &str, asked: i64, got: usize) {
        let hunger = self.hunger(queue);
        if got > 0 {
            *hunger.last_found.lock().unwrap() = Instant::now();
        }
        if (got as i64) < asked {
            hunger.short.fetch_add(1, SeqCst);
        }
    }

    /// How long claims have found nothing at all.
    pub fn quiet_for(&self, queue: &str) -> Duration {
        self.hunger(queue).last_found.lock().unwrap().elapsed()
    }

    pub fn fail(&self, what: String) {
        self.failures.lock().unwrap().push(what);
        self.stop.store(true, SeqCst);
    }

    pub fn has_failed(&self) -> bool {
        !self.failures.lock().unwrap().is_empty()
    }

    /// Everything found wrong, and the seed.
    pub fn verdict(&self) {
        let failures = self.failures.lock().unwrap();
        assert!(failures.is_empty(), "QUEUE_EXT_SEED={}\n{}", self.seed, failures.join("\n"));
    }

    /// For the sum at the end: that everything was done, and how often.
    pub fn count(&self, what: &'static str) {
        *self.done.lock().unwrap().entry(what).or_default() += 1;
    }

    pub fn summary(&self) -> String {
        let done = self.done.lock().unwrap();
        done.iter().map(|(what, times)| format!("{what} {times}")).collect::<Vec<_>>().join(", ")
    }

    /// Sleeps, but not beyond the end of the run.
    pub fn sleep(&self, milliseconds: i64) {
        let end = Instant::now() + Duration::from_millis(milliseconds as u64);
        while Instant::now() < end && !self.stop.load(SeqCst) {
            thread::sleep((end - Instant::now()).min(Duration::from_millis(50)));
        }
    }

    /// A session's life: one turn after another, each on a connection that is in no transaction. A turn
    /// ends with whatever error an attack may cause; any other is a failure of the test.
    pub fn live(
        &self,
        name: &str,
        number: u64,
        until: &AtomicBool,
        mut turn: impl FnMut(&mut Client, &mut Rng) -> Result<(), Error>,
    ) {
        let mut rng = Rng::of(self.seed, number);
        let mut client = None;
        while !until.load(SeqCst) && !self.stop.load(SeqCst) {
            let db = client.get_or_insert_with(|| self.connect(name, "shop"));
            let Err(error) = turn(db, &mut rng) else { continue };
            if db.is_closed() || attacked(&error) {
                self.count("ended by an error");
            } else {
                self.fail(format!("{name} {number}: {}", tell(&error)));
            }
            if !clean(db) {
                client = None;
            }
        }
    }

    pub fn connect(&self, name: &str, database: &str) -> Client {
        let mut db = self.server.reconnect(database);
        // An attack may come this early, too.
        let _ = db.batch_execute(&format!("SET application_name = '{name}'"));
        db
    }
}

/// Cancelled, timed out, terminated, or told to try again at REPEATABLE READ.
fn attacked(error: &Error) -> bool {
    error.code().is_some_and(|code| ["57014", "57P01", "40001"].contains(&code.code()))
}

/// Ends whatever transaction the session is in, over any attack; false when it is gone.
fn clean(db: &mut Client) -> bool {
    while !db.is_closed() {
        if db.batch_execute("ROLLBACK").is_ok() {
            return true;
        }
    }
    false
}

pub fn tell(error: &Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{}: {} ({:?})", db.code().code(), db.message(), db.where_()),
        None => error.to_string(),
    }
}
