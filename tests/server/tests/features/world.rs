//! What the actors share: the server, the end of the run, and what was found wrong.

use postgres::{Client, Error};
use queue_ext_server_tests::{Rng, Server};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

pub struct World<'a> {
    pub server: &'a Server,
    pub seed: u64,
    /// Nothing new is put any more.
    pub calm: AtomicBool,
    /// All is over.
    pub stop: AtomicBool,
    tokens: AtomicI64,
    failures: Mutex<Vec<String>>,
    done: Mutex<BTreeMap<&'static str, u64>>,
}

/// Not by eprintln!: that is only shown when a test fails.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "features: {text}");
}

impl World<'_> {
    pub fn new(server: &Server, seed: u64) -> World<'_> {
        World {
            server,
            seed,
            calm: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            tokens: AtomicI64::new(1),
            failures: Mutex::default(),
            done: Mutex::default(),
        }
    }

    pub fn token(&self) -> i64 {
        self.tokens.fetch_add(1, SeqCst)
    }

    pub fn fail(&self, what: String) {
        self.failures.lock().unwrap().push(what);
        self.calm.store(true, SeqCst);
    }

    /// Everything found wrong, and the seed.
    pub fn verdict(&self) {
        let failures = self.failures.lock().unwrap();
        assert!(failures.is_empty(), "QUEUE_EXT_SEED={}\n{}", self.seed, failures.join("\n"));
    }

    pub fn count(&self, what: &'static str) {
        *self.done.lock().unwrap().entry(what).or_default() += 1;
    }

    pub fn summary(&self) -> String {
        let done = self.done.lock().unwrap();
        done.iter().map(|(what, times)| format!("{what} {times}")).collect::<Vec<_>>().join(", ")
    }

    /// Sleeps, but not beyond the end of the run.
    pub fn sleep(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end && !self.calm.load(SeqCst) {
            thread::sleep((end - Instant::now()).min(Duration::from_millis(20)));
        }
    }

    /// A session's life: one turn after the other, on a connection that is in no transaction. A turn may end
    /// with what kills and crashes cause; any other error is a failure of the test.
    pub fn live(
        &self,
        number: u64,
        until: &AtomicBool,
        mut turn: impl FnMut(&mut Client, &mut Rng) -> Result<&'static str, Error>,
    ) {
        let mut rng = Rng::of(self.seed, number);
        let mut client: Option<Client> = None;
        while !until.load(SeqCst) {
            let db = client.get_or_insert_with(|| self.server.reconnect("shop"));
            match turn(db, &mut rng) {
                Ok(what) => self.count(what),
                Err(error) => {
                    let attacked =
                        db.is_closed() || error.code().is_none_or(|code| EXPECTED.contains(&code.code()));
                    if attacked {
                        self.count("ended by a kill or a crash");
                    } else {
                        self.fail(format!("actor {number}: {}", tell(&error)));
                    }
                    client = None;
                }
            }
        }
    }
}

/// Cancelled, terminated, crashed, starting up or shutting down; two updates of objects in each other's way.
const EXPECTED: [&str; 6] = ["57014", "57P01", "57P02", "57P03", "40001", "40P01"];

pub fn tell(error: &Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{}: {} ({:?})", db.code().code(), db.message(), db.where_()),
        None => error.to_string(),
    }
}
