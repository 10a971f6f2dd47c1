//! Syncs that fail: strace answers the victim's fsync and fdatasync with EIO in the kernel's place, one call after
//! another, and the database must stop acknowledging, say why, go on reading, and open again with all it acknowledged.
//!
//! Each failure is met twice: in memory, where a restart of the process follows; and on an ext4 of our own, where the power
//! is cut afterwards, at once or behind a restart, so that nothing is left of what the failed sync did not write.

use std::path::Path;
use std::process::{Command, Stdio};

use super::kill::{Moment, look, run_victim};
use super::ledger::{Crash, Ledger};
use super::mount::Image;
use super::power::MOUNT_OPTIONS;
use super::script::choices;
use super::victim::{Line, Orders, Task};
use super::writers::Report;
use crate::Rng;
use crate::report::{Budget, CheckReport};

/// Reports after which a victim that met no failure ends.
const REPORTS: u64 = 250;

/// The size of the file system whose power is cut.
const IMAGE_BYTES: u64 = 64 << 20;

/// Runs the check with `program` as the victim.
pub(super) fn check(budget: &Budget, program: &Path) -> CheckReport {
    let mut report = CheckReport::default();
    if let Err(reason) = strace_works() {
        return super::skipped(reason);
    }
    let image = Image::create(IMAGE_BYTES);
    if let Err(reason) = &image {
        report.skipped = Some(format!("the power cuts: {reason}"));
    }
    for nth in 1..=budget.count(6, 60, 240) {
        if budget.is_over() {
            break;
        }
        let note = |crash: &str, outcome: Result<(), String>, report: &mut CheckReport| {
            if let Err(message) = outcome {
                let place = format!("failed sync {nth}, seed {}, {crash}", budget.seed);
                report.find(format!("{place}: {message}"));
            }
        };
        let outcome = then_restart(budget.seed, nth, program, &mut report);
        note("then a restart", outcome, &mut report);
        if let Ok(image) = &image {
            let outcome = then_power_cut(budget.seed, nth, program, image, &mut report);
            note("then a power cut", outcome, &mut report);
        }
    }
    report
}

/// A new database, in memory, whose process starts again after the failure.
fn then_restart(
    seed: u64,
    nth: u64,
    program: &Path,
    report: &mut CheckReport,
) -> Result<(), String> {
    let mut rng = choices(seed, &[40, nth]);
    let directory = super::directory_in(&super::memory_directory())?;
    let path = directory.path().join("db");
    let (mut ledger, failed) = fail_nth(nth, program, &path, directory.path(), &mut rng, report)?;
    let looked = look(&path, rng.number(), rng.below(2) == 0, &mut ledger, Crash::Process)
        .map_err(|message| {
            format!("{message}; {failed:?}; kept in {}", directory.keep().display())
        })?;
    report.add("writes that had to survive, and did", looked.promised);
    Ok(())
}

/// A new database on an ext4 that is cut off after the failure, or after the restart that follows it.
fn then_power_cut(
    seed: u64,
    nth: u64,
    program: &Path,
    image: &Image,
    report: &mut CheckReport,
) -> Result<(), String> {
    let mut rng = choices(seed, &[41, nth]);
    let traces = super::directory_in(&super::memory_directory())?;
    let options = *rng.pick(&MOUNT_OPTIONS);
    let mount = image.mount(options)?;
    let path = mount.path().join("db");
    if path.exists() {
        std::fs::remove_dir_all(&path).map_err(|error| error.to_string())?;
    }
    let kept = |message: String| format!("{message} ({options}); {}", super::keep_copy(&path));
    let (mut ledger, failed) = fail_nth(nth, program, &path, traces.path(), &mut rng, report)?;
    let kept = |message: String| kept(format!("{message}; {failed:?}"));
    if rng.chance(50) {
        // What this shows is made durable first, so that the cut cannot take it back.
        let looked = look(&path, rng.number(), false, &mut ledger, Crash::Process).map_err(kept)?;
        report.add("writes that had to survive, and did", looked.promised);
        report.add("power cuts behind the restart", 1);
    }
    mount.cut_power().map_err(|error| format!("cannot cut the power: {error}"))?;
    mount.unmount()?;
    let mount = image.mount(options)?;
    let looked = look(&path, rng.number(), rng.chance(50), &mut ledger, Crash::Power);
    let looked = looked.map_err(kept)?;
    report.add("power cuts after failed syncs", 1);
    report.add("synced writes that had to survive the cut, and did", looked.promised);
    report.add("unsynced writes that the cut took", looked.forgone);
    mount.unmount()
}

