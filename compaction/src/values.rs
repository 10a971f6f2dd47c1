//! Large values in a merge: what goes to a value file, what is copied out of one, and which ones are worth it.
//!
//! [`crate::build`] hands every entry that stays to `Values::place`. A large value becomes a pointer; a pointer into a
//! value file that is mostly garbage becomes one into a new file, under the same key and sequence number; any other entry
//! stays as it is. The engine asks [`worst`] for the files to empty, and [`pick`] for a merge that does it when no other
//! merge comes by. Nothing here counts what is live: that is summed up from the picture each time.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use esker_base::names::FileKind;
use esker_base::{EntryKind, Error, FileId, FileNumber, InternalKey, Result, mutant};
use esker_manifest::{FileMeta, KeyspaceState, ValueFileMeta};
use esker_sstable::{
    Compression, Identity, ReadMode, ValuePointer, ValueReader, ValueSummary, ValueWriter,
};
use esker_vfs::{File, Fs};

use crate::strategy::{Task, TaskKind};

/// Once garbage exceeds this share of what is live, in percent, a merge is picked to remove it.
pub const GARBAGE_PERCENT_MAX: u64 = 50;
/// Merges that are done anyway remove garbage beyond this share of what is live, in percent: they rewrite the pointers in
/// any case, so waiting until the bound would save nothing.
pub const GARBAGE_PERCENT_RIDE: u64 = 30;
/// A value file with less garbage than this share of itself, in percent, is left alone: copying it frees too little.
const GARBAGE_PERCENT_MIN: u64 = 20;

/// What becomes of large values; the part of [`crate::BuildContext`] that is about them.
#[derive(Clone, Debug)]
pub struct ValuePolicy {
    /// Values of at least this many bytes go to a value file; 0 for none.
    pub large_value_bytes: u32,
    /// How they are compressed.
    pub compression: Compression,
    /// A value file is cut at this many bytes.
    pub target_file_bytes: u64,
    /// Value files out of which every value that stays is copied.
    pub emptied: BTreeMap<FileNumber, Arc<ValueFileMeta>>,
}

impl ValuePolicy {
    /// Nothing is separated and nothing copied.
    pub fn none() -> ValuePolicy {
        ValuePolicy {
            large_value_bytes: 0,
            compression: Compression::None,
            target_file_bytes: u64::MAX,
            emptied: BTreeMap::new(),
        }
    }
}

/// What the manifest is to know of a value file that was written.
pub fn value_file_meta(summary: ValueSummary) -> ValueFileMeta {
    let Identity { number, file_id, len, checksum } = summary.identity;
    let ValueSummary { record_count, record_bytes, .. } = summary;
    ValueFileMeta { number, file_id, len, checksum, record_count, record_bytes }
}

/// What a reader is to expect of a value file.
pub fn value_identity(meta: &ValueFileMeta) -> Identity {
    Identity { number: meta.number, file_id: meta.file_id, len: meta.len, checksum: meta.checksum }
}

/// The large values of one merge on their way.
pub(crate) struct Values {
    policy: ValuePolicy,
    writer: Option<ValueWriter>,
    finished: Vec<ValueFileMeta>,
    /// The files that values are copied out of, opened when the first one comes.
    sources: BTreeMap<FileNumber, (ValueReader, Arc<dyn File>)>,
    key: Vec<u8>,
    pointer: Vec<u8>,
    /// Where the value before was put.
    last: Option<ValuePointer>,
}

/// Where files are made.
pub(crate) struct Place<'a> {
    pub fs: &'a Arc<dyn Fs>,
    pub dir: &'a Path,
    pub next_file: &'a mut dyn FnMut() -> Result<(FileNumber, FileId)>,
}

impl Values {
    pub(crate) fn new(policy: ValuePolicy) -> Values {
        Values {
            policy,
            writer: None,
            finished: Vec::new(),
            sources: BTreeMap::new(),
            key: Vec::new(),
            pointer: Vec::new(),
            last: None,
        }
    }

