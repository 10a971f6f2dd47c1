//! Write pacing: writers are slowed smoothly as flush and compaction fall behind, and wait only for memory.
//!
//! A delay per byte grows with the pressure, from nothing to [`DELAY_NS_PER_KIB_MAX`]: with the files in level 0, from
//! [`FREE_LEVEL0`] to [`FULL_LEVEL0`], and with the memory in memtables, from [`FREE_MEMORY_PERCENT`] of its limit on. So
//! throughput settles where flush and compaction keep up, without a stop. No small group sleeps for longer than
//! [`SLEEP_MAX`]; the rest is owed by those after it. A large one pays for itself, at [`SLEEP_NS_PER_KIB_MAX`] at most, or
//! batches of a megabyte would pass at 4 ms each. Every delay is counted in the metrics. Ingests, which bring files into
//! level 0 past the memtables, are delayed in the same way, and wait while it is full.

use std::sync::atomic::Ordering;
use std::time::Duration;

use esker_base::Result;
use esker_manifest::StrategyKind;

use crate::core::Core;
use crate::keyspace::KeyspaceInner;
use crate::sync::{AtomicU64, Mutex};

/// Up to so many files in level 0 there is no delay: twice what compaction lets gather there while hardly anything but
/// writes comes.
const FREE_LEVEL0: u64 = 48;

/// At so many the delay is greatest, and ingests wait.
pub(crate) const FULL_LEVEL0: u64 = 96;

/// Up to this part of the memory for memtables, in percent, there is no delay: one that is filled beside one that is
/// flushed.
const FREE_MEMORY_PERCENT: u64 = 50;

/// The greatest delay: about 1 MiB a second.
const DELAY_NS_PER_KIB_MAX: u64 = 1_000_000;

/// No group is delayed for longer at a time, but for a large one.
const SLEEP_MAX: Duration = Duration::from_millis(4);

/// What is owed beyond this, and beyond what a large group may sleep, is let off: a large commit is not made good by all
/// small ones after it.
const OWED_MAX: Duration = Duration::from_millis(100);

/// A large group may sleep for so long: about 10 MiB a second, which every disk takes that is worth waiting for. 41 KiB
/// sleep as long as the smallest.
const SLEEP_NS_PER_KIB_MAX: u64 = 100_000;

/// Writes dominate if they would fill a memtable within so many seconds.
const MEMTABLE_SECONDS_MAX: u64 = 5;

/// Reads count beside writes if there is more than one for so many.
const WRITES_FOR_A_READ: u64 = 16;

/// How long writes are counted before their rate is told.
pub(crate) const RATE_WINDOW: Duration = Duration::from_millis(100);

/// Shorter delays are saved up until they are worth a sleep.
const SLEEP_MIN: Duration = Duration::from_micros(100);

/// How long a writer waits at a time while memtables are full.
const STALL_POLL: Duration = Duration::from_micros(500);

/// The pressure that background work reports and writers feel.
#[derive(Debug, Default)]
pub(crate) struct Pacer {
    level0_ns_per_kib: AtomicU64,
    owed_ns: AtomicU64,
    /// How fast writes come. A leaf lock.
    rate: Mutex<Rate>,
}

/// What was counted in all, at one time.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    at: Duration,
    wal_bytes: u64,
    operations: u64,
    reads: u64,
}

/// What was counted last, and what came in the window before.
#[derive(Debug, Default)]
struct Rate {
    last: Seen,
    bytes_per_second: u64,
    is_read: bool,
}

/// How the database is used now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Not much is written.
    Quiet,
    /// Memtables are flushed one after the other, and it is read from beside that.
    Mixed,
    /// Hardly anything but writes comes.
    Filled,
}

impl Pacer {
    /// Sets the delay from the most files that any leveled keyspace has in level 0.
    pub(crate) fn set_level0(&self, files: u64) {
        let over = files.saturating_sub(FREE_LEVEL0).min(FULL_LEVEL0 - FREE_LEVEL0);
        let range = FULL_LEVEL0 - FREE_LEVEL0;
        let delay = DELAY_NS_PER_KIB_MAX * over * over / (range * range);
        self.level0_ns_per_kib.store(delay, Ordering::Relaxed);
    }

    /// How many bytes a second are logged, and whether reads count, given what was counted by now; as of the last look if
    /// that was a moment ago.
    fn rate(&self, now: Seen) -> (u64, bool) {
        let mut rate = self.rate.lock();
        let passed = now.at.saturating_sub(rate.last.at);
        if passed >= RATE_WINDOW {
            let written = now.wal_bytes.saturating_sub(rate.last.wal_bytes);
            let per_second = u128::from(written) * 1000 / passed.as_millis();
            let operations = now.operations.saturating_sub(rate.last.operations);
            let reads = now.reads.saturating_sub(rate.last.reads);
            *rate = Rate {
                last: now,
                bytes_per_second: u64::try_from(per_second).unwrap_or(u64::MAX),
                is_read: reads > operations / WRITES_FOR_A_READ,
            };
        }
        (rate.bytes_per_second, rate.is_read)
    }

