//! The error sweep: small lives of a database, each repeated with a failure at its first call of the file system, at
//! its second, and so on to the last; for each kind of failure, once and from then on. Whatever fails, nothing panics,
//! what was acknowledged is visible, and after the disk has healed, after a reopen and after a power cut the database
//! holds a prefix of what was acknowledged, with everything durable in it.

mod life;
mod model;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use esker::vfs::fault::{Failure, Fault, Rule};

use crate::checks::panic_text;
use crate::parallel;
use crate::report::{Budget, CheckReport, Floor};

/// The check's name.
pub const NAME: &str = "errors";

const POINTS: &str = "failure points";

/// What must be reached.
pub const FLOORS: &[Floor] = &[Floor::new(POINTS, 100_000, 1_000_000)];

/// More calls than any life makes.
const CALLS_MAX: u64 = 20_000;

/// The kinds of failure, with their names.
fn faults() -> [(&'static str, Fault); 8] {
    [
        ("EIO", Fault::Fail(Failure::Io)),
        ("ENOSPC", Fault::Fail(Failure::NoSpace)),
        ("EMFILE", Fault::Fail(Failure::TooManyFiles)),
        ("EIO halfway", Fault::FailHalfway(Failure::Io)),
        ("ENOSPC halfway", Fault::FailHalfway(Failure::NoSpace)),
        ("EIO though done", Fault::FailAfter(Failure::Io)),
        ("short", Fault::Short),
        ("EINTR", Fault::Interrupt),
    ]
}

/// Runs the sweep over as many seeds as the budget allows.
pub fn check(budget: &Budget) -> CheckReport {
    let lives = budget.count(2, 48, 480);
    let modes = faults().len() as u64 * 2;
    let first_seed = budget.seed.wrapping_mul(1 << 20);
    // In a test only every so-many-th call fails, so that a debug build is done in seconds.
    let step = budget.count(17, 1, 1);
    let work = move |unit: u64, report: &mut CheckReport| {
        sweep(first_seed + unit / modes, (unit % modes) as usize, step, report);
    };
    let mut report = parallel::run(NAME, budget, lives * modes, Arc::new(work));
    report.add("lives", lives);
    report
}

/// One life with one kind of failure at every `step`-th call.
fn sweep(seed: u64, mode: usize, step: u64, report: &mut CheckReport) {
    let (name, fault) = &faults()[mode / 2];
    let sticky = mode % 2 == 1;
    for at in (0..CALLS_MAX).step_by(step as usize) {
        let rule = Rule::new(fault.clone()).after(at);
        let rule = if sticky { rule.sticky() } else { rule };
        let outcome = catch_unwind(AssertUnwindSafe(|| life::run(seed, rule)))
            .unwrap_or_else(|panic| Err(format!("panic: {}", panic_text(&*panic))));
        match outcome {
            Ok(outcome) if !outcome.struck => return,
            Ok(outcome) => {
                report.add("ended read-only", u64::from(outcome.read_only));
                report.add("an open failed", u64::from(outcome.refused));
            }
            Err(broken) => {
                let often = if sticky { "from then on" } else { "once" };
                report.find(format!("seed {seed}, {name} at call {at}, {often}: {broken}"));
            }
        }
        report.add(POINTS, 1);
        report.add(&format!("{POINTS}, {name}"), 1);
    }
    report.find(format!("seed {seed}: {name} still strikes at call {CALLS_MAX}"));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use esker::vfs::simulated::Simulation;

    use super::*;
    use crate::lying::{Lie, LyingFs};

    #[test]
    fn a_sample_of_the_sweep_finds_nothing() {
        let report = check(&Budget::test(1));
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
        assert!(report.figure(POINTS) > 200, "{report:?}");
        assert!(report.figure("ended read-only") > 0 && report.figure("an open failed") > 0);
    }

    fn never() -> Rule {
        Rule::new(Fault::Fail(Failure::Io)).after(u64::MAX)
    }

    #[test]
    fn a_life_without_a_fault_is_whole_and_strikes_nothing() {
        for seed in 0..4 {
            assert!(!life::run(seed, never()).unwrap().struck);
        }
    }

    /// The sweep must be able to fail: where syncs are forgotten, or reads are wrong, a life says so.
    #[test]
    fn forgotten_syncs_and_wrong_reads_are_found() {
        let lies = [Lie::Directories, Lie::Files(".wal"), Lie::Files(".manifest"), Lie::Reads];
        for lie in lies {
            let is_found = |seed: u64| {
                let sim = Simulation::new(seed);
                life::run_on(LyingFs::under(sim.world(), lie), sim, seed, never()).is_err()
            };
            assert!((0..20).any(is_found), "{lie:?}");
        }
    }
}
