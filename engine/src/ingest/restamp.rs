//! Writing an ingest's files once more, with a later sequence number; called by `install.rs` when commits overtook the
//! first one. Values in value files stay where they are: only the pointers are copied.

use std::sync::Arc;

use esker_base::{Cursor, Error, InternalKey, Result, SeqNo};
use esker_manifest::FileMeta;
use esker_sstable::{FileSource, LevelCursor, ReadMode, Reader};
use esker_vfs::Fs;

use crate::core::Core;
use crate::view::identity;

/// A file that no view has yet.
pub(super) struct Unlisted<'a> {
    pub(super) core: &'a Core,
    /// Where it has a temporary name.
    pub(super) fs: &'a Arc<dyn Fs>,
    pub(super) meta: FileMeta,
}

impl FileSource for Unlisted<'_> {
    fn smallest(&self) -> &[u8] {
        &self.meta.smallest
    }

    fn largest(&self) -> &[u8] {
        &self.meta.largest
    }

    fn open(&self) -> Result<Arc<Reader>> {
        let (files, identity) = (&self.core.files, identity(&self.meta));
        let cache = Arc::clone(&files.cache);
        Reader::open(self.fs, &files.dir, &identity, ReadMode::Positioned, cache).map(Arc::new)
    }
}

/// The entries of a row of files, all with the sequence number `stamp`.
pub(super) struct Restamped<'a> {
    files: LevelCursor<Vec<Unlisted<'a>>>,
    stamp: SeqNo,
    key: Vec<u8>,
}

impl<'a> Restamped<'a> {
    pub(super) fn new(files: Vec<Unlisted<'a>>, stamp: SeqNo) -> Restamped<'a> {
        Restamped { files: LevelCursor::new(files, false), stamp, key: Vec::new() }
    }

    fn moved(&mut self, result: Result<()>) -> Result<()> {
        result?;
        if self.files.valid() {
            let Some(entry) = InternalKey::decode(self.files.key()) else {
                return Err(Error::invalid("an entry of an unknown kind"));
            };
            self.key.clear();
            InternalKey { seq: self.stamp, ..entry }.encode_into(&mut self.key);
        }
        Ok(())
    }
}

impl Cursor for Restamped<'_> {
    fn valid(&self) -> bool {
        self.files.valid()
    }

    fn seek_to_first(&mut self) -> Result<()> {
        let result = self.files.seek_to_first();
        self.moved(result)
    }

    fn seek_to_last(&mut self) -> Result<()> {
        let result = self.files.seek_to_last();
        self.moved(result)
    }

    fn seek(&mut self, target: &[u8]) -> Result<()> {
        let result = self.files.seek(target);
        self.moved(result)
    }

    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        let result = self.files.seek_for_prev(target);
        self.moved(result)
    }

    fn next(&mut self) -> Result<()> {
        let result = self.files.next();
        self.moved(result)
    }

    fn prev(&mut self) -> Result<()> {
        let result = self.files.prev();
        self.moved(result)
    }

    fn key(&self) -> &[u8] {
        &self.key
    }

    fn value(&self) -> &[u8] {
        self.files.value()
    }
}
