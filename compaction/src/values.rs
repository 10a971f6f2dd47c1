//! Large values in a merge: what goes to a value file, what is copied out of one, and which ones are worth it.
//!
//! [`crate::build`] hands every entry that stays to `Values::place`. A large value becomes a pointer; a pointer into a
//! value file that is mostly garbage becomes one into a new file, under the same key and sequence number; any other entry
//! stays as it is. The engine asks [`worst`] and [`small`] for the files to empty, and [`pick`] for a merge that does it when
//! no other merge comes by. Nothing here counts what is live: that is summed up from the picture each time.
//!
//! A value that cannot be read stays where it is, and the entry keeps its pointer: readers go on being told of the damage,
//! no older version comes back, and the merge goes on. The engine hears of it and leaves that file alone from then on. What
//! says nothing of the file, such as too many open files, fails the merge, which is tried again.
//!
//! A merge copies a bounded number of bytes, because level 0 waits behind it and its outputs need space; what is left stays
//! in the files to empty, and the next merge goes on with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use esker_base::names::FileKind;
use esker_base::{
    EntryKind, Error, ErrorKind, FileId, FileNumber, InternalKey, Result, ValueReferences, mutant,
};
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
/// Above this share such a merge goes before others: what is to be removed is more than what is kept.
pub const GARBAGE_PERCENT_URGENT: u64 = 100;
/// A value file with less garbage than this share of itself, in percent, is left alone: copying it frees too little.
const GARBAGE_PERCENT_MIN: u64 = 20;
/// A value file below this part of the length at which one is cut is small.
const SMALL_PART: u64 = 16;
/// So many small value files are joined, not fewer: each copy then at least quadruples the file that a value is in, and
/// it is not copied often until that is not small any more.
const SMALL_COUNT: usize = 4;
/// A merge copies values of so many times the length at which a value file is cut; one into which level 0 goes copies
/// once that, because writers wait for it. Small files that it joins come on top.
pub const COPY_FILES_MAX: u64 = 4;
/// The most files that values are copied out of at once; others are opened again when they are needed.
const SOURCES_MAX: usize = 64;

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
    /// After so many bytes nothing more is copied out of them. The value that reaches it is copied still, so that each merge
    /// moves something.
    pub copy_bytes_max: u64,
}

