//! What to merge next: pure functions from a picture of the levels to a task.
//!
//! The engine asks under its lock and marks a task's inputs busy before it lets go. A strategy
//! never looks at a clock, a file or a random number: the same picture gives the same task.

use std::collections::BTreeSet;
use std::sync::Arc;

use esker_base::{FileNumber, SeqNo};
use esker_manifest::{FileMeta, LEVEL_COUNT, StrategyKind};

mod fifo;
mod leveled;
mod range;
#[cfg(test)]
mod tests;
mod tiered;

pub use fifo::Fifo;
pub use leveled::Leveled;
pub use range::pick_range;
pub use tiered::Tiered;

/// The last level.
pub const BOTTOM: usize = LEVEL_COUNT - 1;

/// A way of arranging files.
pub trait Strategy: Send + Sync {
    /// The most useful task that touches no busy file, if any is due.
    fn pick(&self, picture: &Picture<'_>) -> Option<Task>;

    /// About how many bytes would have to be rewritten until nothing is due, what is running
    /// included; the engine slows writers down by it.
    fn debt_bytes(&self, picture: &Picture<'_>) -> u64;
}

/// The strategy of a kind.
pub fn for_kind(kind: StrategyKind) -> &'static dyn Strategy {
    match kind {
        StrategyKind::Leveled => &Leveled,
        StrategyKind::Tiered => &Tiered,
        StrategyKind::Fifo => &Fifo,
    }
}

/// What a strategy decides from.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// As in [`esker_manifest::KeyspaceState::levels`].
    pub levels: &'a [Vec<Arc<FileMeta>>],
    /// The inputs of the tasks under way.
    pub busy: &'a BTreeSet<FileNumber>,
    /// The limits.
    pub options: &'a Options,
}

/// The limits that strategies go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// About what level 0 brings down at a time; 256 MiB by default. The levels are sized by it. At
    /// least 1.
    pub base_level_bytes: u64,
    /// How many times larger a level may be than the one above. 8 by default: from there on another
    /// level between them makes for less rewriting. At least 2.
    pub level_multiplier: u64,
    /// Files in level 0 (for tiered: sorted runs) from which on they are merged. 4 by default. At
    /// least 2.
    pub level0_trigger: usize,
    /// The length at which an output file is cut; 64 MiB by default.
    pub target_file_bytes: u64,
    /// A file with more than this share of deletes, in percent, is merged down early. 50 by
    /// default; 100 turns it off.
    pub delete_percent_max: u64,
    /// No reader needs a version older than the newest one at or below this: the lowest of all
    /// snapshots and the history floor; 0 while tombstones must be kept. It keeps a file at the
    /// bottom from being rewritten in vain.
    pub droppable_through: SeqNo,
    /// A file above the bottom that is older than this is merged down, so that old versions go at
    /// last. In milliseconds; 0, the default, turns it off.
    pub age_limit_ms: u64,
    /// The wall-clock time of the decision, in milliseconds since 1970; only compared with
    /// `created_ms`.
    pub now_ms: u64,
    /// For tiered: merge everything when the newer runs together exceed this share of the oldest,
    /// in percent. 200 by default.
    pub tiered_space_percent_max: u64,
    /// For tiered: a run joins the newer ones if it is at most so much larger than they are
    /// together, in percent. 20 by default.
    pub tiered_size_ratio_percent: u64,
    /// For FIFO: drop the oldest files above this total, in bytes.
    pub fifo_max_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            base_level_bytes: 256 << 20,
            level_multiplier: 8,
            level0_trigger: 4,
            target_file_bytes: 64 << 20,
            delete_percent_max: 50,
            droppable_through: SeqNo(0),
            age_limit_ms: 0,
            now_ms: 0,
            tiered_space_percent_max: 200,
            tiered_size_ratio_percent: 20,
            fifo_max_bytes: u64::MAX,
        }
    }
}

/// What is to be done with a task's inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// Read them all and write what survives into the output level; see [`crate::compact`].
    Merge,
    /// Put them into the output level as they are.
    Move,
    /// Forget them.
    Drop,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The files and the levels they are in, top down; within level 0 the newest first, below by
    /// key.
    pub inputs: Vec<(usize, Arc<FileMeta>)>,
    /// Where the outputs go. For [`TaskKind::Drop`] the level of the inputs.
    pub output_level: usize,
    /// What to do.
    pub kind: TaskKind,
    /// Why, for logs and metrics.
    pub reason: &'static str,
}

impl Task {
    /// The total length of the inputs, in bytes.
    pub fn input_bytes(&self) -> u64 {
        self.inputs.iter().map(|(_, file)| file.len).sum()
    }

    /// The inputs' numbers; what the engine adds to the busy set.
    pub fn input_numbers(&self) -> impl Iterator<Item = FileNumber> {
        self.inputs.iter().map(|(_, file)| file.number)
    }
}

impl<'a> Picture<'a> {
    /// The files of a level; none for a level that does not exist.
    fn level(&self, level: usize) -> &'a [Arc<FileMeta>] {
        self.levels.get(level).map_or(&[], Vec::as_slice)
    }

    fn is_busy(&self, file: &FileMeta) -> bool {
        self.busy.contains(&file.number)
    }

    fn any_busy<'f>(&self, files: impl IntoIterator<Item = &'f Arc<FileMeta>>) -> bool {
        files.into_iter().any(|file| self.is_busy(file))
    }

    /// The files of a level below 0 that meet the user keys from `low` to `high`.
    fn overlapping(&self, level: usize, low: &[u8], high: &[u8]) -> &'a [Arc<FileMeta>] {
        let files = self.level(level);
        let start = files.partition_point(|file| file.largest_user_key() < low);
        let end = files.partition_point(|file| file.smallest_user_key() <= high);
        let missed = end > start && esker_base::mutant!("compact_overlap_missed");
        let end = end - usize::from(missed);
        &files[start..end.max(start)]
    }
}

fn bytes_of<'f>(files: impl IntoIterator<Item = &'f Arc<FileMeta>>) -> u64 {
    files.into_iter().map(|file| file.len).sum()
}

/// The lowest and the highest user key of some files; `None` if there are none.
fn bounds_of<'f>(
    files: impl IntoIterator<Item = &'f Arc<FileMeta>>,
) -> Option<(&'f [u8], &'f [u8])> {
    files.into_iter().fold(None, |bounds, file| {
        let (low, high) = (file.smallest_user_key(), file.largest_user_key());
        Some(bounds.map_or((low, high), |(l, h): (&[u8], &[u8])| (l.min(low), h.max(high))))
    })
}

fn at_level(level: usize, files: &[Arc<FileMeta>]) -> impl Iterator<Item = (usize, Arc<FileMeta>)> {
    files.iter().map(move |file| (level, file.clone()))
}
