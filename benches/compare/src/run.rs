//! Carries out the plan: a child process and a directory for each measurement, the runs interleaved, the raw results
//! written as they come. Called by `main.rs`. It must remove every directory it makes and end every process it starts; a
//! measurement that fails or hangs costs that measurement and no other.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::child::READY;
use crate::engine::{Failure, Result};
use crate::group::Groups;
use crate::machine::Machine;
use crate::outcome::{FailedRun, Outcome, Part, Spec};
use crate::plan::{Choice, Job, Plan};
use crate::process::Running;
use crate::record::Record;
use crate::report;
use crate::template::{self, Templates};
use crate::workload::Kind;

/// With less memory than this a process cannot even start in peace.
const LIMIT_BYTES_MIN: u64 = 48 << 20;

/// Measures, saves the results and prints the report. False if a measurement failed.
pub fn run(choice: &Choice, quick: bool) -> Result<bool> {
    let plan = choice.plan(quick)?;
    let started = Instant::now();
    let parent = choice.dir.clone().unwrap_or_else(std::env::temp_dir);
    let temporary = tempfile::Builder::new().prefix("esker-compare-").tempdir_in(parent)?;
    fs::create_dir_all(&choice.results)?;
    let path = choice.results_file();
    let mut results = Lines(match choice.append {
        true => OpenOptions::new().create(true).append(true).open(&path)?,
        false => File::create(&path)?,
    });
    let machine = Machine::measure(temporary.path())?;
    eprintln!("{}", machine.block());
    results.add(&Record::Machine(machine))?;
    let run = Run {
        choice,
        plan: &plan,
        groups: Groups::create(temporary.path()),
        dir: temporary.path(),
    };
    let mut failed = false;
    'runs: for number in 0..plan.runs {
        let mut templates = Templates::new(temporary.path(), &plan.jobs);
        for (place, job) in plan.jobs.iter().enumerate() {
            eprint!("run {} of {}, {}/{}: ", number + 1, plan.runs, place + 1, plan.jobs.len());
            let mode = if job.compress { " compressed" } else { "" };
            eprint!("{} {}{mode}: ", job.workload.name, job.engine.name);
            let spec = run.spec(job, number);
            let in_time = started.elapsed() < plan.time;
            if !in_time && number > 0 {
                // Every measurement has been made; the first run lists what has not.
                eprintln!("no time left");
                break 'runs;
            }
            let measured = match in_time {
                true => run.measure(job, spec.clone(), &mut templates),
                false => Measured::Skipped("no time left".into()),
            };
            templates.done(job, matches!(measured, Measured::Failed(_)))?;
            results.add(&match measured {
                Measured::Done(outcome) => {
                    eprintln!("{:.0}/s", outcome.throughput);
                    Record::Outcome(outcome)
                }
                Measured::Skipped(reason) => {
                    eprintln!("skipped, {reason}");
                    Record::Skipped(FailedRun::new(&spec, reason))
                }
                Measured::Failed(error) => {
                    eprintln!("FAILED: {error}");
                    failed = true;
                    Record::Failure(FailedRun::new(&spec, error.to_string()))
                }
            })?;
        }
    }
    drop(run);
    eprintln!("{:.0} s", started.elapsed().as_secs_f64());
    report::report(&[path], choice.report.as_deref())?;
    Ok(!failed)
}

/// The file of raw results; every line is complete before the next measurement starts.
struct Lines(File);

impl Lines {
    fn add(&mut self, record: &Record) -> Result<()> {
        Ok(self.0.write_all((serde_json::to_string(record)? + "\n").as_bytes())?)
    }
}

/// What came of a measurement.
enum Measured {
    Done(Box<Outcome>),
    /// This machine cannot make it, or there is no time.
    Skipped(String),
    Failed(Failure),
}

struct Run<'a> {
    choice: &'a Choice,
    plan: &'a Plan,
    groups: Groups,
    /// Where databases are made.
    dir: &'a Path,
}

