//! What a reader of one keyspace looks at: its memtables and its files, swapped as one.
//!
//! A view never changes; a rotation, flush or compaction replaces it. Whoever holds one keeps everything in it alive,
//! so a file leaves the disk only when it has left the version, durably, and every view.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use esker_base::names::FileKind;
use esker_base::{FileNumber, Result, key};
use esker_manifest::{FileMeta, KeyspaceState};
use esker_memtable::Memtable;
use esker_sstable::{BlockCache, FileSource, Identity, ReadMode, Reader};
use esker_vfs::Fs;

use crate::bounds::{Bounds, Place};
use crate::sync::{AtomicBool, Mutex, OnceLock};
use crate::values::ValueFiles;

/// Everything a reader of one keyspace needs.
pub(crate) struct View {
    /// Where new entries go.
    pub(crate) active: Arc<Memtable>,
    /// Frozen memtables on their way to disk, newest first.
    pub(crate) frozen: Vec<Arc<Memtable>>,
    /// The files.
    pub(crate) levels: Arc<Levels>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let files: Vec<_> = self.levels.0.iter().map(Vec::len).collect();
        f.debug_struct("View")
            .field("active_entries", &self.active.len())
            .field("frozen", &self.frozen.len())
            .field("files_by_level", &files)
            .finish()
    }
}

impl View {
    /// A view of nothing.
    pub(crate) fn empty() -> View {
        View {
            active: Arc::new(Memtable::new()),
            frozen: Vec::new(),
            levels: Arc::new(Levels::default()),
        }
    }
}

/// The files of a keyspace by level: level 0 newest first and overlapping, the others sorted and disjoint.
#[derive(Debug, Default)]
pub(crate) struct Levels(pub(crate) Vec<Vec<Arc<Sstable>>>, Bounds, ValueFiles);

impl Levels {
    /// The files of `state`, with the handles of `before` where a file stays.
    pub(crate) fn next(before: &Levels, state: &KeyspaceState, files: &Arc<Files>) -> Levels {
        let mut known: Vec<&Arc<Sstable>> = before.0.iter().flatten().collect();
        known.sort_by_key(|file| file.meta.number);
        let open = |meta: &Arc<FileMeta>| match known
            .binary_search_by_key(&meta.number, |file| file.meta.number)
        {
            Ok(at) => Arc::clone(known[at]),
            Err(_) => Arc::new(Sstable::new(Arc::clone(meta), Arc::clone(files))),
        };
        let levels = state.levels.iter().map(|level| level.iter().map(open).collect()).collect();
        Levels::of(levels, ValueFiles::next(&before.2, state, files))
    }

    /// The sstables that a merge could not read, unless scrubbing has read them through since.
    pub(crate) fn damaged(&self) -> BTreeSet<FileNumber> {
        let damaged = self.0.iter().flatten().filter(|file| file.damaged.load(Ordering::Acquire));
        damaged.map(|file| file.meta.number).collect()
    }

    /// The value files that the sstables point into.
    pub(crate) fn values(&self) -> &ValueFiles {
        &self.2
    }

    fn of(files: Vec<Vec<Arc<Sstable>>>, values: ValueFiles) -> Levels {
        let keys = |file: &Arc<Sstable>| -> [Vec<u8>; 2] {
            [&file.meta.smallest, &file.meta.largest].map(|bound| key::user_key(bound).to_vec())
        };
        let bounds =
            Bounds::of(&files.iter().map(|l| l.iter().map(keys).collect()).collect::<Vec<_>>());
        Levels(files, bounds, values)
    }

