//! The value files of a keyspace as readers see them: handles that keep a file on disk as long as anybody may read from
//! it, and the one place where a pointer becomes a value.
//!
//! `view.rs` keeps one set for each view, so a reader finds every file that the sstables of its view point into, whatever
//! was emptied meanwhile.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use esker_base::names::FileKind;
use esker_base::{Error, FileNumber, Result, mutant};
use esker_compaction::value_identity;
use esker_manifest::{KeyspaceState, ValueFileMeta};
use esker_sstable::{ValuePointer, ValueReader};

use crate::sync::{AtomicBool, OnceLock};
use crate::view::Files;

/// A handle on one value file. Opened on first use; removed from disk when it is obsolete and the last handle is gone.
#[derive(Debug)]
pub(crate) struct ValueFile {
    pub(crate) meta: Arc<ValueFileMeta>,
    files: Arc<Files>,
    reader: OnceLock<ValueReader>,
    obsolete: AtomicBool,
    damaged: AtomicBool,
}

impl ValueFile {
    /// Whether a merge has met a value of it that cannot be read, and scrubbing has not read it through since.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    /// Notes that it holds a value that cannot be read; whether that is news.
    pub(crate) fn set_damaged(&self) -> bool {
        !self.damaged.swap(true, Ordering::AcqRel)
    }

    /// Notes that all of it was read without an error.
    pub(crate) fn clear_damaged(&self) {
        self.damaged.store(false, Ordering::Release);
    }

    /// The open file. A failure is not remembered: the next call tries again.
    pub(crate) fn reader(&self) -> Result<&ValueReader> {
        if let Some(reader) = self.reader.get() {
            return Ok(reader);
        }
        let Files { fs, dir, mode, .. } = &*self.files;
        let reader = ValueReader::open(fs, dir, &value_identity(&self.meta), *mode)?;
        Ok(self.reader.get_or_init(|| reader))
    }

    /// Whether the file is to be removed once the last handle is dropped.
    pub(crate) fn is_obsolete(&self) -> bool {
        self.obsolete.load(Ordering::Acquire)
    }

    fn set_obsolete(&self) {
        self.obsolete.store(true, Ordering::Release);
        if mutant!("values_removed_under_readers") {
            self.files.graveyard.lock().push((FileKind::Values, self.meta.number));
        }
    }
}

impl Drop for ValueFile {
    fn drop(&mut self) {
        if *self.obsolete.get_mut() && !mutant!("values_removed_under_readers") {
            self.files.graveyard.lock().push((FileKind::Values, self.meta.number));
        }
    }
}

/// The value files that the sstables of one view point into, ascending by number.
#[derive(Debug, Default)]
pub(crate) struct ValueFiles {
    /// Their numbers, side by side for the search.
    numbers: Vec<FileNumber>,
    files: Vec<Arc<ValueFile>>,
}

impl ValueFiles {
    /// The value files of `state`, with the handles of `before` where a file stays. Those of `before` that `state` does
    /// not name any more are marked for removal, so the edit that made `state` must be durable.
    pub(crate) fn next(
        before: &ValueFiles,
        state: &KeyspaceState,
        files: &Arc<Files>,
    ) -> ValueFiles {
        before.retire(|number| !state.value_files.contains_key(&number));
        let open = |meta: &Arc<ValueFileMeta>| match before.find(meta.number) {
            Some(known) => Arc::clone(known),
            None => Arc::new(ValueFile {
                meta: Arc::clone(meta),
                files: Arc::clone(files),
                reader: OnceLock::new(),
                obsolete: AtomicBool::new(false),
                damaged: AtomicBool::new(false),
            }),
        };
        ValueFiles {
            numbers: state.value_files.keys().copied().collect(),
            files: state.value_files.values().map(open).collect(),
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Arc<ValueFile>] {
        &self.files
    }

    /// Those of which a merge has met a value that cannot be read.
    pub(crate) fn damaged(&self) -> BTreeSet<FileNumber> {
        let damaged = self.files.iter().filter(|file| file.is_damaged());
        damaged.map(|file| file.meta.number).collect()
    }

    /// Marks files for removal once their last handles are gone. Only after the edit that drops them is durable.
    pub(crate) fn retire(&self, is_gone: impl Fn(FileNumber) -> bool) {
        for file in self.files.iter().filter(|file| is_gone(file.meta.number)) {
            file.set_obsolete();
        }
    }

    pub(crate) fn find(&self, number: FileNumber) -> Option<&Arc<ValueFile>> {
        let at = self.numbers.binary_search(&number).ok()?;
        self.files.get(at)
    }

    /// The pointer in an entry and the file that it leads to.
    fn follow(&self, entry: &[u8]) -> Result<(ValuePointer, &ValueReader)> {
        // Readers of sstables check each pointer that they hand out.
        let pointer = ValuePointer::decode(entry)
            .expect("invariant: cursors and readers hand out well-formed pointers");
        match self.find(pointer.file) {
            Some(file) => Ok((pointer, file.reader()?)),
            None => {
                let name = FileKind::Values.name(pointer.file);
                let message = "an entry points into a value file that the manifest does not name";
                Err(Error::corruption(name, pointer.offset, message))
            }
        }
    }

    /// The value that an entry of the kind value pointer means.
    pub(crate) fn get(&self, entry: &[u8]) -> Result<Bytes> {
        let (pointer, reader) = self.follow(entry)?;
        reader.get(&pointer)
    }

    /// As [`ValueFiles::get`], handing the value to `use_it` where it lies.
    pub(crate) fn get_with<T>(&self, entry: &[u8], use_it: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let (pointer, reader) = self.follow(entry)?;
        reader.get_with(&pointer, use_it)
    }

    /// Says that the value that `pointer` means is about to be read: what of it is in memory is brought near. Where it has
    /// to be expected not to be in memory, it joins `missing`.
    pub(crate) fn announce(&self, pointer: &ValuePointer, missing: &mut Missing) {
        // A file that cannot be opened is the reading's to report.
        let Some(reader) = self.find(pointer.file).and_then(|file| file.reader().ok()) else {
            return;
        };
        if reader.announce(pointer) {
            missing.add(pointer);
        }
    }

    /// Starts to fetch what is missing from memory.
    pub(crate) fn fetch(&self, missing: &mut Missing) {
        for (number, stretch) in missing.0.drain(..) {
            if let Some(reader) = self.find(number).and_then(|file| file.reader().ok()) {
                reader.fetch(stretch.start, stretch.end);
            }
        }
    }
}

/// Stretches of value files that are not in memory, most likely. Neighbors are one: values that are read in the order of
/// keys stand side by side in each file.
#[derive(Debug, Default)]
pub(crate) struct Missing(Vec<(FileNumber, Range<u64>)>);

impl Missing {
    /// Two records that are at most so many bytes apart are fetched as one.
    const GAP_MAX: u64 = 32 << 10;

    fn add(&mut self, pointer: &ValuePointer) {
        let joined = self.0.iter_mut().rev().find(|(number, stretch)| {
            *number == pointer.file
                && stretch.start <= pointer.offset
                && pointer.offset <= stretch.end.saturating_add(Missing::GAP_MAX)
        });
        match joined {
            Some((_, stretch)) => stretch.end = stretch.end.max(pointer.end()),
            None => self.0.push((pointer.file, pointer.offset..pointer.end())),
        }
    }

    /// Whether anything is missing.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its length in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.iter().map(|(_, stretch)| stretch.end - stretch.start).sum()
    }
}