    /// The entry as the sstable is to have it.
    pub(crate) fn place<'v>(
        &'v mut self,
        internal_key: &'v [u8],
        value: &'v [u8],
        place: &mut Place<'_>,
    ) -> Result<(&'v [u8], &'v [u8])> {
        let least = self.policy.large_value_bytes as usize;
        let is_large = least > 0 && value.len() >= least;
        if !is_large && self.policy.emptied.is_empty() {
            return Ok((internal_key, value));
        }
        let Some(entry) = InternalKey::decode(internal_key) else {
            return Ok((internal_key, value));
        };
        let mut seq = entry.seq;
        let pointer = match entry.kind {
            EntryKind::Put if is_large => {
                let mut writer = self.writer(place)?;
                let added = writer.add(value);
                self.writer = Some(writer);
                added?
            }
            EntryKind::ValuePointer => {
                let Some(old) = ValuePointer::decode(value) else {
                    return Err(Error::invalid("an entry's value pointer is malformed"));
                };
                let Some(meta) = self.policy.emptied.get(&old.file).cloned() else {
                    return Ok((internal_key, value));
                };
                if mutant!("values_relocated_as_new") {
                    seq.0 += 50;
                }
                self.copy(&meta, &old, place)?
            }
            _ => return Ok((internal_key, value)),
        };
        let before = self.last.replace(pointer);
        let pointer = match before {
            Some(before) if mutant!("values_pointer_misled") => before,
            _ => pointer,
        };
        self.cut_if_full()?;
        self.key.clear();
        InternalKey { seq, kind: EntryKind::ValuePointer, ..entry }.encode_into(&mut self.key);
        self.pointer.clear();
        pointer.encode_into(&mut self.pointer);
        Ok((&self.key, &self.pointer))
    }

    /// Whether the entry would be copied out of a value file.
    pub(crate) fn empties(&self, internal_key: &[u8], value: &[u8]) -> bool {
        let entry = InternalKey::decode(internal_key);
        entry.is_some_and(|entry| entry.kind == EntryKind::ValuePointer)
            && ValuePointer::decode(value)
                .is_some_and(|pointer| self.policy.emptied.contains_key(&pointer.file))
    }

    fn copy(
        &mut self,
        meta: &ValueFileMeta,
        old: &ValuePointer,
        place: &mut Place<'_>,
    ) -> Result<ValuePointer> {
        let mut writer = self.writer(place)?;
        let (reader, file) = match self.sources.entry(old.file) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => {
                // By positions: an unreadable sector is then an error of the merge.
                let (fs, mode) = (place.fs, ReadMode::Positioned);
                let reader = ValueReader::open(fs, place.dir, &value_identity(meta), mode)?;
                let file = reader.file()?;
                free.insert((reader, file))
            }
        };
        let copied = reader.copy(&**file, old, &mut writer);
        self.writer = Some(writer);
        copied
    }

    /// The value file under construction, taken out; a new one if there is none.
    fn writer(&mut self, place: &mut Place<'_>) -> Result<ValueWriter> {
        if let Some(writer) = self.writer.take() {
            return Ok(writer);
        }
        let (number, file_id) = (place.next_file)()?;
        let (fs, compression) = (Arc::clone(place.fs), self.policy.compression);
        ValueWriter::create(fs, place.dir, number, file_id, compression)
    }

    fn cut_if_full(&mut self) -> Result<()> {
        let is_full =
            |writer: &ValueWriter| writer.written_bytes() >= self.policy.target_file_bytes;
        if self.writer.as_ref().is_some_and(is_full) { self.finish() } else { Ok(()) }
    }

    /// Completes the value file under construction.
    pub(crate) fn finish(&mut self) -> Result<()> {
        if let Some(writer) = self.writer.take() {
            self.finished.push(value_file_meta(writer.finish()?));
        }
        Ok(())
    }

    /// What was written.
    pub(crate) fn take(&mut self) -> Vec<ValueFileMeta> {
        std::mem::take(&mut self.finished)
    }

    /// Takes back what was written. What cannot be removed is an orphan that the next open removes.
    pub(crate) fn remove(&mut self, fs: &dyn Fs, dir: &Path) {
        self.writer = None;
        for file in self.finished.drain(..) {
            let _ = fs.remove_file(&dir.join(FileKind::Values.name(file.number)));
        }
    }
}

