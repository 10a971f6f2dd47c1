//! Tests of the whole engine, on the real file system and on the simulated disk.
#![allow(clippy::unwrap_used)]

mod basics;
mod crash;
mod faults;
mod limits;
mod metamorphic;
mod repair;
mod strategies;
mod stress;
mod submit;
mod support;
mod sweep;
