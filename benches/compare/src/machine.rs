//! What the machine is and what its disk can do, measured in the same run as the engines. Called by `run.rs` before the
//! first measurement; `report.rs` prints it.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::engine::Result;

/// How long each rate is measured.
const RATE_TIME: Duration = Duration::from_millis(400);

/// One write of the rates.
const WRITE: [u8; 4096] = [0x5a; 4096];

/// The file that is written over and over.
const FILE_BYTES: u64 = 16 << 20;

/// The machine and its disk.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// How many threads can run at once.
    pub cores: usize,
    /// The memory, in bytes.
    pub memory_bytes: u64,
    /// The kernel's name and release.
    pub kernel: String,
    /// The load average of the last minute, at the start.
    pub load: f64,
    /// Which commit of Esker was measured.
    pub revision: String,
    /// Synced appends of 4 KiB a second.
    pub sync_append: f64,
    /// Synced writes of 4 KiB a second into a file that was zeroed before.
    pub sync_zeroed: f64,
    /// Writes of 4 KiB a second with `O_DSYNC` into a file that was zeroed before.
    pub sync_dsync: f64,
}

impl Machine {
    /// Looks at the machine and measures the disk under `dir`.
    pub fn measure(dir: &Path) -> Result<Machine> {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
        };
        let kilobytes = field(&text("/proc/meminfo"), "MemTotal")
            .and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
        let load = text("/proc/loadavg");
        Ok(Machine {
            cpu: field(&text("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism()?.get(),
            memory_bytes: kilobytes.unwrap_or(0) * 1024,
            kernel: format!("Linux {}", text("/proc/sys/kernel/osrelease").trim()),
            load: load.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0.0),
            revision: revision(),
            sync_append: append_rate(&dir.join("append"))?,
            sync_zeroed: zeroed_rate(&dir.join("zeroed"), false)?,
            sync_dsync: zeroed_rate(&dir.join("dsync"), true)?,
        })
    }

    /// The machine as Markdown.
    pub fn block(&self) -> String {
        format!(
            "Esker at {}; {}, {} cores, {:.1} GiB, {}, load {:.1} at the start. Disk, 4 KiB made durable by one thread: \
             fdatasync of an append {:.0}/s, of a zeroed file {:.0}/s, O_DSYNC {:.0}/s.\n",
            self.revision,
            self.cpu,
            self.cores,
            self.memory_bytes as f64 / (1 << 30) as f64,
            self.kernel,
            self.load,
            self.sync_append,
            self.sync_zeroed,
            self.sync_dsync,
        )
    }
}

/// The best rate at which one thread can make 4 KiB durable under `dir`, right now.
pub fn sync_best(dir: &Path) -> Result<f64> {
    let zeroed = zeroed_rate(&dir.join("zeroed"), false)?;
    Ok(zeroed.max(zeroed_rate(&dir.join("dsync"), true)?))
}

/// The commit of the working tree that this program was built from, `+` if it was changed since.
fn revision() -> String {
    let git = |arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "no commit".into() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    if changed.is_some_and(|changed| !changed.is_empty()) { commit + "+" } else { commit }
}

fn append_rate(path: &Path) -> Result<f64> {
    let file = File::create(path)?;
    let rate = rate(|number| {
        file.write_all_at(&WRITE, number * WRITE.len() as u64)?;
        Ok(file.sync_data()?)
    });
    fs::remove_file(path)?;
    rate
}

fn zeroed_rate(path: &Path, dsync: bool) -> Result<f64> {
    let file = File::create(path)?;
    file.write_all_at(&vec![0; FILE_BYTES as usize], 0)?;
    file.sync_all()?;
    let mut options = OpenOptions::new();
    options.write(true);
    if dsync {
        options.custom_flags(rustix::fs::OFlags::DSYNC.bits() as i32);
    }
    let file = options.open(path)?;
    let rate = rate(|number| {
        file.write_all_at(&WRITE, number * WRITE.len() as u64 % FILE_BYTES)?;
        if !dsync {
            file.sync_data()?;
        }
        Ok(())
    });
    fs::remove_file(path)?;
    rate
}

fn rate(mut write: impl FnMut(u64) -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < RATE_TIME {
        write(count)?;
        count += 1;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}
