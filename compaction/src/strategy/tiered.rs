//! Tiered: the files of level 0 and each level below are sorted runs, newest first; runs of similar
//! size are merged. Writes are rewritten less often than with levels; reads look into more runs.
//!
//! One task at a time, over a contiguous row of runs from the newest on, so that age and position
//! keep agreeing. The result goes as deep as the next older run allows.

use super::{BOTTOM, Picture, Strategy, Task, TaskKind, at_level, bytes_of};

/// Few rewrites, more runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tiered;

/// A sorted run.
struct Run {
    level: usize,
    /// Within level 0, the position of its file.
    at: usize,
    bytes: u64,
}

fn runs(picture: &Picture<'_>) -> Vec<Run> {
    let level0 =
        picture.level(0).iter().enumerate().map(|(at, file)| Run { level: 0, at, bytes: file.len });
    let below = (1..=BOTTOM).filter(|&level| !picture.level(level).is_empty());
    level0
        .chain(below.map(|level| Run { level, at: 0, bytes: bytes_of(picture.level(level)) }))
        .collect()
}

impl Strategy for Tiered {
    fn pick(&self, picture: &Picture<'_>) -> Option<Task> {
        let options = picture.options;
        let runs = runs(picture);
        let trigger = options.level0_trigger.max(2);
        let idle = picture.levels.iter().all(|files| !picture.any_busy(files));
        if runs.len() < trigger || !idle {
            return None;
        }
        let (oldest, newer) = runs.split_last()?;
        let newer_bytes: u64 = newer.iter().map(|run| run.bytes).sum();
        if exceeds(newer_bytes, oldest.bytes, options.tiered_space_percent_max) {
            return Some(merge(picture, &runs, runs.len(), "old versions may take too much space"));
        }
        let mut together = runs[0].bytes;
        let similar = 1 + runs[1..]
            .iter()
            .take_while(|run| {
                let ratio = options.tiered_size_ratio_percent.saturating_add(100);
                let joins = !exceeds(run.bytes, together, ratio);
                together = together.saturating_add(run.bytes);
                joins
            })
            .count();
        if similar >= 2 {
            return Some(merge(picture, &runs, similar, "runs of similar size"));
        }
        Some(merge(picture, &runs, runs.len() - trigger + 2, "too many runs"))
    }

    fn debt_bytes(&self, picture: &Picture<'_>) -> u64 {
        let runs = runs(picture);
        let trigger = picture.options.level0_trigger.max(2);
        if runs.len() < trigger {
            return 0;
        }
        runs.iter().take(runs.len() - trigger + 2).map(|run| run.bytes).sum()
    }
}

/// Whether `a` is more than `percent` percent of `b`.
fn exceeds(a: u64, b: u64, percent: u64) -> bool {
    u128::from(a) * 100 > u128::from(b) * u128::from(percent)
}

/// The `count` newest runs into one.
fn merge(picture: &Picture<'_>, runs: &[Run], count: usize, reason: &'static str) -> Task {
    let (merged, older) = runs.split_at(count);
    let output_level = older.first().map_or(BOTTOM, |next| next.level.saturating_sub(1));
    let inputs = merged
        .iter()
        .flat_map(|run| {
            let files = picture.level(run.level);
            at_level(run.level, if run.level == 0 { &files[run.at..=run.at] } else { files })
        })
        .collect();
    Task { inputs, output_level, kind: TaskKind::Merge, reason }
}
