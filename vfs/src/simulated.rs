//! A disk in memory that loses what was not synced, with a clock and randomness to match.
//!
//! Driven by crash tests: run the engine in a [`Simulation`], stop the power at any call with
//! [`SimulatedFs::cut_power_at`], and open what [`SimulatedFs::crash`] leaves. Everything follows
//! from the calls and the seeds: nothing here may ask the real machine for time, randomness or an
//! address.
//!
//! The model. Each file and directory exists twice, as it is durable and as it is cached; calls see
//! the cached one. What lies between is one log of pending changes. A sync of a file makes its data
//! and length durable, a sync of a directory its names; a file whose name was never synced is gone
//! after a power cut however often it was synced itself. A rename within a directory is atomic; one
//! across directories is a link there and an unlink here. Locks are held within the disk and end
//! with its power.

mod content;
mod crash;
mod disk;
mod file;
mod fs;
mod hash;
mod pending;
mod policy;
#[cfg(test)]
mod tests;
mod world;

pub use policy::{CrashPolicy, PendingKind, SyncFailure};
pub use world::{SimulatedClock, SimulatedRandom, Simulation};

use std::sync::Arc;

use parking_lot::Mutex;

use disk::{Disk, SyncRule};
use pending::Change;

/// A simulated disk. Clones share it; [`SimulatedFs::fork`] copies it.
#[derive(Clone, Debug)]
pub struct SimulatedFs {
    /// Guards everything; taken last by whoever calls, released before returning.
    disk: Arc<Mutex<Disk>>,
}

impl Default for SimulatedFs {
    fn default() -> SimulatedFs {
        SimulatedFs::new()
    }
}

impl SimulatedFs {
    /// An empty disk without a limit.
    pub fn new() -> SimulatedFs {
        SimulatedFs::from_disk(Disk::new())
    }

    fn from_disk(disk: Disk) -> SimulatedFs {
        SimulatedFs { disk: Arc::new(Mutex::new(disk)) }
    }

    /// An independent copy of the whole state, what is pending included. Nothing is open or locked
    /// in it, its counters start at zero, and no failure is scripted. Cheap: unchanged bytes are
    /// shared.
    pub fn fork(&self) -> SimulatedFs {
        SimulatedFs::from_disk(self.disk.lock().fork())
    }

    /// Cuts the power and returns the disk as the next boot finds it. On this one, every further
    /// call fails.
    pub fn crash(&self, policy: CrashPolicy, seed: u64) -> SimulatedFs {
        self.cut_power();
        self.image(policy, seed)
    }

    /// The disk that a power cut at this moment would leave; this one goes on. The same state,
    /// policy and seed give the same image.
    pub fn image(&self, policy: CrashPolicy, seed: u64) -> SimulatedFs {
        SimulatedFs::from_disk(crash::image(&self.disk.lock(), policy, seed))
    }

    /// Makes every further call fail.
    pub fn cut_power(&self) {
        self.disk.lock().power_is_off = true;
    }

    /// Makes call number `op` (the first is 0, see [`SimulatedFs::ops`]) and every later one fail.
    pub fn cut_power_at(&self, op: u64) {
        self.disk.lock().cut_at = Some(op);
    }

    /// Whether a call has failed for want of power, or would.
    pub fn power_is_off(&self) -> bool {
        self.disk.lock().power_is_off
    }

    /// How many calls this disk has taken: of every method of [`crate::Fs`] and [`crate::File`] but
    /// [`crate::File::advise`]. A batch counts each of its reads.
    pub fn ops(&self) -> u64 {
        self.disk.lock().ops()
    }

    /// A hash of every call so far: kind, path, offset, length, bytes written. Equal for equal
    /// runs.
    pub fn trace_hash(&self) -> u64 {
        self.disk.lock().trace_hash()
    }

    /// A hash of every name, length and byte that calls can see; equal images are equal disks.
    pub fn image_hash(&self) -> u64 {
        crash::hash(&self.disk.lock())
    }

    /// How many changes are not durable yet.
    pub fn pending_ops(&self) -> usize {
        self.disk.lock().pending.len()
    }

    /// The changes that are not durable yet, in the order of the calls.
    pub fn pending(&self) -> Vec<PendingKind> {
        let describe = |change: &Change| match change {
            Change::Write { offset, bytes, .. } => {
                PendingKind::Write { offset: *offset, len: bytes.len() }
            }
            Change::Truncate { .. } | Change::Extend { .. } => PendingKind::Length,
            Change::Link { .. } | Change::Unlink { .. } | Change::Rename { .. } => {
                PendingKind::Name
            }
        };
        self.disk.lock().pending.iter().map(describe).collect()
    }

    /// Every policy that needs no seed: all, none, each prefix, each single drop, and each tear and
    /// hole at multiples of `unit` bytes (512 for a sector, 1 for everything) in the file.
    /// Different policies may give the same image.
    pub fn exhaustive_policies(&self, unit: u64) -> Vec<CrashPolicy> {
        let pending = self.pending();
        let mut policies = vec![CrashPolicy::KeepAll, CrashPolicy::DropAll];
        policies.extend((1..pending.len()).map(CrashPolicy::Prefix));
        // Dropping only the last is a prefix.
        policies.extend((0..pending.len().saturating_sub(1)).map(CrashPolicy::DropOne));
        for (index, kind) in pending.iter().enumerate() {
            if let PendingKind::Write { offset, len } = *kind {
                policies.push(CrashPolicy::Hole(index, 0));
                for border in crash::borders(offset, len, unit.max(1)) {
                    policies.push(CrashPolicy::Tear(index, border));
                    policies.push(CrashPolicy::Hole(index, border));
                }
            }
        }
        policies
    }

    /// Makes syncs fail, of files and directories whose path ends with `suffix`: the next `times`
    /// of them, or all with `None`. The earliest rule that matches applies.
    pub fn fail_syncs(&self, suffix: &str, failure: SyncFailure, times: Option<u32>) {
        if times != Some(0) {
            let rule = SyncRule { suffix: suffix.to_owned(), failure, remaining: times };
            self.disk.lock().sync_rules.push(rule);
        }
    }

    /// Lets syncs succeed again.
    pub fn heal_syncs(&self) {
        self.disk.lock().sync_rules.clear();
    }

    /// Limits the disk to so many bytes of file lengths (directories are free); what is there
    /// already stays. Forks and crash images inherit the limit.
    pub fn set_capacity(&self, bytes: u64) {
        self.disk.lock().capacity = bytes;
    }

    /// From now on keeps a copy of the disk before every call that may change it.
    pub fn record_states(&self) {
        self.disk.lock().states.get_or_insert_default();
    }

    /// Ends recording and returns the copies, each with the number of the call before which it was
    /// made. An image of one of them is what a power cut just before that call leaves.
    pub fn take_states(&self) -> Vec<(u64, SimulatedFs)> {
        let states = self.disk.lock().states.take().unwrap_or_default();
        states.into_iter().map(|(op, disk)| (op, SimulatedFs::from_disk(disk))).collect()
    }
}
