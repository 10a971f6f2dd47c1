//! The list of all checks, and running them.
//!
//! A check is a function from a [`Budget`] to a [`CheckReport`]; adding one is adding a line to [`CHECKS`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use esker::vfs::World;

use crate::report::{Budget, CheckReport, Floor, Row, SOAK_MINUTES, Scale, Table};
use crate::{
    corruption, errors, exhaustive, groups, items, kernel, linearizability, lives, metamorphic,
};

/// One check.
pub type Check = fn(&Budget) -> CheckReport;

/// A check with what is expected of it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Runs it.
    pub check: Check,
    /// What its figures must reach.
    pub floors: &'static [Floor],
    /// Its share of a soak, in minutes of [`SOAK_MINUTES`]: nearly twice what its floors take on two quiet
    /// cores, or more.
    pub soak_minutes: u32,
}

const fn entry(
    name: &'static str,
    check: Check,
    floors: &'static [Floor],
    soak_minutes: u32,
) -> Entry {
    Entry { name, check, floors, soak_minutes }
}

/// Every check, in the order in which they run.
pub const CHECKS: &[Entry] = &[
    entry(exhaustive::NAME, exhaustive::check, exhaustive::FLOORS, 20),
    entry(lives::NAME, lives::check, lives::FLOORS, 10),
    entry(metamorphic::NAME, metamorphic::check, metamorphic::FLOORS, 75),
    entry(corruption::NAME, corruption::check, corruption::FLOORS, 20),
    entry(errors::NAME, errors::check, errors::FLOORS, 15),
    entry(linearizability::NAME, linearizability::check, linearizability::FLOORS, 3),
    entry(items::NAME, items::check, &[], 3),
    entry(groups::NAME, groups::check, &[], 3),
    entry("kill9", kernel::kill9, kernel::KILL9_FLOORS, 12),
    entry("power-cuts", kernel::power_cuts, kernel::POWER_CUTS_FLOORS, 14),
    entry("full-disk", kernel::full_disk, &[], 2),
    entry("failed-syncs", kernel::failed_syncs, &[], 2),
    entry("descriptors", kernel::descriptors, &[], 1),
    entry("open-time", kernel::open_time, &[], 1),
];

/// More than a check takes in CI; one that is still running then returns what it has.
pub const CI_LIMIT: Duration = Duration::from_secs(600);

/// Runs every check, or those named in `only`, once, each for at most `limit`. `done` is told of each that has ended.
pub fn ci(seed: u64, limit: Duration, only: &[String], done: impl Fn(&Row)) -> Table {
    let rows = selected(only).map(|entry| {
        let floors = entry.floors.iter().map(|floor| (floor.label, floor.ci));
        let floors = floors.filter(|(_, floor)| *floor > 0).collect();
        let row = row(entry, &Budget::new(seed, Scale::Ci, limit), seed.to_string(), floors);
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
    let parts =
        |from: usize| selected(only).skip(from).map(|entry| entry.soak_minutes).sum::<u32>();
    let in_proportion = |floor: u64| floor * limit.as_secs() / (SOAK_MINUTES * 60);
    for round in 0.. {
        if whole.is_over() {
            break;
        }
        for (at, entry) in selected(only).enumerate() {
            // A check may use its share of what is left, so that none starves those behind it.
            let share = whole.left() * entry.soak_minutes / parts(at).max(1);
            let budget = Budget::new(seed.wrapping_add(round), Scale::Soak { round }, share);
            let seeds = format!("{seed}..={}", seed.wrapping_add(round));
            let floors = entry.floors.iter();
            let floors = floors.map(|floor| (floor.label, in_proportion(floor.soak)));
            let floors = floors.filter(|(_, floor)| *floor > 0).collect();
            let next = row(entry, &budget, seeds, floors);
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

fn selected(only: &[String]) -> impl Iterator<Item = &'static Entry> {
    let is_chosen = move |entry: &&Entry| only.is_empty() || only.iter().any(|o| o == entry.name);
    CHECKS.iter().filter(is_chosen)
}

fn row(entry: &Entry, budget: &Budget, seeds: String, floors: Vec<(&'static str, u64)>) -> Row {
    let clock = World::real().clock;
    let began = clock.monotonic();
    let mut report = guarded(entry.name, entry.check, budget);
    let elapsed = clock.monotonic().saturating_sub(began);
    // Some checks only stop.
    if budget.is_over() && report.skipped.is_none() && report.cut_short.is_none() {
        report.cut_short = Some(format!("{} s", elapsed.as_secs()));
    }
    Row { report, elapsed, seeds, floors }
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

/// The commit of the work tree that this was built in, wherever it runs.
fn commit() -> String {
    let git = |args: &[&str]| {
        let mut command = std::process::Command::new("git");
        let output = command.args(["-C", env!("CARGO_MANIFEST_DIR")]).args(args).output().ok()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_a_soak_make_a_whole_one() {
        let minutes: u32 = CHECKS.iter().map(|entry| entry.soak_minutes).sum();
        assert!((170..=190).contains(&minutes), "{minutes}");
    }
}
