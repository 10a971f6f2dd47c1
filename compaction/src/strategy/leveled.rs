//! Leveled: below level 0 every level is one sorted run, each several times larger than the one
//! above.
//!
//! The levels' sizes are derived from the bottom upward: the bottom holds what it holds, and there
//! are as few levels above it as let each be at most `level_multiplier` times the one above, where
//! `base_level_bytes` stands for level 0. The ratio is the same from level to level. The highest of
//! them is where level 0 is merged into, and those above it stay empty. A level that is no larger
//! than what level 0 brings at a time would only rewrite everything once more.
//!
//! Tasks, in this order: the level that is fullest against its size; files full of deletes; files
//! past the age limit.

use std::sync::Arc;

use esker_manifest::{FileMeta, LEVEL_COUNT};

use super::{BOTTOM, Picture, Strategy, Task, TaskKind, at_level, bounds_of, bytes_of};

/// A merge may take so many times `target_file_bytes` from both levels before it stops widening
/// itself.
const WIDEN_MAX_FILES: u64 = 25;
/// A file that overlaps more than so many times `target_file_bytes` two levels down is merged
/// rather than moved.
pub(crate) const GRANDPARENT_MAX_FILES: u64 = 10;

/// The default strategy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leveled;

/// The level that level 0 goes to, and how many bytes each level may hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub base: usize,
    pub targets: [u64; LEVEL_COUNT],
}

impl Shape {
    pub(super) fn of(picture: &Picture<'_>) -> Shape {
        let options = picture.options;
        let (smallest, multiplier) =
            (options.base_level_bytes.max(1), options.level_multiplier.max(2));
        let largest = (1..LEVEL_COUNT).map(|level| bytes_of(picture.level(level))).max();
        let mut size = largest.unwrap_or(0).max(smallest);
        let (count, ratio) = steps(size / smallest, multiplier);
        let mut targets = [0; LEVEL_COUNT];
        let mut base = BOTTOM;
        targets[base] = size;
        let filled_above = |base| (1..base).any(|level| !picture.level(level).is_empty());
        while base > 1 && (BOTTOM - base + 1 < count || filled_above(base)) {
            base -= 1;
            size = (size / ratio).max(smallest);
            targets[base] = size;
        }
        Shape { base, targets }
    }
}

/// The fewest steps of a ratio of at most `multiplier` that lead to `quotient` or beyond, and the
/// lowest such ratio.
fn steps(quotient: u64, multiplier: u64) -> (usize, u64) {
    let reaches = |count: u32, ratio: u64| ratio.saturating_pow(count) >= quotient;
    let count = (1..BOTTOM as u32).find(|&count| reaches(count, multiplier));
    let count = count.unwrap_or(BOTTOM as u32);
    let ratio = (2..multiplier).find(|&ratio| reaches(count, ratio));
    (count as usize, ratio.unwrap_or(multiplier))
}

impl Strategy for Leveled {
    fn pick(&self, picture: &Picture<'_>) -> Option<Task> {
        let shape = Shape::of(picture);
        by_size(picture, &shape)
            .or_else(|| by_deletes(picture, &shape))
            .or_else(|| by_age(picture, &shape))
    }

    fn debt_bytes(&self, picture: &Picture<'_>) -> u64 {
        let shape = Shape::of(picture);
        let level0 = picture.level(0);
        let (mut debt, mut carried) = (0u64, 0u64);
        if level0.len() >= picture.options.level0_trigger.max(1) {
            carried = bytes_of(level0);
            let (low, high) = bounds_of(level0).unwrap_or((&[], &[]));
            debt = carried + bytes_of(picture.overlapping(shape.base, low, high));
        }
        for level in shape.base..BOTTOM {
            let here = bytes_of(picture.level(level)) + carried;
            carried = here.saturating_sub(shape.targets[level]);
            // Every byte that goes down rewrites its share of the level below.
            let below = bytes_of(picture.level(level + 1));
            let share = u128::from(carried) * u128::from(below) / u128::from(here.max(1));
            debt = debt
                .saturating_add(carried)
                .saturating_add(u64::try_from(share).unwrap_or(u64::MAX));
        }
        debt
    }
}

/// The level that is fullest against its target, if one is over it; the next fullest if that one
/// cannot be worked on.
fn by_size(picture: &Picture<'_>, shape: &Shape) -> Option<Task> {
    // In thousandths. What is busy is on its way down already.
    let score = |level: usize| {
        let idle = picture.level(level).iter().filter(|file| !picture.is_busy(file));
        match level {
            0 => idle.count() as u64 * 1000 / picture.options.level0_trigger.max(1) as u64,
            _ => {
                let held = u128::from(bytes_of(idle)) * 1000;
                let score = held / u128::from(shape.targets[level].max(1));
                u64::try_from(score).unwrap_or(u64::MAX)
            }
        }
    };
    let mut scores: Vec<(u64, usize)> = std::iter::once(0)
        .chain(shape.base..BOTTOM)
        .map(|level| (score(level), level))
        .filter(|&(score, level)| score > 1000 || score == 1000 && level == 0)
        .collect();
    // Stable: of equal scores the upper level goes first.
    scores.sort_by_key(|&(score, _)| std::cmp::Reverse(score));
    scores.into_iter().find_map(|(_, level)| match level {
        0 => from_level0(picture, shape.base, "level 0 has too many files"),
        _ => {
            best_file(picture, level).and_then(|at| down(picture, level, at, "level over its size"))
        }
    })
}

