//! Random long lives of a database: power cuts at any call and in recovery, failed syncs, keyspaces made and dropped,
//! transactions, snapshots, checkpoints, background steps in any order.
//!
//! A life is a list of steps drawn from a seed. One that breaks a promise is shrunk: steps are left out as long as it
//! still breaks one. What is left is the replay file.

mod run;
mod step;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::Rng;
use crate::checks::panic_text;
use crate::report::{Budget, CheckReport, Finding, Floor};
use crate::{parallel, shrink};
use run::{Between, Outcome};
use step::Step;

/// The check's name.
pub const NAME: &str = "lives";

/// Shrinking gives up after so many steps of attempts; what it has by then is small enough.
const EFFORT_MAX: usize = 500_000;

const TRACES: &str = "same seed, same trace";

/// What must be reached.
pub const FLOORS: &[Floor] = &[Floor::new(TRACES, 100, 2_000)];

/// Runs the check.
pub fn check(budget: &Budget) -> CheckReport {
    let lives = budget.count(60, 12_000, 250_000);
    let twice = budget.count(5, 100, 2_000);
    let base = budget.seed << 32;
    let hunting = budget.hunting;
    let unit = move |at: u64, report: &mut CheckReport| {
        one(base + at, at < twice, hunting, report);
    };
    parallel::run(NAME, budget, lives, Arc::new(unit))
}

fn one(seed: u64, twice: bool, hunting: bool, report: &mut CheckReport) {
    let steps = step::draw(&mut Rng::new(seed));
    match attempt(seed, &steps, |world| world) {
        Ok(outcome) => {
            report.add("lives", 1);
            report.add("steps", steps.len() as u64);
            report.add("power cuts", outcome.crashes);
            report.add("recoveries compared", outcome.recoveries);
            report.add("writes acknowledged", outcome.writes);
            report.add("transactions", outcome.transactions);
            report.add("snapshots compared", outcome.snapshots);
            report.add("checkpoints compared", outcome.checkpoints);
            if twice {
                report.add(TRACES, 1);
                if attempt(seed, &steps, |world| world) != Ok(outcome) {
                    report.find(format!("seed {seed} makes other calls the second time"));
                }
            }
        }
        Err(message) if hunting => report.find(format!("seed {seed}: {message}")),
        Err(_) => report.findings.push(shrunk(seed, steps, |world| world)),
    }
}

/// Lives through the steps; a panic is an error like any other.
fn attempt(seed: u64, steps: &[Step], between: Between) -> Result<Outcome, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| run::live(seed, steps, between)));
    outcome.unwrap_or_else(|panic| Err(format!("panicked: {}", panic_text(&*panic))))
}

fn shrink(seed: u64, steps: Vec<Step>, between: Between) -> Vec<Step> {
    shrink::shrink(steps, EFFORT_MAX, |steps| attempt(seed, steps, between).is_err())
}

fn shrunk(seed: u64, steps: Vec<Step>, between: Between) -> Finding {
    let steps = shrink(seed, steps, between);
    let message = attempt(seed, &steps, between).err().unwrap_or_default();
    let mut text = format!("check {NAME}\nseed {seed}\n");
    steps.iter().for_each(|step| text.push_str(&(step.write() + "\n")));
    Finding {
        message: format!("seed {seed}, {} steps: {message}", steps.len()),
        replay: Some(text),
    }
}

/// Runs the text of a replay file, without its first line.
///
/// # Errors
/// Says which line cannot be read.
pub fn replay(text: &str) -> Result<CheckReport, String> {
    let (mut seed, mut steps) = (0, Vec::new());
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let unreadable = || format!("cannot read the line {line:?}");
        match line.strip_prefix("seed ") {
            Some(number) => seed = number.trim().parse().map_err(|_| unreadable())?,
            None => steps.push(Step::read(line).ok_or_else(unreadable)?),
        }
    }
    let mut report = CheckReport::new(NAME);
    report.add("steps replayed", steps.len() as u64);
    if let Err(message) = attempt(seed, &steps, |world| world) {
        report.find(message);
    }
    Ok(report)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::lying::{Lie, LyingFs};

    #[test]
    fn a_few_lives_break_no_promise() {
        let report = check(&Budget::test(1));
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        assert!(report.figure("power cuts") > 50, "{report:?}");
        assert_eq!(report.figure(TRACES), 5);
    }

    #[test]
    fn a_disk_that_forgets_its_syncs_is_found_and_the_life_shrinks() {
        let lies: [Between; 5] = [
            |world| LyingFs::under(world, Lie::Directories),
            |world| LyingFs::under(world, Lie::Files(".wal")),
            |world| LyingFs::under(world, Lie::Files(".sst")),
            |world| LyingFs::under(world, Lie::Files(".val")),
            |world| LyingFs::under(world, Lie::Files(".manifest")),
        ];
        for (number, lie) in lies.into_iter().enumerate() {
            let mut lives = (0..200).map(|seed| (seed, step::draw(&mut Rng::new(seed))));
            let found = lives.find(|(seed, steps)| attempt(*seed, steps, lie).is_err());
            let (seed, steps) = found.unwrap_or_else(|| panic!("lie {number} is not found"));
            let (before, after) = (steps.len(), shrink(seed, steps, lie));
            assert!(after.len() < 15, "lie {number}: {before} steps to {}", after.len());
            assert!(attempt(seed, &after, |world| world).is_ok());
        }
    }

    #[test]
    fn every_step_comes_back_from_its_line() {
        let mut rng = Rng::new(5);
        for step in (0..50).flat_map(|_| step::draw(&mut rng)) {
            assert_eq!(Step::read(&step.write()), Some(step));
        }
        assert!(crate::replay::run("check lives\nseed 3\nopen 0 0 0\nfly\n").is_err());
        let report = crate::replay::run("check lives\nseed 3\nopen 0 0 0\ncheck\nclose\n").unwrap();
        assert_eq!(report.figure("steps replayed"), 3);
    }
}
