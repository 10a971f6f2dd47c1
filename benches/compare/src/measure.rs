//! Meters: what this process did between two moments, and how much memory it had at most. Used by `child.rs` around the
//! measured time. It reads `/proc` and `/sys` and must never fail a measurement because one of them is missing.
//!
//! Other programs on the machine do not count: bytes come from `/proc/self/io`, reads from a control group of our own.
//! The one counter of the whole device is that of its writes, kept in the raw results for quiet machines.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::engine::{Result, Store};
use crate::group;

/// How often private memory is sampled.
const SAMPLE_EVERY: Duration = Duration::from_millis(5);

/// The disk counts as quiet when nothing was written, and hardly anything computed, for this long.
const QUIET: Duration = Duration::from_millis(300);

/// The least that is read from a file, where reads themselves cannot be counted.
const PAGE_BYTES: u64 = 4096;

/// Counters as of one moment. All only grow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Bytes by which this process made the page cache dirty (or wrote past it).
    pub written_bytes: u64,
    /// Of these, bytes whose file was truncated or deleted before writeback.
    pub cancelled_bytes: u64,
    /// Bytes written to the device that holds the directory, by everybody.
    pub device_written_bytes: u64,
    /// Reads that this process asked of the device.
    pub device_reads: u64,
    /// Bytes that this process had the device read; page faults and readahead are included.
    pub device_read_bytes: u64,
    /// CPU time of this process.
    pub cpu: Duration,
}

/// The counters of this process, of the device under `dir`, and of the control group that counts reads if there is one.
pub fn counters(dir: &Path, io_group: Option<&Path>) -> Counters {
    let io = fs::read_to_string("/proc/self/io").unwrap_or_default();
    let field = |name: &str| {
        let line = io.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
    };
    let device = device_stat(dir).and_then(|path| fs::read_to_string(path).ok());
    let device: Vec<u64> = device
        .unwrap_or_default()
        .split_whitespace()
        .map(|number| number.parse().unwrap_or(0))
        .collect();
    let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Counters {
        written_bytes: field("write_bytes"),
        cancelled_bytes: field("cancelled_write_bytes"),
        // Sectors there are 512 bytes, whatever the device's own are.
        device_written_bytes: device.get(6).map_or(0, |sectors| sectors * 512),
        device_reads: io_group.and_then(group::reads).unwrap_or(field("read_bytes") / PAGE_BYTES),
        device_read_bytes: field("read_bytes"),
        cpu: Duration::new(cpu.tv_sec as u64, cpu.tv_nsec as u32),
    }
}

/// The file with the counters of the device (or partition) that holds `dir`, if it is one.
pub fn device_stat(dir: &Path) -> Option<PathBuf> {
    let device = fs::metadata(dir).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let path = PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"));
    path.exists().then_some(path)
}

/// Writes everything dirty of the file system under `dir` to the device, so that its counters are complete.
pub fn write_back(dir: &Path) -> Result<()> {
    Ok(rustix::fs::syncfs(fs::File::open(dir)?)?)
}

/// Flushes the engine and waits until its background work is done, at most `seconds_max`; returns how long it took.
pub fn settle(store: &dyn Store, dir: &Path, seconds_max: f64) -> Result<Duration> {
    let start = Instant::now();
    store.flush()?;
    let mut quiet_since = Instant::now();
    let mut before = counters(dir, None);
    while quiet_since.elapsed() < QUIET && start.elapsed().as_secs_f64() < seconds_max {
        std::thread::sleep(Duration::from_millis(20));
        let now = counters(dir, None);
        // A thread that works takes far more than a tenth of the time.
        if now.written_bytes != before.written_bytes
            || now.cpu - before.cpu > Duration::from_millis(4)
        {
            quiet_since = Instant::now();
        }
        before = now;
    }
    Ok(quiet_since - start)
}

/// Bytes that the files under `dir` take on disk.
pub fn space_bytes(dir: &Path) -> u64 {
    files(dir).iter().filter_map(|path| fs::metadata(path).ok()).map(|m| m.blocks() * 512).sum()
}

/// Makes the page cache forget the files under `dir`, which nobody may have mapped.
pub fn drop_page_cache(dir: &Path) -> Result<()> {
    for path in files(dir) {
        let file = fs::File::open(path)?;
        rustix::fs::fdatasync(&file)?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}

/// The files under `dir`. Those that vanish meanwhile are left out.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// The most memory there was, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    /// Private memory: without mapped files and the page cache.
    pub private_bytes: u64,
    /// Pages of mapped files, and of memory shared with other processes.
    pub mapped_bytes: u64,
}

/// Samples memory until it is stopped.
pub struct MemorySampler {
    stop: Arc<AtomicBool>,
    peaks: Arc<[AtomicU64; 2]>,
    thread: JoinHandle<()>,
}

impl MemorySampler {
    /// Begins to sample.
    pub fn start() -> MemorySampler {
        let (stop, peaks) = (Arc::new(AtomicBool::new(false)), Arc::<[AtomicU64; 2]>::default());
        let thread = std::thread::spawn({
            let (stop, peaks) = (Arc::clone(&stop), Arc::clone(&peaks));
            move || loop {
                for (peak, bytes) in peaks.iter().zip(resident_bytes()) {
                    peak.fetch_max(bytes, Ordering::Relaxed);
                }
                if stop.load(Ordering::Acquire) {
                    return;
                }
                std::thread::sleep(SAMPLE_EVERY);
            }
        });
        MemorySampler { stop, peaks, thread }
    }

    /// The most there was since the start.
    pub fn stop(self) -> Peak {
        self.stop.store(true, Ordering::Release);
        // It cannot panic; were it to, what it has seen so far is still right.
        let _ = self.thread.join();
        let [private_bytes, mapped_bytes] =
            [0, 1].map(|which: usize| self.peaks[which].load(Ordering::Relaxed));
        Peak { private_bytes, mapped_bytes }
    }
}

/// Private and mapped.
fn resident_bytes() -> [u64; 2] {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1024
    };
    [of("RssAnon:"), of("RssFile:") + of("RssShmem:")]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn written_bytes_and_space_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let before = counters(dir.path(), None);
        fs::create_dir(dir.path().join("inner")).unwrap();
        let path = dir.path().join("inner/file");
        fs::write(&path, vec![7; 1 << 20]).unwrap();
        fs::File::open(&path).unwrap().sync_all().unwrap();
        let after = counters(dir.path(), None);
        assert!(after.cpu >= before.cpu);
        assert!(space_bytes(dir.path()) >= 1 << 20);
        drop_page_cache(dir.path()).unwrap();
        assert!(MemorySampler::start().stop().private_bytes > 0);
    }
}