impl Run<'_> {
    fn spec(&self, job: &Job, run: u32) -> Spec {
        Spec {
            engine: job.engine.name.into(),
            workload: job.workload.name.into(),
            compress: job.compress,
            keys: job.keys,
            value_bytes: job.value_bytes,
            memory_bytes: self.plan.memory_bytes,
            seconds: self.plan.seconds,
            seconds_max: self.plan.seconds_max * size(job.keys),
            // Every run has keys and values of its own; every engine has the same.
            seed: self.choice.seed.wrapping_add(u64::from(run)),
            run,
            dir: self.dir.join("db"),
            preloaded: false,
            group: None,
            io_group: self.groups.io().map(Path::to_path_buf),
            log_bytes: self.plan.log_bytes,
            part: Part::Whole,
        }
    }

    fn measure(&self, job: &Job, mut spec: Spec, templates: &mut Templates) -> Measured {
        if let Kind::Limited(_) = job.workload.kind {
            let limit = job.keys * (20 + job.value_bytes as u64) / 4;
            if limit < LIMIT_BYTES_MIN {
                let reason = "a quarter of the data is too little memory: more --keys";
                return Measured::Skipped(reason.into());
            }
            match self.groups.limited(limit) {
                Ok(path) => spec.group = Some(path.to_path_buf()),
                Err(reason) => return Measured::Skipped(reason),
            }
        }
        let load_spec = Spec { part: Part::Load, ..spec.clone() };
        if spec.group.is_some() {
            // Cache, memtables and the engine's other needs have to fit.
            spec.memory_bytes = job.keys as usize * (20 + job.value_bytes) / 16;
        }
        match self.measure_in_dir(job, spec, load_spec, templates) {
            Ok(outcome) => Measured::Done(Box::new(outcome)),
            Err(error) => Measured::Failed(error),
        }
    }

    fn measure_in_dir(
        &self,
        job: &Job,
        mut spec: Spec,
        load_spec: Spec,
        templates: &mut Templates,
    ) -> Result<Outcome> {
        let fresh = Fresh::new(&spec.dir)?;
        if job.workload.loaded {
            let loaded = templates.get(job, |dir| {
                let spec = Spec { dir: dir.to_path_buf(), group: None, ..load_spec };
                self.start(&spec)?.finish().map(|_| ())
            })?;
            spec.preloaded = true;
            match job.workload.reads_only() {
                true => spec.dir = loaded,
                false => template::copy(&loaded, &fresh.0)?,
            }
        }
        if job.workload.kind == Kind::Reopen {
            // So much that no memtable is full before the kill: all that was written is in the log.
            spec.memory_bytes = 8 * self.plan.log_bytes as usize;
            spec.part = Part::Killed;
            let mut writer = self.start(&spec)?;
            loop {
                match writer.line()? {
                    Some(line) if line == READY => break,
                    Some(_) => {}
                    None => return Err(Failure::from("the process to be killed failed")),
                }
            }
            writer.kill()?;
            spec.part = Part::Reopened;
        }
        let line = self.start(&spec)?.finish()?;
        Ok(serde_json::from_str(&line.ok_or_else(|| Failure::from("it reported nothing"))?)?)
    }

    fn start(&self, spec: &Spec) -> Result<Running> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("child").arg(serde_json::to_string(spec)?);
        Running::start(&mut command, Duration::from_secs_f64(self.plan.timeout * size(spec.keys)))
    }
}

/// What is larger than a million keys may take as much longer.
fn size(keys: u64) -> f64 {
    (keys as f64 / 1e6).max(1.0)
}

/// A directory that is removed again.
struct Fresh(PathBuf);

impl Fresh {
    fn new(path: &Path) -> Result<Fresh> {
        if path.exists() {
            fs::remove_dir_all(path)?;
        }
        fs::create_dir(path)?;
        Ok(Fresh(path.to_path_buf()))
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // What cannot be removed here is tried again before the next measurement, or goes with the folder above.
        let _ = fs::remove_dir_all(&self.0);
    }
}
