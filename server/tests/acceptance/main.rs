//! What an application written against the service relies on and what imitations get wrong, sentence by sentence, over
//! the wire against the real binary: one file for each subject. Everything here is what a client sees; messages are
//! compared in the part that says what is wrong. Must never reach beyond loopback.

#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "tests wait for a table to be filled")]

#[path = "../support/mod.rs"]
mod support;
mod wire;

mod capacity;
mod expressions;
mod index_keys;
mod items;
mod numbers;
mod paging;
mod paths;
mod reads;
mod requests;
mod sets;
mod tables;
mod transactions;
mod updates;
