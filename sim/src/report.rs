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
    clock: Arc<dyn Clock>,
    deadline: Duration,
}

impl Budget {
    /// A budget that ends `limit` from now.
    pub fn new(seed: u64, scale: Scale, limit: Duration) -> Budget {
        let clock = World::real().clock;
        let deadline = clock.monotonic().saturating_add(limit);
        Budget { seed, scale, threads: 2, clock, deadline }
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
}

/// The table of figures.
#[derive(Clone, Debug)]
pub struct Table {
    /// The commit that was built, as far as it is known.
    pub commit: String,
    /// One for each check.
    pub rows: Vec<Row>,
}

impl Table {
    /// How many findings there are in all.
    pub fn findings(&self) -> usize {
        self.rows.iter().map(|row| row.report.findings.len()).sum()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "commit {}", self.commit)?;
        let (check, figure) = ("check", "figure");
        writeln!(
            f,
            "{check:<16} {figure:<44} {:>13} {:>8} {:>8}  seeds",
            "count", "findings", "seconds"
        )?;
        for row in &self.rows {
            let (mut name, found) = (row.report.name.as_str(), row.report.findings.len());
            let seconds = row.elapsed.as_secs_f64();
            for (label, count) in &row.report.figures {
                if name.is_empty() {
                    writeln!(f, "{name:<16} {label:<44} {count:>13}")?;
                } else {
                    let seeds = &row.seeds;
                    writeln!(
                        f,
                        "{name:<16} {label:<44} {count:>13} {found:>8} {seconds:>8.1}  {seeds}"
                    )?;
                }
                name = "";
            }
            if row.report.figures.is_empty() {
                writeln!(f, "{name:<16} {:<44} {:>13} {found:>8} {seconds:>8.1}", "", "")?;
            }
            if let Some(reason) = &row.report.skipped {
                writeln!(f, "{:<16} skipped: {reason}", "")?;
            }
        }
        for row in &self.rows {
            for finding in &row.report.findings {
                writeln!(f, "FINDING in {}: {}", row.report.name, finding.message)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_add_up_and_the_table_shows_all_of_them() {
        let mut report = CheckReport::new("sample");
        report.add("runs", 2);
        let mut other = CheckReport::new("sample");
        other.add("runs", 3);
        other.find("seed 7: lost a write");
        report.merge(other);
        assert_eq!(report.figure("runs"), 5);
        let row = Row { report, elapsed: Duration::from_secs(1), seeds: "1".to_string() };
        let table = Table { commit: "abc".to_string(), rows: vec![row] };
        assert_eq!(table.findings(), 1);
        let text = table.to_string();
        assert!(text.contains("FINDING in sample: seed 7") && text.contains("runs"), "{text}");
    }
}
