//! Randomized schedules: the real database with its own threads on the simulated disk, under a scheduler that decides at
//! every lock, wait, shared cell and file system call which thread goes on. Built only with the feature `shuttle` and
//! run by `cargo test -p esker --features shuttle --release -- shuttle`.
//!
//! `ESKER_SHUTTLE_ITERATIONS` says how many schedules each scenario tries under each scheduler. A failure prints its
//! seed (run it alone with `ESKER_SHUTTLE_SEED`) and its schedule (put it in a file, name that in
//! `ESKER_SHUTTLE_REPLAY`, and run the one test). Shuttle explores schedules, not reorderings of memory: every atomic
//! operation is sequentially consistent here, whatever ordering it names.

mod closing;
mod commits;
mod files;
mod harness;
mod ingests;
mod panics;
#[cfg(feature = "mutants")]
mod planted;
mod transactions;
mod views;
mod works;
