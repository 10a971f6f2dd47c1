//! Which versions of a key survive a merge, and which deletes.
//!
//! Called by [`crate::build`], entry by entry in key order. A version stays if a reader can still
//! see it:
//!
//! - the newest version at or below each snapshot (the visible sequence is one of them), and at or
//!   below the history floor;
//! - every version above the history floor, if there is one, and every version above the last
//!   snapshot: those are not visible yet.
//!
//! A delete goes if it stays for those reasons only as the oldest version that anybody sees (it is
//! at or below every snapshot and the floor), nothing deeper may hold its key, and deletes need not
//! be kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use esker_base::{
    Cursor, EntryKind, Error, ErrorKind, FileNumber, InternalKey, Result, SeqNo, mutant,
};
use esker_manifest::FileMeta;

use crate::strategy::Task;

#[cfg(test)]
mod tests;

/// What readers may still ask for. Taken under the lock that guards the snapshots, so that none can
/// appear below.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The sequence numbers of all snapshots, ascending; always holds the visible sequence too. If
    /// it is empty, everything stays.
    pub snapshots: &'a [SeqNo],
    /// The history floor: every state from here on can still be asked for.
    pub floor: Option<SeqNo>,
    /// Whether all deletes stay: an index under construction has older entries still to come.
    pub keep_tombstones: bool,
}

impl Rules<'_> {
    /// The highest sequence number at which an older version of any key cannot be asked for any
    /// more; what [`crate::Options::droppable_through`] wants. 0 if deletes must stay.
    pub fn droppable_through(&self) -> SeqNo {
        self.lowest().unwrap_or(SeqNo(0))
    }

    /// The lowest point that is read at, if deletes may go at all.
    fn lowest(&self) -> Option<SeqNo> {
        let lowest = *self.snapshots.first().filter(|_| !self.keep_tombstones)?;
        Some(self.floor.map_or(lowest, |floor| floor.min(lowest)))
    }

    /// Whether some reader sees a version at `seq` whose next newer version, if any, is at `newer`.
    fn is_visible(&self, seq: SeqNo, newer: Option<SeqNo>) -> bool {
        let Some(&last) = self.snapshots.last() else { return true };
        if seq > last || self.floor.is_some_and(|floor| seq > floor) {
            return true;
        }
        // From here on a reader sees it if it reads at or after `seq` and before `newer`.
        let Some(newer) = newer else { return true };
        let off_by_one = mutant!("compact_snapshot_off_by_one");
        let at = self.snapshots.partition_point(|&s| s < seq || off_by_one && s == seq);
        self.snapshots.get(at).is_some_and(|&snapshot| snapshot < newer)
            || self.floor.is_some_and(|floor| floor < newer)
    }
}

/// What lies under the output of a merge and may hold older versions.
#[derive(Debug)]
pub struct Below<'a> {
    /// Levels of disjoint files with the position of the first that may hold the keys to come.
    levels: Vec<(&'a [Arc<FileMeta>], usize)>,
    /// Files that overlap each other.
    loose: Vec<&'a FileMeta>,
    unknown: bool,
}

