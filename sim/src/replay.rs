//! Replay files: a finding as a small text that shows it again.
//!
//! The first line is `check NAME`; what follows is the check's own. [`run`] hands the text to the check.
//! Findings that were fixed stay as files in `replays/`, where a test runs them.

use crate::report::CheckReport;

/// Runs the rest of a replay file; an error says what cannot be read.
pub type Replay = fn(&str) -> Result<CheckReport, String>;

/// The checks that can replay, by name.
const REPLAYS: &[(&str, Replay)] = &[
    (crate::exhaustive::NAME, crate::exhaustive::replay::run),
    (crate::lives::NAME, crate::lives::replay),
    (crate::metamorphic::NAME, crate::metamorphic::replay),
];

/// Runs the text of a replay file.
///
/// # Errors
/// Says what is wrong with a text that cannot be run.
pub fn run(text: &str) -> Result<CheckReport, String> {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let name = first.strip_prefix("check ").map(str::trim);
    let name = name.ok_or_else(|| "the first line must be `check NAME`".to_string())?;
    let found = REPLAYS.iter().find(|(known, _)| *known == name);
    let (_, replay) = found.ok_or_else(|| format!("no check {name:?} replays"))?;
    let report = replay(rest)?;
    // A file that was cut off must not look like one whose bug is gone.
    if report.findings.is_empty() && report.figures.iter().all(|(_, count)| *count == 0) {
        return Err("there is nothing to replay after the first line".to_string());
    }
    Ok(report)
}