    /// The delay that a group of `bytes` has to take now, with `used` of `limit` bytes of memtables in use.
    fn delay(&self, bytes: usize, used: u64, limit: u64) -> Duration {
        let level0 = self.level0_ns_per_kib.load(Ordering::Relaxed);
        let rate = level0.max(memory_delay(used, limit));
        let owed = self.owed_ns.load(Ordering::Relaxed);
        if rate == 0 && owed == 0 {
            return Duration::ZERO;
        }
        let sleep_max = SLEEP_NS_PER_KIB_MAX.saturating_mul(bytes as u64 / 1024);
        let sleep_max = sleep_max.max(SLEEP_MAX.as_nanos() as u64);
        let owed = owed.saturating_add(rate.saturating_mul(bytes as u64) / 1024);
        let owed = owed.min(sleep_max.max(OWED_MAX.as_nanos() as u64));
        if owed < SLEEP_MIN.as_nanos() as u64 {
            // With the pressure the debt goes too.
            self.owed_ns.store(if rate == 0 { 0 } else { owed }, Ordering::Relaxed);
            return Duration::ZERO;
        }
        let delay = owed.min(sleep_max);
        self.owed_ns.store(owed - delay, Ordering::Relaxed);
        Duration::from_nanos(delay)
    }
}

/// The delay for memory in nanoseconds a KiB: it grows with the fourth power, so that it is gentle where flushing nearly
/// keeps up, and greatest where all memory is in use.
fn memory_delay(used: u64, limit: u64) -> u64 {
    let free = limit / 100 * FREE_MEMORY_PERCENT;
    let range = (limit - free).max(1);
    // In 1024ths, so that the power fits.
    let over = (used.saturating_sub(free).min(range) as u128 * 1024 / u128::from(range)) as u64;
    ((u128::from(DELAY_NS_PER_KIB_MAX) * u128::from(over).pow(4)) >> 40) as u64
}

impl Core {
    /// How the database is used. Quiet where the caller decides what runs when: there nothing depends on time.
    pub(crate) fn used_for(&self) -> Use {
        if !self.has_threads() {
            return Use::Quiet;
        }
        let (bytes_per_second, is_read) = self.pacer.rate(Seen {
            at: self.world.clock.monotonic(),
            wal_bytes: self.metrics.wal_bytes.get(),
            operations: self.metrics.operations.get(),
            reads: self.metrics.reads.get(),
        });
        let is_quiet =
            bytes_per_second < self.options.memtable_bytes() as u64 / MEMTABLE_SECONDS_MAX;
        match (is_quiet, is_read) {
            (true, _) => Use::Quiet,
            (false, true) => Use::Mixed,
            (false, false) => Use::Filled,
        }
    }

