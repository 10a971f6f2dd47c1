//! Write pacing: writers are slowed smoothly as flush and compaction fall behind, and wait only for memory.
//!
//! A delay per byte grows with the square of the pressure, from nothing at [`FREE_LEVEL0`] files to
//! [`DELAY_NS_PER_KIB_MAX`] at [`FULL_LEVEL0`]; so throughput settles where compaction keeps up, without a stop. Every
//! delay is counted in the metrics.

use std::sync::atomic::Ordering;
use std::time::Duration;

use esker_base::Result;

use crate::core::Core;
use crate::sync::AtomicU64;

/// Up to so many files in level 0 there is no delay.
const FREE_LEVEL0: u64 = 12;

/// At so many the delay is greatest.
const FULL_LEVEL0: u64 = 48;

/// The greatest delay: about 1 MiB a second.
const DELAY_NS_PER_KIB_MAX: u64 = 1_000_000;

/// No group is delayed for longer, however large it is; what it would owe beyond that is let off.
const DELAY_MAX: Duration = Duration::from_secs(1);

/// Shorter delays are saved up until they are worth a sleep.
const SLEEP_MIN: Duration = Duration::from_micros(100);

/// How long a writer waits at a time while memtables are full.
const STALL_POLL: Duration = Duration::from_micros(500);

/// The pressure that background work reports and writers feel.
#[derive(Debug, Default)]
pub(crate) struct Pacer {
    delay_ns_per_kib: AtomicU64,
    owed_ns: AtomicU64,
}

impl Pacer {
    /// Sets the delay from the most files that any leveled keyspace has in level 0.
    pub(crate) fn set_level0(&self, files: u64) {
        let over = files.saturating_sub(FREE_LEVEL0).min(FULL_LEVEL0 - FREE_LEVEL0);
        let range = FULL_LEVEL0 - FREE_LEVEL0;
        let delay = DELAY_NS_PER_KIB_MAX * over * over / (range * range);
        self.delay_ns_per_kib.store(delay, Ordering::Relaxed);
    }

    /// The delay that a group of `bytes` has to take now.
    fn delay(&self, bytes: usize) -> Duration {
        let rate = self.delay_ns_per_kib.load(Ordering::Relaxed);
        if rate == 0 {
            return Duration::ZERO;
        }
        let owed = self.owed_ns.load(Ordering::Relaxed) + rate * (bytes as u64).div_ceil(1024);
        if owed < SLEEP_MIN.as_nanos() as u64 {
            self.owed_ns.store(owed, Ordering::Relaxed);
            return Duration::ZERO;
        }
        self.owed_ns.store(0, Ordering::Relaxed);
        Duration::from_nanos(owed).min(DELAY_MAX)
    }
}

impl Core {
    /// Delays the commit owner as pressure asks, and waits while memtables are full. Fails if they are full because
    /// flushing fails.
    pub(crate) fn pace(&self, bytes: usize) -> Result<()> {
        let mut waited = Duration::ZERO;
        while self.memtables_full() {
            self.check_writable()?;
            if self.has_threads() {
                if let Some(error) = self.background.flush_error() {
                    return Err(error);
                }
                self.background.wake();
                self.world.clock.sleep(STALL_POLL);
                waited += STALL_POLL;
            } else if !self.flush_step()? {
                break;
            }
        }
        if waited > Duration::ZERO {
            self.metrics.stalled(waited);
        }
        if self.has_threads() {
            let delay = self.pacer.delay(bytes);
            if delay > Duration::ZERO {
                self.metrics.delayed(delay);
                self.world.clock.sleep(delay);
            }
        }
        Ok(())
    }

    fn memtables_full(&self) -> bool {
        let frozen = self.metrics.frozen_bytes.get();
        let all = frozen + self.metrics.memtable_bytes.get();
        frozen > 0 && all as usize > self.options.memtables_bytes_max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_grows_smoothly_and_is_bounded() {
        let pacer = Pacer::default();
        let delay = |files| {
            pacer.set_level0(files);
            pacer.delay(1 << 20)
        };
        assert_eq!(delay(FREE_LEVEL0), Duration::ZERO);
        let delays: Vec<_> = (FREE_LEVEL0..FULL_LEVEL0 + 10).map(delay).collect();
        assert!(delays.is_sorted());
        assert!(delays[1] < Duration::from_millis(2), "{:?}", delays[1]);
        assert_eq!(delays.last(), Some(&DELAY_MAX));
        // 64 MiB would owe more than a minute; the next group pays for itself alone.
        assert_eq!(pacer.delay(64 << 20), DELAY_MAX);
        assert_eq!(pacer.delay(1 << 10), Duration::from_nanos(DELAY_NS_PER_KIB_MAX));
    }
}
