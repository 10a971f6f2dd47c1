//! The report: Markdown on standard output and drawings, from raw results. Called by `main.rs` for results that are
//! there and by `run.rs` for those it has just made. It measures nothing.

use std::fmt::Write;
use std::path::Path;

use crate::engine::{Failure, Result};
use crate::engines::FACTS;
use crate::record::Results;
use crate::table::{self, Medians};
use crate::{plot, targets};

/// Behind this part of the disk's best rate a single writer that syncs is believed.
const BELIEVABLE: f64 = 1.3;

const HOW: &str = "\
Every measurement is a process of its own on the same entries; the runs of the engines are interleaved and the tables
show the run with the median throughput (longest stall, most memory and losses: the worst run). CPU, bytes read and
written and reads of the device are those of the measured process alone, never the machine's. Bytes written include
log that was deleted before writeback where a table does not say otherwise. Every value that was read was checked, and
what was written was read again behind the measured time.
";

/// Prints the report of all `files` and draws it into `plots`. False if a measurement in them failed.
pub fn report(files: &[impl AsRef<Path>], plots: Option<&Path>) -> Result<bool> {
    let results = Results::read(files)?;
    print!("{}", text(&results)?);
    if let Some(folder) = plots {
        plot::draw(&table::medians(results.outcomes.clone()), folder)?;
        println!("\nPlots: {}", folder.display());
    }
    Ok(results.failures.is_empty())
}

fn text(results: &Results) -> Result<String> {
    same_sizes(results)?;
    let medians = table::medians(results.outcomes.clone());
    let mut text = String::from("# Esker beside other storage engines\n\n");
    for machine in &results.machines {
        let _ = writeln!(text, "- {}", machine.block().trim_end());
    }
    let _ = write!(text, "\n{HOW}");
    text += "\n## How many times as fast Esker is\n\n";
    text += &table::ratios(&medians);
    let _ = write!(text, "\n## Targets\n\n{}", targets::block(&targets::evaluate(&medians)));
    let _ = write!(text, "\n## How equal the engines are\n\n{}", equality(&medians));
    let _ = write!(text, "\n## Figures\n{}", table::tables(&medians));
    if !results.skipped.is_empty() {
        let _ = writeln!(text, "\n## Not measured\n");
        for skipped in &results.skipped {
            let _ = writeln!(text, "- {skipped}");
        }
    }
    for failed in &results.failures {
        let _ = writeln!(text, "\nFAILED: {failed}");
    }
    Ok(text)
}

/// Values of two sizes under one name would be put together without a word.
fn same_sizes(results: &Results) -> Result<()> {
    let mut sizes = std::collections::BTreeMap::new();
    for outcome in &results.outcomes {
        let size = sizes.entry(&outcome.workload).or_insert(outcome.value_bytes);
        if *size != outcome.value_bytes {
            return Err(Failure::from(format!(
                "{} was measured with values of {size} and of {} bytes: report them apart",
                outcome.workload, outcome.value_bytes
            )));
        }
    }
    Ok(())
}

/// What each engine promises and is given, and what was seen of it.
fn equality(medians: &Medians) -> String {
    let header = [
        "an unsynced write survives",
        "lost by kill -9",
        "a synced write is made durable by",
        "sync_1 : the disk's best",
        "memory of M",
        "most MB in fill_random",
        "overwrite",
        "read_hit",
        "compression",
        "bytes on disk : bytes filled",
    ];
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let engines = medians.engines();
    let rows: Vec<_> = FACTS
        .iter()
        .filter(|facts| engines.contains(&facts.name))
        .map(|facts| {
            let get = |workload| medians.get(facts.name, workload, None, true);
            let memory = |workload| {
                let outcome = get(workload).map(|o| o.peak_memory_bytes as f64 / 1e6);
                or_dash(outcome.map(|megabytes| format!("{megabytes:.0}")))
            };
            let syncs = get("sync_1").and_then(|o| Some(o.throughput / o.disk_syncs?));
            let syncs = syncs.map(|part| match part > BELIEVABLE {
                true => format!("{part:.2} (not to be believed)"),
                false => format!("{part:.2}"),
            });
            let lost = get("reopen").and_then(|o| o.lost).map(|lost| lost.to_string());
            let space = get("fill_random").and_then(|o| o.space_amplification);
            let cells = vec![
                facts.unsynced.to_owned(),
                or_dash(lost),
                facts.synced.to_owned(),
                or_dash(syncs),
                facts.memory.to_owned(),
                memory("fill_random"),
                memory("overwrite"),
                memory("read_hit"),
                facts.compression.to_owned(),
                or_dash(space.map(|space| format!("{space:.2}"))),
            ];
            (facts.name.to_owned(), cells)
        })
        .collect();
    table::markdown(&header, &rows).replacen("| workload |", "| engine |", 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::machine::Machine;
    use crate::outcome::{FailedRun, Outcome};
    use crate::record::Record;

    fn outcome(engine: &str, workload: &str, throughput: f64) -> Record {
        Record::Outcome(Box::new(Outcome {
            engine: engine.into(),
            workload: workload.into(),
            compress: crate::engines::can_compress(engine),
            keys: 1000,
            value_bytes: 100,
            throughput,
            disk_syncs: Some(100.0),
            ..Outcome::default()
        }))
    }

    fn results() -> Results {
        let mut results = Results::default();
        results.add(Record::Machine(Machine::default()));
        for (engine, workload, rate) in
            [("esker", "sync_1", 95.0), ("redb", "sync_1", 900.0), ("esker", "delete", 1.0)]
        {
            results.add(outcome(engine, workload, rate));
        }
        let failed = FailedRun { workload: "cold".into(), ..FailedRun::default() };
        results.add(Record::Failure(FailedRun { error: "it hung".into(), ..failed }));
        results
    }

    #[test]
    fn the_report_has_ratios_targets_doubts_and_failures() {
        let text = text(&results()).unwrap();
        for part in [
            "| sync_1 | 95 | - | 0.11 redb | 0.11 |",
            "at least 0.9 of the disk's best | 0.95 | yes |",
            "9.00 (not to be believed)",
            "FAILED: cold",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn values_of_two_sizes_are_not_put_together() {
        let mut results = results();
        let mut other = results.outcomes[0].clone();
        other.value_bytes = 400;
        results.outcomes.push(other);
        assert!(text(&results).is_err());
    }
}