/// How full the value files of a keyspace are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ValueUsage {
    /// Bytes of records that sstables point to.
    pub live_bytes: u64,
    /// Bytes of all other records.
    pub garbage_bytes: u64,
}

impl ValueUsage {
    /// Over all value files of `state`.
    pub fn of(state: &KeyspaceState) -> ValueUsage {
        let total: u64 = state.value_files.values().map(|file| file.record_bytes).sum();
        let live: u64 = state.live_values().values().map(|reference| reference.bytes).sum();
        ValueUsage { live_bytes: live, garbage_bytes: total.saturating_sub(live) }
    }

    /// Whether there is more garbage than `percent` of what is live, and more than `floor` bytes.
    pub fn exceeds(&self, percent: u64, floor: u64) -> bool {
        self.garbage_bytes > floor && over(self.garbage_bytes, self.live_bytes, percent)
    }
}

fn over(part: u64, whole: u64, percent: u64) -> bool {
    u128::from(part) * 100 > u128::from(whole) * u128::from(percent)
}

/// The value files to empty: those with the largest share of garbage, as many as it takes until the garbage in all others
/// is at most `percent` of what is live. None if it is already, or is at most `floor` bytes.
pub fn worst(
    state: &KeyspaceState,
    percent: u64,
    floor: u64,
) -> BTreeMap<FileNumber, Arc<ValueFileMeta>> {
    let mut emptied = BTreeMap::new();
    let usage = ValueUsage::of(state);
    if !usage.exceeds(percent, floor) {
        return emptied;
    }
    let live = state.live_values();
    let mut files: Vec<_> = state
        .value_files
        .values()
        .map(|file| {
            let live = live.get(&file.number).map_or(0, |reference| reference.bytes);
            let garbage = file.record_bytes.saturating_sub(live);
            let share = u128::from(garbage) * 10_000 / u128::from(file.record_bytes.max(1));
            (std::cmp::Reverse(share), garbage, file)
        })
        .collect();
    files.sort_by_key(|&(share, _, file)| (share, file.number));
    let mut left = usage.garbage_bytes;
    for (_, garbage, file) in files {
        if !over(left, usage.live_bytes, percent)
            || !over(garbage, file.record_bytes, GARBAGE_PERCENT_MIN)
        {
            break;
        }
        left = left.saturating_sub(garbage);
        emptied.insert(file.number, Arc::clone(file));
    }
    emptied
}

/// A merge that empties some of `emptied`: the sstable that points to most of their bytes, written anew where it is.
/// `None` if no sstable points into them.
pub fn pick(
    levels: &[Vec<Arc<FileMeta>>],
    busy: &BTreeSet<FileNumber>,
    emptied: &BTreeMap<FileNumber, Arc<ValueFileMeta>>,
) -> Option<Task> {
    let bytes_in = |file: &FileMeta| -> u64 {
        let pointed = file.values.iter().filter(|r| emptied.contains_key(&r.file));
        pointed.map(|reference| reference.bytes).sum()
    };
    let files = levels
        .iter()
        .enumerate()
        .flat_map(|(level, files)| files.iter().map(move |file| (level, file)))
        .filter(|(_, file)| !busy.contains(&file.number));
    let (bytes, level, file) = files
        .map(|(level, file)| (bytes_in(file), level, file))
        .max_by_key(|&(bytes, level, file)| (bytes, level, std::cmp::Reverse(file.number)))?;
    (bytes > 0).then(|| Task {
        inputs: vec![(level, Arc::clone(file))],
        output_level: level,
        kind: TaskKind::Merge,
        reason: "value files hold too much garbage",
    })
}

#[cfg(test)]
mod tests;
