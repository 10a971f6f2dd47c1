//! A simulated machine for tests: run Esker, or a service on top of it, cut the power at any call, and start again.
//!
//! For the tests of other crates as much as for the checks here. A [`Machine`] is a disk, a clock and a source of
//! randomness that all follow from one seed. Nothing here may ask the real machine for anything.

use std::path::Path;
use std::time::Duration;

use esker::vfs::World;
use esker::vfs::simulated::{CrashPolicy, Simulation, SyncFailure};
use esker::{Background, Builder, Db, ReadMode, Result};

use crate::Rng;

/// A machine whose power can fail.
///
/// Hand [`Machine::world`] to everything that shall live on it. After a power cut every call on that world fails, so
/// whatever was running ends with errors; [`Machine::restart`] gives the machine the disk that the cut has left, and a
/// database can be opened on it again. What was acknowledged with [`esker::Durability::Sync`] must then be there.
///
/// ```
/// use esker_sim::CrashPolicy;
///
/// # fn main() -> esker::Result<()> {
/// let mut machine = esker_sim::Machine::new(1);
/// let db = machine.open("/data")?;
/// db.keyspace("users")?.put(b"alice", b"engineer")?;
/// machine.cut_power();
/// assert!(db.keyspace("users")?.put(b"bob", b"architect").is_err());
///
/// machine.restart(CrashPolicy::DropAll);
/// let db = machine.open("/data")?;
/// assert_eq!(db.keyspace("users")?.get(b"alice")?.as_deref(), Some(&b"engineer"[..]));
/// # Ok(())
/// # }
/// ```
///
/// With [`Machine::builder`] everything runs on the caller's thread, and the same seed gives the same run, call by call.
/// A service that lets the database have its threads can be tested the same way, but its runs differ.
#[derive(Debug)]
pub struct Machine {
    simulation: Simulation,
    rng: Rng,
    restarts: u64,
}

impl Machine {
    /// A machine with an empty disk. Everything random follows from `seed`.
    pub fn new(seed: u64) -> Machine {
        Machine { simulation: Simulation::new(seed), rng: Rng::new(!seed), restarts: 0 }
    }

    /// The file system, clock and randomness; valid until the next restart.
    pub fn world(&self) -> World {
        self.simulation.world()
    }

    /// A builder for databases on this machine, with options for testing: little memory and small files, so that little
    /// data makes many of them; no memory maps; background work only by [`Db::run_background_step`].
    pub fn builder(&self) -> Builder {
        small(self.world())
    }

    /// Opens a database with the options of [`Machine::builder`].
    ///
    /// # Errors
    /// Those of [`Builder::open`]; `Io` if the power is off.
    pub fn open(&self, dir: impl AsRef<Path>) -> Result<Db> {
        self.builder().open(dir)
    }

    /// How many file-system calls the disk has taken since the last restart.
    pub fn calls(&self) -> u64 {
        self.simulation.fs.ops()
    }

    /// Cuts the power now.
    pub fn cut_power(&self) {
        self.simulation.fs.cut_power();
    }

    /// Cuts the power before call number `call` of the disk; the first since the last restart is 0.
    pub fn cut_power_at(&self, call: u64) {
        self.simulation.fs.cut_power_at(call);
    }

    /// Cuts the power at a random one of the next `calls` calls, at least 1. Returns which.
    pub fn cut_power_within(&mut self, calls: u64) -> u64 {
        let at = self.calls() + self.rng.below(calls);
        self.cut_power_at(at);
        at
    }

    /// Whether a call has failed for want of power.
    pub fn power_is_off(&self) -> bool {
        self.simulation.fs.power_is_off()
    }

    /// Cuts the power if it is still on, and starts again with the disk that `policy` leaves.
    pub fn restart(&mut self, policy: CrashPolicy) {
        let seed = self.rng.number();
        self.simulation = self.simulation.crash(policy, seed);
        self.restarts += 1;
    }

    /// As [`Machine::restart`], with a policy drawn from the seed: everything un-synced kept or lost, or any part of it
    /// as an ordered file system, as POSIX, or as worse than that allows. Returns the policy.
    pub fn restart_at_random(&mut self) -> CrashPolicy {
        let policy = *self.rng.pick(&[
            CrashPolicy::DropAll,
            CrashPolicy::KeepAll,
            CrashPolicy::Ordered,
            CrashPolicy::Posix,
            CrashPolicy::Hostile,
        ]);
        self.restart(policy);
        policy
    }

    /// How often it was restarted.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Makes the next `times` syncs of paths that end with `suffix` fail (all, with `None`); every path ends with `""`. A
    /// file's path is that under which it was opened: the log's segments and the manifest are made as `.wal.tmp` and
    /// `.manifest.tmp`, and named when they are whole.
    pub fn fail_syncs(&self, suffix: &str, failure: SyncFailure, times: Option<u32>) {
        self.simulation.fs.fail_syncs(suffix, failure, times);
    }

    /// Limits the disk to so many bytes.
    pub fn set_disk_bytes(&self, bytes: u64) {
        self.simulation.fs.set_capacity(bytes);
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        self.simulation.clock.advance(by);
    }

    /// A hash of every call since the last restart; equal for equal runs.
    pub fn trace_hash(&self) -> u64 {
        self.simulation.fs.trace_hash()
    }

    /// The parts, for what this type does not offer.
    pub fn simulation(&self) -> &Simulation {
        &self.simulation
    }
}

/// Options for testing on `world`; see [`Machine::builder`].
pub fn small(world: World) -> Builder {
    Db::builder()
        .memory_budget_bytes(1 << 20)
        .wal_segment_bytes(4096)
        .sstable_bytes(4096)
        .read_mode(ReadMode::Positioned)
        .wal_mapped(true)
        .background(Background::Manual)
        .world(world)
}
