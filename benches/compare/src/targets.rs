//! The targets, as ratios side by side in one run, and whether they are met. Called by `report.rs`. A
//! target whose figures were not measured is neither met nor missed.

use std::fmt::Write;

use crate::outcome::Outcome;
use crate::table::{Medians, OURS};

/// A target for one figure of one workload.
struct Target {
    workload: &'static str,
    compress: bool,
    figure: Figure,
    rule: Rule,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Figure {
    Throughput,
    WriteAmplification,
    SpaceAmplification,
    DeviceReads,
    StallMs,
    P999Us,
    OpenMs,
    PeakMemory,
    WriterRate,
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    /// At least this many times the best of the others.
    BestPeer(f64),
    /// At least this many times that engine.
    Over(&'static str, f64),
    /// At least this many times that engine on another workload.
    OverOn(&'static str, &'static str, f64),
    /// At most this many times that engine.
    NotAbove(&'static str, f64),
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// At least this part of the disk's best rate of synced writes.
    OfDisk(f64),
    /// From the smallest to the largest size, it keeps at least as much of its throughput as that engine.
    Growth(&'static str),
}

const fn target(workload: &'static str, compress: bool, figure: Figure, rule: Rule) -> Target {
    Target { workload, compress, figure, rule }
}

const fn speed(workload: &'static str, compress: bool, rule: Rule) -> Target {
    target(workload, compress, Figure::Throughput, rule)
}

const TARGETS: &[Target] = &[
    speed("fill_random", true, Rule::BestPeer(2.0)),
    speed("fill_seq", true, Rule::BestPeer(2.0)),
    speed("batch_1000", true, Rule::BestPeer(2.0)),
    speed("bulk_load", true, Rule::Over("lmdb", 1.2)),
    speed("overwrite", true, Rule::BestPeer(2.0)),
    speed("delete", true, Rule::BestPeer(2.0)),
    speed("read_hit", false, Rule::Over("lmdb", 1.0)),
    speed("read_hit", true, Rule::Over("rocksdb", 3.0)),
    speed("read_hit_2", false, Rule::Over("lmdb", 1.0)),
    speed("read_hit_2", true, Rule::Over("rocksdb", 3.0)),
    speed("read_miss", true, Rule::Over("fjall", 1.5)),
    speed("read_miss", false, Rule::Over("fjall", 1.5)),
    speed("read_zipf", false, Rule::Over("lmdb", 1.0)),
    speed("read_zipf", true, Rule::Over("rocksdb", 3.0)),
    speed("scan_100", false, Rule::Over("lmdb", 1.0)),
    speed("scan_100", true, Rule::Over("rocksdb", 4.0)),
    speed("ycsb_a", true, Rule::BestPeer(1.5)),
    speed("ycsb_a_2", true, Rule::BestPeer(1.5)),
    speed("ycsb_b", true, Rule::BestPeer(1.5)),
    speed("ycsb_b_2", true, Rule::BestPeer(1.5)),
    speed("ycsb_c", false, Rule::Over("lmdb", 1.0)),
    speed("ycsb_c", true, Rule::Over("rocksdb", 3.0)),
    speed("ycsb_c_2", false, Rule::Over("lmdb", 1.0)),
    speed("ycsb_c_2", true, Rule::Over("rocksdb", 3.0)),
    speed("ycsb_d", true, Rule::BestPeer(1.5)),
    speed("ycsb_d_2", true, Rule::BestPeer(1.5)),
    speed("ycsb_e", false, Rule::Over("lmdb", 1.0)),
    speed("ycsb_e", true, Rule::Over("rocksdb", 4.0)),
    speed("ycsb_e_2", false, Rule::Over("lmdb", 1.0)),
    speed("ycsb_e_2", true, Rule::Over("rocksdb", 4.0)),
    speed("ycsb_f", true, Rule::BestPeer(1.5)),
    speed("ycsb_f_2", true, Rule::BestPeer(1.5)),
    speed("read_beside_writer", false, Rule::Over("lmdb", 1.0)),
    speed("read_beside_writer", true, Rule::Over("rocksdb", 3.0)),
    target("read_beside_writer", true, Figure::WriterRate, Rule::AtLeast(19_000.0)),
    speed("sync_1", true, Rule::OfDisk(0.9)),
    speed("sync_1", true, Rule::BestPeer(1.0)),
    speed("sync_32", true, Rule::Over("rocksdb", 4.0)),
    speed("sync_32", true, Rule::Over("surrealkv", 2.7)),
    speed("limited", true, Rule::Over("rocksdb", 1.0)),
    target("limited", true, Figure::DeviceReads, Rule::AtMost(1.05)),
    speed("limited_16", true, Rule::OverOn("rocksdb", "limited", 3.0)),
    target("fill_random", true, Figure::WriteAmplification, Rule::NotAbove("rocksdb", 1.0)),
    target("overwrite", true, Figure::WriteAmplification, Rule::NotAbove("rocksdb", 1.0)),
    target("fill_random", true, Figure::SpaceAmplification, Rule::NotAbove("rocksdb", 1.1)),
    target("overwrite", true, Figure::SpaceAmplification, Rule::NotAbove("rocksdb", 1.1)),
    target("fill_random", true, Figure::StallMs, Rule::AtMost(10.0)),
    target("overwrite", true, Figure::StallMs, Rule::AtMost(10.0)),
    target("fill_random", true, Figure::P999Us, Rule::AtMost(10_000.0)),
    target("overwrite", true, Figure::P999Us, Rule::AtMost(10_000.0)),
    target("reopen", true, Figure::OpenMs, Rule::AtMost(300.0)),
    target("reopen", true, Figure::Lost, Rule::AtMost(0.0)),
    target("fill_random", true, Figure::PeakMemory, Rule::NotAbove("rocksdb", 1.0)),
    target("overwrite", true, Figure::PeakMemory, Rule::NotAbove("rocksdb", 1.0)),
    target("read_hit", true, Figure::PeakMemory, Rule::NotAbove("rocksdb", 1.0)),
    target("read_hit", false, Figure::PeakMemory, Rule::NotAbove("rocksdb", 1.0)),
    target("ycsb_a_2", true, Figure::PeakMemory, Rule::NotAbove("rocksdb", 1.0)),
    speed("fill_1k", true, Rule::BestPeer(2.0)),
    speed("overwrite_1k", true, Rule::BestPeer(2.0)),
    speed("read_1k", false, Rule::Over("lmdb", 1.0)),
    speed("read_1k", true, Rule::Over("rocksdb", 3.0)),
    target("fill_1k", true, Figure::WriteAmplification, Rule::NotAbove("rocksdb", 0.5)),
    target("overwrite_1k", true, Figure::WriteAmplification, Rule::NotAbove("rocksdb", 0.5)),
    speed("growth_fill", true, Rule::Growth("rocksdb")),
    speed("growth_read", true, Rule::Growth("rocksdb")),
];

/// A target and what came of it.
#[derive(Debug)]
pub struct Verdict {
    /// What is to be reached.
    pub target: String,
    /// What was.
    pub reached: String,
    /// None if something needed was not measured.
    pub met: Option<bool>,
}

/// Judges every target whose workload was measured for our engine.
pub fn evaluate(medians: &Medians) -> Vec<Verdict> {
    TARGETS.iter().filter_map(|target| target.judge(medians)).collect()
}

/// The verdicts as a Markdown table and a line that counts them.
pub fn block(verdicts: &[Verdict]) -> String {
    let mut text = String::from("| target | reached | met |\n|---|---:|---|\n");
    for verdict in verdicts {
        let met = match verdict.met {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "not measured",
        };
        let _ = writeln!(text, "| {} | {} | {met} |", verdict.target, verdict.reached);
    }
    let count = |met| verdicts.iter().filter(|verdict| verdict.met == met).count();
    let (yes, no, unknown) = (count(Some(true)), count(Some(false)), count(None));
    let _ = write!(text, "\n{yes} met, {no} missed, {unknown} not measured.\n");
    text
}

impl Figure {
    fn of(self, outcome: &Outcome) -> Option<f64> {
        match self {
            Figure::Throughput => Some(outcome.throughput),
            Figure::WriteAmplification => outcome.write_amplification,
            Figure::SpaceAmplification => outcome.space_amplification,
            Figure::DeviceReads => outcome.device_reads,
            Figure::StallMs => Some(outcome.stall_ms),
            Figure::P999Us => Some(outcome.p999_us),
            Figure::OpenMs => outcome.open_ms,
            Figure::PeakMemory => Some(outcome.peak_memory_bytes as f64),
            Figure::WriterRate => outcome.writer_rate,
            Figure::Lost => outcome.lost.map(|lost| lost as f64),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Figure::Throughput => "throughput",
            Figure::WriteAmplification => "write amplification",
            Figure::SpaceAmplification => "space amplification",
            Figure::DeviceReads => "device reads an operation",
            Figure::StallMs => "longest stall, ms",
            Figure::P999Us => "p99.9, us",
            Figure::OpenMs => "time to open, ms",
            Figure::PeakMemory => "largest private memory",
            Figure::WriterRate => "rate of the writer",
            Figure::Lost => "entries lost",
        }
    }
}

impl Target {
    /// None if our engine was not measured on it at all.
    fn judge(&self, medians: &Medians) -> Option<Verdict> {
        let of = |engine: &str, workload: &str, keys: Option<u64>| {
            self.figure.of(medians.get(engine, workload, keys, self.compress)?)
        };
        // Side by side: the others at the size at which we were measured.
        let here = medians.get(OURS, self.workload, None, self.compress)?;
        let keys = Some(here.keys);
        let ours = self.figure.of(here)?;
        let peer = |engine: &str| of(engine, self.workload, keys);
        let mode = if self.compress { "" } else { ", uncompressed" };
        let (rule, reached) = match self.rule {
            Rule::BestPeer(times) => {
                let figure = |outcome: &Outcome| self.figure.of(outcome);
                let best = medians.best_peer(self.workload, keys, self.compress, figure);
                let name = best.map_or("nobody", |(name, _)| name);
                let rule = format!("at least {times} x the best peer ({name})");
                (rule, best.map(|(_, best)| Reached::at_least(ours / best, times)))
            }
            Rule::Over(engine, times) => (
                format!("at least {times} x {engine}"),
                peer(engine).map(|peer| Reached::at_least(ours / peer, times)),
            ),
            Rule::OverOn(engine, workload, times) => (
                format!("at least {times} x {engine} on {workload}"),
                of(engine, workload, keys).map(|peer| Reached::at_least(ours / peer, times)),
            ),
            Rule::NotAbove(engine, times) => (
                format!("at most {times} x {engine}"),
                peer(engine).map(|peer| Reached::at_most(ours / peer, times)),
            ),
            Rule::AtLeast(least) => {
                (format!("at least {least}"), Some(Reached::at_least(ours, least)))
            }
            Rule::AtMost(most) => (format!("at most {most}"), Some(Reached::at_most(ours, most))),
            Rule::OfDisk(part) => (
                format!("at least {part} of the disk's best"),
                here.disk_syncs.map(|best| Reached::at_least(ours / best, part)),
            ),
            Rule::Growth(engine) => {
                let sizes = medians.sizes(self.workload);
                let (first, last) = (sizes.first().copied(), sizes.last().copied());
                let kept = |engine: &str| {
                    Some(of(engine, self.workload, last)? / of(engine, self.workload, first)?)
                };
                let grew = first != last;
                let both = kept(OURS).zip(kept(engine)).filter(|_| grew);
                (
                    format!("keeps as much as {engine} from the smallest to the largest size"),
                    both.map(|(ours, peer)| Reached::at_least(ours / peer, 1.0)),
                )
            }
        };
        Some(Verdict {
            target: format!("{}{mode}: {} {rule}", self.workload, self.figure.name()),
            reached: reached.as_ref().map_or_else(|| "-".into(), |r| format!("{:.2}", r.value)),
            met: reached.map(|reached| reached.met),
        })
    }
}

struct Reached {
    value: f64,
    met: bool,
}

impl Reached {
    fn at_least(value: f64, wanted: f64) -> Reached {
        Reached { value, met: value >= wanted }
    }

    fn at_most(value: f64, wanted: f64) -> Reached {
        Reached { value, met: value <= wanted }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::table::medians;
    use crate::workload;

    fn outcome(engine: &str, workload: &str, keys: u64, throughput: f64) -> Outcome {
        Outcome {
            engine: engine.into(),
            workload: workload.into(),
            compress: engine != "lmdb",
            keys,
            throughput,
            ..Outcome::default()
        }
    }

    fn met(outcomes: Vec<Outcome>, start: &str) -> Option<bool> {
        let verdicts = evaluate(&medians(outcomes));
        verdicts.iter().find(|verdict| verdict.target.starts_with(start)).unwrap().met
    }

    #[test]
    fn every_target_names_a_workload() {
        for target in TARGETS {
            assert!(workload::named(target.workload).is_some(), "{}", target.workload);
        }
    }

    #[test]
    fn the_best_peer_decides() {
        let run = |ours| {
            let peers = [outcome("lmdb", "delete", 1, 100.0), outcome("fjall", "delete", 1, 60.0)];
            [vec![outcome(OURS, "delete", 1, ours)], peers.to_vec()].concat()
        };
        assert_eq!(met(run(200.0), "delete"), Some(true));
        assert_eq!(met(run(199.0), "delete"), Some(false));
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        let ours = outcome(OURS, "bulk_load", 1, 5.0);
        assert_eq!(met(vec![ours.clone()], "bulk_load"), None);
        assert!(block(&evaluate(&medians(vec![ours]))).contains("1 not measured"));
        assert!(evaluate(&medians(Vec::new())).is_empty());
    }

    #[test]
    fn the_disk_of_the_same_run_decides_synced_writes() {
        let run =
            |rate, disk_syncs| vec![Outcome { disk_syncs, ..outcome(OURS, "sync_1", 1, rate) }];
        assert_eq!(met(run(901.0, Some(1000.0)), "sync_1"), Some(true));
        assert_eq!(met(run(899.0, Some(1000.0)), "sync_1"), Some(false));
        assert_eq!(met(run(899.0, None), "sync_1"), None);
    }

    #[test]
    fn growth_compares_what_is_kept() {
        let run = |largest| {
            vec![
                outcome(OURS, "growth_fill", 1, 100.0),
                outcome(OURS, "growth_fill", 8, largest),
                outcome("rocksdb", "growth_fill", 1, 10.0),
                outcome("rocksdb", "growth_fill", 8, 5.0),
            ]
        };
        assert_eq!(met(run(50.0), "growth_fill"), Some(true));
        assert_eq!(met(run(49.0), "growth_fill"), Some(false));
        assert_eq!(met(run(50.0)[..1].to_vec(), "growth_fill"), None);
    }
}
