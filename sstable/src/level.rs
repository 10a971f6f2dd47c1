//! A run of files whose key ranges are disjoint and ascend, read as one.
//!
//! Used for every level below the first by the engine's scans and by compaction. Files are opened when the cursor
//! gets to them. Which files a run consists of is the manifest's business.

use std::sync::Arc;

use esker_base::{Cursor, Result, key};

use crate::cursor::SstableCursor;
use crate::reader::Reader;
use crate::value_file::ValuePointer;

/// One file of a run: its bounds, known without opening it, and how to open it.
pub trait FileSource {
    /// The first internal key in the file.
    fn smallest(&self) -> &[u8];
    /// The last internal key in the file.
    fn largest(&self) -> &[u8];
    /// Opens the file, or hands out the reader that is open already.
    fn open(&self) -> Result<Arc<Reader>>;
}

impl<S: FileSource + ?Sized> FileSource for Arc<S> {
    fn smallest(&self) -> &[u8] {
        (**self).smallest()
    }
    fn largest(&self) -> &[u8] {
        (**self).largest()
    }
    fn open(&self) -> Result<Arc<Reader>> {
        (**self).open()
    }
}

impl FileSource for Arc<Reader> {
    fn smallest(&self) -> &[u8] {
        &self.properties().smallest
    }
    fn largest(&self) -> &[u8] {
        &self.properties().largest
    }
    fn open(&self) -> Result<Arc<Reader>> {
        Ok(self.clone())
    }
}

/// The files of a run: owned by the cursor, or found in what it keeps alive.
pub trait Run {
    /// One of them.
    type File: FileSource;
    /// All of them, ascending.
    fn files(&self) -> &[Self::File];
}

impl<S: FileSource> Run for Vec<S> {
    type File = S;
    fn files(&self) -> &[S] {
        self
    }
}

/// A cursor over a run of files in ascending order; at most one file is open for it at a time.
pub struct LevelCursor<R> {
    run: R,
    fill_cache: bool,
    /// The file that `cursor` is on.
    at: usize,
    cursor: Option<SstableCursor>,
}

impl<R: Run> LevelCursor<R> {
    /// A cursor over the files of `run`, which do not overlap. `fill_cache` as for [`Reader::cursor`].
    pub fn new(run: R, fill_cache: bool) -> LevelCursor<R> {
        LevelCursor { run, fill_cache, at: 0, cursor: None }
    }

    /// The cursor of file `at`, opened if it is not the current one.
    fn load(&mut self, at: usize) -> Result<&mut SstableCursor> {
        if self.at != at {
            self.cursor = None;
            self.at = at;
        }
        if self.cursor.is_none() {
            self.cursor = Some(self.run.files()[at].open()?.cursor(self.fill_cache));
        }
        Ok(self.cursor.as_mut().expect("made above"))
    }

    /// As [`SstableCursor::look_ahead`].
    pub fn look_ahead(
        &mut self,
        count: usize,
        from_here: bool,
        visit: &mut impl FnMut(ValuePointer),
    ) -> usize {
        self.cursor.as_mut().map_or(0, |cursor| cursor.look_ahead(count, from_here, visit))
    }

    /// The file that holds the first entry at or after `target`.
    fn file_of(&self, target: &[u8]) -> Option<usize> {
        let files = self.run.files();
        let at = files.partition_point(|file| key::compare(file.largest(), target).is_lt());
        (at < files.len()).then_some(at)
    }

    #[inline]
    fn exhausted(&self) -> bool {
        self.cursor.as_ref().is_some_and(|cursor| !cursor.valid())
    }

    fn skip_forward(&mut self) -> Result<()> {
        let ends_early = esker_base::mutant!("cursor_level_ends_early");
        while self.exhausted() && self.at + 1 < self.run.files().len() && !ends_early {
            self.load(self.at + 1)?.seek_to_first()?;
        }
        Ok(())
    }

    fn skip_backward(&mut self) -> Result<()> {
        while self.exhausted() && self.at > 0 {
            self.load(self.at - 1)?.seek_to_last()?;
        }
        Ok(())
    }

    #[inline]
    fn current(&self) -> &SstableCursor {
        self.cursor.as_ref().expect("only a valid cursor has a key")
    }
}

impl<R: Run> Cursor for LevelCursor<R> {
    #[inline]
    fn valid(&self) -> bool {
        self.cursor.as_ref().is_some_and(Cursor::valid)
    }

    fn seek_to_first(&mut self) -> Result<()> {
        if self.run.files().is_empty() {
            return Ok(());
        }
        self.load(0)?.seek_to_first()?;
        self.skip_forward()
    }

    fn seek_to_last(&mut self) -> Result<()> {
        let Some(last) = self.run.files().len().checked_sub(1) else { return Ok(()) };
        self.load(last)?.seek_to_last()?;
        self.skip_backward()
    }

    fn announce_seek(&mut self, target: &[u8]) {
        // A file that cannot be opened is the seek's to report.
        if let Some(at) = self.file_of(target)
            && let Ok(cursor) = self.load(at)
        {
            cursor.announce_seek(target);
        }
    }

    fn seek(&mut self, target: &[u8]) -> Result<()> {
        let Some(at) = self.file_of(target) else {
            self.cursor = None;
            return Ok(());
        };
        self.load(at)?.seek(target)?;
        self.skip_forward()
    }

    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        let files = self.run.files();
        let after = files.partition_point(|file| key::compare(file.smallest(), target).is_le());
        let Some(at) = after.checked_sub(1) else {
            self.cursor = None;
            return Ok(());
        };
        self.load(at)?.seek_for_prev(target)?;
        self.skip_backward()
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        if let Some(cursor) = &mut self.cursor {
            cursor.next()?;
            if cursor.valid() {
                return Ok(());
            }
        }
        self.skip_forward()
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        if let Some(cursor) = &mut self.cursor {
            cursor.prev()?;
            if cursor.valid() {
                return Ok(());
            }
        }
        self.skip_backward()
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.current().key()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.current().value()
    }
}
