//! Meters: what this process and the device did between two moments, and how much private memory it had at most. Used
//! by `child.rs` around the measured time. It reads `/proc` and `/sys` and must never fail a measurement because one of
//! them is missing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::engine::{Result, Store};

/// How often private memory is sampled.
const SAMPLE_EVERY: Duration = Duration::from_millis(5);

/// The disk counts as quiet when nothing was written, and hardly anything computed, for this long.
const QUIET: Duration = Duration::from_millis(300);

/// Counters as of one moment. All only grow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Bytes by which this process made the page cache dirty (or wrote past it).
    pub written_bytes: u64,
    /// Of these, bytes whose file was truncated or deleted before writeback.
    pub cancelled_bytes: u64,
    /// Bytes written to the device that holds the directory, by everybody.
    pub device_written_bytes: u64,
    /// Reads that the device completed, for everybody.
    pub device_reads: u64,
    /// CPU time of this process.
    pub cpu: Duration,
}

/// The counters of this process and of the device under `dir`.
pub fn counters(dir: &Path) -> Counters {
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
        device_reads: device.first().copied().unwrap_or(0),
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
    let mut before = counters(dir);
    while quiet_since.elapsed() < QUIET && start.elapsed().as_secs_f64() < seconds_max {
        std::thread::sleep(Duration::from_millis(20));
        let now = counters(dir);
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

/// Samples private memory (`RssAnon`: without mapped files and the page cache) until it is stopped.
pub struct MemorySampler {
    stop: Arc<AtomicBool>,
    peak_bytes: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl MemorySampler {
    /// Begins to sample.
    pub fn start() -> MemorySampler {
        let (stop, peak_bytes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = std::thread::spawn({
            let (stop, peak_bytes) = (Arc::clone(&stop), Arc::clone(&peak_bytes));
            move || loop {
                peak_bytes.fetch_max(private_bytes(), Ordering::Relaxed);
                if stop.load(Ordering::Acquire) {
                    return;
                }
                std::thread::sleep(SAMPLE_EVERY);
            }
        });
        MemorySampler { stop, peak_bytes, thread }
    }

    /// The most there was since the start, in bytes.
    pub fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Release);
        // It cannot panic; were it to, what it has seen so far is still right.
        let _ = self.thread.join();
        self.peak_bytes.load(Ordering::Relaxed)
    }
}

fn private_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn written_bytes_and_space_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let before = counters(dir.path());
        fs::create_dir(dir.path().join("inner")).unwrap();
        let path = dir.path().join("inner/file");
        fs::write(&path, vec![7; 1 << 20]).unwrap();
        fs::File::open(&path).unwrap().sync_all().unwrap();
        let after = counters(dir.path());
        assert!(after.cpu >= before.cpu);
        assert!(space_bytes(dir.path()) >= 1 << 20);
        drop_page_cache(dir.path()).unwrap();
        assert!(MemorySampler::start().stop() > 0);
    }
}
