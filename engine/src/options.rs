//! What a database can be opened with. Plain values; the defaults are meant to be right without tuning.

use std::path::{Path, PathBuf};

use esker_base::limits::KEYSPACE_NAME_LEN_MAX;
use esker_base::{Error, Result};
use esker_sstable::ReadMode;
use esker_vfs::World;
use esker_wal::SEGMENT_LEN_MAX;

use crate::Db;

/// What an acknowledged write has survived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// The write is in memory and in line for the log, ahead of every later stronger write. A crash of the process
    /// may lose it; what survives is always a prefix of the commit order.
    Volatile,
    /// The operating system has the bytes: a crash of the process loses nothing, a power cut may.
    Buffered,
    /// The bytes are on the device: neither a crash nor a power cut loses them. The default.
    #[default]
    Sync,
}

/// How a keyspace's files are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompactionStrategy {
    /// Levels of growing size, sized from the bottom up; the best default for reads and space.
    #[default]
    Leveled,
    /// Runs of similar size are merged; fewer bytes written, more files to read.
    Tiered,
    /// Nothing is merged; the oldest files are dropped beyond `size_bytes_max`, for snapshots too. For caches and logs.
    Fifo {
        /// The total file size to keep, in bytes.
        size_bytes_max: u64,
    },
}

/// How a keyspace stores its data; fixed when it is created and kept in the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyspaceOptions {
    /// How files are merged. Default: [`CompactionStrategy::Leveled`].
    pub strategy: CompactionStrategy,
    /// Whether blocks are compressed with lz4 where that saves at least an eighth. Default: true, because it halves
    /// typical data and decodes at 5 GB/s.
    pub compress: bool,
    /// Values of at least this many bytes are stored in files of their own, and compaction moves pointers to them instead
    /// of the values; `None` for never. A FIFO keyspace, which is never merged, does not separate values whatever this
    /// says. Default: 768; below that, the pointers cost reads and scans more than they save merges.
    pub large_value_bytes: Option<u32>,
}

impl Default for KeyspaceOptions {
    fn default() -> KeyspaceOptions {
        KeyspaceOptions {
            strategy: CompactionStrategy::Leveled,
            compress: true,
            large_value_bytes: Some(768),
        }
    }
}

/// Who runs background work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Background {
    /// Threads of the database's own.
    #[default]
    Threads,
    /// Nobody: the caller runs [`Db::run_background_step`]. For simulation, where a seed decides the order.
    Manual,
}

/// Options of an open database. Build them with [`Db::builder`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Memory for memtables, cached blocks, indexes and filters together, in bytes. Default: 256 MiB. 1 MiB to 4 TiB.
    pub memory_budget_bytes: usize,
    /// The durability of writes that do not say otherwise. Default: [`Durability::Sync`].
    pub durability: Durability,
    /// Create the database if the directory holds none. Default: true.
    pub create_if_missing: bool,
    /// Open without writing anything, beside other readers. Default: false.
    pub read_only: bool,
    /// How sstables are read. Default: [`ReadMode::Mapped`], which needs no system call for data in the page cache, but
    /// where an unreadable sector ends the process; [`ReadMode::Positioned`] reports it as an error instead.
    pub read_mode: ReadMode,
    /// Whether small [`Durability::Buffered`] writes are stored into a mapped segment of the log, where the file system
    /// allows that, instead of written by a system call each. Default: `None`, that is, where `read_mode` maps sstables:
    /// a disk that fails while a page of the log is in use then ends the process too.
    pub wal_mapped: Option<bool>,
    /// The size of a segment of the write-ahead log, in bytes, at most: a quarter of a memtable does. Default: 16 MiB:
    /// an open after a crash sorts one segment while it reads the next. The first segment of that open also takes what was
    /// not known to be synced, up to 64 MiB and what had not been finished. 4 KiB to 1 GiB.
    pub wal_segment_bytes: u64,
    /// The size at which compaction starts a new file, in bytes. Default: 64 MiB. 4 KiB to 4 GiB.
    pub sstable_bytes: u64,
    /// Who runs background work. Default: threads.
    pub background: Background,
    /// How fast sstables are read again in the background to find damage while a copy of the data still exists, in bytes
    /// a second; 0 for not at all. A pass begins at most every hour. Default: 4 MiB, which no disk notices.
    pub scrub_bytes_per_second: u64,
}

/// Less memory than this is refused.
const MEMORY_BUDGET_MIN: u64 = 1 << 20;

/// More is refused: it is a mistake in the units (4 TiB).
const MEMORY_BUDGET_MAX: u64 = 1 << 42;

/// The largest file that compaction may be asked to make (4 GiB).
const SSTABLE_BYTES_MAX: u64 = 1 << 32;

