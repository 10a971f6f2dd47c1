//! The value files of a keyspace as readers see them: handles that keep a file on disk as long as anybody may read from
//! it, and the one place where a pointer becomes a value.
//!
//! `view.rs` keeps one set for each view, so a reader finds every file that the sstables of its view point into, whatever
//! was emptied meanwhile.

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
}

impl ValueFile {
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
pub(crate) struct ValueFiles(pub(crate) Vec<Arc<ValueFile>>);

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
            }),
        };
        ValueFiles(state.value_files.values().map(open).collect())
    }

    /// Marks files for removal once their last handles are gone. Only after the edit that drops them is durable.
    pub(crate) fn retire(&self, is_gone: impl Fn(FileNumber) -> bool) {
        for file in self.0.iter().filter(|file| is_gone(file.meta.number)) {
            file.set_obsolete();
        }
    }

    pub(crate) fn find(&self, number: FileNumber) -> Option<&Arc<ValueFile>> {
        let at = self.0.binary_search_by_key(&number, |file| file.meta.number).ok()?;
        self.0.get(at)
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
}
