//! What the tests share: seeded randomness, a small database on a simulated disk, and hooks into its calls.

use std::sync::Arc;
use std::time::Duration;

use esker_vfs::fault::{Fault, Rule};
use esker_vfs::{Clock, World};
use parking_lot::Mutex;

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

/// What a hook does, while it is not under way.
type Work = Mutex<Option<Box<dyn FnMut() + Send>>>;

/// A clock whose sleep runs a closure; calls that the closure makes do not run it again.
struct Hook(Work);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

impl Clock for Hook {
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn wall_ms(&self) -> u64 {
        0
    }

    fn sleep(&self, _: Duration) {
        let work = self.0.lock().take();
        if let Some(mut work) = work {
            work();
            *self.0.lock() = Some(work);
        }
    }
}

/// A rule that runs `work` before each matching call, but for those that come meanwhile.
pub(super) fn hook(work: impl FnMut() + Send + 'static) -> Rule {
    let clock = Arc::new(Hook(Mutex::new(Some(Box::new(work)))));
    Rule::new(Fault::Delay { clock, duration: Duration::from_secs(1) }).sticky()
}
