//! queue_ext: turns a Postgres database into its own job queue.
//!
//! A job's way: [`enqueue`] → a queue's table ([`queue`]) → [`wake`] → [`claim`] → [`run`] (inside, by the
//! processes of [`worker`]) or [`lease`] (for clients outside) → [`finish`] → [`history`]. [`upkeep`] is what time does
//! meanwhile. All unsafe code is in [`pg`]. What users call is declared, documented and granted in sql/.
#![deny(unsafe_code)]

pub mod admin;
pub mod after;
pub mod claim;
pub mod correlation;
pub mod enqueue;
pub mod error;
pub mod finish;
pub mod group;
pub mod history;
pub mod kept;
pub mod keys;
pub mod lease;
pub mod limit;
pub mod pg;
pub mod queue;
pub mod reply;
pub mod resync;
pub mod run;
pub mod schedule;
pub mod settings;
pub mod shown;
mod spin;
pub mod topics;
pub mod upkeep;
pub mod wait;
pub mod wake;
pub mod worker;

use pgrx::prelude::*;

pgrx::pg_module_magic!(name, version);

extension_sql_file!("../sql/01_schema.sql", name = "schema", bootstrap);
extension_sql_file!("../sql/02_types.sql", name = "types", requires = ["schema"]);
extension_sql_file!("../sql/03_tables.sql", name = "tables", requires = ["types"]);
extension_sql_file!("../sql/04_make.sql", name = "make", requires = ["tables"]);
extension_sql_file!("../sql/05_put.sql", name = "put", requires = ["make"]);
extension_sql_file!("../sql/06_keys.sql", name = "keys", requires = ["put"]);
extension_sql_file!("../sql/07_schedules.sql", name = "schedules", requires = ["keys"]);
extension_sql_file!("../sql/08_topics.sql", name = "topics", requires = ["schedules"]);
extension_sql_file!("../sql/09_resync.sql", name = "resync", requires = ["topics"]);
extension_sql_file!("../sql/10_take.sql", name = "take", requires = ["resync"]);
extension_sql_file!("../sql/11_process.sql", name = "process", requires = ["take"]);
extension_sql_file!("../sql/12_reply.sql", name = "reply", requires = ["process"]);
extension_sql_file!("../sql/13_admin.sql", name = "admin", requires = ["reply"]);
extension_sql_file!("../sql/14_see.sql", name = "see", requires = ["admin"]);
extension_sql_file!("../sql/15_upkeep.sql", name = "upkeep", requires = ["see"]);
extension_sql_file!("../sql/16_grants.sql", name = "grants", requires = ["upkeep"]);

/// Called when the library is loaded: by the postmaster if preloaded, else by each session that uses it.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    pg::backtrace::switch_off();
    settings::register();
    // Under pg_upgrade nothing may be connected, woken or written by us.
    if pg::shmem::is_binary_upgrade() {
        return;
    }
    pg::hooks::install(&worker::control::LISTENERS);
    pg::planned::install(&enqueue::planned::LISTENERS, enqueue::planned::LEFT_OUT);
    if pg::shmem::is_preloading() {
        pg::shmem::register();
        worker::launcher::register();
    }
}
