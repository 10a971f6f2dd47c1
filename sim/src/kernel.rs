//! The real kernel: processes that are killed, file systems that are cut off, disks that are full, syncs that fail.
//!
//! Unlike the simulated disk this finds what the model of a disk leaves out; unlike there, a seed decides what is done
//! but not when, so a finding names its seed and keeps its directory, and may need several runs to show again. Nothing
//! outside temporary directories is touched, and every mount, loop device and process goes with its guard. What needs
//! root, a loop device or strace is skipped elsewhere, and the report says so.

// The machine itself is what is tested here, so it is not behind a door.
#![allow(clippy::disallowed_methods)]

mod descriptors;
mod eio;
mod full;
mod kill;
mod ledger;
mod mount;
mod power;
mod script;
mod shutdown;
mod victim;
mod writers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::report::{Budget, CheckReport, Floor};

/// What the check of kills must reach.
pub const KILL9_FLOORS: &[Floor] = &[Floor::new(kill::KILLS, 1_000, 20_000)];

/// What the check of power cuts must reach.
pub const POWER_CUTS_FLOORS: &[Floor] = &[Floor::new(power::CUTS, 500, 10_000)];

/// Kill -9 of writing and of recovering processes.
pub fn kill9(budget: &Budget) -> CheckReport {
    with_program(budget, kill::check)
}

/// The time to open a database with a long log, after a kill.
pub fn open_time(budget: &Budget) -> CheckReport {
    with_program(budget, kill::open_time)
}

/// Power cuts on a real ext4.
pub fn power_cuts(budget: &Budget) -> CheckReport {
    power::check(budget)
}

/// A real ext4 without space, and with space again.
pub fn full_disk(budget: &Budget) -> CheckReport {
    full::check(budget)
}

/// Syncs that the kernel answers with an I/O error.
pub fn failed_syncs(budget: &Budget) -> CheckReport {
    with_program(budget, eio::check)
}

/// A process without file descriptors, and with them again.
pub fn descriptors(budget: &Budget) -> CheckReport {
    with_program(budget, descriptors::check)
}

/// Runs as a victim of one of the checks: the hidden subcommand.
pub fn victim(arguments: &[String]) -> ExitCode {
    victim::run(arguments)
}

/// The checks above, with another program as the victim than the running one: for tests, which are not `esker-sim`.
pub fn run_with(name: &str, budget: &Budget, program: &Path) -> Option<CheckReport> {
    let check = match name {
        "kill9" => kill::check,
        "open-time" => kill::open_time,
        "failed-syncs" => eio::check,
        "descriptors" => descriptors::check,
        _ => return None,
    };
    Some(check(budget, program))
}

fn with_program(budget: &Budget, check: fn(&Budget, &Path) -> CheckReport) -> CheckReport {
    match std::env::current_exe() {
        Ok(program) if program.file_stem().is_some_and(|name| name == "esker-sim") => {
            check(budget, &program)
        }
        _ => skipped("only the program esker-sim can start its victims"),
    }
}

fn skipped(reason: impl Into<String>) -> CheckReport {
    CheckReport { skipped: Some(reason.into()), ..CheckReport::default() }
}

/// A directory in memory, where there is one.
fn memory_directory() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

/// A new directory in `place` that goes with its guard.
fn directory_in(place: &Path) -> Result<tempfile::TempDir, String> {
    let made = tempfile::Builder::new().prefix("esker-sim-").tempdir_in(place);
    made.map_err(|error| format!("no directory in {}: {error}", place.display()))
}

/// Copies the files of a database to where they stay after the check; says where.
fn keep_copy(from: &Path) -> String {
    let copy = || -> std::io::Result<PathBuf> {
        let to = tempfile::Builder::new().prefix("esker-sim-kept-").tempdir()?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            std::fs::copy(entry.path(), to.path().join(entry.file_name()))?;
        }
        Ok(to.keep())
    };
    match copy() {
        Ok(to) => format!("the files are kept in {}", to.display()),
        Err(error) => format!("the files could not be kept: {error}"),
    }
}
