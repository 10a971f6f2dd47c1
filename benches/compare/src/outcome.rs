//! What a child is told and what it reports: plain values, JSON between the processes and in the results folder.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One measurement to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// The engine's name.
    pub engine: String,
    /// The workload's name.
    pub workload: String,
    /// Whether blocks are compressed.
    pub compress: bool,
    /// How many entries are loaded.
    pub keys: u64,
    /// The size of a value.
    pub value_bytes: usize,
    /// The engine's cache.
    pub memory_bytes: usize,
    /// How long a workload without an end of its own is measured.
    pub seconds: f64,
    /// When a fill, and the wait for the background work after it, is cut off.
    pub seconds_max: f64,
    /// Decides keys, values and their order.
    pub seed: u64,
    /// Which of the interleaved runs this is.
    pub run: u32,
    /// A fresh directory.
    pub dir: PathBuf,
    /// Whether the directory holds the loaded database already.
    pub preloaded: bool,
    /// The control group that limits memory, for the workloads that need it.
    pub group: Option<PathBuf>,
    /// The control group that counts reads, where there is one.
    pub io_group: Option<PathBuf>,
    /// How much is written before the kill, for the reopening.
    pub log_bytes: u64,
    /// Which half of a measurement that takes two processes this is.
    pub part: Part,
}

/// Most measurements are one process; a reopening is one that is killed and one that opens; loads that measurements
/// share are a process of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// All of it.
    Whole,
    /// Loads the database, waits for the background work and closes it; reports nothing.
    Load,
    /// Writes, says so and waits to be killed.
    Killed,
    /// Opens what the killed one left.
    Reopened,
}

/// One measurement that was made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// As in [`Spec`].
    pub engine: String,
    /// As in [`Spec`].
    pub workload: String,
    /// As in [`Spec`].
    pub compress: bool,
    /// As in [`Spec`].
    pub keys: u64,
    /// As in [`Spec`].
    pub value_bytes: usize,
    /// As in [`Spec`].
    pub run: u32,
    /// Operations in the measured time; entries for batches and bulk loads.
    pub operations: u64,
    /// The measured time.
    pub seconds: f64,
    /// Operations a second.
    pub throughput: f64,
    /// Median latency of a call.
    pub p50_us: f64,
    /// 99% of the calls took at most this.
    pub p99_us: f64,
    /// 99.9% of the calls took at most this.
    pub p999_us: f64,
    /// The longest call.
    pub stall_ms: f64,
    /// CPU time of all threads for each operation, background work in the measured time included.
    pub cpu_us: f64,
    /// The largest private memory, from before the measured time until the background work was done.
    pub peak_memory_bytes: u64,
    /// The same for mapped files and shared memory.
    pub peak_mapped_bytes: u64,
    /// Bytes that the process wrote to files for each byte of keys and values, until the background work was done. Log
    /// that was deleted before writeback is included.
    pub write_amplification: Option<f64>,
    /// The same without what was truncated or deleted before writeback.
    pub write_amplification_kept: Option<f64>,
    /// The same from the device's counters, everybody else's writes included.
    pub write_amplification_device: Option<f64>,
    /// Bytes on disk for each byte of live keys and values, after the background work.
    pub space_amplification: Option<f64>,
    /// How long the background work went on behind the last write.
    pub drain_seconds: Option<f64>,
    /// Reads that this process alone asked of the device, for each operation: from a control group of its own, or, where
    /// that cannot be, its bytes in pages of 4 KiB.
    pub device_reads: Option<f64>,
    /// Bytes that this process alone read from the device, for each operation.
    pub device_read_bytes: Option<f64>,
    /// The time to open, for reopenings.
    pub open_ms: Option<f64>,
    /// Acknowledged entries that were gone after the kill.
    pub lost: Option<u64>,
    /// The rate that the writer beside the readers reached.
    pub writer_rate: Option<f64>,
    /// The best rate at which one thread made 4 KiB durable just before; for a single synced writer.
    pub disk_syncs: Option<f64>,
}

/// A measurement that failed or was left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FailedRun {
    /// As in [`Spec`].
    pub engine: String,
    /// As in [`Spec`].
    pub workload: String,
    /// As in [`Spec`].
    pub compress: bool,
    /// As in [`Spec`].
    pub keys: u64,
    /// As in [`Spec`].
    pub value_bytes: usize,
    /// As in [`Spec`].
    pub run: u32,
    /// Why.
    pub error: String,
    /// Which invocation it was; known to the report alone.
    #[serde(skip)]
    pub invocation: usize,
}

impl FailedRun {
    /// What failed while measuring `spec`.
    pub fn new(spec: &Spec, error: String) -> FailedRun {
        FailedRun {
            engine: spec.engine.clone(),
            workload: spec.workload.clone(),
            compress: spec.compress,
            keys: spec.keys,
            value_bytes: spec.value_bytes,
            run: spec.run,
            error,
            invocation: 0,
        }
    }

    /// Whether `outcome` is of the same measurement.
    pub fn is_of(&self, outcome: &Outcome) -> bool {
        (&self.engine, &self.workload, self.compress, self.keys, self.value_bytes)
            == (
                &outcome.engine,
                &outcome.workload,
                outcome.compress,
                outcome.keys,
                outcome.value_bytes,
            )
    }
}

impl std::fmt::Display for FailedRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mode = if self.compress { " compressed" } else { "" };
        write!(f, "{} {}{mode}, {} keys", self.workload, self.engine, self.keys)?;
        write!(f, ", run {}: {}", self.run + 1, self.error)
    }
}
