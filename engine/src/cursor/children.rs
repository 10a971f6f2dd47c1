//! The cursors that a range merges: one a memtable, one a file of level 0, one a deeper level.
//!
//! Made by `visible.rs`. What cannot hold a key of the range is no child: an empty memtable, a file outside of the
//! bounds.

use std::ops::Bound;
use std::sync::Arc;

use esker_base::cursor::Cursor;
use esker_base::{Result, key};
use esker_memtable::MemtableCursor;
use esker_sstable::{LevelCursor, Run};

use super::Bounds;
use super::apart::Apart;
use crate::view::{Levels, Sstable, View};

/// One sorted source of a range.
// A handful live, in one vector: a box for each would cost more than the room.
#[allow(clippy::large_enum_variant)]
pub(super) enum Child {
    Memtable(MemtableCursor),
    Files(LevelCursor<Files>),
    Apart(Apart),
}

/// Some files of one level, found in the picture of all: none is counted one by one.
pub(super) struct Files {
    levels: Arc<Levels>,
    level: usize,
    from: usize,
    to: usize,
}

impl Run for Files {
    type File = Arc<Sstable>;

    #[inline]
    fn files(&self) -> &[Arc<Sstable>] {
        &self.levels.0[self.level][self.from..self.to]
    }
}

/// The children of a range, newest first.
pub(super) fn children(view: &View, bounds: &Bounds) -> Vec<Child> {
    let level0_len = view.levels.0.first().map_or(0, Vec::len);
    let len_max = 1 + view.frozen.len() + level0_len + view.levels.0.len();
    let mut children = Vec::with_capacity(len_max);
    for memtable in std::iter::once(&view.active).chain(&view.frozen) {
        if !memtable.is_empty() {
            children.push(Child::Memtable(memtable.cursor()));
        }
    }
    let mut add = |level: usize, from: usize, to: usize| {
        let files = Files { levels: Arc::clone(&view.levels), level, from, to };
        let files = LevelCursor::new(files, true);
        children.push(match view.levels.values().all() {
            [] => Child::Files(files),
            _ => Child::Apart(Apart::new(files, Arc::clone(&view.levels))),
        });
    };
    for (level, files) in view.levels.0.iter().enumerate() {
        let may_hold = |file: &Arc<Sstable>| !is_before(file, bounds) && !is_behind(file, bounds);
        if level == 0 {
            (0..files.len()).filter(|&at| may_hold(&files[at])).for_each(|at| add(0, at, at + 1));
        } else {
            let from = files.partition_point(|file| is_before(file, bounds));
            let to = files.partition_point(|file| !is_behind(file, bounds));
            if from < to {
                add(level, from, to);
            }
        }
    }
    children
}

/// Whether all keys of `file` are below the bounds.
fn is_before(file: &Sstable, bounds: &Bounds) -> bool {
    let largest = key::user_key(&file.meta.largest);
    match &bounds.start {
        Bound::Included(start) => largest < &start[..],
        Bound::Excluded(start) => largest <= &start[..],
        Bound::Unbounded => false,
    }
}

/// Whether all keys of `file` are above the bounds.
fn is_behind(file: &Sstable, bounds: &Bounds) -> bool {
    !bounds.ends_after(key::user_key(&file.meta.smallest))
}

/// Calls a method of whichever cursor it is.
macro_rules! each {
    ($self:expr, $cursor:ident => $call:expr) => {
        match $self {
            Child::Memtable($cursor) => $call,
            Child::Files($cursor) => $call,
            Child::Apart($cursor) => $call,
        }
    };
}

impl Cursor for Child {
    #[inline]
    fn valid(&self) -> bool {
        each!(self, cursor => cursor.valid())
    }

    fn seek_to_first(&mut self) -> Result<()> {
        each!(self, cursor => cursor.seek_to_first())
    }

    fn seek_to_last(&mut self) -> Result<()> {
        each!(self, cursor => cursor.seek_to_last())
    }

    fn seek(&mut self, target: &[u8]) -> Result<()> {
        each!(self, cursor => cursor.seek(target))
    }

    fn announce_seek(&mut self, target: &[u8]) {
        each!(self, cursor => cursor.announce_seek(target));
    }

    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        each!(self, cursor => cursor.seek_for_prev(target))
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        each!(self, cursor => cursor.next())
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        each!(self, cursor => cursor.prev())
    }

    #[inline]
    fn key(&self) -> &[u8] {
        each!(self, cursor => cursor.key())
    }

    #[inline]
    fn value(&self) -> &[u8] {
        each!(self, cursor => cursor.value())
    }
}
