//! The pure modules of queue_ext, compiled without the rest: their unit tests stand in the modules
//! themselves. They cannot run in the extension's own crate, which links only inside a server.
#![allow(dead_code)]

#[path = "../../../src/run/balance.rs"]
mod balance;
#[path = "../../../src/schedule/cron.rs"]
mod cron;
#[path = "../../../src/enqueue/expected.rs"]
mod expected;
#[path = "../../../src/claim/floor.rs"]
mod floor;
#[cfg(test)]
mod floor_storm;
#[path = "../../../src/queue/limits.rs"]
mod limits;
#[path = "../../../src/worker/names.rs"]
mod names;
#[path = "../../../src/lease/object.rs"]
mod object;
#[path = "../../../src/run/outcome.rs"]
mod outcome;
#[path = "../../../src/topics/pattern.rs"]
mod pattern;
#[path = "../../../src/limit/position.rs"]
mod position;
#[path = "../../../src/resync/span.rs"]
mod span;
#[path = "../../../src/enqueue/spec.rs"]
mod spec;
#[path = "../../../src/spin.rs"]
mod spin;
#[path = "../../../src/claim/telling.rs"]
mod telling;
#[cfg(test)]
mod telling_storm;
#[path = "../../../src/after/waits.rs"]
mod waits;
#[path = "../../../src/keys/wanted.rs"]
mod wanted;
#[path = "../../../src/limit/window.rs"]
mod window;
