//! What the database counts, and the picture of it that users read.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// A number that only grows, or a gauge that is set.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// As [`Counter::add`], where only one thread adds at a time, as under the log's lock: no locked instruction.
    pub(crate) fn add_alone(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + amount, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, amount: u64) {
        self.0.fetch_sub(amount, Ordering::Relaxed);
    }

    pub(crate) fn max(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Parts of a [`SharedCounter`].
const PARTS: usize = 16;

/// A number that many threads add to all the time: each adds to a part on a cache line of its own.
#[derive(Debug, Default)]
pub(crate) struct SharedCounter([Part; PARTS]);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Part(AtomicU64);

/// How many threads have counted anything.
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Which part this thread adds to.
    static PART: usize = THREADS.fetch_add(1, Ordering::Relaxed) % PARTS;
}

impl SharedCounter {
    pub(crate) fn add(&self, amount: u64) {
        // While a thread ends it has no part of its own any more.
        let part = PART.try_with(|part| *part).unwrap_or(0);
        self.0[part].0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.iter().map(|part| part.0.load(Ordering::Relaxed)).sum()
    }
}

/// The live counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) reads: SharedCounter,
    pub(crate) commits: Counter,
    pub(crate) operations: Counter,
    pub(crate) groups: Counter,
    pub(crate) conflicts: Counter,
    pub(crate) wal_bytes: Counter,
    pub(crate) wal_recycled: Counter,
    pub(crate) wal_syncs: Counter,
    pub(crate) wal_sync_us: Counter,
    pub(crate) wal_sync_us_max: Counter,
    pub(crate) flushes: Counter,
    pub(crate) flush_bytes: Counter,
    pub(crate) compactions: Counter,
    pub(crate) compaction_moves: Counter,
    pub(crate) compaction_read_bytes: Counter,
    pub(crate) compaction_write_bytes: Counter,
    pub(crate) ingests: Counter,
    pub(crate) ingest_bytes: Counter,
    pub(crate) ingests_restamped: Counter,
    pub(crate) delays: Counter,
    pub(crate) delay_us: Counter,
    pub(crate) delay_us_max: Counter,
    pub(crate) stalls: Counter,
    pub(crate) stall_us: Counter,
    pub(crate) background_errors: Counter,
    pub(crate) scrub_bytes: Counter,
    pub(crate) scrub_files: Counter,
    pub(crate) scrub_errors: Counter,
    /// Gauge: bytes in active memtables.
    pub(crate) memtable_bytes: Counter,
    /// Gauge: bytes in frozen memtables.
    pub(crate) frozen_bytes: Counter,
}

impl Counters {
    pub(crate) fn synced(&self, took: Duration) {
        let us = took.as_micros() as u64;
        self.wal_syncs.add(1);
        self.wal_sync_us.add(us);
        self.wal_sync_us_max.max(us);
    }

    pub(crate) fn delayed(&self, by: Duration) {
        let us = by.as_micros() as u64;
        self.delays.add(1);
        self.delay_us.add(us);
        self.delay_us_max.max(us);
    }

    pub(crate) fn stalled(&self, by: Duration) {
        self.stalls.add(1);
        self.stall_us.add(by.as_micros() as u64);
    }
}

