//! Replay files of the exhaustive check: a history, and the cuts that showed the finding.

use super::{Case, Cut, Explorer, NAME, Op, Space, Strength, moments, recover, states_of_recovery};
use crate::checks::CI_LIMIT;
use crate::policy_text;
use crate::report::{Budget, CheckReport, Scale};

pub(super) fn write(case: &Case<'_>, cuts: &[Cut]) -> String {
    let ops: Vec<&str> = case.ops.iter().map(|op| op.name()).collect();
    let mut text = format!("check {NAME}\nhistory {}\n", ops.join(" "));
    text.push_str(&format!("strength {}\n", case.strength.name()));
    for (call, policy) in cuts {
        text.push_str(&format!("cut {call} {}\n", policy_text::write(*policy)));
    }
    text
}

/// Runs the text of a replay file, without its first line. Without cuts it tries all of them: so a file stays good where
/// calls have other numbers than when it was written.
///
/// # Errors
/// Says which line cannot be read, or that the history has no such call.
pub fn run(text: &str) -> Result<CheckReport, String> {
    let (mut ops, mut strength, mut cuts) = (Vec::new(), Strength::Sync, Vec::new());
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let unreadable = || format!("cannot read the line {line:?}");
        let mut words = line.split_whitespace();
        match words.next() {
            Some("history") => {
                ops = words.map(Op::named).collect::<Option<_>>().ok_or_else(unreadable)?;
            }
            Some("strength") => {
                let name = words.next().unwrap_or_default();
                let found = Strength::ALL.into_iter().find(|strength| strength.name() == name);
                strength = found.ok_or_else(unreadable)?;
            }
            Some("cut") => {
                let call = words.next().and_then(|word| word.parse().ok());
                let policy = words.next().and_then(policy_text::read);
                cuts.push(call.zip(policy).ok_or_else(unreadable)?);
            }
            _ => return Err(unreadable()),
        }
    }
    match cuts.split_first() {
        Some((first, later)) => run_case(&Case { ops: &ops, strength }, *first, later),
        None => Ok(explore_one(ops, strength)),
    }
}

/// All cuts of one history, and all those of many of its recoveries.
fn explore_one(ops: Vec<Op>, strength: Strength) -> CheckReport {
    let space = Space {
        length: ops.len(),
        length_min: 0,
        tear_bytes: 8,
        last_tear_bytes: 8,
        nested_every: 20,
        deeper_every: 50,
        sample_every: 1,
        lie: None,
    };
    let budget = Budget::new(1, Scale::Ci, CI_LIMIT);
    let explorer = Explorer::new(&budget, space, Default::default());
    let mut report = CheckReport::new(NAME);
    explorer.history(&Case { ops: &ops, strength }, &mut report);
    report
}

fn run_case(case: &Case<'_>, (call, policy): Cut, later: &[Cut]) -> Result<CheckReport, String> {
    let space = Space {
        length: case.ops.len(),
        length_min: 0,
        tear_bytes: 512,
        last_tear_bytes: 512,
        nested_every: 1,
        deeper_every: 1,
        sample_every: 1,
        lie: None,
    };
    let mut report = CheckReport::new(NAME);
    let found = moments(&space, case)?;
    let moment = found.iter().find(|moment| moment.call == call);
    let moment = moment.ok_or_else(|| format!("the last operation makes no call {call}"))?;
    let mut image = moment.disk.image(policy, 0);
    for (at, (call, policy)) in later.iter().enumerate() {
        let states = states_of_recovery(&space, image, at as u64);
        let disk = states.iter().find(|(at, _)| at == call).map(|(_, disk)| disk);
        let disk = disk.ok_or_else(|| format!("the recovery makes no call {call}"))?;
        image = disk.image(*policy, 0);
    }
    report.add("replayed", 1);
    match recover(&space, image, later.len() as u64) {
        Ok(state) if moment.model.allowed().contains(&state) => {}
        Ok(state) => report.find(format!("recovered {} entries, not a valid state", state.len())),
        Err(message) => report.find(message),
    }
    Ok(report)
}
