//! Carries out the plan: a child process and a fresh directory for each measurement, the runs interleaved, then the
//! tables. Called by `main.rs`. It must remove every directory it makes and end every process it starts.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::child::READY;
use crate::engine::{Failure, Result};
use crate::machine::Machine;
use crate::outcome::{Outcome, Part, Spec};
use crate::plan::{Choice, Job, Plan};
use crate::workload::Kind;
use crate::{plot, table, targets};

/// With less memory than this a process cannot even start in peace.
const LIMIT_BYTES_MIN: u64 = 48 << 20;

/// Measures, prints the tables and saves the results. False if a measurement failed.
pub fn run(choice: &Choice, quick: bool) -> Result<bool> {
    let plan = choice.plan(quick)?;
    let parent = choice.dir.clone().unwrap_or_else(std::env::temp_dir);
    let temporary = tempfile::Builder::new().prefix("esker-compare-").tempdir_in(parent)?;
    fs::create_dir_all(&choice.results)?;
    let machine = Machine::measure(temporary.path())?;
    println!("{}", machine.block());
    fs::write(choice.results.join("machine.json"), serde_json::to_string_pretty(&machine)?)?;
    let path = choice.results.join("results.jsonl");
    let mut results = File::create(&path)?;
    let (mut outcomes, mut failures) = (Vec::new(), Vec::new());
    let group = Group::create();
    for run in 0..plan.runs {
        for (number, job) in plan.jobs.iter().enumerate() {
            let mode = if job.compress { " compressed" } else { "" };
            let name = format!("{} {}{mode}", job.workload.name, job.engine.name);
            eprint!("run {} of {}, {}/{}: {name}", run + 1, plan.runs, number + 1, plan.jobs.len());
            let dir = temporary.path().join("db");
            fs::create_dir(&dir)?;
            let outcome = measure(choice, &plan, job, run, &dir, group.as_ref());
            fs::remove_dir_all(&dir)?;
            match outcome {
                Ok(Some(outcome)) => {
                    eprintln!(": {:.0}/s", outcome.throughput);
                    writeln!(results, "{}", serde_json::to_string(&outcome)?)?;
                    outcomes.push(outcome);
                }
                Ok(None) => {}
                Err(error) => {
                    eprintln!(": FAILED: {error}");
                    failures.push(format!("{name}: {error}"));
                }
            }
        }
    }
    let medians = table::medians(outcomes);
    print!("{}", table::tables(&medians));
    print!("{}", targets::block(&targets::evaluate(&medians, &machine)));
    println!("\nRaw results: {}", path.display());
    for failure in &failures {
        println!("FAILED: {failure}");
    }
    if let Some(folder) = &choice.report {
        plot::draw(&medians, folder)?;
        println!("Plots: {}", folder.display());
    }
    Ok(failures.is_empty())
}

/// None for what this machine cannot measure, after a line that says so.
fn measure(
    choice: &Choice,
    plan: &Plan,
    job: &Job,
    run: u32,
    dir: &Path,
    group: std::result::Result<&Group, &String>,
) -> Result<Option<Outcome>> {
    let mut spec = Spec {
        engine: job.engine.name.into(),
        workload: job.workload.name.into(),
        compress: job.compress,
        keys: job.keys,
        value_bytes: job.value_bytes,
        memory_bytes: plan.memory_bytes,
        seconds: plan.seconds,
        seconds_max: plan.seconds_max,
        // Every run has keys and values of its own; every engine has the same.
        seed: choice.seed.wrapping_add(u64::from(run)),
        run,
        dir: dir.to_path_buf(),
        group: None,
        log_bytes: plan.log_bytes,
        part: Part::Whole,
    };
    match job.workload.kind {
        Kind::Limited(_) => {
            let limit = job.keys * (20 + job.value_bytes as u64) / 4;
            let group = match group {
                Ok(_) if limit < LIMIT_BYTES_MIN => {
                    eprintln!(": skipped, a quarter of the data is too little memory: more --keys");
                    return Ok(None);
                }
                Ok(group) => group,
                Err(reason) => {
                    eprintln!(": skipped, {reason}");
                    return Ok(None);
                }
            };
            group.limit(limit)?;
            spec.group = Some(group.path.clone());
            // Cache, memtables and the engine's other needs have to fit.
            spec.memory_bytes = limit as usize / 4;
        }
        Kind::Reopen => {
            // So much that no memtable is full before the kill: all that was written is in the log.
            spec.memory_bytes = 8 * plan.log_bytes as usize;
            return reopen(spec).map(Some);
        }
        _ => {}
    }
    let output = start(&spec)?.wait_with_output()?;
    parse(&output.stdout, output.status).map(Some)
}

fn start(spec: &Spec) -> Result<Child> {
    let child = Command::new(std::env::current_exe()?)
        .arg("child")
        .arg(serde_json::to_string(spec)?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    Ok(child)
}

fn reopen(mut spec: Spec) -> Result<Outcome> {
    spec.part = Part::Killed;
    let mut writer = start(&spec)?;
    let mut line = String::new();
    let read = match writer.stdout.take() {
        Some(stdout) => BufReader::new(stdout).read_line(&mut line),
        None => Ok(0),
    };
    writer.kill()?;
    writer.wait()?;
    read?;
    if line.trim() != READY {
        return Err(Failure::from("the process to be killed failed"));
    }
    spec.part = Part::Reopened;
    let output = start(&spec)?.wait_with_output()?;
    parse(&output.stdout, output.status)
}

fn parse(stdout: &[u8], status: std::process::ExitStatus) -> Result<Outcome> {
    if !status.success() {
        return Err(Failure::from(format!("its process failed, {status}")));
    }
    let text = String::from_utf8_lossy(stdout);
    let line = text.lines().rev().find(|line| line.starts_with('{'));
    Ok(serde_json::from_str(line.ok_or_else(|| Failure::from("it reported nothing"))?)?)
}

/// A control group (version 2) of this run's own, whose memory can be limited.
struct Group {
    path: PathBuf,
}

impl Group {
    /// Makes one below the root group. The error says why it cannot.
    fn create() -> std::result::Result<Group, String> {
        let root = Path::new("/sys/fs/cgroup");
        let controllers = fs::read_to_string(root.join("cgroup.controllers"))
            .map_err(|_| "no control groups of version 2 here".to_owned())?;
        if !controllers.split_whitespace().any(|name| name == "memory") {
            return Err("the control groups here do not limit memory".into());
        }
        let failed = |error| format!("no control group can be made: {error}");
        fs::write(root.join("cgroup.subtree_control"), "+memory").map_err(failed)?;
        let path = root.join(format!("esker-compare-{}", std::process::id()));
        fs::create_dir(&path).map_err(failed)?;
        Ok(Group { path })
    }

    fn limit(&self, bytes: u64) -> Result<()> {
        // Without swap, or the limit would not mean much. A kernel without swap accounting lacks the file.
        let _ = fs::write(self.path.join("memory.swap.max"), "0");
        Ok(fs::write(self.path.join("memory.max"), bytes.to_string())?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Fails only while a process is in it, and every child has ended.
        let _ = fs::remove_dir(&self.path);
    }
}