    /// Calls `visit` with the files that may hold `user_key`, newest entries first, until it is done or fails.
    // A loop, not an iterator: a miss is little more than this, and an iterator over both kinds of levels is a large value
    // with a branch at each step.
    #[inline]
    pub(crate) fn each_candidate<'a, E>(
        &'a self,
        user_key: &[u8],
        mut visit: impl FnMut(&'a Arc<Sstable>) -> std::result::Result<bool, E>,
    ) -> std::result::Result<(), E> {
        let Levels(files, bounds, _) = self;
        let head = bounds.head(user_key);
        let covers = |level: usize, at: usize| match bounds.of_file(level, at, head) {
            Place::Within => true,
            Place::Outside => false,
            Place::Unclear => files[level][at].covers(user_key),
        };
        let Some((first, sorted)) = files.split_first() else { return Ok(()) };
        let reversed = esker_base::mutant!("read_level0_oldest_first");
        for at in 0..first.len() {
            let at = if reversed { first.len() - 1 - at } else { at };
            if covers(0, at) && visit(&first[at])? {
                return Ok(());
            }
        }
        for (level, files) in (1..).zip(sorted) {
            let mut at = bounds.first_ending_at(level, head);
            // Only where heads are alike are the keys themselves compared.
            while at < files.len() && bounds.may_end_before(level, at, head) {
                if key::user_key(&files[at].meta.largest) >= user_key {
                    break;
                }
                at += 1;
            }
            if at < files.len() && covers(level, at) && visit(&files[at])? {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Where files are and how they are read; shared by all handles.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) dir: PathBuf,
    pub(crate) mode: ReadMode,
    pub(crate) cache: Arc<BlockCache>,
    /// The memory for the block cache, the indexes and the filters. A leaf lock.
    pub(crate) budget: Mutex<Budget>,
    /// Files that nobody needs any more, for the clean-up step. A leaf lock.
    pub(crate) graveyard: Mutex<Vec<(FileKind, FileNumber)>>,
}

/// The memory that the block cache, the indexes and the filters share.
#[derive(Debug)]
pub(crate) struct Budget {
    /// All of it, in bytes: what memtables leave.
    cache_bytes: u64,
    /// What the indexes and filters of open files take.
    open_bytes: u64,
}

impl Budget {
    pub(crate) fn new(cache_bytes: u64) -> Budget {
        Budget { cache_bytes, open_bytes: 0 }
    }
}

/// The block cache keeps this part of its budget, however much memory indexes and filters take.
const CACHE_PART_MIN: u64 = 8;

/// A change of less than this part of the budget waits for others: each one disturbs the cache.
const CACHE_PART_STEP: u64 = 64;

impl Files {
    /// Notes that an index and a filter of `bytes` came into memory, or left it; the block cache gets the rest.
    fn account(&self, bytes: usize, came: bool) {
        let mut budget = self.budget.lock();
        let (open, bytes) = (budget.open_bytes, bytes as u64);
        budget.open_bytes =
            if came { open.saturating_add(bytes) } else { open.saturating_sub(bytes) };
        self.fit(&budget);
    }

    /// Sets what memtables leave. A smaller cache drops blocks, so no lock that a write needs may be held.
    pub(crate) fn set_cache_bytes(&self, bytes: u64) {
        let mut budget = self.budget.lock();
        budget.cache_bytes = bytes;
        self.fit(&budget);
    }

    fn fit(&self, budget: &Budget) {
        let least = budget.cache_bytes / CACHE_PART_MIN;
        let capacity = budget.cache_bytes.saturating_sub(budget.open_bytes).max(least);
        if capacity.abs_diff(self.cache.capacity_bytes()) >= budget.cache_bytes / CACHE_PART_STEP {
            self.cache.set_capacity(capacity);
        }
    }
}

/// A handle on one sstable. Opened on first use; removed from disk when it is obsolete and the last handle is gone.
#[derive(Debug)]
pub(crate) struct Sstable {
    pub(crate) meta: Arc<FileMeta>,
    files: Arc<Files>,
    reader: OnceLock<Arc<Reader>>,
    obsolete: AtomicBool,
    damaged: AtomicBool,
}

impl Sstable {
    fn new(meta: Arc<FileMeta>, files: Arc<Files>) -> Sstable {
        let (reader, obsolete) = (OnceLock::new(), AtomicBool::new(false));
        Sstable { meta, files, reader, obsolete, damaged: AtomicBool::new(false) }
    }

    fn covers(&self, user_key: &[u8]) -> bool {
        key::user_key(&self.meta.smallest) <= user_key
            && user_key <= key::user_key(&self.meta.largest)
    }

    /// The open file. A failure is not remembered: the next call tries again.
    pub(crate) fn reader(&self) -> Result<&Arc<Reader>> {
        if let Some(reader) = self.reader.get() {
            return Ok(reader);
        }
        let reader = Reader::open(
            &self.files.fs,
            &self.files.dir,
            &identity(&self.meta),
            self.files.mode,
            Arc::clone(&self.files.cache),
        )?;
        // Two threads may both have opened it; one of the two readers is kept.
        Ok(self.reader.get_or_init(|| {
            self.files.account(reader.memory_bytes(), true);
            Arc::new(reader)
        }))
    }

    /// The open file, if it is open.
    pub(crate) fn opened(&self) -> Option<&Reader> {
        self.reader.get().map(|reader| &**reader)
    }

    /// The memory that the index and the filter take, in bytes; 0 while it is not open.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.reader.get().map_or(0, |reader| reader.memory_bytes())
    }

    /// Whether the file is to be removed once the last handle is dropped.
    pub(crate) fn is_obsolete(&self) -> bool {
        self.obsolete.load(Ordering::Acquire)
    }

    /// Marks the file for removal once the last handle is dropped. Only after the edit that drops it is durable.
    pub(crate) fn set_obsolete(&self) {
        self.obsolete.store(true, Ordering::Release);
    }

    /// Notes whether it cannot be read: a merge has failed on it, or scrubbing has read all of it without an error.
    pub(crate) fn set_damaged(&self, is_damaged: bool) {
        self.damaged.store(is_damaged, Ordering::Release);
    }
}

impl Drop for Sstable {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.get() {
            self.files.account(reader.memory_bytes(), false);
        }
        if *self.obsolete.get_mut() {
            self.files.graveyard.lock().push((FileKind::Sstable, self.meta.number));
        }
    }
}

/// What the reader is to expect of the file.
pub(crate) fn identity(meta: &FileMeta) -> Identity {
    Identity { number: meta.number, file_id: meta.file_id, len: meta.len, checksum: meta.checksum }
}

impl FileSource for Sstable {
    fn smallest(&self) -> &[u8] {
        &self.meta.smallest
    }

    fn largest(&self) -> &[u8] {
        &self.meta.largest
    }

    fn open(&self) -> Result<Arc<Reader>> {
        self.reader().cloned()
    }
}
