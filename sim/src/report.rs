//! What a check is given and what it gives back.
//!
//! A check gets a [`Budget`] and returns a [`CheckReport`]. It must stop soon after [`Budget::is_over`], never print, and
//! report every broken promise as a [`Finding`] instead of panicking.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use esker::vfs::{Clock, World};

/// How much a check does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As little as shows that it works: for unit tests, a second or two.
    Test,
    /// A share of about fifteen minutes on two cores.
    Ci,
    /// One round of a soak; rounds with other seeds follow until the time is up.
    Soak {
        /// Counts the rounds from 0.
        round: u64,
    },
}

/// What a check may spend, and the seed of its choices.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Where every random choice of the check comes from.
    pub seed: u64,
    /// How much to do.
    pub scale: Scale,
    /// How many threads to use.
    pub threads: usize,
    /// One finding is enough, and it need not be small: for the hunt for planted bugs.
    pub hunting: bool,
    clock: Arc<dyn Clock>,
    deadline: Duration,
}

impl Budget {
    /// A budget that ends `limit` from now.
    pub fn new(seed: u64, scale: Scale, limit: Duration) -> Budget {
        let clock = World::real().clock;
        let deadline = clock.monotonic().saturating_add(limit);
        Budget { seed, scale, threads: 2, hunting: false, clock, deadline }
    }

    /// A small budget for unit tests.
    pub fn test(seed: u64) -> Budget {
        Budget::new(seed, Scale::Test, Duration::from_secs(120))
    }

    /// Whether the time is up; a check then returns what it has.
    pub fn is_over(&self) -> bool {
        self.clock.monotonic() >= self.deadline
    }

    /// The time that is left.
    pub fn left(&self) -> Duration {
        self.deadline.saturating_sub(self.clock.monotonic())
    }

    /// Picks a count by scale.
    pub fn count(&self, test: u64, ci: u64, soak: u64) -> u64 {
        match self.scale {
            Scale::Test => test,
            Scale::Ci => ci,
            Scale::Soak { .. } => soak,
        }
    }
}

/// What a figure must reach when its check is run in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// The figure.
    pub label: &'static str,
    /// In CI; 0 if there it need not reach anything.
    pub ci: u64,
    /// In a soak of [`SOAK_MINUTES`]; 0 likewise.
    pub soak: u64,
}

/// How long the soak is for which the floors stand, in minutes; for a shorter one they are lower in proportion.
pub const SOAK_MINUTES: u64 = 180;

impl Floor {
    /// The floor of the figure `label`.
    pub const fn new(label: &'static str, ci: u64, soak: u64) -> Floor {
        Floor { label, ci, soak }
    }
}

/// A promise that was broken.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What happened, and the seed or the place that shows it again.
    pub message: String,
    /// The text of a replay file, if the check can make one. Its first line names the check.
    pub replay: Option<String>,
}

/// What a check has done.
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    /// The check's name.
    pub name: String,
    /// What was counted.
    pub figures: Vec<(String, u64)>,
    /// What was broken; empty if all is well.
    pub findings: Vec<Finding>,
    /// Why the check, or part of it, could not run here.
    pub skipped: Option<String>,
    /// What was left undone because the time was up.
    pub cut_short: Option<String>,
}

impl CheckReport {
    /// An empty report.
    pub fn new(name: &str) -> CheckReport {
        CheckReport { name: name.to_string(), ..CheckReport::default() }
    }

    /// Adds `count` to the figure `label`.
    pub fn add(&mut self, label: &str, count: u64) {
        match self.figures.iter_mut().find(|(known, _)| known == label) {
            Some((_, sum)) => *sum += count,
            None => self.figures.push((label.to_string(), count)),
        }
    }

    /// The figure `label`, or 0.
    pub fn figure(&self, label: &str) -> u64 {
        self.figures.iter().find(|(known, _)| known == label).map_or(0, |(_, count)| *count)
    }

    /// Notes a finding without a replay file.
    pub fn find(&mut self, message: impl Into<String>) {
        self.findings.push(Finding { message: message.into(), replay: None });
    }

    /// Takes over the figures and findings of another report on the same check.
    pub fn merge(&mut self, other: CheckReport) {
        for (label, count) in other.figures {
            self.add(&label, count);
        }
        self.findings.extend(other.findings);
        self.skipped = self.skipped.take().or(other.skipped);
        self.cut_short = self.cut_short.take().or(other.cut_short);
    }
}

/// A report with its cost.
#[derive(Clone, Debug)]
pub struct Row {
    /// The report.
    pub report: CheckReport,
    /// Wall-clock time.
    pub elapsed: Duration,
    /// Which seeds ran, as text.
    pub seeds: String,
    /// Figures with what they must reach.
    pub floors: Vec<(&'static str, u64)>,
}

impl Row {
    fn floor(&self, label: &str) -> Option<u64> {
        self.floors.iter().find(|(known, _)| *known == label).map(|(_, floor)| *floor)
    }

