//! Syncs that fail: strace answers the victim's fsync and fdatasync with EIO in the kernel's place, one call after
//! another, and the database must stop acknowledging, say why, go on reading, and open again with all it acknowledged.

use std::path::Path;
use std::process::{Command, Stdio};

use super::kill::{Moment, look, run_victim};
use super::ledger::{Crash, Ledger};
use super::script::choices;
use super::victim::{Line, Orders, Task};
use super::writers::Report;
use crate::report::{Budget, CheckReport};

/// Reports after which a victim that met no failure ends.
const REPORTS: u64 = 250;

/// Runs the check with `program` as the victim.
pub(super) fn check(budget: &Budget, program: &Path) -> CheckReport {
    let mut report = CheckReport::default();
    if let Err(reason) = strace_works() {
        return super::skipped(reason);
    }
    for nth in 1..=budget.count(6, 60, 120) {
        if budget.is_over() {
            break;
        }
        if let Err(message) = fail_nth(budget.seed, nth, program, &mut report) {
            report.find(format!("failed sync {nth}, seed {}: {message}", budget.seed));
        }
    }
    report
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

/// A new database whose threads each meet a failure at their `nth` sync.
fn fail_nth(seed: u64, nth: u64, program: &Path, report: &mut CheckReport) -> Result<(), String> {
    let mut rng = choices(seed, &[40, nth]);
    let directory = super::directory_in(&super::memory_directory())?;
    let (path, trace) = (directory.path().join("db"), directory.path().join("trace"));
    let threads = 1 + rng.below(3);
    let script_seed = rng.number();
    let mut ledger = Ledger::new(script_seed, threads);
    let orders = Orders {
        task: Task::WriteSome(REPORTS),
        directory: path.clone(),
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
    let failed: Vec<_> = traced.lines().filter(|line| line.contains("(INJECTED)")).collect();
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
    let looked = look(&path, rng.number(), rng.below(2) == 0, &mut ledger, Crash::Process)
        .map_err(|message| {
            format!("{message}; {failed:?}; kept in {}", directory.keep().display())
        })?;
    report.add("writes that had to survive, and did", looked.promised);
    Ok(())
}