/// A picture of the database's counters and gauges; see [`crate::Db::metrics`]. Counters start at 0 on every open.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Keys that were asked for, and ranges that were opened.
    pub reads: u64,
    /// Committed batches.
    pub commits: u64,
    /// Committed puts and deletes.
    pub operations: u64,
    /// Groups of commits that shared one log write.
    pub commit_groups: u64,
    /// Transactions that failed with Conflict.
    pub conflicts: u64,
    /// Bytes appended to the write-ahead log.
    pub wal_bytes: u64,
    /// Syncs of the write-ahead log.
    pub wal_syncs: u64,
    /// Time in those syncs, in microseconds.
    pub wal_sync_us: u64,
    /// The longest of them, in microseconds.
    pub wal_sync_us_max: u64,
    /// Segments of the write-ahead log that are needed.
    pub wal_segments: u64,
    /// Segments that are not, whose files are kept for the next ones; at most 8.
    pub wal_segments_retired: u64,
    /// Segments that were made of such a file instead of being filled with zeros.
    pub wal_segments_recycled: u64,
    /// Memtables written to disk.
    pub flushes: u64,
    /// Bytes of the sstables that flushes wrote.
    pub flush_bytes: u64,
    /// Merges done.
    pub compactions: u64,
    /// Compactions that only moved files in the manifest.
    pub compaction_moves: u64,
    /// Bytes of the files that merges read.
    pub compaction_read_bytes: u64,
    /// Bytes of the files that merges wrote.
    pub compaction_write_bytes: u64,
    /// Bytes that compaction is behind.
    pub compaction_debt_bytes: u64,
    /// Ingests that were completed.
    pub ingests: u64,
    /// Bytes of the files that they brought.
    pub ingest_bytes: u64,
    /// How often an ingest's files were written once more because commits overtook it.
    pub ingests_restamped: u64,
    /// Groups that were slowed down because flush or compaction is behind.
    pub write_delays: u64,
    /// Time of those delays, in microseconds.
    pub write_delay_us: u64,
    /// The longest of them, in microseconds.
    pub write_delay_us_max: u64,
    /// Groups that waited for memory because memtables were full.
    pub write_stalls: u64,
    /// Time of those waits, in microseconds.
    pub write_stall_us: u64,
    /// Background steps that failed and will be tried again.
    pub background_errors: u64,
    /// Bytes of sstables that were read again to see that they are sound.
    pub scrub_bytes: u64,
    /// Sstables that were found sound by that.
    pub scrub_files: u64,
    /// Sstables and value files that were not: damaged or unreadable. A file counts in each pass, and once when a merge
    /// meets a value of it that cannot be read.
    pub scrub_errors: u64,
    /// The last of these findings, with the file's name.
    pub scrub_error: Option<String>,
    /// Memory in memtables that take writes, in bytes.
    pub memtable_bytes: u64,
    /// Memory in memtables that wait to be flushed, in bytes.
    pub frozen_memtable_bytes: u64,
    /// A memtable is flushed when it takes so many bytes.
    pub memtable_full_bytes: u64,
    /// All memtables together may take so many bytes; writers are slowed before.
    pub memtables_capacity_bytes: u64,
    /// The usual size of a segment of the write-ahead log, in bytes.
    pub wal_segment_bytes: u64,
    /// The most files that a keyspace has in level 0.
    pub level0_files: u64,
    /// From how many on they are merged now: more while much is written, and yet more while hardly anything is read.
    pub level0_trigger: u64,
    /// Memory for blocks that are read without a map, in bytes: what memtables, indexes and filters leave of the budget.
    pub block_cache_capacity_bytes: u64,
    /// Memory in such blocks, in bytes.
    pub block_cache_bytes: u64,
    /// Block reads that the cache answered.
    pub block_cache_hits: u64,
    /// Block reads that it did not.
    pub block_cache_misses: u64,
    /// Memory in indexes and filters of open sstables, in bytes.
    pub index_and_filter_bytes: u64,
    /// The number of sstables.
    pub sstables: u64,
    /// Their total length, in bytes.
    pub sstable_bytes: u64,
    /// The levels, from level 0 down, over all keyspaces.
    pub levels: Vec<LevelMetrics>,
    /// The number of value files.
    pub value_files: u64,
    /// Their total length, in bytes.
    pub value_file_bytes: u64,
    /// What of that no entry points to any more, in bytes.
    pub value_garbage_bytes: u64,
    /// Open snapshots.
    pub snapshots: u64,
    /// Commits that wait in the queue.
    pub queued_commits: u64,
    /// Why the database refuses writes, if it does.
    pub read_only_cause: Option<String>,
}

/// What a level holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LevelMetrics {
    /// Its sstables.
    pub files: u64,
    /// Their length, in bytes.
    pub bytes: u64,
    /// Their entries of every kind.
    pub entries: u64,
    /// Memory of the indexes and filters of those that are open, in bytes.
    pub index_and_filter_bytes: u64,
}