impl<'a> Below<'a> {
    /// Anything may lie below: no delete goes. Right for every flush.
    pub fn unknown() -> Below<'a> {
        Below { levels: Vec::new(), loose: Vec::new(), unknown: !mutant!("flush_drops_tombstones") }
    }

    /// What lies under `task`, given the levels as they were when it was picked.
    pub fn of_task(task: &Task, levels: &'a [Vec<Arc<FileMeta>>]) -> Below<'a> {
        let inputs: BTreeSet<FileNumber> = task.input_numbers().collect();
        // The output level itself holds none of the keys outside the inputs, unless it is level 0.
        let deeper = levels.iter().skip(task.output_level + 1);
        let mut below = Below { levels: Vec::new(), loose: Vec::new(), unknown: false };
        below.levels.extend(deeper.filter(|files| !files.is_empty()).map(|f| (f.as_slice(), 0)));
        if task.inputs.iter().any(|&(level, _)| level == 0) {
            let newest = task.inputs.iter().map(|(_, file)| file.max_seq).max();
            let others = levels.first().into_iter().flatten().map(|file| &**file);
            below.loose.extend(
                others.filter(|f| !inputs.contains(&f.number) && Some(f.min_seq) <= newest),
            );
        }
        below
    }

    /// Whether `user_key` may be there. The keys asked for must ascend.
    fn may_hold(&mut self, user_key: &[u8]) -> bool {
        let within = |file: &FileMeta| file.overlaps(user_key, user_key);
        self.unknown
            || self.loose.iter().any(|file| within(file))
            || self.levels.iter_mut().any(|(files, at)| {
                while files.get(*at).is_some_and(|file| file.largest_user_key() < user_key) {
                    *at += 1;
                }
                files.get(*at).is_some_and(|file| within(file))
            })
    }
}

/// The judge of one merge.
#[derive(Debug)]
pub struct Retain<'a> {
    rules: Rules<'a>,
    below: Below<'a>,
    lowest: Option<SeqNo>,
    /// The user key of the last entry, and its sequence number if there was one.
    user_key: Vec<u8>,
    newer: Option<SeqNo>,
    any: bool,
}

impl<'a> Retain<'a> {
    /// A judge that has seen nothing yet.
    pub fn new(rules: Rules<'a>, below: Below<'a>) -> Retain<'a> {
        let lowest = rules.lowest();
        Retain { rules, below, lowest, user_key: Vec::new(), newer: None, any: false }
    }

    /// Whether the entry stays. Entries come in the order of [`esker_base::key::compare`]; of two
    /// equal ones the second goes.
    pub fn keeps(&mut self, entry: &InternalKey<'_>) -> bool {
        let same = self.any && self.user_key == entry.user_key;
        let newer = if same { self.newer } else { None };
        if !same {
            self.user_key.clear();
            self.user_key.extend_from_slice(entry.user_key);
            self.any = true;
        }
        self.newer = Some(entry.seq);
        if newer == Some(entry.seq) || !self.rules.is_visible(entry.seq, newer) {
            return false;
        }
        let may_go = entry.kind == EntryKind::Delete
            && self.lowest.is_some_and(|lowest| entry.seq <= lowest);
        let ignored = mutant!("compact_tombstone_early") && !self.below.unknown;
        !may_go || !ignored && self.below.may_hold(entry.user_key)
    }
}

/// The entries of a cursor that stay, one at a time.
pub struct Survivors<'c, 'r, C: ?Sized> {
    cursor: &'c mut C,
    retain: Retain<'r>,
    started: bool,
}

impl<'c, 'r, C: Cursor + ?Sized> Survivors<'c, 'r, C> {
    /// Goes over `cursor` from its first entry on.
    pub fn new(cursor: &'c mut C, retain: Retain<'r>) -> Survivors<'c, 'r, C> {
        Survivors { cursor, retain, started: false }
    }

    /// Moves one entry on, whether it stays or not. `None` at the end; otherwise whether the entry
    /// that the cursor is now on stays. One step at a time, so that the caller can stop between
    /// them.
    pub fn step(&mut self) -> Result<Option<bool>> {
        if self.started {
            self.cursor.next()?;
        } else {
            self.started = true;
            self.cursor.seek_to_first()?;
        }
        if !self.cursor.valid() {
            return Ok(None);
        }
        let Some(entry) = InternalKey::decode(self.cursor.key()) else {
            return Err(Error::new(ErrorKind::Unsupported, "an entry of an unknown kind"));
        };
        Ok(Some(self.retain.keeps(&entry)))
    }

    /// The internal key of the current entry.
    pub fn key(&self) -> &[u8] {
        self.cursor.key()
    }

    /// The value of the current entry.
    pub fn value(&self) -> &[u8] {
        self.cursor.value()
    }
}