/// All of level 0 into the base level. One such task at a time, because its files overlap each
/// other.
fn from_level0(picture: &Picture<'_>, base: usize, reason: &'static str) -> Option<Task> {
    let files = picture.level(0);
    let (low, high) = bounds_of(files)?;
    let below = picture.overlapping(base, low, high);
    if picture.any_busy(files) || picture.any_busy(below) {
        return None;
    }
    let mut by_key: Vec<&Arc<FileMeta>> = files.iter().collect();
    by_key.sort_by_key(|file| file.smallest_user_key());
    let apart =
        by_key.windows(2).all(|pair| pair[0].largest_user_key() < pair[1].smallest_user_key());
    let free = |file: &&Arc<FileMeta>| {
        let (low, high) = (file.smallest_user_key(), file.largest_user_key());
        picture.overlapping(base, low, high).is_empty() && may_move(picture, base, low, high)
    };
    let kind = if apart && by_key.iter().all(free) { TaskKind::Move } else { TaskKind::Merge };
    let mut inputs: Vec<_> = at_level(0, files).collect();
    if kind == TaskKind::Merge {
        inputs.extend(at_level(base, below));
    }
    Some(Task { inputs, output_level: base, kind, reason })
}

/// Whether a file with these bounds may be moved into `level` without making the merge after it a
/// large one.
fn may_move(picture: &Picture<'_>, level: usize, low: &[u8], high: &[u8]) -> bool {
    let limit = picture.options.target_file_bytes.saturating_mul(GRANDPARENT_MAX_FILES);
    bytes_of(picture.overlapping(level + 1, low, high)) <= limit
}

/// The file of `level` that brings most bytes down for the bytes it rewrites below; of equals, the
/// first by key.
fn best_file(picture: &Picture<'_>, level: usize) -> Option<usize> {
    let cost = |file: &FileMeta| {
        let (low, high) = (file.smallest_user_key(), file.largest_user_key());
        let below = picture.overlapping(level + 1, low, high);
        let free = !picture.is_busy(file) && !picture.any_busy(below);
        free.then(|| u128::from(bytes_of(below)) * 1000 / u128::from(file.len.max(1)))
    };
    let files = picture.level(level).iter().enumerate();
    let costs = files.filter_map(|(at, file)| cost(file).map(|cost| (cost, at)));
    costs.min().map(|(_, at)| at)
}

/// One file of `level` into the next, with what it overlaps there and what comes along for nothing.
fn down(picture: &Picture<'_>, level: usize, at: usize, reason: &'static str) -> Option<Task> {
    let files = picture.level(level);
    let file = files.get(at)?;
    let (low, high) = (file.smallest_user_key(), file.largest_user_key());
    let below = picture.overlapping(level + 1, low, high);
    if picture.is_busy(file) || picture.any_busy(below) {
        return None;
    }
    let output_level = level + 1;
    if below.is_empty() && may_move(picture, output_level, low, high) {
        let inputs = vec![(level, file.clone())];
        return Some(Task { inputs, output_level, kind: TaskKind::Move, reason });
    }
    let (mut start, mut end) = (at, at + 1);
    if let Some((low, high)) = bounds_of(below) {
        let limit = picture.options.target_file_bytes.saturating_mul(WIDEN_MAX_FILES);
        let mut total = file.len + bytes_of(below);
        // A neighbour within the bounds of what is rewritten anyway adds no file from below.
        let mut joins = |neighbour: &FileMeta| {
            let within =
                low <= neighbour.smallest_user_key() && neighbour.largest_user_key() <= high;
            total = total.saturating_add(neighbour.len);
            within && total <= limit && !picture.is_busy(neighbour)
        };
        while start > 0 && joins(&files[start - 1]) {
            start -= 1;
        }
        while end < files.len() && joins(&files[end]) {
            end += 1;
        }
    }
    let mut inputs: Vec<_> = at_level(level, &files[start..end]).collect();
    inputs.extend(at_level(output_level, below));
    Some(Task { inputs, output_level, kind: TaskKind::Merge, reason })
}

/// The file with too many deletes that is furthest up; at the bottom, one whose deletes can all go
/// now.
fn by_deletes(picture: &Picture<'_>, shape: &Shape) -> Option<Task> {
    let options = picture.options;
    let dense = |file: &FileMeta| {
        u128::from(file.delete_count) * 100
            > u128::from(file.entry_count) * u128::from(options.delete_percent_max)
    };
    let reason = "a file has too many deletes";
    if picture.level(0).iter().any(|file| dense(file))
        && let Some(task) = from_level0(picture, shape.base, reason)
    {
        return Some(task);
    }
    let above = (shape.base..BOTTOM).find_map(|level| {
        let files = picture.level(level).iter().enumerate();
        files.filter(|(_, file)| dense(file)).find_map(|(at, _)| down(picture, level, at, reason))
    });
    above.or_else(|| {
        let rewrite = |file: &&Arc<FileMeta>| {
            dense(file) && file.max_seq <= options.droppable_through && !picture.is_busy(file)
        };
        let file = picture.level(BOTTOM).iter().find(rewrite)?;
        let inputs = vec![(BOTTOM, file.clone())];
        Some(Task { inputs, output_level: BOTTOM, kind: TaskKind::Merge, reason })
    })
}

/// A file above the bottom that has been there for too long.
fn by_age(picture: &Picture<'_>, shape: &Shape) -> Option<Task> {
    let options = picture.options;
    if options.age_limit_ms == 0 {
        return None;
    }
    let old =
        |file: &FileMeta| options.now_ms.saturating_sub(file.created_ms) > options.age_limit_ms;
    let reason = "a file is past the age limit";
    if picture.level(0).iter().any(|file| old(file))
        && let Some(task) = from_level0(picture, shape.base, reason)
    {
        return Some(task);
    }
    (shape.base..BOTTOM).find_map(|level| {
        let files = picture.level(level).iter().enumerate();
        files.filter(|(_, file)| old(file)).find_map(|(at, _)| down(picture, level, at, reason))
    })
}