impl ValuePolicy {
    /// Nothing is separated and nothing copied.
    pub fn none() -> ValuePolicy {
        ValuePolicy {
            large_value_bytes: 0,
            compression: Compression::None,
            target_file_bytes: u64::MAX,
            emptied: BTreeMap::new(),
            copy_bytes_max: 0,
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

/// A value file that values are copied out of.
type Source = (ValueReader, Arc<dyn File>);

/// The large values of one merge on their way.
pub(crate) struct Values {
    policy: ValuePolicy,
    writer: Option<ValueWriter>,
    finished: Vec<ValueFileMeta>,
    /// The files that values are copied out of, opened when the first one comes; never more than [`SOURCES_MAX`].
    sources: BTreeMap<FileNumber, Source>,
    /// Those that cannot be opened because they are damaged.
    closed: BTreeSet<FileNumber>,
    /// Bytes that were copied, or that could not be read.
    copied_bytes: u64,
    /// The first thing that was wrong with each file of which a value cannot be read.
    damaged: BTreeMap<FileNumber, Error>,
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
            closed: BTreeSet::new(),
            copied_bytes: 0,
            damaged: BTreeMap::new(),
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
                let emptied = match self.copied_bytes < self.policy.copy_bytes_max {
                    true => self.policy.emptied.get(&old.file).cloned(),
                    false => None,
                };
                let Some(meta) = emptied else { return Ok((internal_key, value)) };
                if mutant!("values_relocated_as_new") {
                    seq.0 += 50;
                }
                match self.copy(&meta, &old, place)? {
                    Some(copied) => copied,
                    None => return Ok((internal_key, value)),
                }
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

    /// Bytes that were copied so far, or could not be read.
    pub(crate) fn copied_bytes(&self) -> u64 {
        self.copied_bytes
    }

    /// Copies a value; `None` if it cannot be read, now and for good.
    fn copy(
        &mut self,
        meta: &ValueFileMeta,
        old: &ValuePointer,
        place: &mut Place<'_>,
    ) -> Result<Option<ValuePointer>> {
        if self.closed.contains(&old.file) {
            return Ok(None);
        }
        if !self.sources.contains_key(&old.file) {
            if self.sources.len() >= SOURCES_MAX {
                self.sources.clear();
            }
            // A device may fail once.
            let opened = open_source(meta, place).or_else(|error| match may_pass(&error) {
                true => open_source(meta, place),
                false => Err(error),
            });
            match opened {
                Ok(source) => drop(self.sources.insert(old.file, source)),
                Err(error) => {
                    self.closed.insert(old.file);
                    return self.damage(old, error);
                }
            }
        }
        let mut writer = self.writer(place)?;
        let (reader, file) = self.sources.get(&old.file).expect("invariant: it was opened above");
        let mut copied = reader.copy(&**file, old, &mut writer);
        if matches!(&copied, Ok(Err(error)) if may_pass(error)) {
            copied = reader.copy(&**file, old, &mut writer);
        }
        self.writer = Some(writer);
        self.copied_bytes = self.copied_bytes.saturating_add(u64::from(old.record_len));
        match copied? {
            Ok(copied) => Ok(Some(copied)),
            Err(error) => self.damage(old, error),
        }
    }

    /// Notes what is wrong with the file that `old` points into, unless the error says nothing of it.
    fn damage(&mut self, old: &ValuePointer, error: Error) -> Result<Option<ValuePointer>> {
        if !error.is_unreadable() && error.kind() != ErrorKind::Unsupported {
            return Err(error);
        }
        self.damaged.entry(old.file).or_insert(error);
        Ok(None)
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
        // Nothing is in it if the one value that was to be copied cannot be read.
        if let Some(writer) = self.writer.take().filter(|writer| writer.written_bytes() > 0) {
            self.finished.push(value_file_meta(writer.finish()?));
        }
        Ok(())
    }

    /// The files of which a value cannot be read, and what is wrong.
    pub(crate) fn take_damaged(&mut self) -> Vec<(FileNumber, Error)> {
        std::mem::take(&mut self.damaged).into_iter().collect()
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

/// Whether the device has failed, which may be once only.
fn may_pass(error: &Error) -> bool {
    error.is_unreadable() && error.kind() == ErrorKind::Io
}

/// Opens a value file to copy out of it, by positions: an unreadable sector is then an error of that read.
fn open_source(meta: &ValueFileMeta, place: &Place<'_>) -> Result<Source> {
    let identity = value_identity(meta);
    let reader = ValueReader::open(place.fs, place.dir, &identity, ReadMode::Positioned)?;
    let file = reader.file()?;
    Ok((reader, file))
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
        ValueUsage::without(state, &BTreeSet::new())
    }

    /// Over all value files of `state` but those that are `damaged`, which no merge can empty.
    pub fn without(state: &KeyspaceState, damaged: &BTreeSet<FileNumber>) -> ValueUsage {
        let files = state.value_files.values().filter(|file| !damaged.contains(&file.number));
        let total: u64 = files.map(|file| file.record_bytes).sum();
        let live = state.live_values();
        let live = live.values().filter(|reference| !damaged.contains(&reference.file));
        let live: u64 = live.map(|reference| reference.bytes).sum();
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
/// is at most `percent` of what is live. None if it is already, or is at most `floor` bytes. The `damaged` ones are left out.
pub fn worst(
    state: &KeyspaceState,
    percent: u64,
    floor: u64,
    damaged: &BTreeSet<FileNumber>,
) -> BTreeMap<FileNumber, Arc<ValueFileMeta>> {
    let mut emptied = BTreeMap::new();
    let usage = ValueUsage::without(state, damaged);
    if !usage.exceeds(percent, floor) {
        return emptied;
    }
    let live = state.live_values();
    let mut files: Vec<_> = state
        .value_files
        .values()
        .filter(|file| !damaged.contains(&file.number))
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

/// The small value files that the merge `task` joins: those into which nothing points but its inputs, so that it empties
/// them for good; none if they are fewer than a few. A value file is cut at `target_file_bytes`. The `damaged` ones
/// are left out.
pub fn small(
    state: &KeyspaceState,
    task: &Task,
    target_file_bytes: u64,
    damaged: &BTreeSet<FileNumber>,
) -> BTreeMap<FileNumber, Arc<ValueFileMeta>> {
    let mut inputs = ValueReferences::default();
    for reference in task.inputs.iter().flat_map(|(_, file)| &file.values) {
        inputs.add(reference.file, reference.entries, reference.bytes);
    }
    let live = state.live_values();
    let joined = inputs.list().into_iter().filter_map(|held| {
        let file = state.value_files.get(&held.file)?;
        let is_small = file.record_bytes < target_file_bytes / SMALL_PART;
        let is_all = live.get(&held.file) == Some(&held);
        let joins = is_small && is_all && !damaged.contains(&held.file);
        joins.then(|| (held.file, Arc::clone(file)))
    });
    let joined: BTreeMap<_, _> = joined.collect();
    if joined.len() < SMALL_COUNT { BTreeMap::new() } else { joined }
}

/// The value files that the merge `task` copies out of, and how many bytes of them it copies at most: the [`small`] ones and
/// the [`worst`], or the small ones alone where writers wait for it, so that these go for good.
pub fn to_empty(
    state: &KeyspaceState,
    task: &Task,
    (percent, floor): (u64, u64),
    target_file_bytes: u64,
    damaged: &BTreeSet<FileNumber>,
) -> (BTreeMap<FileNumber, Arc<ValueFileMeta>>, u64) {
    let joined = small(state, task, target_file_bytes, damaged);
    let joined_bytes = joined.values().map(|file| file.record_bytes).sum();
    let is_waited_for = task.inputs.iter().any(|(level, _)| *level == 0);
    if is_waited_for && !joined.is_empty() {
        return (joined, joined_bytes);
    }
    let mut emptied = worst(state, percent, floor, damaged);
    emptied.extend(joined);
    let files = if is_waited_for { 1 } else { COPY_FILES_MAX };
    (emptied, target_file_bytes.saturating_mul(files).saturating_add(joined_bytes))
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
