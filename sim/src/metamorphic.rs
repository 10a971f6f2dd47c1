//! The same operations give the same answers, whatever the options and whenever background work runs.
//!
//! For each seed one list of operations is drawn, and several ways to run it: memory, segment and sstable sizes, strategy,
//! compression, read mode, durability, when the steps of background work run, where the database is closed and opened.
//! Every answer (of keys, of ranges from both ends, of snapshots that were taken long before) is compared with a plain
//! ordered map, and so with that of every other way.

//!
//! What differs is shrunk: steps are left out, operations and disturbances alike, as long as an answer is still wrong.

mod plan;
mod run;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Rng;
use crate::parallel;
use crate::report::{Budget, CheckReport, Finding, Floor};
use crate::shrink::shrink;
use plan::{Plan, Step};
use run::{Between, Wrong};

/// The check's name.
pub const NAME: &str = "metamorphic";

const OPERATIONS: &str = "operations compared";
const OPTION_SETS: &str = "option sets";

/// What must be reached.
pub const FLOORS: &[Floor] =
    &[Floor::new(OPERATIONS, 20_000_000, 500_000_000), Floor::new(OPTION_SETS, 1_000, 20_000)];

/// Option sets that one list of operations is run under.
const WAYS: u64 = 4;

/// Findings that are made small; the others name their seed.
const SHRUNK_MAX: usize = 3;

/// Shrinking gives up after so many steps of runs: less than a minute.
const EFFORT_MAX: usize = 4_000_000;

/// Runs the check.
pub fn check(budget: &Budget) -> CheckReport {
    let lists = budget.count(10, 340, 8_500);
    let length = budget.count(300, 16_000, 16_000) as usize;
    let base = budget.seed << 32;
    let (found, hunting) = (AtomicUsize::new(0), budget.hunting);
    let unit = move |at: u64, report: &mut CheckReport| {
        let seed = base + at;
        let operations = plan::draw(&mut Rng::new(seed), length);
        for way in 0..WAYS {
            report.add(OPTION_SETS, 1);
            let plan = one_way(seed, way, &operations);
            match run::run(&plan, |world| world) {
                Ok(()) => report.add(OPERATIONS, length as u64),
                Err(wrong) => {
                    let is_shrunk = !hunting && found.fetch_add(1, Ordering::Relaxed) < SHRUNK_MAX;
                    let place = format!("seed {seed}, way {way}");
                    report.findings.push(finding(&place, plan, wrong, is_shrunk));
                }
            }
        }
    };
    parallel::run(NAME, budget, lists, Arc::new(unit))
}

fn one_way(seed: u64, way: u64, operations: &[Step]) -> Plan {
    let mut rng = Rng::new(seed.wrapping_mul(WAYS).wrapping_add(way) ^ 0x0d15_ea5e);
    Plan::draw(&mut rng, operations)
}

/// What comes behind the step that was wrong is not needed; of the rest, as little as shows it.
fn shrunk(plan: Plan, wrong: &Wrong, between: Between) -> Plan {
    let mut steps = plan.steps.clone();
    steps.truncate(wrong.at.saturating_add(1));
    let with = |steps: &[Step]| Plan { steps: steps.to_vec(), ..plan.clone() };
    let fails = |steps: &[Step]| run::run(&with(steps), between).is_err();
    with(&shrink(steps, EFFORT_MAX, fails))
}

fn finding(place: &str, plan: Plan, wrong: Wrong, is_shrunk: bool) -> Finding {
    let describe = |plan: &Plan, wrong: &Wrong| {
        let step = plan.steps.get(wrong.at).map_or("the end".to_string(), Step::write);
        format!("{place}, step {} of {}, {step}: {}", wrong.at, plan.steps.len(), wrong.message)
    };
    if !is_shrunk {
        return Finding { message: describe(&plan, &wrong), replay: None };
    }
    let small = shrunk(plan, &wrong, |world| world);
    let wrong = run::run(&small, |world| world).err().unwrap_or(wrong);
    let replay = format!("check {NAME}\n{}", small.write());
    Finding { message: describe(&small, &wrong), replay: Some(replay) }
}

/// Runs the text of a replay file, without its first line.
///
/// # Errors
/// Says which line cannot be read.
pub fn replay(text: &str) -> Result<CheckReport, String> {
    let plan = Plan::read(text)?;
    let mut report = CheckReport::new(NAME);
    let operations = plan.steps.iter().filter(|step| step.is_operation()).count();
    report.add(OPERATIONS, operations as u64);
    if let Err(wrong) = run::run(&plan, |world| world) {
        let step = plan.steps.get(wrong.at).map_or("the end".to_string(), Step::write);
        report.find(format!("step {}, {step}: {}", wrong.at, wrong.message));
    }
    Ok(report)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use esker::Value;

    use super::*;
    use crate::lying::{Lie, LyingFs};

    #[test]
    fn a_few_option_sets_give_the_same_answers() {
        let report = check(&Budget::test(1));
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        assert_eq!(report.figure(OPTION_SETS), 10 * WAYS);
        assert_eq!(report.figure(OPERATIONS), 10 * WAYS * 300);
    }

    #[test]
    fn a_disk_that_changes_what_is_read_is_found_and_the_plan_shrinks() {
        let lie: Between = |world| LyingFs::under(world, Lie::Reads);
        let operations = plan::draw(&mut Rng::new(3), 3000);
        let plans = (0..WAYS).map(|way| one_way(3, way, &operations));
        let mut found =
            plans.filter_map(|plan| run::run(&plan, lie).err().map(|wrong| (plan, wrong)));
        let (plan, wrong) = found.next().unwrap();
        let small = shrunk(plan, &wrong, lie);
        assert!(small.steps.len() < 30, "{}", small.write());
        assert!(run::run(&small, lie).is_err());
        let text = format!("check metamorphic\n{}", small.write());
        assert!(crate::replay::run(&text).unwrap().findings.is_empty());
    }

    #[test]
    fn an_answer_that_differs_is_found() {
        let [k, v, other] = [b"k", b"v", b"w"].map(|text| Arc::<[u8]>::from(&text[..]));
        let map = BTreeMap::from([(k, v)]);
        let entry = |value: &Arc<[u8]>| {
            vec![Ok((Value::from_static(b"k"), Value::copy_from_slice(value)))].into_iter()
        };
        let right = map.values().next().unwrap();
        assert!(run::compare(entry(right), map.iter(), 9, 0).is_ok());
        assert!(run::compare(entry(&other), map.iter(), 9, 0).is_err());
        assert!(run::compare(entry(right), BTreeMap::new().iter(), 9, 0).is_err());
        assert!(run::compare(std::iter::empty(), map.iter(), 9, u64::MAX).is_err());
    }

    #[test]
    fn a_replay_runs_one_plan_again() {
        let text = "check metamorphic\ndisk 1\nkeyspace tiered plain\nopen mapped 0 0 0\n\
            write sync 5.20.1 7\nflush\nget 5\nreopen closed positioned 0 0 0\nrange 0 9 5 0\n";
        let report = crate::replay::run(text).unwrap();
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        assert_eq!(report.figure(OPERATIONS), 3);
        assert!(crate::replay::run("check metamorphic\nfly\n").is_err());
    }
}
