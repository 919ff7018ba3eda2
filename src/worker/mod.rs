//! The processes: one launcher, one scheduler for each database that has the extension, and workers
//! connected as the roles that registered processors.
//!
//! ```text
//!   postmaster ── launcher (no database) ──starts──▶ scheduler (a database, superuser)
//!                                                       │ reads configuration, minds the time,
//!                                                       │ decides how many workers
//!                                                       └──starts──▶ worker (a database, a role)
//!                                                                      runs batches; sleeps on its latch
//! ```
//!
//! Only workers touch queues and run users' code. The scheduler is superuser and therefore only reads.

pub mod activity;
pub mod cancel;
mod cancels;
pub mod careful;
pub mod configuration;
pub mod control;
pub mod ending;
mod giving_way;
pub mod launcher;
pub mod looking;
pub mod main_loop;
pub mod names;
pub mod polling;
pub mod scheduler;
pub mod shared;
pub mod slots;
pub mod staffing;
pub mod turn;
pub mod unshared;
pub mod waking;
pub mod watching;

/// Whose process this is, for log lines and the like.
pub const LAUNCHER: &str = "queue_ext launcher";
pub const SCHEDULER: &str = "queue_ext scheduler";
pub const WORKER: &str = "queue_ext worker";
