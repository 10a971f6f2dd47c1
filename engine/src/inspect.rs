//! A picture of the database's files, for people and tools.

use esker_base::{KeyspaceId, SeqNo, key};
use esker_compaction::ValueUsage;
use esker_manifest::{FileMeta, KeyspaceState, Shutdown};

use crate::Db;
use crate::core::Core;
use crate::metrics::{LevelMetrics, Metrics};

/// What [`Db::inspect`] shows.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The database's random identity, in hexadecimal.
    pub database_id: String,
    /// How many times it was opened for writing.
    pub epoch: u64,
    /// The last committed sequence number.
    pub last_seq: SeqNo,
    /// Whether the manifest says that it was closed cleanly. Always false while it is open for writing.
    pub is_closed: bool,
    /// The segments of the write-ahead log, oldest first.
    pub wal: Vec<WalInspection>,
    /// The keyspaces in the order of their ids.
    pub keyspaces: Vec<KeyspaceInspection>,
}

/// One segment of the write-ahead log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalInspection {
    /// The number in the file's name.
    pub number: u64,
    /// Where it ends, if the manifest knows, in bytes.
    pub ends_at: Option<u64>,
}

/// One keyspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyspaceInspection {
    /// Its number.
    pub id: KeyspaceId,
    /// Its name.
    pub name: String,
    /// Its compaction strategy's name.
    pub strategy: &'static str,
    /// Whether its blocks are compressed.
    pub compress: bool,
    /// Values of at least this many bytes are stored apart from their keys.
    pub large_value_bytes: Option<u32>,
    /// The value files, by number.
    pub value_files: Vec<ValueFileInspection>,
    /// Everything up to this sequence number is in sstables.
    pub flushed_through: SeqNo,
    /// Entries in memtables, several versions of a key included.
    pub memtable_entries: u64,
    /// The levels that hold files.
    pub levels: Vec<LevelInspection>,
}

/// One value file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueFileInspection {
    /// The number in the file's name.
    pub number: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// The values in it.
    pub values: u64,
    /// The values that sstables still point to.
    pub live_values: u64,
    /// The bytes that these take.
    pub live_bytes: u64,
}

/// One level of a keyspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelInspection {
    /// 0 is the youngest.
    pub level: usize,
    /// The files, in the level's order.
    pub sstables: Vec<SstableInspection>,
}

impl LevelInspection {
    /// The total length of the files, in bytes.
    pub fn bytes(&self) -> u64 {
        self.sstables.iter().map(|file| file.bytes).sum()
    }
}

/// One sstable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SstableInspection {
    /// The number in the file's name.
    pub number: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its entries, several versions of a key and deletes included.
    pub entries: u64,
    /// The deletes among them.
    pub deletes: u64,
    /// The smallest key.
    pub smallest: Vec<u8>,
    /// The largest key.
    pub largest: Vec<u8>,
    /// The lowest and the highest sequence number.
    pub seqs: (SeqNo, SeqNo),
}

impl SstableInspection {
    fn new(meta: &FileMeta) -> SstableInspection {
        SstableInspection {
            number: meta.number.0,
            bytes: meta.len,
            entries: meta.entry_count,
            deletes: meta.delete_count,
            smallest: key::user_key(&meta.smallest).to_vec(),
            largest: key::user_key(&meta.largest).to_vec(),
            seqs: (meta.min_seq, meta.max_seq),
        }
    }
}

impl Db {
    /// A picture of the files: keyspaces, levels, sstables, log segments.
    pub fn inspect(&self) -> Inspection {
        let core = self.core();
        let version = core.manifest.lock().version.clone();
        Inspection {
            database_id: version.database_id.iter().map(|byte| format!("{byte:02x}")).collect(),
            epoch: version.epoch.0,
            last_seq: core.snapshots.visible(),
            is_closed: version.shutdown != Shutdown::Open,
            wal: version
                .wal
                .iter()
                .map(|segment| WalInspection { number: segment.number.0, ends_at: segment.ends_at })
                .collect(),
            keyspaces: version
                .keyspaces
                .values()
                .map(|state| core.inspect_keyspace(state))
                .collect(),
        }
    }
}

impl Core {
    fn inspect_keyspace(&self, state: &KeyspaceState) -> KeyspaceInspection {
        let levels = state.levels.iter().enumerate().filter(|(_, files)| !files.is_empty());
        let memtable_entries = self.keyspaces.get(state.meta.id).map_or(0, |keyspace| {
            let view = keyspace.view_guard();
            std::iter::once(&view.active).chain(&view.frozen).map(|table| table.len() as u64).sum()
        });
        KeyspaceInspection {
            id: state.meta.id,
            name: state.meta.name.clone(),
            strategy: match state.meta.strategy {
                esker_manifest::StrategyKind::Leveled => "leveled",
                esker_manifest::StrategyKind::Tiered => "tiered",
                esker_manifest::StrategyKind::Fifo => "fifo",
            },
            compress: state.meta.compression == esker_manifest::Compression::Lz4,
            large_value_bytes: Some(state.meta.large_value_bytes).filter(|&bytes| bytes > 0),
            value_files: value_files(state),
            flushed_through: state.flushed_through,
            memtable_entries,
            levels: levels
                .map(|(level, files)| LevelInspection {
                    level,
                    sstables: files.iter().map(|meta| SstableInspection::new(meta)).collect(),
                })
                .collect(),
        }
    }