    /// The figures in the order in which they are shown: those with a floor first, even where nothing was counted.
    fn figures(&self) -> Vec<(&str, u64, Option<u64>)> {
        let promised = self.floors.iter().filter(|_| self.report.skipped.is_none());
        let promised = promised.map(|(label, at)| (*label, self.report.figure(label), Some(*at)));
        let others = self.report.figures.iter();
        let others = others.map(|(label, count)| (label.as_str(), *count, self.floor(label)));
        let skipped = self.report.skipped.is_some();
        promised.chain(others.filter(|(_, _, floor)| skipped || floor.is_none())).collect()
    }

    /// The figures that are below their floors although nothing had stood in the way.
    fn missed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let excused = self.report.skipped.is_some() || self.report.cut_short.is_some();
        let floors = self.floors.iter().filter(move |_| !excused);
        floors.filter(|(label, floor)| self.report.figure(label) < *floor).copied()
    }
}

/// The table of figures.
#[derive(Clone, Debug)]
pub struct Table {
    /// The commit that was built, as far as it is known; empty where it does not matter.
    pub commit: String,
    /// One for each check.
    pub rows: Vec<Row>,
}

impl Table {
    /// How many findings there are in all.
    pub fn findings(&self) -> usize {
        self.rows.iter().map(|row| row.report.findings.len()).sum()
    }

    /// How many figures are below their floors, not counting those of checks that the machine could not do or that the
    /// limit has cut short.
    pub fn missed(&self) -> usize {
        self.rows.iter().map(|row| row.missed().count()).sum()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.commit.is_empty() {
            writeln!(f, "commit {}", self.commit)?;
        }
        writeln!(
            f,
            "{:<16} {:<44} {:>13} {:>13} {:>8} {:>8}  seeds",
            "check", "figure", "count", "floor", "findings", "seconds"
        )?;
        for row in &self.rows {
            let (mut name, found) = (row.report.name.as_str(), row.report.findings.len());
            let seconds = row.elapsed.as_secs_f64();
            let figures = row.figures();
            for (label, count, floor) in &figures {
                let short = match floor {
                    Some(floor) if count < floor && row.report.cut_short.is_some() => "  cut short",
                    Some(floor) if count < floor && row.report.skipped.is_none() => "  MISSED",
                    _ => "",
                };
                let floor = floor.map_or_else(String::new, |floor| floor.to_string());
                write!(f, "{name:<16} {label:<44} {count:>13} {floor:>13}")?;
                match name {
                    "" => writeln!(f, "{short}")?,
                    _ => writeln!(f, " {found:>8} {seconds:>8.1}  {}{short}", row.seeds)?,
                }
                name = "";
            }
            if figures.is_empty() {
                writeln!(
                    f,
                    "{name:<16} {:<44} {:>13} {:>13} {found:>8} {seconds:>8.1}",
                    "", "", ""
                )?;
            }
            if let Some(reason) = &row.report.skipped {
                writeln!(f, "{:<16} skipped: {reason}", "")?;
            }
            if let Some(left) = &row.report.cut_short {
                writeln!(f, "{:<16} cut short by the time limit: {left}", "")?;
            }
        }
        for row in &self.rows {
            for finding in &row.report.findings {
                writeln!(f, "FINDING in {}: {}", row.report.name, finding.message)?;
            }
            for (label, floor) in row.missed() {
                let (name, count) = (&row.report.name, row.report.figure(label));
                writeln!(f, "MISSED in {name}: {label}: {count} of {floor}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(report: CheckReport) -> Row {
        let floors = vec![("runs", 6)];
        Row { report, elapsed: Duration::from_secs(1), seeds: "1".to_string(), floors }
    }

    #[test]
    fn reports_add_up_and_the_table_shows_all_of_them() {
        let mut report = CheckReport::new("sample");
        report.add("runs", 2);
        let mut other = CheckReport::new("sample");
        other.add("runs", 3);
        other.add("a figure without a floor", 1);
        other.find("seed 7: lost a write");
        report.merge(other);
        assert_eq!(report.figure("runs"), 5);
        let table = Table { commit: "abc".to_string(), rows: vec![row(report)] };
        assert_eq!((table.findings(), table.missed()), (1, 1));
        let text = table.to_string();
        assert!(text.contains("FINDING in sample: seed 7"), "{text}");
        assert!(text.contains("MISSED in sample: runs: 5 of 6"), "{text}");
        assert_eq!(text.matches(" runs ").count(), 1, "{text}");
    }

    #[test]
    fn a_floor_is_not_missed_where_the_machine_or_the_limit_stood_in_the_way() {
        let mut cut = CheckReport::new("sample");
        cut.add("runs", 5);
        cut.cut_short = Some("1 of 6 units".to_string());
        let mut skipped = CheckReport::new("sample");
        skipped.skipped = Some("no root".to_string());
        let mut enough = CheckReport::new("sample");
        enough.add("runs", 6);
        for (report, said) in [(cut, "cut short"), (skipped, "skipped: no root"), (enough, "6")] {
            let table = Table { commit: String::new(), rows: vec![row(report)] };
            assert_eq!(table.missed(), 0);
            assert!(table.to_string().contains(said), "{table}");
        }
        let nothing = Table { commit: String::new(), rows: vec![row(CheckReport::new("sample"))] };
        assert_eq!(nothing.missed(), 1);
    }
}
