//! Esker on disks that fail: whole-engine runs on simulated and real ones, and the figures that they print.
//!
//! The binary `esker-sim` runs the checks in [`checks`]; each explores one kind of fault and reports what it has counted
//! and found. Everything follows from a seed, so a finding can be had again; see [`replay`].

#![deny(unsafe_code)]

#[expect(unsafe_code, reason = "an allocator is unsafe to implement")]
pub mod allocation;
pub mod checks;
pub mod corruption;
pub mod errors;
pub mod exhaustive;
pub mod groups;
mod history;
pub mod items;
pub mod kernel;
pub mod linearizability;
pub mod lives;
pub mod lying;
mod machine;
pub mod metamorphic;

pub mod mutants;
mod parallel;
mod policy_text;
pub mod replay;
pub mod report;
mod rng;

pub use machine::{Machine, small};
pub use rng::Rng;
