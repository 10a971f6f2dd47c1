//! What the tests share: seeded randomness and a small database on a simulated disk.

use esker_vfs::World;

use crate::{Background, Builder, Db, ReadMode};

/// A small deterministic generator (splitmix64).
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// Small limits, so that little data makes many files, and every step in the test's own hands.
pub(super) fn small(world: World) -> Builder {
    Db::builder()
        .memory_budget_bytes(1 << 20)
        .wal_segment_bytes(4096)
        .sstable_bytes(4096)
        .read_mode(ReadMode::Positioned)
        .wal_mapped(true)
        .background(Background::Manual)
        .world(world)
}

/// How many seeds a random test runs: `ESKER_TEST_SEEDS`, or `default`.
pub(super) fn seeds(default: u64) -> u64 {
    std::env::var("ESKER_TEST_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}
