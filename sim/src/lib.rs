//! Esker on disks that fail: whole-engine runs on simulated and real ones, and the figures that they print.
//!
//! The binary `esker-sim` runs the checks in [`checks`]; each explores one kind of fault and reports what it has counted
//! and found. Everything follows from a seed, so a finding can be had again; see [`replay`].
//!
//! # For the tests of a service
//!
//! A [`Machine`] is a computer whose power can fail, for whatever runs on Esker: add `esker-sim` to the
//! dev-dependencies, give the service a database on [`Machine::world`], cut the power, and look at what is left. The
//! moment is chosen with [`Machine::cut_power_at`] or [`Machine::cut_power_within`], what survives with a
//! [`CrashPolicy`]: everything, nothing, or any part that an ordered file system, POSIX or a hostile disk may leave. Syncs
//! fail in the three ways of [`SyncFailure`]. Equal seeds make equal calls, which [`Machine::trace_hash`] shows.
//!
//! Every moment of a small piece of work can be tried, one after the other:
//!
//! ```
//! use esker_sim::{CrashPolicy, Machine};
//!
//! /// The piece of work: both accounts or none.
//! fn transfer(db: &esker::Db) -> esker::Result<()> {
//!     let accounts = db.keyspace("accounts")?;
//!     let mut batch = db.batch();
//!     batch.put(&accounts, b"alice", b"5");
//!     batch.put(&accounts, b"bob", b"15");
//!     db.write(batch)
//! }
//!
//! # fn main() -> esker::Result<()> {
//! for policy in [CrashPolicy::DropAll, CrashPolicy::KeepAll, CrashPolicy::Posix] {
//!     for call in 0.. {
//!         let mut machine = Machine::new(7);
//!         machine.cut_power_at(call);
//!         let confirmed = machine.open("/data").and_then(|db| transfer(&db)).is_ok();
//!         let is_over = !machine.power_is_off();
//!         machine.restart(policy);
//!         let accounts = machine.open("/data")?.keyspace("accounts")?;
//!         let found = [accounts.get(b"alice")?.is_some(), accounts.get(b"bob")?.is_some()];
//!         assert!(found == [true, true] || (found == [false, false] && !confirmed), "call {call}");
//!         if is_over {
//!             break;
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A sync that fails makes the database read-only until it is opened again, whatever the disk has really done:
//!
//! ```
//! use esker_sim::{CrashPolicy, Machine, SyncFailure};
//!
//! # fn main() -> esker::Result<()> {
//! let run = |seed| -> esker::Result<u64> {
//!     let mut machine = Machine::new(seed);
//!     let db = machine.open("/data")?;
//!     let users = db.keyspace("users")?;
//!     users.put(b"alice", b"engineer")?;
//!     // The next one, of whatever file.
//!     machine.fail_syncs("", SyncFailure::LostStillCached, Some(1));
//!     assert!(users.put(b"bob", b"architect").is_err());
//!     assert!(users.put(b"carol", b"surveyor").is_err());
//!     let trace = machine.trace_hash();
//!     machine.restart(CrashPolicy::KeepAll);
//!     assert!(machine.open("/data")?.keyspace("users")?.get(b"alice")?.is_some());
//!     Ok(trace)
//! };
//! assert_eq!(run(3)?, run(3)?);
//! # Ok(())
//! # }
//! ```

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
mod shrink;

pub use esker::vfs::simulated::{CrashPolicy, SyncFailure};
pub use machine::{Machine, small};
pub use rng::Rng;
