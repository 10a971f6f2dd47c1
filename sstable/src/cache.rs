//! The cache of blocks as they are stored: one for the whole database, with a budget in bytes.
//!
//! Readers without a map keep their blocks here; those of mapped files never enter, as the system keeps them. Only
//! verified content enters. The hash is fixed and so is the number of shards, so that a seeded run evicts the same
//! blocks each time.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use esker_base::FileId;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use crate::ahead::Payoff;

const SHARD_COUNT: usize = 64;
/// What an entry costs beside its bytes, roughly: key, slot, handle, allocator.
const ENTRY_OVERHEAD_BYTES: u64 = 96;
const BLOCK_LEN_TYPICAL: u64 = 4096;
/// Reads of mapped blocks that are taken for cold after one was.
const COLD_READS: u32 = 1024;

/// Which block: the file's identity, and the offset in it. Identities are never reused, so that a block of a
/// deleted file is never taken for another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockKey {
    pub file_id: FileId,
    pub offset: u64,
}

impl BlockKey {
    fn hash_value(&self) -> u64 {
        // The file id is random, so folding it is enough; the multiplication spreads the offset over all bits.
        let id = u128::from_le_bytes(self.file_id.0);
        let mixed =
            (id as u64) ^ (id >> 64) as u64 ^ self.offset.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let wide = u128::from(mixed) * 0xD6E8_FEB8_6659_FD93;
        (wide as u64) ^ (wide >> 64) as u64
    }
}

impl std::hash::Hash for BlockKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash_value());
    }
}

/// Passes on the number that [`BlockKey`] computed.
#[derive(Clone, Copy, Debug, Default)]
struct FixedHasher(u64);

impl Hasher for FixedHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = self.0.rotate_left(5) ^ value;
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct FixedState;

impl BuildHasher for FixedState {
    type Hasher = FixedHasher;

    fn build_hasher(&self) -> FixedHasher {
        FixedHasher::default()
    }
}

#[derive(Clone, Copy, Debug)]
struct ByLength;

impl Weighter<BlockKey, Bytes> for ByLength {
    fn weight(&self, _: &BlockKey, content: &Bytes) -> u64 {
        content.len() as u64 + ENTRY_OVERHEAD_BYTES
    }
}

/// Counters, each on a line of its own so that threads do not share one.
#[derive(Default)]
#[repr(align(64))]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
}

/// What the cache has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheMetrics {
    /// Lookups that found their block.
    pub hits: u64,
    /// Lookups that did not.
    pub misses: u64,
    /// Bytes held now, bookkeeping included.
    pub used_bytes: u64,
    /// The budget.
    pub capacity_bytes: u64,
}

/// A shared cache of blocks. Shared by `Arc` among all readers of a database.
pub struct BlockCache {
    blocks: Cache<BlockKey, Bytes, ByLength, FixedState, DefaultLifecycle<BlockKey, Bytes>>,
    counters: Box<[Counters]>,
    capacity_bytes: AtomicU64,
    /// How many more reads of mapped blocks are to expect that the device has to be waited for.
    cold_reads: AtomicU32,
    /// Whether more of a map is fetched than what is looked at.
    pub(crate) payoff: Payoff,
}

impl BlockCache {
    /// A cache that holds at most `capacity_bytes`. 0 is fine: then nothing stays.
    pub fn new(capacity_bytes: u64) -> BlockCache {
        let estimated = (capacity_bytes / BLOCK_LEN_TYPICAL).max(1);
        let options = OptionsBuilder::new()
            .estimated_items_capacity(usize::try_from(estimated).unwrap_or(usize::MAX))
            .weight_capacity(capacity_bytes)
            .shards(SHARD_COUNT)
            .build()
            .expect("capacity and estimate are both given");
        let blocks =
            Cache::with_options(options, ByLength, FixedState, DefaultLifecycle::default());
        let counters = (0..SHARD_COUNT).map(|_| Counters::default()).collect();
        BlockCache {
            blocks,
            counters,
            capacity_bytes: AtomicU64::new(capacity_bytes),
            cold_reads: AtomicU32::new(0),
            payoff: Payoff::new(),
        }
    }

