//! The only place with unsafe code and with differences between Postgres versions. Everything here
//! offers a safe interface to the rest of the crate; each `unsafe` states why it holds.
//!
//! Ground rules that all of it relies on:
//! - A backend has one thread. Statics here are touched by that thread only, except for what lies in
//!   shared memory, which is atomics throughout.
//! - pgrx turns a Postgres ERROR inside any `pg_sys` call into a Rust panic, so destructors run, and
//!   turns the panic back into an ERROR at the edge (`#[pg_guard]`). Only loops over rows call Postgres
//!   without that, under one guard for all of the loop: see `guard`.
#![allow(unsafe_code)]

pub mod array;
pub mod backtrace;
pub mod bgworker;
pub mod cache;
pub mod catalog;
mod cells;
pub mod dest;
pub mod entry;
pub mod failure;
pub mod feed;
pub mod group;
pub mod guard;
pub mod held;
pub mod hint;
pub mod hooks;
mod indexes;
pub mod insert;
pub mod interrupt;
pub mod json;
pub mod latch;
pub mod leased;
pub mod lock;
pub mod lookup;
pub mod parse;
pub mod partitions;
pub mod passing;
pub mod planned;
pub mod put_node;
pub mod raise;
mod raw;
pub mod ready;
pub mod relation;
pub mod role;
pub mod row;
pub mod rows;
pub mod scan;
pub mod scratch;
pub mod shmem;
pub mod simple;
pub mod spi;
pub mod srf;
pub mod stored;
pub mod sweep;
pub mod time;
pub mod trigger;
pub mod xact;

pub use pgrx::pg_sys::{Datum, Oid};
