//! What to measure: the command line's choice, and the list of measurements that it makes. `run.rs` carries it out.

use std::path::PathBuf;

use clap::Args;

use crate::engine::{Failure, Result};
use crate::engines::{ENGINES, Engine};
use crate::generator::VALUE_BYTES_MIN;
use crate::workload::{Kind, WORKLOADS, Workload};

/// Which modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Modes {
    /// Blocks compressed where the engine can.
    Compressed,
    /// Without.
    Uncompressed,
    /// Both.
    Both,
}

/// The choice on the command line. What is left out depends on the command.
#[derive(Args, Debug)]
pub struct Choice {
    /// Engines, by name; all of the build by default.
    #[arg(long, value_delimiter = ',')]
    pub engines: Vec<String>,
    /// Workloads, by name; all by default, some of them in a quick run.
    #[arg(long, value_delimiter = ',')]
    pub workloads: Vec<String>,
    /// Entries that are loaded [default: 3000000, quick: 50000].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1000..=1 << 40))]
    pub keys: Option<u64>,
    /// The size of a value, where the workload does not say.
    #[arg(long, default_value_t = 100)]
    pub value_bytes: usize,
    /// The cache of every engine, in MiB.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(4..=1 << 20))]
    pub memory: u64,
    /// Interleaved runs; the median is shown [default: 3, quick: 1].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: Option<u32>,
    /// Seconds of each workload without an end of its own [default: 10, quick: 0.5].
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Compressed, uncompressed or both [default: both; quick: both for reads, else compressed].
    #[arg(long, value_enum)]
    pub modes: Option<Modes>,
    /// The largest size of the growth workloads, in keys [default: 8000000, quick: none].
    #[arg(long)]
    pub growth_max: Option<u64>,
    /// Decides keys, values and their order.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where the databases are made and removed again; the system's temporary folder by default.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Where the raw results go, as JSON lines.
    #[arg(long, default_value = "target/compare")]
    pub results: PathBuf,
    /// Draws the results as SVG into this folder.
    #[arg(long, num_args = 0..=1, default_missing_value = "docs/plots")]
    pub report: Option<PathBuf>,
}

/// One measurement, apart from the run.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// The engine.
    pub engine: &'static Engine,
    /// The workload.
    pub workload: &'static Workload,
    /// Whether blocks are compressed.
    pub compress: bool,
    /// How many entries.
    pub keys: u64,
    /// The size of a value.
    pub value_bytes: usize,
}

/// Everything to be measured.
#[derive(Debug)]
pub struct Plan {
    /// In order; the engines of a workload follow each other.
    pub jobs: Vec<Job>,
    /// How often.
    pub runs: u32,
    /// Seconds of a workload without an end of its own.
    pub seconds: f64,
    /// When fills and waits are cut off, in seconds.
    pub seconds_max: f64,
    /// The cache in bytes.
    pub memory_bytes: usize,
    /// How much is written before the kill of a reopening.
    pub log_bytes: u64,
}

/// The sizes of the growth workloads, in keys.
const GROWTH: [u64; 7] = [1, 2, 5, 8, 15, 30, 50];

impl Choice {
    /// The measurements that this choice makes.
    pub fn plan(&self, quick: bool) -> Result<Plan> {
        if !(VALUE_BYTES_MIN..=1 << 20).contains(&self.value_bytes) {
            return Err(Failure::from(format!("values have {VALUE_BYTES_MIN} bytes to 1 MiB")));
        }
        let engines = chosen(&self.engines, ENGINES, "engine", |engine| engine.name)?;
        let workloads = chosen(&self.workloads, WORKLOADS, "workload", |workload| workload.name)?;
        let keys = self.keys.unwrap_or(if quick { 50_000 } else { 3_000_000 });
        let mut jobs = Vec::new();
        for workload in workloads {
            if quick && self.workloads.is_empty() && !workload.quick {
                continue;
            }
            for keys in self.sizes(workload, keys, quick) {
                for compress in [true, false] {
                    let of_mode = engines.iter().filter(|engine| {
                        self.wants(engine, workload, compress, quick)
                            // The growth of the others is not asked for, and takes hours.
                            && (!is_growth(workload)
                                || !self.engines.is_empty()
                                || ["esker", "rocksdb"].contains(&engine.name))
                    });
                    jobs.extend(of_mode.map(|engine| Job {
                        engine,
                        workload,
                        compress,
                        keys,
                        value_bytes: workload.values.unwrap_or(self.value_bytes),
                    }));
                }
            }
        }
        Ok(Plan {
            jobs,
            runs: self.runs.unwrap_or(if quick { 1 } else { 3 }),
            seconds: self.seconds.unwrap_or(if quick { 0.5 } else { 10.0 }),
            seconds_max: if quick { 10.0 } else { 300.0 },
            memory_bytes: (self.memory as usize) << 20,
            log_bytes: if quick { 8 << 20 } else { 64 << 20 },
        })
    }

    fn wants(&self, engine: &Engine, workload: &Workload, compress: bool, quick: bool) -> bool {
        // An engine that cannot compress has one mode.
        if !engine.compresses {
            return !compress;
        }
        match self.modes {
            Some(Modes::Compressed) => compress,
            Some(Modes::Uncompressed) => !compress,
            Some(Modes::Both) => true,
            None => compress || !quick || workload.both_modes,
        }
    }

    fn sizes(&self, workload: &Workload, keys: u64, quick: bool) -> Vec<u64> {
        if is_growth(workload) {
            let max = self.growth_max.unwrap_or(if quick { 0 } else { 8_000_000 });
            return GROWTH.iter().map(|m| m * 1_000_000).filter(|keys| *keys <= max).collect();
        }
        let keys = match (workload.kind, workload.values) {
            // As many as the log takes, and some more, so that keys do not repeat.
            (Kind::Reopen, _) => 1_000_000,
            // About 1 GB when there are 3 million small ones.
            (_, Some(1024)) => keys / 3,
            (_, Some(_)) => keys / 48,
            (_, None) => keys,
        };
        vec![keys.max(1000)]
    }
}

/// Whether a workload is measured at growing sizes.
pub fn is_growth(workload: &Workload) -> bool {
    workload.name.starts_with("growth")
}

fn chosen<T>(
    names: &[String],
    all: &'static [T],
    what: &str,
    name: impl Fn(&T) -> &'static str,
) -> Result<Vec<&'static T>> {
    if let Some(unknown) = names.iter().find(|wanted| !all.iter().any(|one| name(one) == *wanted)) {
        return Err(Failure::from(format!("no {what} {unknown:?} in this build; see `list`")));
    }
    let wanted = |one: &&T| names.is_empty() || names.iter().any(|wanted| name(one) == wanted);
    Ok(all.iter().filter(wanted).collect())
}
