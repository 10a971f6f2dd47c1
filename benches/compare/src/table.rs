//! The results as Markdown: one table for each figure, a row for each workload and mode, a column for each engine.
//! Called by `report.rs`; `targets.rs` and `plot.rs` look results up here.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::engines;
use crate::outcome::Outcome;
use crate::workload::{self, Kind, WORKLOADS};

/// The engine that the others are compared with.
pub const OURS: &str = "esker";

/// The results of all runs, the median of each measurement.
#[derive(Debug, Default)]
pub struct Medians(Vec<Measured>);

#[derive(Debug)]
struct Measured {
    median: Outcome,
    /// Half the distance from the slowest to the fastest run, as a part of the median; none for a single run.
    spread: Option<f64>,
}

/// Keeps, of the runs of each measurement, the one with the median throughput. The longest stall, the most memory and
/// the most entries lost are those of all runs.
pub fn medians(outcomes: Vec<Outcome>) -> Medians {
    let mut groups: BTreeMap<_, Vec<Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        let key =
            (outcome.workload.clone(), outcome.keys, outcome.compress, outcome.engine.clone());
        groups.entry(key).or_default().push(outcome);
    }
    Medians(groups.into_values().map(median).collect())
}

fn median(mut runs: Vec<Outcome>) -> Measured {
    runs.sort_by(|one, other| one.throughput.total_cmp(&other.throughput));
    let (slowest, fastest) = (runs[0].throughput, runs[runs.len() - 1].throughput);
    let middle = (runs.len() - 1) / 2;
    let mut median = runs[middle].clone();
    for run in &runs {
        median.stall_ms = median.stall_ms.max(run.stall_ms);
        median.peak_memory_bytes = median.peak_memory_bytes.max(run.peak_memory_bytes);
        median.peak_mapped_bytes = median.peak_mapped_bytes.max(run.peak_mapped_bytes);
        median.lost = median.lost.max(run.lost);
    }
    let spread = (fastest - slowest) / 2.0 / median.throughput.max(1e-9);
    Measured { median, spread: (runs.len() > 1).then_some(spread) }
}

impl Medians {
    /// The result of an engine, at the largest size if none is given. One that cannot compress has the same in both
    /// modes.
    pub fn get(
        &self,
        engine: &str,
        workload: &str,
        keys: Option<u64>,
        compress: bool,
    ) -> Option<&Outcome> {
        self.find(engine, workload, keys, compress).map(|measured| &measured.median)
    }

    /// How far its runs lie apart, as a part of the median; none for a single run.
    pub fn spread(&self, engine: &str, workload: &str, keys: u64, compress: bool) -> Option<f64> {
        self.find(engine, workload, Some(keys), compress)?.spread
    }

    fn find(
        &self,
        engine: &str,
        workload: &str,
        keys: Option<u64>,
        compress: bool,
    ) -> Option<&Measured> {
        let compress = compress && engines::can_compress(engine);
        // In the order of their sizes.
        self.0.iter().rev().find(|measured| {
            let outcome = &measured.median;
            outcome.engine == engine
                && outcome.workload == workload
                && keys.is_none_or(|keys| outcome.keys == keys)
                && outcome.compress == compress
        })
    }

    fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.0.iter().map(|measured| &measured.median)
    }

    /// The engines that have results, ours first.
    pub fn engines(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.outcomes().map(|outcome| &outcome.engine[..]).collect();
        names.sort_by_key(|name| (*name != OURS, *name));
        names.dedup();
        names
    }

    /// The sizes at which a workload was measured.
    pub fn sizes(&self, workload: &str) -> Vec<u64> {
        let of = self.outcomes().filter(|outcome| outcome.workload == workload);
        let mut sizes: Vec<u64> = of.map(|outcome| outcome.keys).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// The best of the others by `figure`, with its name; the largest is the best.
    pub fn best_peer(
        &self,
        workload: &str,
        keys: Option<u64>,
        compress: bool,
        figure: impl Fn(&Outcome) -> Option<f64>,
    ) -> Option<(&str, f64)> {
        let synced = workload::named(workload).is_some_and(|workload| workload.sync);
        self.engines()
            .into_iter()
            .filter(|engine| *engine != OURS && (!synced || engines::syncs(engine)))
            .filter_map(|engine| {
                Some((engine, figure(self.get(engine, workload, keys, compress)?)?))
            })
            .max_by(|one, other| one.1.total_cmp(&other.1))
    }

    /// Workload, size and mode of every row, in the workloads' order.
    pub fn rows(&self) -> Vec<(&'static str, u64, bool)> {
        let mut rows = Vec::new();
        for workload in WORKLOADS {
            for keys in self.sizes(workload.name) {
                for compress in [true, false] {
                    let measured = self.outcomes().any(|outcome| {
                        (&outcome.workload[..], outcome.keys, outcome.compress)
                            == (workload.name, keys, compress)
                            // What cannot compress gets a row of its own only when nothing else has one.
                            && (compress
                                || engines::can_compress(&outcome.engine)
                                || !self.any_can_compress())
                    });
                    if measured {
                        rows.push((workload.name, keys, compress));
                    }
                }
            }
        }
        rows
    }

    /// What a row is called: with its size where there are several.
    pub fn label(&self, workload: &str, keys: u64, compress: bool) -> String {
        let mode = if compress || !self.any_can_compress() { "" } else { ", uncompressed" };
        match self.sizes(workload).len() {
            0 | 1 => format!("{workload}{mode}"),
            _ => format!("{workload} {}{mode}", rate(keys as f64)),
        }
    }

    fn any_can_compress(&self) -> bool {
        self.outcomes().any(|outcome| engines::can_compress(&outcome.engine))
    }
}

/// One figure of a result.
struct Figure {
    title: &'static str,
    of: fn(&Outcome) -> Option<f64>,
    text: fn(f64) -> String,
}

const FIGURES: &[Figure] = &[
    Figure {
        title: "p50, microseconds a call",
        of: |o| (!is_reopen(o)).then_some(o.p50_us),
        text: short,
    },
    Figure {
        title: "p99, microseconds a call",
        of: |o| (!is_reopen(o)).then_some(o.p99_us),
        text: short,
    },
    Figure {
        title: "p99.9, microseconds a call",
        of: |o| (!is_reopen(o)).then_some(o.p999_us),
        text: short,
    },
    Figure {
        title: "Longest stall, ms",
        of: |o| (!is_reopen(o)).then_some(o.stall_ms),
        text: short,
    },
    Figure {
        title: "CPU time of all threads, microseconds an operation",
        of: |o| Some(o.cpu_us),
        text: short,
    },
    Figure {
        title: "Write amplification until the background work was done: what the process itself wrote to files, log that was \
                deleted before writeback included",
        of: |o| o.write_amplification,
        text: short,
    },
    Figure {
        title: "The same, without what was deleted before writeback",
        of: |o| o.write_amplification_kept,
        text: short,
    },
    Figure { title: "Space amplification", of: |o| o.space_amplification, text: short },
    Figure {
        title: "Background work behind the last write, seconds",
        of: |o| o.drain_seconds,
        text: short,
    },
    Figure {
        title: "Largest private memory, MB",
        of: |o| Some(o.peak_memory_bytes as f64 / 1e6),
        text: short,
    },
    Figure {
        title: "Largest mapped and shared memory, MB (page cache, which the kernel takes back when it is short)",
        of: |o| Some(o.peak_mapped_bytes as f64 / 1e6),
        text: short,
    },
    Figure {
        title: "Device reads an operation, of the process alone",
        of: |o| is_cold(o).then_some(o.device_reads).flatten(),
        text: short,
    },
    Figure {
        title: "KB read from the device an operation, by the process alone",
        of: |o| is_cold(o).then_some(o.device_read_bytes.map(|bytes| bytes / 1e3)).flatten(),
        text: short,
    },
    Figure { title: "Open after kill -9, ms", of: |o| o.open_ms, text: short },
    Figure {
        title: "Entries lost by kill -9",
        of: |o| o.lost.map(|lost| lost as f64),
        text: short,
    },
    Figure { title: "Rate of the writer beside", of: |o| o.writer_rate, text: rate },
];

