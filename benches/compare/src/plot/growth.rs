//! The picture of growth: throughput over the number of keys, a line for each engine with its name at the end.

use super::svg::{Anchor, Svg};
use super::{FAINT, OUR_COLOUR, PEER_COLOUR, Scale, TEXT, rate};
use crate::table::{Medians, OURS};

const PANEL_WIDTH: f64 = 480.0;
const HEIGHT: f64 = 400.0;
const TOP: f64 = 70.0;
const BOTTOM: f64 = 350.0;
/// Names closer to each other than this are moved apart.
const NAME_GAP: f64 = 13.0;

/// None if nothing was measured at several sizes.
pub fn draw(medians: &Medians) -> Option<Svg> {
    let of = |workload: &&&str| medians.sizes(workload).len() > 1;
    let workloads: Vec<&&str> = ["growth_fill", "growth_read"].iter().filter(of).collect();
    if workloads.is_empty() {
        return None;
    }
    let mut svg = Svg::new(PANEL_WIDTH * workloads.len() as f64, HEIGHT);
    let title = "Operations a second while the database grows";
    svg.text_at(12.0, 24.0, title, 17.0, TEXT, Anchor::Start);
    for (column, workload) in workloads.iter().enumerate() {
        panel(&mut svg, column as f64 * PANEL_WIDTH, workload, medians);
    }
    Some(svg)
}

fn panel(svg: &mut Svg, left: f64, workload: &str, medians: &Medians) {
    let sizes = medians.sizes(workload);
    let lines: Vec<(&str, Vec<(f64, f64)>)> = medians
        .engines()
        .into_iter()
        .map(|engine| {
            let point = |keys: &u64| {
                let outcome = medians.get(engine, workload, Some(*keys), true)?;
                Some((*keys as f64, outcome.throughput))
            };
            (engine, sizes.iter().filter_map(point).collect::<Vec<_>>())
        })
        .filter(|(_, line)| !line.is_empty())
        .collect();
    let most = lines.iter().flat_map(|(_, line)| line).map(|point| point.1).fold(1.0, f64::max);
    let (first, last) = (sizes[0] as f64, sizes[sizes.len() - 1] as f64);
    let across = Scale { from: first, to: last, left: left + 62.0, width: 310.0 };
    let y_at = |value: f64| BOTTOM - value / (most * 1.05) * (BOTTOM - TOP);
    svg.text_at(left + 62.0, 52.0, workload, 13.0, TEXT, Anchor::Start);
    let step = step_of(most);
    for number in 0..=(most / step) as u32 {
        let (value, y) = (f64::from(number) * step, y_at(f64::from(number) * step));
        svg.line(left + 62.0, y, left + 372.0, y, FAINT, 1.0);
        svg.text_at(left + 56.0, y + 4.0, &rate(value), 11.0, TEXT, Anchor::End);
    }
    for size in &sizes {
        let x = across.at(*size as f64);
        svg.text_at(x, BOTTOM + 18.0, &rate(*size as f64), 11.0, TEXT, Anchor::Middle);
    }
    svg.text_at(left + 217.0, BOTTOM + 36.0, "keys", 11.0, TEXT, Anchor::Middle);
    let mut names: Vec<(f64, f64, &str, &str)> = Vec::new();
    for (engine, line) in &lines {
        let colour = if *engine == OURS { OUR_COLOUR } else { PEER_COLOUR };
        let points: Vec<_> = line.iter().map(|(x, y)| (across.at(*x), y_at(*y))).collect();
        for pair in points.windows(2) {
            svg.line(pair[0].0, pair[0].1, pair[1].0, pair[1].1, colour, 2.0);
        }
        for (x, y) in &points {
            svg.dot(*x, *y, 3.0, colour);
        }
        let (x, y) = points[points.len() - 1];
        names.push((y, x, engine, colour));
    }
    names.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut lowest = f64::NEG_INFINITY;
    for (y, x, engine, colour) in names {
        let y = y.max(lowest + NAME_GAP);
        lowest = y;
        svg.halo_text_at(x + 7.0, y + 4.0, engine, 12.0, colour, Anchor::Start);
    }
}

/// A round distance between the lines of a scale up to `most`.
fn step_of(most: f64) -> f64 {
    let power = 10_f64.powf(most.log10().floor());
    match most / power {
        part if part < 2.0 => power / 4.0,
        part if part < 5.0 => power / 2.0,
        _ => power,
    }
}
