//! Walking files whose values stand apart: what the next entries point to is asked for while earlier ones are looked at.
//!
//! Made by `children.rs` for keyspaces that have value files. Each value is a cache miss of its own, and a device to wait for
//! where it is not in memory; a walk that knows its pointers ahead waits for several at once. Hints and nothing else.

use std::sync::Arc;

use esker_base::Result;
use esker_base::cursor::Cursor;
use esker_sstable::LevelCursor;

use super::children::Files;
use crate::values::Missing;
use crate::view::Levels;

/// How many entries ahead a walk looks at first, the current one included: it may be a short one.
const WINDOW_FIRST: usize = 4;
/// And how many at most, while what they point to is in memory: what the nearest cache holds of it.
const WINDOW_NEAR: usize = 16;
/// The same, while it is not: then the device reads long stretches at once.
const WINDOW_FAR: usize = 256;
/// A walk does not look further ahead once it asks the device for so many bytes at a time.
const FAR_BYTES: u64 = 256 << 10;

/// The files of one run, read ahead.
pub(super) struct Apart {
    files: LevelCursor<Files>,
    levels: Arc<Levels>,
    /// How many entries ahead it looks; grows as the walk goes on.
    window: usize,
    /// The entries behind the current one that were looked at.
    ahead: usize,
    missing: Missing,
}

impl Apart {
    pub(super) fn new(files: LevelCursor<Files>, levels: Arc<Levels>) -> Apart {
        Apart { files, levels, window: WINDOW_FIRST, ahead: 0, missing: Missing::default() }
    }

    /// A walk begins where the files stand now.
    fn begin(&mut self) {
        (self.window, self.ahead) = (WINDOW_FIRST, 0);
        self.look(true);
    }

    fn look(&mut self, from_here: bool) {
        let Apart { files, levels, missing, .. } = self;
        let values = levels.values();
        let wanted = self.window - self.ahead;
        let seen = files.look_ahead(wanted, from_here, &mut |pointer| {
            values.announce(&pointer, missing);
        });
        self.ahead += seen.saturating_sub(usize::from(from_here));
        if seen > 0 && missing.bytes() < FAR_BYTES {
            let limit = if missing.is_empty() { WINDOW_NEAR } else { WINDOW_FAR };
            self.window = (2 * self.window).min(limit);
        }
        values.fetch(missing);
    }
}

impl Cursor for Apart {
    #[inline]
    fn valid(&self) -> bool {
        self.files.valid()
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.files.seek_to_first()?;
        self.begin();
        Ok(())
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.files.seek_to_last()
    }

    fn seek(&mut self, target: &[u8]) -> Result<()> {
        self.files.seek(target)?;
        self.begin();
        Ok(())
    }

    fn announce_seek(&mut self, target: &[u8]) {
        self.files.announce_seek(target);
    }

    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        self.files.seek_for_prev(target)
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        self.files.next()?;
        self.ahead = self.ahead.saturating_sub(1);
        if self.ahead <= self.window / 2 {
            // At the start of a block nothing was looked at yet, the current entry neither.
            self.look(self.ahead == 0);
        }
        Ok(())
    }

    fn prev(&mut self) -> Result<()> {
        self.files.prev()
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.files.key()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.files.value()
    }
}
