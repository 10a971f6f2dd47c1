//! Draws the results as SVG, three pictures that name things where they stand: how many times as fast we are, latencies,
//! and growth. Called by `report.rs` when plots are asked for.

use std::path::Path;

use crate::engine::Result;
use crate::plot::svg::{Anchor, Svg};
use crate::table::{Medians, OURS, rate, times};

mod growth;
mod latency;
mod svg;

const OUR_COLOUR: &str = "#c8501e";
const PEER_COLOUR: &str = "#6b7f95";
const FASTER: &str = "#3c8d4f";
const SLOWER: &str = "#b8403a";
const FAINT: &str = "#d8dde3";
const TEXT: &str = "#20262d";

/// Draws what has results into `folder`.
pub fn draw(medians: &Medians, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let pictures = [
        ("ratios.svg", ratios(medians)),
        ("latency.svg", latency::draw(medians)),
        ("growth.svg", growth::draw(medians)),
    ];
    for (name, picture) in pictures {
        if let Some(svg) = picture {
            std::fs::write(folder.join(name), svg.text())?;
        }
    }
    Ok(())
}

/// A place on a logarithmic scale.
#[derive(Clone, Copy)]
struct Scale {
    from: f64,
    to: f64,
    left: f64,
    width: f64,
}

impl Scale {
    fn at(&self, value: f64) -> f64 {
        let part = (value.clamp(self.from, self.to) / self.from).ln() / (self.to / self.from).ln();
        self.left + part * self.width
    }
}

/// A bar for each workload, to the right of the middle where we are faster than the best of the others.
fn ratios(medians: &Medians) -> Option<Svg> {
    const ROW: f64 = 19.0;
    let best = |workload: &str, keys, compress| {
        let ours = medians.get(OURS, workload, Some(keys), compress)?.throughput;
        let (name, peer) =
            medians.best_peer(workload, Some(keys), compress, |o| Some(o.throughput))?;
        let rocksdb = medians.get("rocksdb", workload, Some(keys), compress);
        Some((ours / peer, name.to_owned(), rocksdb.map(|rocksdb| ours / rocksdb.throughput)))
    };
    let rows: Vec<_> = medians
        .rows()
        .into_iter()
        .filter_map(|(workload, keys, compress)| {
            let label = medians.label(workload, keys, compress);
            Some((label, best(workload, keys, compress)?))
        })
        .collect();
    let furthest = |ratio: f64| ratio.max(1.0 / ratio.max(1e-9));
    let reach = rows.iter().map(|(_, (ratio, ..))| furthest(*ratio)).fold(4.0, f64::max).min(50.0);
    if rows.is_empty() {
        return None;
    }
    let height = 74.0 + ROW * rows.len() as f64;
    let mut svg = Svg::new(900.0, height);
    svg.text_at(12.0, 24.0, "Esker against the best of the others", 17.0, TEXT, Anchor::Start);
    let about =
        "times its operations a second; the name is the best other engine, a ring marks RocksDB";
    svg.text_at(12.0, 42.0, about, 12.0, TEXT, Anchor::Start);
    let scale = Scale { from: 1.0 / reach / 1.6, to: reach * 1.6, left: 215.0, width: 665.0 };
    for tick in [0.01, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0, 100.0] {
        if tick < scale.from || tick > scale.to {
            continue;
        }
        let x = scale.at(tick);
        let colour = if tick == 1.0 { TEXT } else { FAINT };
        svg.line(x, 64.0, x, height - 6.0, colour, 1.0);
        svg.text_at(x, 60.0, &format!("{tick} x"), 11.0, TEXT, Anchor::Middle);
    }
    for (place, (label, (ratio, name, rocksdb))) in rows.iter().enumerate() {
        let y = 70.0 + ROW * place as f64;
        svg.text_at(205.0, y + 12.0, label, 12.0, TEXT, Anchor::End);
        let (one, x) = (scale.at(1.0), scale.at(*ratio));
        let colour = if *ratio >= 1.0 { FASTER } else { SLOWER };
        svg.rect(one.min(x), y + 2.0, (x - one).abs().max(1.0), ROW - 5.0, colour);
        let text = format!("{} {name}", times(*ratio));
        // A bar that leaves the picture has its name inside.
        let (at, anchor) = match *ratio {
            r if r >= scale.to / 1.6 => (x - 5.0, Anchor::End),
            r if r >= 1.0 => (x + 5.0, Anchor::Start),
            r if r <= scale.from * 1.6 => (x + 5.0, Anchor::Start),
            _ => (x - 5.0, Anchor::End),
        };
        svg.halo_text_at(at, y + 12.0, &text, 11.0, TEXT, anchor);
        if let Some(rocksdb) = rocksdb {
            svg.ring(scale.at(*rocksdb), y + ROW / 2.0 - 0.5, 4.0, TEXT);
        }
    }
    Some(svg)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::outcome::Outcome;
    use crate::table::medians;

    fn outcome(engine: &str, workload: &str, keys: u64, throughput: f64) -> Outcome {
        Outcome {
            engine: engine.into(),
            workload: workload.into(),
            compress: crate::engines::can_compress(engine),
            keys,
            throughput,
            p50_us: 1.0,
            p99_us: 4.0,
            p999_us: 30.0,
            stall_ms: 2.0,
            ..Outcome::default()
        }
    }

    #[test]
    fn every_picture_is_drawn_and_names_what_it_shows() {
        let dir = tempfile::tempdir().unwrap();
        let outcomes = ["esker", "rocksdb", "lmdb"].iter().flat_map(|engine| {
            let rates = [("read_hit", 1000, 5.0), ("growth_fill", 1, 4.0), ("growth_fill", 8, 3.0)];
            rates.map(|(workload, keys, rate)| outcome(engine, workload, keys, rate))
        });
        draw(&medians(outcomes.collect()), dir.path()).unwrap();
        for (name, parts) in [
            ("ratios.svg", vec!["read_hit", "1.00 rocksdb"]),
            ("latency.svg", vec!["read_hit", "esker", "lmdb"]),
            ("growth.svg", vec!["growth_fill", "esker", "rocksdb"]),
        ] {
            let text = std::fs::read_to_string(dir.path().join(name)).unwrap();
            assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"), "{name}");
            for part in parts {
                assert!(text.contains(part), "{part} in {name}");
            }
        }
    }

    #[test]
    fn nothing_measured_draws_nothing() {
        let dir = tempfile::tempdir().unwrap();
        draw(&medians(Vec::new()), dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