fn is_reopen(outcome: &Outcome) -> bool {
    outcome.open_ms.is_some()
}

fn is_cold(outcome: &Outcome) -> bool {
    workload::named(&outcome.workload)
        .is_some_and(|workload| matches!(workload.kind, Kind::Cold | Kind::Limited(_)))
}

/// Every table.
pub fn tables(medians: &Medians) -> String {
    let mut text = throughput(medians);
    for figure in FIGURES {
        let rows: Vec<_> = medians
            .rows()
            .into_iter()
            .filter_map(|(workload, keys, compress)| {
                let of = |engine: &&str| {
                    (figure.of)(medians.get(engine, workload, Some(keys), compress)?)
                };
                let figures: Vec<_> = medians.engines().iter().map(of).collect();
                let cells = figures.iter().map(|figure_of| figure_of.map(figure.text));
                let cells = cells.map(|cell| cell.unwrap_or_else(|| "-".into())).collect();
                let any = figures.iter().any(Option::is_some);
                any.then(|| (medians.label(workload, keys, compress), cells))
            })
            .collect();
        if !rows.is_empty() {
            let _ = write!(text, "\n{}\n\n", figure.title);
            text += &markdown(&medians.engines(), &rows);
        }
    }
    text
}

/// Our throughput divided by that of each of the others: above 1 we are faster.
pub fn ratios(medians: &Medians) -> String {
    let peers: Vec<&str> = medians.engines().into_iter().filter(|engine| *engine != OURS).collect();
    let mut header = vec![OURS, "spread", "/ best peer"];
    let names: Vec<String> = peers.iter().map(|peer| format!("/ {peer}")).collect();
    header.extend(names.iter().map(|name| &name[..]));
    let mut rows = Vec::new();
    for (workload, keys, compress) in medians.rows() {
        let get = |engine: &str| medians.get(engine, workload, Some(keys), compress);
        let Some(ours) = get(OURS).map(|outcome| outcome.throughput) else { continue };
        let spread = medians.spread(OURS, workload, keys, compress);
        let best = medians.best_peer(workload, Some(keys), compress, |o| Some(o.throughput));
        let mut cells = vec![
            rate(ours),
            spread.map_or_else(|| "-".into(), percent),
            best.map_or_else(
                || "-".into(),
                |(name, best)| format!("{} {name}", times(ours / best)),
            ),
        ];
        cells.extend(peers.iter().map(|peer| {
            get(peer).map_or_else(|| "-".into(), |peer| times(ours / peer.throughput))
        }));
        rows.push((medians.label(workload, keys, compress), cells));
    }
    if rows.is_empty() {
        return String::new();
    }
    markdown(&header, &rows)
}

/// A ratio: `0.93`, `12.3`, `140`.
pub fn times(ratio: f64) -> String {
    match ratio {
        r if r >= 99.5 => format!("{r:.0}"),
        r if r >= 9.95 => format!("{r:.1}"),
        r => format!("{r:.2}"),
    }
}

fn percent(part: f64) -> String {
    format!("±{:.0}%", part * 100.0)
}