    /// The budget.
    pub fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes.load(Ordering::Relaxed)
    }

    /// Changes the budget; blocks beyond a smaller one are dropped.
    pub fn set_capacity(&self, capacity_bytes: u64) {
        self.capacity_bytes.store(capacity_bytes, Ordering::Relaxed);
        self.blocks.set_capacity(capacity_bytes);
    }

    pub(crate) fn get(&self, key: &BlockKey) -> Option<Bytes> {
        let found = self.blocks.get(key)?;
        self.counters[key.hash_value() as usize % SHARD_COUNT].hits.fetch_add(1, Ordering::Relaxed);
        Some(found)
    }

    /// Whether a block is here; not counted.
    pub(crate) fn holds(&self, key: &BlockKey) -> bool {
        self.blocks.contains_key(key)
    }

    /// Notes that a block had to be read.
    pub(crate) fn missed(&self, key: &BlockKey) {
        let shard = key.hash_value() as usize % SHARD_COUNT;
        self.counters[shard].misses.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a block of a map was not in memory: the next ones may not be either.
    pub(crate) fn set_cold(&self) {
        self.cold_reads.store(COLD_READS, Ordering::Relaxed);
    }

    /// Whether a block of a map is to be fetched ahead, in case it is not in memory. Asked once a read.
    pub(crate) fn is_cold(&self) -> bool {
        let left = self.cold_reads.load(Ordering::Relaxed);
        if left > 0 {
            self.cold_reads.store(left - 1, Ordering::Relaxed);
        }
        left > 0
    }

    pub(crate) fn insert(&self, key: BlockKey, content: Bytes) {
        self.blocks.insert(key, content);
    }

    /// Counters and size.
    pub fn metrics(&self) -> CacheMetrics {
        let sum = |pick: fn(&Counters) -> &AtomicU64| {
            self.counters.iter().map(|shard| pick(shard).load(Ordering::Relaxed)).sum()
        };
        CacheMetrics {
            hits: sum(|shard| &shard.hits),
            misses: sum(|shard| &shard.misses),
            used_bytes: self.blocks.weight(),
            capacity_bytes: self.capacity_bytes(),
        }
    }
}

impl std::fmt::Debug for BlockCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockCache").field("metrics", &self.metrics()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_holds_and_lookups_are_counted() {
        let cache = BlockCache::new(1 << 20);
        let key = |offset| BlockKey { file_id: FileId([3; 16]), offset };
        for offset in 0..1000 {
            cache.insert(key(offset * 4096), Bytes::from(vec![0; 4096]));
        }
        let metrics = cache.metrics();
        assert!(metrics.used_bytes <= 1 << 20, "{metrics:?}");
        assert!(metrics.used_bytes > 1 << 19, "{metrics:?}");
        let found = |offset: &u64| {
            let key = key(offset * 4096);
            let found = cache.get(&key).is_some();
            if !found {
                cache.missed(&key);
            }
            found
        };
        let hits = (0..1000).filter(found).count();
        let metrics = cache.metrics();
        assert_eq!((metrics.hits, metrics.hits + metrics.misses), (hits as u64, 1000));
        assert!(cache.get(&BlockKey { file_id: FileId([4; 16]), offset: 0 }).is_none());
    }

    #[test]
    fn a_smaller_budget_drops_what_is_over_it() {
        let cache = BlockCache::new(1 << 20);
        for offset in 0..1000 {
            let key = BlockKey { file_id: FileId([3; 16]), offset: offset * 4096 };
            cache.insert(key, Bytes::from(vec![0; 4096]));
        }
        cache.set_capacity(1 << 19);
        let metrics = cache.metrics();
        assert!(metrics.used_bytes <= 1 << 19, "{metrics:?}");
        assert_eq!(metrics.capacity_bytes, 1 << 19);
        cache.set_capacity(1 << 20);
        assert_eq!(cache.metrics().capacity_bytes, 1 << 20);
    }

    #[test]
    fn an_empty_budget_keeps_nothing() {
        let cache = BlockCache::new(0);
        let key = BlockKey { file_id: FileId([3; 16]), offset: 48 };
        cache.insert(key, Bytes::from_static(b"x"));
        assert!(cache.get(&key).is_none());
    }
}
