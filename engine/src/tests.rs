//! Tests of the whole engine, on the real file system and on the simulated disk.
#![allow(clippy::unwrap_used)]

mod background;
mod basics;
mod closing;
mod coverage_open;
mod coverage_repair;
mod coverage_repair_faults;
mod coverage_support;
mod crafted;
mod crash;
mod faults;
mod fixtures;
mod full_disk;
mod in_doubt;
mod ingest;
mod limits;
mod manifest;
mod metamorphic;
mod ranges;
mod recycling;
mod repair;
mod replay;
#[cfg(feature = "shuttle")]
mod shuttle;
mod spare;
mod strategies;
mod stress;
mod submit;
mod support;
mod sweep;
mod values;
mod values_faults;