fn throughput(medians: &Medians) -> String {
    let engines = medians.engines();
    let mut rows = Vec::new();
    for (workload, keys, compress) in medians.rows() {
        let cell = |engine: &&str| {
            let outcome = medians.get(engine, workload, Some(keys), compress);
            let outcome = outcome.filter(|outcome| !is_reopen(outcome))?;
            let spread = medians.spread(engine, workload, keys, compress);
            let spread = spread.map_or_else(String::new, |spread| format!(" {}", percent(spread)));
            Some(rate(outcome.throughput) + &spread)
        };
        let cells: Vec<Option<String>> = engines.iter().map(cell).collect();
        if cells.iter().any(Option::is_some) {
            let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".into())).collect();
            rows.push((medians.label(workload, keys, compress), cells));
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "\nOperations a second (entries for batches and bulk loads), median of the runs and how far they lie apart\n\n{}",
        markdown(&engines, &rows)
    )
}

/// A table; the first column are labels.
pub fn markdown(header: &[&str], rows: &[(String, Vec<String>)]) -> String {
    let mut text =
        format!("| workload | {} |\n|---|{}\n", header.join(" | "), "---:|".repeat(header.len()));
    for (label, cells) in rows {
        let _ = writeln!(text, "| {label} | {} |", cells.join(" | "));
    }
    text
}

/// A rate as people read it: `1.23 M`, `147 k`, `950`.
pub fn rate(value: f64) -> String {
    match value {
        v if v >= 999_500.0 => format!("{:.2} M", v / 1e6),
        v if v >= 9_995.0 => format!("{:.0} k", v / 1e3),
        v if v >= 999.5 => format!("{:.1} k", v / 1e3),
        v => format!("{v:.0}"),
    }
}

/// Three digits or so.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub fn outcome(engine: &str, workload: &str, compress: bool, throughput: f64) -> Outcome {
        Outcome {
            engine: engine.into(),
            workload: workload.into(),
            compress,
            keys: 1000,
            throughput,
            ..Outcome::default()
        }
    }

    #[test]
    fn medians_are_taken_for_each_measurement_apart() {
        let medians = medians(vec![
            outcome("esker", "read_hit", true, 5.0),
            outcome("esker", "read_hit", true, 1.0),
            outcome("esker", "read_hit", true, 3.0),
            outcome("esker", "read_hit", false, 9.0),
        ]);
        let get = |compress| medians.get("esker", "read_hit", None, compress).unwrap().throughput;
        assert_eq!((get(true), get(false)), (3.0, 9.0));
        assert_eq!(medians.spread("esker", "read_hit", 1000, true), Some(2.0 / 3.0));
        assert_eq!(medians.spread("esker", "read_hit", 1000, false), None);
    }

    #[test]
    fn an_engine_without_compression_stands_in_both_modes_and_has_no_row_of_its_own() {
        let medians = medians(vec![
            outcome("esker", "fill_seq", true, 300_000.0),
            outcome("lmdb", "fill_seq", false, 100_000.0),
            outcome("fjall", "fill_seq", true, 200_000.0),
        ]);
        let best = medians.best_peer("fill_seq", None, true, |o| Some(o.throughput)).unwrap();
        assert_eq!(best, ("fjall", 200_000.0));
        let text = throughput(&medians) + &ratios(&medians);
        assert!(text.contains("| fill_seq | 300 k | 200 k | 100 k |"), "{text}");
        assert!(text.contains("| fill_seq | 300 k | - | 1.50 fjall | 1.50 | 3.00 |"), "{text}");
        assert!(!text.contains("uncompressed"), "{text}");
    }

    #[test]
    fn an_engine_that_does_not_sync_is_no_peer_where_writes_are_synced() {
        let of = |workload| {
            let slow = outcome("fjall", workload, true, 1.0);
            let medians = medians(vec![slow, outcome("sled", workload, false, 2.0)]);
            medians.best_peer(workload, None, true, |o| Some(o.throughput)).unwrap().1
        };
        assert_eq!((of("sync_1"), of("delete")), (1.0, 2.0));
    }

    #[test]
    fn rates_have_three_digits() {
        let text = |value| rate(value);
        assert_eq!(
            [text(1.0), text(999.7), text(9_996.0), text(999_600.0), text(1.5e6)],
            ["1", "1.0 k", "10 k", "1.00 M", "1.50 M"]
        );
    }
}
