//! The list of all checks, and running them.
//!
//! A check is a function from a [`Budget`] to a [`CheckReport`]; adding one is adding a line to [`CHECKS`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use esker::vfs::World;

use crate::report::{Budget, CheckReport, Row, Scale, Table};

/// One check.
pub type Check = fn(&Budget) -> CheckReport;

/// Every check, by name, in the order in which they run.
pub const CHECKS: &[(&str, Check)] = &[
    (crate::exhaustive::NAME, crate::exhaustive::check),
    (crate::lives::NAME, crate::lives::check),
    (crate::metamorphic::NAME, crate::metamorphic::check),
    ("corruption", crate::corruption::check),
    ("errors", crate::errors::check),
    ("linearizability", crate::linearizability::check),
    (crate::items::NAME, crate::items::check),
    (crate::groups::NAME, crate::groups::check),
    ("kill9", crate::kernel::kill9),
    ("power-cuts", crate::kernel::power_cuts),
    ("full-disk", crate::kernel::full_disk),
    ("failed-syncs", crate::kernel::failed_syncs),
    ("descriptors", crate::kernel::descriptors),
    ("open-time", crate::kernel::open_time),
];

/// More than a check takes in CI; one that is still running then returns what it has.
pub const CI_LIMIT: Duration = Duration::from_secs(600);

/// Runs every check, or those named in `only`, once, each for at most `limit`. `done` is told of each that has ended.
pub fn ci(seed: u64, limit: Duration, only: &[String], done: impl Fn(&Row)) -> Table {
    let rows = selected(only).map(|(name, check)| {
        let row = row(name, *check, &Budget::new(seed, Scale::Ci, limit), &seed.to_string());
        done(&row);
        row
    });
    Table { commit: commit(), rows: rows.collect() }
}

/// Runs every check, or those named in `only`, in rounds with other seeds until `limit` has passed.
/// `done` is told of each that has ended, in every round.
pub fn soak(seed: u64, limit: Duration, only: &[String], done: impl Fn(&Row)) -> Table {
    let whole = Budget::new(seed, Scale::Ci, limit);
    let mut rows: Vec<Row> = Vec::new();
    let count = selected(only).count().max(1) as u32;
    for round in 0.. {
        if whole.is_over() {
            break;
        }
        for (at, (name, check)) in selected(only).enumerate() {
            // A check may use its share of what is left, so that none starves those behind it.
            let share = whole.left() / (count - at as u32);
            let budget = Budget::new(seed + round, Scale::Soak { round }, share);
            let seeds = format!("{seed}..={}", seed + round);
            let next = row(name, *check, &budget, &seeds);
            done(&next);
            match rows.get_mut(at) {
                None => rows.push(next),
                Some(row) => {
                    row.report.merge(next.report);
                    row.elapsed += next.elapsed;
                    row.seeds = next.seeds;
                }
            }
        }
    }
    Table { commit: commit(), rows }
}

fn selected(only: &[String]) -> impl Iterator<Item = &'static (&'static str, Check)> {
    CHECKS.iter().filter(move |(name, _)| only.is_empty() || only.iter().any(|o| o == name))
}

fn row(name: &str, check: Check, budget: &Budget, seeds: &str) -> Row {
    let clock = World::real().clock;
    let began = clock.monotonic();
    let report = guarded(name, check, budget);
    Row { report, elapsed: clock.monotonic().saturating_sub(began), seeds: seeds.to_string() }
}

/// Runs a check. One that panics has found something like any other: the rest still runs.
pub(crate) fn guarded(name: &str, check: Check, budget: &Budget) -> CheckReport {
    let report = catch_unwind(AssertUnwindSafe(|| check(budget))).unwrap_or_else(|panic| {
        let mut report = CheckReport::new(name);
        report.find(format!("panicked with seed {}: {}", budget.seed, panic_text(&*panic)));
        report
    });
    CheckReport { name: name.to_string(), ..report }
}

/// What a caught panic said.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_string()
}

/// The commit of the work tree that this runs in.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output = std::process::Command::new("git").args(args).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_string())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".to_string();
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    if changed.is_some_and(|text| !text.is_empty()) {
        return format!("{commit} with changes");
    }
    commit
}
