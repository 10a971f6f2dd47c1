//! What to measure: the command line's choice, and the list of measurements that it makes. `run.rs` carries it out.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::engine::{Failure, Result};
use crate::engines::{self, ENGINES, Engine};
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
    /// Entries that are loaded [default: 1000000, `limited` 2000000, quick: 30000].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1000..=1 << 40))]
    pub keys: Option<u64>,
    /// The size of a value, where the workload does not say.
    #[arg(long, default_value_t = 100)]
    pub value_bytes: usize,
    /// The cache of every engine, in MiB.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(4..=1 << 20))]
    pub memory: u64,
    /// Interleaved runs; the median is shown [default: 3 as far as the time goes, quick: 1].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: Option<u32>,
    /// Seconds of each workload without an end of its own [default: 1.5, quick: 0.4].
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Compressed, uncompressed or both [default: both for most reads, compressed for the rest].
    #[arg(long, value_enum)]
    pub modes: Option<Modes>,
    /// The largest size of the growth workloads, in keys [default: 4000000, quick: none].
    #[arg(long)]
    pub growth_max: Option<u64>,
    /// Decides keys, values and their order.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where the databases are made and removed again; the system's temporary folder by default.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// When to start no more measurements, in minutes; what is missing is listed [default: 40, quick: 4.5].
    #[arg(long)]
    pub minutes: Option<f64>,
    /// When a measurement of up to a million keys has hung, in seconds; larger ones may take as much longer. It is killed,
    /// and the run fails at its end [default: 300, quick: 30].
    #[arg(long)]
    pub timeout: Option<f64>,
    /// When a fill of up to a million keys is cut off, in seconds, and so the wait for the background work after it
    /// [default: 20, quick: 5].
    #[arg(long)]
    pub fill_seconds: Option<f64>,
    /// The folder of the raw results, `results.jsonl`.
    #[arg(long, default_value = "target/compare")]
    pub results: PathBuf,
    /// Adds to the raw results that are there, for a long run in pieces; the report is about all of them.
    #[arg(long)]
    pub append: bool,
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
    /// When to start no more measurements.
    pub time: Duration,
    /// When a child has hung, in seconds.
    pub timeout: f64,
}

/// The sizes of the growth workloads, in keys.
const GROWTH: [u64; 7] = [1, 2, 4, 8, 16, 32, 50];

impl Choice {
    /// The measurements that this choice makes.
    pub fn plan(&self, quick: bool) -> Result<Plan> {
        if !(VALUE_BYTES_MIN..=1 << 20).contains(&self.value_bytes) {
            return Err(Failure::from(format!("values have {VALUE_BYTES_MIN} bytes to 1 MiB")));
        }
        let engines = chosen(&self.engines, ENGINES, "engine", |engine| engine.name)?;
        let workloads = chosen(&self.workloads, WORKLOADS, "workload", |workload| workload.name)?;
        let keys = self.keys.unwrap_or(if quick { 30_000 } else { 1_000_000 });
        let mut jobs = Vec::new();
        for workload in workloads {
            let unnamed = self.workloads.is_empty();
            if unnamed && (workload.by_name || quick && !workload.quick) {
                continue;
            }
            for keys in self.sizes(workload, keys, quick) {
                for compress in [true, false] {
                    let of_mode = engines.iter().filter(|engine| {
                        self.wants(engine, workload, compress)
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
        let minutes = self.minutes.unwrap_or(if quick { 4.5 } else { 40.0 });
        Ok(Plan {
            jobs,
            runs: self.runs.unwrap_or(if quick { 1 } else { 3 }),
            seconds: self.seconds.unwrap_or(if quick { 0.4 } else { 1.5 }),
            seconds_max: self.fill_seconds.unwrap_or(if quick { 5.0 } else { 20.0 }),
            memory_bytes: (self.memory as usize) << 20,
            log_bytes: if quick { 8 << 20 } else { 64 << 20 },
            time: Duration::from_secs_f64(minutes.clamp(0.0, 1e6) * 60.0),
            timeout: self.timeout.unwrap_or(if quick { 30.0 } else { 300.0 }).clamp(1.0, 1e6),
        })
    }

    /// Where the raw results are.
    pub fn results_file(&self) -> PathBuf {
        self.results.join("results.jsonl")
    }

    fn wants(&self, engine: &Engine, workload: &Workload, compress: bool) -> bool {
        // An engine that cannot compress has one mode.
        if !engines::can_compress(engine.name) {
            return !compress;
        }
        match self.modes {
            Some(Modes::Compressed) => compress,
            Some(Modes::Uncompressed) => !compress,
            Some(Modes::Both) => true,
            None => compress || workload.both_modes,
        }
    }

    fn sizes(&self, workload: &Workload, keys: u64, quick: bool) -> Vec<u64> {
        if is_growth(workload) {
            let max = self.growth_max.unwrap_or(if quick { 0 } else { 4_000_000 });
            return GROWTH.iter().map(|m| m * 1_000_000).filter(|keys| *keys <= max).collect();
        }
        let keys = match (workload.kind, workload.values) {
            // As many as the log takes, and some more, so that keys do not repeat.
            (Kind::Reopen, _) => 1_000_000,
            // A quarter of the data has to be enough memory to run in at all.
            (Kind::Limited(_), _) if self.keys.is_none() => 2_000_000,
            // About three times the bytes of the small ones.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        choice: Choice,
    }

    fn plan(line: &str, quick: bool) -> Result<Plan> {
        let words = std::iter::once("compare").chain(line.split_whitespace());
        Line::try_parse_from(words)?.choice.plan(quick)
    }

    #[test]
    fn engines_of_a_workload_follow_each_other() {
        let plan = plan("--engines esker --workloads read_hit,delete --keys 5000", true).unwrap();
        let jobs: Vec<_> =
            plan.jobs.iter().map(|job| (job.workload.name, job.compress, job.keys)).collect();
        let expected =
            [("delete", true, 5000), ("read_hit", true, 5000), ("read_hit", false, 5000)];
        assert_eq!(jobs, expected);
    }

    #[test]
    fn growth_goes_up_to_the_size_given_and_large_values_are_fewer() {
        let line = "--engines esker --workloads growth_fill,fill_1k --growth-max 5000000";
        let plan = plan(line, false).unwrap();
        let sizes: Vec<_> = plan.jobs.iter().map(|job| (job.keys, job.value_bytes)).collect();
        let expected = [(333_333, 1024), (1_000_000, 100), (2_000_000, 100), (4_000_000, 100)];
        assert_eq!(sizes, expected);
    }

    #[test]
    fn unknown_names_and_sizes_out_of_range_are_refused() {
        for line in ["--engines none", "--workloads none", "--value-bytes 8", "--keys 3"] {
            assert!(plan(line, true).is_err(), "{line}");
        }
    }
}