    pub(crate) fn collect_metrics(&self) -> Metrics {
        let counters = &self.metrics;
        let cache = self.files.cache.metrics();
        let mut metrics = Metrics {
            reads: counters.reads.get(),
            commits: counters.commits.get(),
            operations: counters.operations.get(),
            commit_groups: counters.groups.get(),
            conflicts: counters.conflicts.get(),
            wal_bytes: counters.wal_bytes.get(),
            wal_syncs: counters.wal_syncs.get(),
            wal_sync_us: counters.wal_sync_us.get(),
            wal_sync_us_max: counters.wal_sync_us_max.get(),
            wal_segments: self.log.lock().segment_count() as u64,
            wal_segments_retired: self.retired.len() as u64,
            wal_segments_recycled: counters.wal_recycled.get(),
            flushes: counters.flushes.get(),
            flush_bytes: counters.flush_bytes.get(),
            compactions: counters.compactions.get(),
            compaction_moves: counters.compaction_moves.get(),
            ingests: counters.ingests.get(),
            ingest_bytes: counters.ingest_bytes.get(),
            ingests_restamped: counters.ingests_restamped.get(),
            compaction_read_bytes: counters.compaction_read_bytes.get(),
            compaction_write_bytes: counters.compaction_write_bytes.get(),
            compaction_debt_bytes: self.compaction_debt_bytes(),
            write_delays: counters.delays.get(),
            write_delay_us: counters.delay_us.get(),
            write_delay_us_max: counters.delay_us_max.get(),
            write_stalls: counters.stalls.get(),
            write_stall_us: counters.stall_us.get(),
            background_errors: counters.background_errors.get(),
            scrub_bytes: counters.scrub_bytes.get(),
            scrub_files: counters.scrub_files.get(),
            scrub_errors: counters.scrub_errors.get(),
            scrub_error: self.scrub_error(),
            memtable_bytes: counters.memtable_bytes.get(),
            frozen_memtable_bytes: counters.frozen_bytes.get(),
            memtable_full_bytes: self.options.memtable_bytes() as u64,
            memtables_capacity_bytes: self.options.memtables_bytes_max() as u64,
            wal_segment_bytes: self.options.segment_bytes(),
            level0_trigger: self.level0_trigger() as u64,
            block_cache_capacity_bytes: cache.capacity_bytes,
            block_cache_bytes: cache.used_bytes,
            block_cache_hits: cache.hits,
            block_cache_misses: cache.misses,
            snapshots: self.snapshots.count() as u64,
            queued_commits: self.queue.len() as u64,
            read_only_cause: self.health.refusal().map(|cause| cause.to_string()),
            ..Metrics::default()
        };
        let version = self.manifest.lock().version.clone();
        for state in version.keyspaces.values() {
            metrics.value_files += state.value_files.len() as u64;
            metrics.value_file_bytes +=
                state.value_files.values().map(|file| file.len).sum::<u64>();
            metrics.value_garbage_bytes += ValueUsage::of(state).garbage_bytes;
        }
        for keyspace in self.keyspaces.all() {
            let view = keyspace.view();
            let level0 = view.levels.0.first().map_or(0, Vec::len) as u64;
            metrics.level0_files = metrics.level0_files.max(level0);
            for (number, files) in view.levels.0.iter().enumerate() {
                if metrics.levels.len() <= number {
                    metrics.levels.resize(number + 1, LevelMetrics::default());
                }
                let level = &mut metrics.levels[number];
                for file in files {
                    level.files += 1;
                    level.bytes += file.meta.len;
                    level.entries += file.meta.entry_count;
                    level.index_and_filter_bytes += file.memory_bytes() as u64;
                }
            }
        }
        for level in &metrics.levels {
            metrics.sstables += level.files;
            metrics.sstable_bytes += level.bytes;
            metrics.index_and_filter_bytes += level.index_and_filter_bytes;
        }
        metrics
    }
}

fn value_files(state: &KeyspaceState) -> Vec<ValueFileInspection> {
    let live = state.live_values();
    let of = |file: &esker_manifest::ValueFileMeta| {
        let live = live.get(&file.number);
        ValueFileInspection {
            number: file.number.0,
            bytes: file.len,
            values: file.record_count,
            live_values: live.map_or(0, |live| live.entries),
            live_bytes: live.map_or(0, |live| live.bytes),
        }
    };
    state.value_files.values().map(|file| of(file)).collect()
}