impl Default for Options {
    fn default() -> Options {
        Options {
            memory_budget_bytes: 256 << 20,
            durability: Durability::Sync,
            create_if_missing: true,
            read_only: false,
            read_mode: ReadMode::Mapped,
            wal_mapped: None,
            wal_segment_bytes: 16 << 20,
            sstable_bytes: 64 << 20,
            background: Background::Threads,
            scrub_bytes_per_second: 4 << 20,
        }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<()> {
        let budget = self.memory_budget_bytes as u64;
        for (name, value, min, max) in [
            ("memory_budget_bytes", budget, MEMORY_BUDGET_MIN, MEMORY_BUDGET_MAX),
            ("wal_segment_bytes", self.wal_segment_bytes, 4096, SEGMENT_LEN_MAX),
            ("sstable_bytes", self.sstable_bytes, 4096, SSTABLE_BYTES_MAX),
        ] {
            if !(min..=max).contains(&value) {
                return Err(Error::invalid(format!(
                    "{name} is {value}; it must be {min} to {max}"
                )));
            }
        }
        Ok(())
    }

    /// A memtable is frozen at this many bytes: a sixth of the budget, so that one is filled and one is flushed while
    /// there is room for as much again, in which writers are slowed before anything stops.
    pub(crate) fn memtable_bytes(&self) -> usize {
        self.memory_budget_bytes / 6
    }

    /// All memtables together, the frozen ones included; writes wait beyond it.
    pub(crate) fn memtables_bytes_max(&self) -> usize {
        4 * self.memtable_bytes()
    }

    /// Decoded blocks, indexes and filters together, while memtables take `memtables` bytes: the rest of the budget.
    pub(crate) fn cache_bytes(&self, memtables: usize) -> usize {
        // One memtable is always spoken for; so the cache does not shrink and grow with every flush of a few writes.
        let taken = memtables.max(2 * self.memtable_bytes());
        self.memory_budget_bytes - taken.min(self.memtables_bytes_max())
    }

    pub(crate) fn maps_log(&self) -> bool {
        self.wal_mapped.unwrap_or(self.read_mode == ReadMode::Mapped)
    }

    /// Log segments that are a part of the memtables that they protect: one in use, a spare and one that waits for reuse
    /// are on disk beside a database that nobody writes to.
    pub(crate) fn segment_bytes(&self) -> u64 {
        let part = self.memtable_bytes() as u64 / SEGMENTS_PER_MEMTABLE / 4096 * 4096;
        self.wal_segment_bytes.min(part.max(SEGMENT_BYTES_SMALL)).max(4096)
    }

    /// The live log may grow to this before idle keyspaces are flushed to let segments go.
    pub(crate) fn wal_bytes_max(&self) -> u64 {
        (self.memtables_bytes_max() as u64).max(4 * self.segment_bytes())
    }
}

/// Segments of the log to a memtable.
const SEGMENTS_PER_MEMTABLE: u64 = 4;

/// Log segments are not made smaller than this for a small memory budget.
const SEGMENT_BYTES_SMALL: u64 = 256 << 10;

pub(crate) fn check_keyspace_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > KEYSPACE_NAME_LEN_MAX {
        return Err(Error::invalid(format!(
            "a keyspace name has 1 to {KEYSPACE_NAME_LEN_MAX} bytes; this one has {}",
            name.len()
        )));
    }
    Ok(())
}

/// Opens databases with other than the default options.
///
/// ```
/// # fn main() -> esker::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// let db = esker::Db::builder()
///     .memory_budget_bytes(64 << 20)
///     .durability(esker::Durability::Buffered)
///     .open(dir.path())?;
/// # db.close()
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Builder {
    options: Options,
    world: Option<World>,
}

impl Builder {
    /// Sets [`Options::memory_budget_bytes`].
    pub fn memory_budget_bytes(mut self, bytes: usize) -> Builder {
        self.options.memory_budget_bytes = bytes;
        self
    }

    /// Sets [`Options::durability`].
    pub fn durability(mut self, durability: Durability) -> Builder {
        self.options.durability = durability;
        self
    }

    /// Sets [`Options::create_if_missing`].
    pub fn create_if_missing(mut self, create: bool) -> Builder {
        self.options.create_if_missing = create;
        self
    }

    /// Sets [`Options::read_only`].
    pub fn read_only(mut self, read_only: bool) -> Builder {
        self.options.read_only = read_only;
        self
    }

    /// Sets [`Options::read_mode`].
    pub fn read_mode(mut self, mode: ReadMode) -> Builder {
        self.options.read_mode = mode;
        self
    }

    /// Sets [`Options::wal_mapped`].
    pub fn wal_mapped(mut self, mapped: bool) -> Builder {
        self.options.wal_mapped = Some(mapped);
        self
    }

    /// Sets [`Options::wal_segment_bytes`].
    pub fn wal_segment_bytes(mut self, bytes: u64) -> Builder {
        self.options.wal_segment_bytes = bytes;
        self
    }

    /// Sets [`Options::sstable_bytes`].
    pub fn sstable_bytes(mut self, bytes: u64) -> Builder {
        self.options.sstable_bytes = bytes;
        self
    }

    /// Sets [`Options::background`].
    pub fn background(mut self, background: Background) -> Builder {
        self.options.background = background;
        self
    }

    /// Sets [`Options::scrub_bytes_per_second`].
    pub fn scrub_bytes_per_second(mut self, bytes: u64) -> Builder {
        self.options.scrub_bytes_per_second = bytes;
        self
    }

    /// Uses another file system, clock and randomness than the machine's.
    pub fn world(mut self, world: World) -> Builder {
        self.world = Some(world);
        self
    }

    /// Opens the database in `dir`.
    ///
    /// # Errors
    /// `InvalidArgument` for options out of range; `NotFound` if there is none and it may not be created; `Locked` if
    /// it is open elsewhere; `Corruption` or `Unsupported` naming the file, with the directory left as it was.
    pub fn open(self, dir: impl AsRef<Path>) -> Result<Db> {
        self.options.check()?;
        let world = self.world.unwrap_or_else(World::real);
        let dir: PathBuf = dir.as_ref().to_path_buf();
        crate::open::open(world, dir, self.options)
    }
}
