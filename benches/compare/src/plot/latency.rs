//! The picture of latencies: for each workload and engine the way from the median to one call in a thousand.

use super::svg::{Anchor, Svg};
use super::{FAINT, OUR_COLOUR, PEER_COLOUR, Scale, TEXT};
use crate::outcome::Outcome;
use crate::table::{Medians, OURS};

/// Those whose calls are single operations, and that are not all of a kind.
const WORKLOADS: &[&str] = &[
    "fill_random",
    "overwrite",
    "read_hit",
    "read_miss",
    "scan_100",
    "ycsb_a_2",
    "read_beside_writer",
    "sync_1",
    "sync_32",
    "limited",
];

const ROW: f64 = 17.0;
const PANEL_WIDTH: f64 = 540.0;

/// None if no latency was measured.
pub fn draw(medians: &Medians) -> Option<Svg> {
    let panels: Vec<(&str, Vec<&Outcome>)> = WORKLOADS
        .iter()
        .map(|workload| {
            let keys = medians.get(OURS, workload, None, true).map(|outcome| outcome.keys);
            let of = |engine| medians.get(engine, workload, keys, true);
            (*workload, medians.engines().into_iter().filter_map(of).collect::<Vec<_>>())
        })
        .filter(|(_, outcomes)| !outcomes.is_empty())
        .collect();
    if panels.is_empty() {
        return None;
    }
    let panel_height = |outcomes: &[&Outcome]| 48.0 + ROW * outcomes.len() as f64;
    let rows = panels
        .chunks(2)
        .map(|row| row.iter().map(|(_, outcomes)| panel_height(outcomes)).fold(0.0, f64::max));
    let heights: Vec<f64> = rows.collect();
    let mut svg = Svg::new(2.0 * PANEL_WIDTH, 64.0 + heights.iter().sum::<f64>());
    svg.text_at(12.0, 24.0, "Latency of a call", 17.0, TEXT, Anchor::Start);
    let about = "dot: median; thick to p99; thin to p99.9; the numbers are the same three";
    svg.text_at(12.0, 42.0, about, 12.0, TEXT, Anchor::Start);
    let mut top = 60.0;
    for (row, height) in panels.chunks(2).zip(heights) {
        for (column, (workload, outcomes)) in row.iter().enumerate() {
            panel(&mut svg, column as f64 * PANEL_WIDTH, top, workload, outcomes);
        }
        top += height;
    }
    Some(svg)
}

fn panel(svg: &mut Svg, left: f64, top: f64, workload: &str, outcomes: &[&Outcome]) {
    let least = outcomes.iter().map(|o| o.p50_us).fold(f64::INFINITY, f64::min).max(0.01);
    let most = outcomes.iter().map(|o| o.p999_us).fold(0.0, f64::max).max(least * 10.0);
    let scale = Scale { from: least / 1.3, to: most * 1.3, left: left + 90.0, width: 300.0 };
    svg.text_at(left + 12.0, top + 14.0, workload, 13.0, TEXT, Anchor::Start);
    let bottom = top + 30.0 + ROW * outcomes.len() as f64;
    for power in -2..8 {
        let tick = 10_f64.powi(power);
        if tick >= scale.from && tick <= scale.to {
            let x = scale.at(tick);
            svg.line(x, top + 24.0, x, bottom, FAINT, 1.0);
            svg.text_at(x, top + 20.0, &duration(tick), 10.0, TEXT, Anchor::Middle);
        }
    }
    for (place, outcome) in outcomes.iter().enumerate() {
        let y = top + 34.0 + ROW * place as f64;
        let colour = if outcome.engine == OURS { OUR_COLOUR } else { PEER_COLOUR };
        svg.text_at(left + 84.0, y + 4.0, &outcome.engine, 12.0, colour, Anchor::End);
        let [p50, p99, p999] = [outcome.p50_us, outcome.p99_us, outcome.p999_us];
        svg.line(scale.at(p50), y, scale.at(p999), y, colour, 1.5);
        svg.line(scale.at(p50), y, scale.at(p99), y, colour, 5.0);
        svg.dot(scale.at(p50), y, 5.0, colour);
        let text = [p50, p99, p999].map(duration).join("  /  ");
        svg.text_at(left + 400.0, y + 4.0, &text, 11.0, TEXT, Anchor::Start);
    }
}

/// Two digits or so with a unit.
fn duration(us: f64) -> String {
    let short = |value: f64| match value {
        v if v >= 9.95 => format!("{v:.0}"),
        v if v >= 0.95 => format!("{v:.1}").trim_end_matches(".0").to_owned(),
        v => format!("{v:.2}").trim_end_matches('0').to_owned(),
    };
    match us {
        t if t >= 1e6 => format!("{} s", short(t / 1e6)),
        t if t >= 1e3 => format!("{} ms", short(t / 1e3)),
        t => format!("{} us", short(t)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let texts = [0.1, 1.0, 2.34, 42.4, 1234.0, 3e6].map(duration);
        assert_eq!(texts, ["0.1 us", "1 us", "2.3 us", "42 us", "1.2 ms", "3 s"]);
    }
}