/// Whether strace is here and may trace.
fn strace_works() -> Result<(), String> {
    let mut command = Command::new("strace");
    command.args(["-qq", "-e", "trace=none", "-e", "inject=fsync:error=EIO:when=1", "true"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("strace may not trace here".to_string()),
        Err(error) => Err(format!("strace is not here: {error}")),
    }
}

/// Writes to a new database in `path`, each of whose threads meets a failure at its `nth` sync: what it acknowledged, and
/// the calls that failed, as strace shows them.
fn fail_nth(
    nth: u64,
    program: &Path,
    path: &Path,
    traces: &Path,
    rng: &mut Rng,
    report: &mut CheckReport,
) -> Result<(Ledger, Vec<String>), String> {
    let trace = traces.join("trace");
    let threads = 1 + rng.below(3);
    let script_seed = rng.number();
    let mut ledger = Ledger::new(script_seed, threads);
    let orders = Orders {
        task: Task::WriteSome(REPORTS),
        directory: path.to_path_buf(),
        seed: script_seed,
        options: rng.number() >> 1,
        starts: vec![0; threads as usize],
    };
    let mut command = Command::new("strace");
    // With -D the victim is this process's own child, so that it can be killed.
    command.args(["-D", "-f", "-qq", "-y", "-e", "trace=fsync,fdatasync", "-e"]);
    command.arg(format!("inject=fsync,fdatasync:error=EIO:when={nth}"));
    command.arg("-o").arg(&trace).arg("--").arg(program).args(orders.arguments());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut was_opened, mut is_read_only, mut refusals) = (false, false, 0);
    run_victim(command, Moment::Never, &mut |line| {
        match line {
            Line::Opened => was_opened = true,
            Line::Figure(label, count) => {
                is_read_only = true;
                report.add(label, *count);
            }
            Line::Report(said) => {
                ledger.hear(said)?;
                if let Report::Refused { kind, message, .. } = said {
                    refusals += 1;
                    if !matches!(kind.as_str(), "Io" | "ReadOnly" | "Indeterminate") {
                        return Err(format!("a failed sync was reported as {kind}: {message}"));
                    }
                } else if refusals > 0 && threads == 1 {
                    return Err(format!("after the database refused: {said:?}"));
                }
            }
            Line::Done => {}
        }
        Ok(())
    })?;
    let traced = std::fs::read_to_string(&trace).map_err(|error| format!("no trace: {error}"))?;
    let failed = traced.lines().filter(|line| line.contains("(INJECTED)"));
    let failed: Vec<String> = failed.map(str::to_string).collect();
    report.add("syncs that failed", failed.len() as u64);
    report.add("of these of the log", failed.iter().filter(|l| l.contains(".wal>")).count() as u64);
    report.add("opens that failed with them", u64::from(!was_opened));
    // A failed sync of the live log leaves no other answer; before the database is open, opening fails.
    if failed.iter().any(|line| line.contains(".wal>")) && was_opened && !is_read_only {
        return Err(format!("the log could not be synced and the database went on: {failed:?}"));
    }
    if failed.is_empty() && refusals > 0 {
        return Err("it refused without a failure".to_string());
    }
    Ok((ledger, failed))
}