    /// Delays the commit owner as pressure asks, and waits while memtables are full. Fails if they are full because
    /// flushing fails.
    pub(crate) fn pace(&self, bytes: usize) -> Result<()> {
        let mut waited = Duration::ZERO;
        if self.ingests.is_gated() {
            let start = self.world.clock.monotonic();
            self.ingests.wait_at_gate();
            waited += self.world.clock.monotonic().saturating_sub(start);
        }
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
            let frozen = self.metrics.frozen_bytes.get();
            // A single memtable is nobody's fault: it is not flushed before it is full.
            let used = if frozen == 0 { 0 } else { frozen + self.metrics.memtable_bytes.get() };
            let delay = self.pacer.delay(bytes, used, self.options.memtables_bytes_max() as u64);
            if delay > Duration::ZERO {
                self.metrics.delayed(delay);
                self.world.clock.sleep(delay);
            }
        }
        Ok(())
    }

    /// Delays an ingest of `bytes` into `keyspace` as pressure asks, and waits while its level 0 is full: many small ones
    /// that overlap would fill it without limit. A merge that fails ends the wait, as commits go on then too. Nothing may
    /// be held.
    pub(crate) fn pace_ingest(&self, keyspace: &KeyspaceInner, bytes: u64) -> Result<()> {
        if !self.has_threads() {
            return Ok(());
        }
        // More than a memtable brings no more files to merge than that.
        let bytes = bytes.min(self.options.memtable_bytes() as u64) as usize;
        let delay = self.pacer.delay(bytes, 0, self.options.memtables_bytes_max() as u64);
        if delay > Duration::ZERO {
            self.metrics.delayed(delay);
            self.background.sleep(delay);
        }
        let is_full = || {
            let level0 = keyspace.view_guard().levels.0.first().map_or(0, Vec::len);
            keyspace.meta.strategy == StrategyKind::Leveled && level0 as u64 >= FULL_LEVEL0
        };
        if !is_full() {
            return Ok(());
        }
        self.metrics.stalls.add(1);
        self.background.wake();
        let errors = self.metrics.background_errors.get();
        while is_full() && self.metrics.background_errors.get() == errors {
            self.check_writable()?;
            keyspace.check_live()?;
            self.background.sleep(STALL_POLL);
            self.metrics.stall_us.add(STALL_POLL.as_micros() as u64);
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
            pacer.owed_ns.store(0, Ordering::Relaxed);
            pacer.delay(1 << 10, 0, 1 << 20)
        };
        assert_eq!(delay(FREE_LEVEL0), Duration::ZERO);
        let delays: Vec<_> = (FREE_LEVEL0..FULL_LEVEL0 + 10).map(delay).collect();
        assert!(delays.is_sorted());
        assert_eq!(delays.last(), Some(&Duration::from_nanos(DELAY_NS_PER_KIB_MAX)));
        // 40 KiB owe 40 ms: no small commit sleeps long, and those after it pay for a while only.
        let slept: Vec<_> = std::iter::repeat_n(40 << 10, 10)
            .chain(std::iter::repeat_n(0, 100))
            .map(|bytes| pacer.delay(bytes, 0, 1 << 20))
            .collect();
        assert!(slept.iter().all(|&delay| delay <= SLEEP_MAX));
        assert_eq!(slept.iter().sum::<Duration>(), OWED_MAX + 9 * SLEEP_MAX);
        // 1 MiB would owe a second.
        assert_eq!(pacer.delay(1 << 20, 0, 1 << 20), Duration::from_nanos(102_400_000));
    }

    /// Groups of a megabyte slept for 4 ms each, whatever was in memory: they filled it, and then all writers stopped.
    #[test]
    fn writers_of_any_group_size_meet_the_speed_of_flushing_before_memory_is_full() {
        let limit = 160u64 << 20;
        for (group, flushed_per_second) in
            [(200, 30), (4 << 10, 30), (64 << 10, 40), (1 << 20, 25), (1 << 20, 60), (4 << 20, 60)]
        {
            let pacer = Pacer::default();
            // What a group itself takes, in nanoseconds: 500 MiB a second come as fast as they can.
            let own_ns = group * 1_000_000_000 / (500 << 20);
            let (mut used, mut slept_max) = (limit / 2, Duration::ZERO);
            let (mut now, mut written) = (0, 0);
            while now < 10_000_000_000 {
                let delay = pacer.delay(group as usize, used, limit);
                slept_max = slept_max.max(delay);
                let passed = own_ns + delay.as_nanos() as u64;
                let flushed =
                    (u128::from(passed) * (flushed_per_second << 20) / 1_000_000_000) as u64;
                used = (used + group).saturating_sub(flushed);
                (now, written) = (now + passed, written + group);
                assert!(used < limit, "{group} bytes a group, {flushed_per_second} MiB/s flushed");
            }
            // No slower than flushing either.
            assert!(u128::from(written) >= 10 * (flushed_per_second << 20), "{written} of {group}");
            assert!(group > 40 << 10 || slept_max <= SLEEP_MAX);
        }
    }

    #[test]
    fn memory_that_fills_up_slows_writers_before_it_is_full() {
        let limit = 100 << 20;
        let delays: Vec<_> = (0..=110).map(|percent| memory_delay(percent << 20, limit)).collect();
        assert!(delays.is_sorted());
        assert_eq!(delays[FREE_MEMORY_PERCENT as usize], 0);
        // At three quarters about 16 MiB a second pass, at the limit 1.
        assert!((30_000..100_000).contains(&delays[75]), "{}", delays[75]);
        assert_eq!(delays[100], DELAY_NS_PER_KIB_MAX);
        assert_eq!(delays[110], DELAY_NS_PER_KIB_MAX);
    }

    #[test]
    fn the_rate_is_that_of_the_last_window() {
        let pacer = Pacer::default();
        let rate = |ms, wal_bytes, operations, reads| {
            pacer.rate(Seen { at: Duration::from_millis(ms), wal_bytes, operations, reads })
        };
        assert_eq!(rate(1000, 5000, 100, 6), (5000, false));
        assert_eq!(rate(1050, 9000, 100, 100), (5000, false), "too soon to tell");
        assert_eq!(rate(1200, 9000, 200, 13), (20_000, true));
        assert_eq!(rate(1300, 9000, 200, 13), (0, false));
        assert_eq!(rate(1400, 9000, 200, 14), (0, true));
    }

    #[test]
    fn what_is_owed_goes_with_the_pressure() {
        let pacer = Pacer::default();
        pacer.set_level0(FREE_LEVEL0 + 1);
        assert_eq!(pacer.delay(10, 0, 1 << 20), Duration::ZERO);
        assert!(pacer.owed_ns.load(Ordering::Relaxed) > 0);
        pacer.set_level0(0);
        assert_eq!(pacer.delay(10, 0, 1 << 20), Duration::ZERO);
        assert_eq!(pacer.owed_ns.load(Ordering::Relaxed), 0);
    }
}
