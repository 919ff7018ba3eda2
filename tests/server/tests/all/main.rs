//! Everything that needs a running server and real clients: one module a topic.

mod audit;
mod balance;
mod crash;
mod culprit;
mod databases;
mod dump;
mod extension;
mod failure;
mod fixture;
mod harness;
mod interrupt;
mod lease;
mod light;
mod nopreload;
mod pgbouncer;
mod review;
mod roles;
mod room;
mod schedule;
mod slots;
mod standby;
mod untyped;
mod upkeep;
mod wait;
mod wake;
mod workers;
