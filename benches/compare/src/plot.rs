//! Draws the results as SVG: bars of throughput for groups of workloads, and curves over growing sizes. Called by
//! `run.rs` when a report is asked for.

use std::path::Path;

use plotters::prelude::*;

use crate::engine::{Failure, Result};
use crate::table::{Medians, OURS, rate};

/// File, title and workloads of each drawing of bars.
const GROUPS: &[(&str, &str, &[&str])] = &[
    (
        "writes.svg",
        "Writes a second, not synced",
        &["fill_random", "fill_seq", "batch_1000", "bulk_load", "overwrite", "delete"],
    ),
    (
        "reads.svg",
        "Reads a second",
        &["read_hit", "read_hit_2", "read_miss", "read_zipf", "scan_100", "read_beside_writer"],
    ),
    (
        "ycsb.svg",
        "YCSB by 2 threads, operations a second",
        &["ycsb_a_2", "ycsb_b_2", "ycsb_c_2", "ycsb_d_2", "ycsb_e_2", "ycsb_f_2"],
    ),
    ("sync.svg", "Synced writes a second", &["sync_1", "sync_2", "sync_8", "sync_32"]),
    (
        "large_values.svg",
        "Values of 1 KB and 16 KB, operations a second",
        &["fill_1k", "overwrite_1k", "read_1k", "fill_16k", "overwrite_16k", "read_16k"],
    ),
];

const OUR_COLOUR: RGBColor = RGBColor(200, 80, 30);
const PEER_COLOUR: RGBColor = RGBColor(120, 140, 160);
const SIZE: (u32, u32) = (960, 560);

/// Draws every group that has results into `folder`.
pub fn draw(medians: &Medians, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for (file, title, workloads) in GROUPS {
        let measured: Vec<&str> = workloads
            .iter()
            .copied()
            .filter(|workload| !medians.sizes(workload).is_empty())
            .collect();
        if !measured.is_empty() {
            bars(medians, title, &measured, &folder.join(file)).map_err(failure)?;
        }
    }
    for workload in ["growth_fill", "growth_read"] {
        if medians.sizes(workload).len() > 1 {
            let path = folder.join(format!("{workload}.svg"));
            curve(medians, workload, &path).map_err(failure)?;
        }
    }
    Ok(())
}

type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

/// The backend's error is not `Send`.
fn failure(error: Box<dyn std::error::Error>) -> Failure {
    Failure::from(format!("a plot could not be drawn: {error}"))
}

fn bars(medians: &Medians, title: &str, workloads: &[&str], path: &Path) -> Drawn {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.titled(title, ("sans-serif", 20))?;
    let rows = workloads.len().div_ceil(3);
    for (workload, area) in workloads.iter().zip(root.split_evenly((rows, 3))) {
        let engines: Vec<(&str, f64)> = medians
            .engines()
            .into_iter()
            .filter_map(|name| {
                let outcome = medians
                    .get(name, workload, None, true)
                    .or_else(|| medians.get(name, workload, None, false))?;
                Some((name, outcome.throughput))
            })
            .collect();
        let most = engines.iter().map(|(_, value)| *value).fold(1.0, f64::max);
        let mut chart = ChartBuilder::on(&area)
            .caption(*workload, ("sans-serif", 14))
            .margin(8)
            .build_cartesian_2d(0.0..most * 1.25, 0..engines.len())?;
        for (place, (name, value)) in engines.iter().enumerate() {
            let colour = if *name == OURS { OUR_COLOUR } else { PEER_COLOUR };
            // The first engine on top.
            let row = engines.len() - 1 - place;
            let corners = [(0.0, row), (*value, row + 1)];
            let mut bar = Rectangle::new(corners, colour.filled());
            bar.set_margin(2, 2, 0, 0);
            let label = Text::new(
                format!("{name} {}", rate(*value)),
                (most * 0.01, row + 1),
                ("sans-serif", 12),
            );
            chart.draw_series(std::iter::once(bar))?;
            chart.draw_series(std::iter::once(label))?;
        }
    }
    root.present()?;
    Ok(())
}

fn curve(medians: &Medians, workload: &str, path: &Path) -> Drawn {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let sizes = medians.sizes(workload);
    let lines: Vec<(&str, Vec<(f64, f64)>)> = medians
        .engines()
        .into_iter()
        .map(|engine| {
            let point = |keys: &u64| {
                let outcome = medians.get(engine, workload, Some(*keys), true)?;
                Some((*keys as f64 / 1e6, outcome.throughput))
            };
            (engine, sizes.iter().filter_map(point).collect())
        })
        .collect();
    let most = lines.iter().flat_map(|(_, line)| line).map(|point| point.1).fold(1.0, f64::max);
    let largest = sizes.last().copied().unwrap_or(1) as f64 / 1e6;
    let mut chart = ChartBuilder::on(&root)
        .caption(workload, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..largest * 1.1, 0.0..most * 1.1)?;
    chart
        .configure_mesh()
        .x_desc("million keys")
        .y_desc("operations a second")
        .y_label_formatter(&|value| rate(*value))
        .draw()?;
    for (engine, line) in lines {
        let colour = if engine == OURS { OUR_COLOUR } else { PEER_COLOUR };
        let end = line.last().copied();
        chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?;
        if let Some(end) = end {
            let label = Text::new(engine.to_owned(), end, ("sans-serif", 13));
            chart.draw_series(std::iter::once(label))?;
        }
    }
    root.present()?;
    Ok(())
}
