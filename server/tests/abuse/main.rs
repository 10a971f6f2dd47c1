//! The real server process under abuse. Every test attacks a server of its own while a probe writes and reads
//! items through it, and asserts four things: the error or the close that the attack must get, a bound on the
//! server's memory, that every request of the probe was answered right during the attack, and that the server works
//! afterwards and ends cleanly when it is told to. No test depends on how long anything takes.
//!
//! `ESKER_ABUSE_LONG=1` makes the attacks larger.

#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "tests wait for a process and read its log")]

#[path = "../support/mod.rs"]
mod support;

mod cut;
mod flood;
mod framing;
mod payload;
mod response;
mod shutdown;
mod slow;
mod victim;
