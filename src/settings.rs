//! Every setting (GUC), all under `queue_ext.`. Private statics with getters.

use crate::pg::time::Micros;
use crate::worker::names;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PgLogLevel, PostgresGucEnum};
use std::ffi::CString;

/// At which level a failed attempt is reported in the server log.
#[derive(PostgresGucEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureLevel {
    #[name = c"none"]
    None,
    #[name = c"debug1"]
    Debug1,
    #[name = c"log"]
    Log,
    #[name = c"warning"]
    Warning,
}

impl FailureLevel {
    pub fn as_log_level(self) -> Option<PgLogLevel> {
        match self {
            FailureLevel::None => None,
            FailureLevel::Debug1 => Some(PgLogLevel::DEBUG1),
            FailureLevel::Log => Some(PgLogLevel::LOG),
            FailureLevel::Warning => Some(PgLogLevel::WARNING),
        }
    }
}

static DATABASES: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c"*"));
static MAX_WORKERS: GucSetting<i32> = GucSetting::<i32>::new(4);
static POLL_INTERVAL_MS: GucSetting<i32> = GucSetting::<i32>::new(5_000);
static WORKER_IDLE_TIMEOUT_MS: GucSetting<i32> = GucSetting::<i32>::new(60_000);
static BATCH_TARGET_MS: GucSetting<i32> = GucSetting::<i32>::new(50);
static MAX_PAYLOAD_KB: GucSetting<i32> = GucSetting::<i32>::new(16 * 1024);
static KEEP_RESULTS_S: GucSetting<i32> = GucSetting::<i32>::new(3_600);
static LOG_FAILED_JOBS: GucSetting<FailureLevel> = GucSetting::<FailureLevel>::new(FailureLevel::Log);
static TEST_CLOCK: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(Some(c""));

pub fn register() {
    GucRegistry::define_string_guc(
        c"queue_ext.databases",
        c"Databases whose queues are served by background workers.",
        c"Comma-separated names; * serves every database that has the extension; empty serves none.",
        &DATABASES,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"queue_ext.max_workers",
        c"Most workers that process jobs at the same time, over all databases.",
        c"Each takes one of max_worker_processes, as do the launcher and one scheduler for each database.",
        &MAX_WORKERS,
        0,
        crate::worker::shared::MAX_WORKERS as i32,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"queue_ext.poll_interval",
        c"How often queues are looked at without having been woken.",
        c"The safety net under the wake-up at commit: covers COMMIT PREPARED and rows written by logical replication.",
        &POLL_INTERVAL_MS,
        1_000,
        3_600_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"queue_ext.worker_idle_timeout",
        c"After so long without work a worker ends, unless it is the last of its role.",
        c"",
        &WORKER_IDLE_TIMEOUT_MS,
        100,
        86_400_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"queue_ext.batch_target",
        c"How long one batch of a load-balanced queue should take.",
        c"",
        &BATCH_TARGET_MS,
        1,
        60_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    GucRegistry::define_int_guc(
        c"queue_ext.max_payload",
        c"Largest payload that enqueue accepts.",
        c"",
        &MAX_PAYLOAD_KB,
        1,
        255 * 1024,
        GucContext::Suset,
        GucFlags::UNIT_KB,
    );
    GucRegistry::define_int_guc(
        c"queue_ext.keep_results",
        c"How long a result that was asked for is kept where the queue keeps no done jobs.",
        c"Of jobs enqueued with keep_result, and of those of queue.call whose caller did not wait for the end.",
        &KEEP_RESULTS_S,
        1,
        31_536_000,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_enum_guc(
        c"queue_ext.log_failed_jobs",
        c"Level at which a failed attempt is written to the server log.",
        c"",
        &LOG_FAILED_JOBS,
        GucContext::Sighup,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"queue_ext.test_clock",
        c"For tests only: the time that schedules take it to be.",
        c"Empty: the time it is. Only what a schedule's ticks depend on reads it.",
        &TEST_CLOCK,
        GucContext::Suset,
        GucFlags::default(),
    );
}

/// Does `queue_ext.databases` name this database?
pub fn serves_database(name: &str) -> bool {
    DATABASES.get().is_some_and(|list| names::lists(&list.to_string_lossy(), name))
}

pub fn max_workers() -> usize {
    MAX_WORKERS.get().max(0) as usize
}

pub fn poll_interval_ms() -> i64 {
    i64::from(POLL_INTERVAL_MS.get())
}

pub fn worker_idle_timeout_ms() -> i64 {
    i64::from(WORKER_IDLE_TIMEOUT_MS.get())
}

pub fn batch_target_ms() -> f64 {
    f64::from(BATCH_TARGET_MS.get())
}

pub fn max_payload_bytes() -> usize {
    MAX_PAYLOAD_KB.get() as usize * 1024
}

pub fn keep_results() -> Micros {
    Micros::from(KEEP_RESULTS_S.get()) * 1_000_000
}

pub fn log_failed_jobs() -> FailureLevel {
    LOG_FAILED_JOBS.get()
}

/// What a test says the time is; empty, if none does.
pub fn test_clock() -> CString {
    TEST_CLOCK.get().unwrap_or_default()
}
