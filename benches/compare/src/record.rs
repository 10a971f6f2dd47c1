//! The raw results: JSON lines in which every invocation first says what machine it ran on and then what came of each
//! measurement. Written by `run.rs`, read by `report.rs`, which may put several files together.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::engine::{Failure, Result};
use crate::machine::Machine;
use crate::outcome::{FailedRun, Outcome};

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// The machine of the lines that follow.
    Machine(Machine),
    /// A measurement.
    Outcome(Box<Outcome>),
    /// A measurement that failed.
    Failure(FailedRun),
    /// A measurement for which there was no time, or which this machine cannot make.
    Skipped(FailedRun),
}

/// What several invocations measured.
#[derive(Debug, Default)]
pub struct Results {
    /// The machines, one for each invocation.
    pub machines: Vec<Machine>,
    /// All measurements.
    pub outcomes: Vec<Outcome>,
    /// What failed and did not succeed later.
    pub failures: Vec<FailedRun>,
    /// What was left out and not measured later.
    pub skipped: Vec<FailedRun>,
}

impl Results {
    /// Reads files of lines, in this order.
    pub fn read(paths: &[impl AsRef<Path>]) -> Result<Results> {
        let mut results = Results::default();
        for path in paths {
            let path = path.as_ref();
            let named = |error: &dyn std::fmt::Display| {
                Failure::from(format!("{}: {error}", path.display()))
            };
            let text = fs::read_to_string(path).map_err(|error| named(&error))?;
            for line in text.lines().filter(|line| !line.trim().is_empty()) {
                results.add(serde_json::from_str(line).map_err(|error| named(&error))?);
            }
        }
        Ok(results)
    }

    /// Adds what the next line says.
    pub fn add(&mut self, record: Record) {
        match record {
            Record::Machine(machine) => self.machines.push(machine),
            Record::Outcome(outcome) => {
                // A success among the runs of one invocation does not excuse a failure among them.
                let now = self.machines.len();
                self.failures.retain(|failed| failed.invocation == now || !failed.is_of(&outcome));
                self.skipped.retain(|skipped| !skipped.is_of(&outcome));
                self.outcomes.push(*outcome);
            }
            Record::Failure(failed) => {
                let invocation = self.machines.len();
                self.failures.push(FailedRun { invocation, ..failed });
            }
            Record::Skipped(skipped) => self.skipped.push(skipped),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn outcome(workload: &str, run: u32) -> Record {
        Record::Outcome(Box::new(Outcome {
            engine: "esker".into(),
            workload: workload.into(),
            run,
            ..Outcome::default()
        }))
    }

    fn failed(workload: &str) -> Record {
        let failed = FailedRun { workload: workload.into(), ..FailedRun::default() };
        Record::Failure(FailedRun { engine: "esker".into(), error: "it hung".into(), ..failed })
    }

    #[test]
    fn files_are_put_together_and_a_success_makes_up_for_an_earlier_failure() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, records: &[Record]| {
            let lines = records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n");
            let path = dir.path().join(name);
            fs::write(&path, lines.collect::<String>()).unwrap();
            path
        };
        let machine = || Record::Machine(Machine::default());
        let first = [machine(), outcome("delete", 0), failed("read_hit"), failed("cold")];
        let second = [machine(), failed("delete"), outcome("delete", 1), outcome("read_hit", 0)];
        let one = write("one", &first);
        let other = write("other", &second);
        let results = Results::read(&[one, other]).unwrap();
        assert_eq!(results.outcomes.len(), 3);
        let left: Vec<&str> = results.failures.iter().map(|failed| &failed.workload[..]).collect();
        // That of `delete` was in the same invocation.
        assert_eq!(left, ["cold", "delete"]);
    }

    #[test]
    fn a_damaged_line_is_an_error_that_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        fs::write(&path, "{\"outcome\": 7}\n").unwrap();
        assert!(Results::read(&[path]).unwrap_err().to_string().contains("lines"));
    }
}
