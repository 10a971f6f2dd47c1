//! Log segments that nothing needs any more, kept so that the next one can be made of their files.
//!
//! The clean-up step hands over what it would remove: the edit that dropped it is durable then, and no checkpoint and no
//! verification is under way that could still read it (I6). Only segments that this open has made are kept, of the usual
//! size, with no second name anywhere. They wait under a temporary name, so that a repair, which looks for log segments by
//! name, does not take them for a part of the log; the next open removes what a crash leaves of them.

use std::collections::BTreeSet;

use esker_base::FileNumber;
use esker_base::names::FileKind;
use esker_wal::retired_name;

use crate::core::Core;
use crate::sync::Mutex;

/// Segments that are kept for reuse: a flushed memtable retires as many at a time, and those of the next are made of them.
const RETIRED_MAX: usize = 8;

/// Nothing is kept while the disk has less free space than so many segments.
const FREE_SEGMENTS_MIN: u64 = 16;

/// What is kept. A leaf lock, but for renames under it.
#[derive(Debug, Default)]
pub(crate) struct Retired(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Segments of the usual size that this open made and that are not retired.
    made: BTreeSet<FileNumber>,
    /// Ready for reuse.
    kept: Vec<FileNumber>,
}

impl Retired {
    /// Notes a segment of the usual size.
    pub(crate) fn made(&self, number: FileNumber) {
        self.0.lock().made.insert(number);
    }

    /// A file to make a segment of.
    pub(crate) fn take(&self) -> Option<FileNumber> {
        self.0.lock().kept.pop()
    }

    /// How many are kept.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().kept.len()
    }
}

impl Core {
    /// Keeps what can be used again of files that are about to be removed, and returns the rest; all of them, and what
    /// was kept before, where the database closes or space is short.
    pub(crate) fn keep_retired(
        &self,
        mut buried: Vec<(FileKind, FileNumber)>,
    ) -> Vec<(FileKind, FileNumber)> {
        let is_wal = |(kind, _): &&(FileKind, FileNumber)| *kind == FileKind::Wal;
        let changes = buried.iter().any(|file| is_wal(&file)) || self.retired.len() > 0;
        if changes && self.has_space_to_keep() {
            buried.retain(|&(kind, number)| kind != FileKind::Wal || !self.keep(number));
        } else if changes {
            self.forget_retired();
        }
        buried
    }

    /// Removes what is kept; whether there was anything.
    pub(crate) fn forget_retired(&self) -> bool {
        let kept = std::mem::take(&mut self.retired.0.lock().kept);
        for number in &kept {
            if self.world.fs.remove_file(&self.dir.join(retired_name(*number))).is_err() {
                self.metrics.background_errors.add(1);
            }
        }
        !kept.is_empty()
    }

    fn has_space_to_keep(&self) -> bool {
        let least = FREE_SEGMENTS_MIN * self.options.segment_bytes();
        self.health.check_open().is_ok()
            && self.world.fs.free_space(&self.dir).is_ok_and(|free| free >= least)
    }

    /// Whether the file of a retired segment was kept.
    fn keep(&self, number: FileNumber) -> bool {
        let path = self.dir.join(FileKind::Wal.name(number));
        let is_alone = self
            .world
            .fs
            .metadata(&path)
            .is_ok_and(|found| found.len == self.options.segment_bytes() && found.links == 1);
        let mut state = self.retired.0.lock();
        let may_keep = state.made.remove(&number) && is_alone && state.kept.len() < RETIRED_MAX;
        let name = self.dir.join(retired_name(number));
        let keeps = may_keep && self.world.fs.rename(&path, &name).is_ok();
        if keeps {
            state.kept.push(number);
        }
        keeps
    }
}
