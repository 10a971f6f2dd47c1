//! Fetching more than was asked for, where a mapped file is not in memory yet.
//!
//! Called by `stored.rs` for blocks that this reader has not looked at before: behind a restart each of them would
//! otherwise be a request of its own to the device. A request of [`CHUNK_LEN`] bytes takes about twice the time of one
//! for a block, so if all of it is wasted, a read takes twice as long and no more; larger ones follow once it is likely
//! that most of the file will be needed. Where memory is short it is worse than
//! waste, because it drives out what is needed: what was fetched and is gone again before it was looked at, or what was
//! looked at and is gone, stops it for a while. Nothing here reads; it only says what to ask for.

use std::ops::Range;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

/// What is fetched together at first, aligned to its own length; a multiple of any page's.
const CHUNK_LEN: u64 = 64 * 1024;
/// As many chunks are fetched together once a file was read in [`STARTS`] places.
const CHUNKS_MAX: u64 = 4;
/// Who has read so many places of a file will read more of it.
const STARTS: u32 = 16;

/// Which chunks of one file were fetched.
pub(crate) struct Fetched {
    chunks: Box<[AtomicU64]>,
    count: AtomicU32,
    /// The first and the end of the chunks that were asked for last, 32 bits each: they may be on their way still.
    latest: AtomicU64,
}

impl Fetched {
    /// Nothing of a file of `len` bytes, which exists.
    pub fn new(len: u64) -> Fetched {
        let words = len.div_ceil(CHUNK_LEN).div_ceil(64);
        let chunks = (0..words).map(|_| AtomicU64::new(0)).collect();
        Fetched { chunks, count: AtomicU32::new(0), latest: AtomicU64::new(0) }
    }

    /// What to fetch for `bytes` of the file, as a range that holds them, if one of the chunks that they touch was not
    /// fetched yet. All in it count as fetched from now on.
    pub fn fetch(&self, bytes: &Range<u64>) -> Option<Range<u64>> {
        let touched = bytes.start / CHUNK_LEN..bytes.end.div_ceil(CHUNK_LEN);
        if touched.clone().all(|chunk| self.is_fetched(chunk)) {
            return None;
        }
        let count = self.count.load(Ordering::Relaxed);
        self.count.store(count.saturating_add(1), Ordering::Relaxed);
        let unit = if count < STARTS { 1 } else { CHUNKS_MAX };
        let chunks = touched.start - touched.start % unit..touched.end.next_multiple_of(unit);
        for chunk in chunks.clone() {
            if let Some(word) = self.chunks.get((chunk / 64) as usize) {
                word.fetch_or(1 << (chunk % 64), Ordering::Relaxed);
            }
        }
        // Beyond 256 TiB this is wrong, and does no harm.
        self.latest.store(chunks.start << 32 | chunks.end & 0xffff_ffff, Ordering::Relaxed);
        Some(chunks.start * CHUNK_LEN..chunks.end * CHUNK_LEN)
    }

    /// Whether `bytes` are among what was asked for last, so that it means nothing if they are not in memory yet.
    pub fn is_latest(&self, bytes: &Range<u64>) -> bool {
        let latest = self.latest.load(Ordering::Relaxed);
        let chunks = latest >> 32..latest & 0xffff_ffff;
        chunks.start <= bytes.start / CHUNK_LEN && bytes.end.div_ceil(CHUNK_LEN) <= chunks.end
    }

    fn is_fetched(&self, chunk: u64) -> bool {
        let word = self.chunks.get((chunk / 64) as usize);
        word.is_none_or(|word| word.load(Ordering::Relaxed) & 1 << (chunk % 64) != 0)
    }
}

/// As much as a chunk that was lost takes.
const LOSS: i32 = 8;
/// The most that chunks that were fetched give.
const CREDIT_MAX: i32 = 64;
/// How many blocks are fetched alone once the credit is used up.
const PAUSE: i32 = 4096;

/// Whether fetching ahead pays, for all files of a database together: while less than one chunk in [`LOSS`] is lost.
pub(crate) struct Payoff {
    /// Below 0: how many blocks are still to be fetched alone.
    credit: AtomicI32,
}

impl Payoff {
    pub fn new() -> Payoff {
        Payoff { credit: AtomicI32::new(CREDIT_MAX) }
    }

    /// Whether to fetch a chunk for the next block. Counts, so it is asked once for each.
    pub fn pays(&self) -> bool {
        let credit = self.credit.load(Ordering::Relaxed);
        // What another thread does meanwhile may get lost: this is an estimate.
        match credit {
            0.. => return true,
            -1 => self.credit.store(CREDIT_MAX, Ordering::Relaxed),
            _ => self.credit.store(credit + 1, Ordering::Relaxed),
        }
        false
    }

    /// A chunk was fetched.
    pub fn fetched(&self) {
        let credit = self.credit.load(Ordering::Relaxed);
        if (0..CREDIT_MAX).contains(&credit) {
            self.credit.store(credit + 1, Ordering::Relaxed);
        }
    }

    /// What was fetched with a chunk left memory before it was looked at.
    pub fn lost(&self) {
        let credit = self.credit.load(Ordering::Relaxed);
        if credit >= 0 {
            let left = credit - LOSS;
            self.credit.store(if left < 0 { -PAUSE } else { left }, Ordering::Relaxed);
        }
    }

    /// A block that was looked at has left memory.
    pub fn is_short(&self) {
        self.credit.store(-PAUSE, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn what_is_read_is_fetched_once_and_in_larger_parts_later(
            reads in prop::collection::vec((0..40 * CHUNK_LEN, 1..3 * CHUNK_LEN), 1..60),
        ) {
            let len = 43 * CHUNK_LEN;
            let fetched = Fetched::new(len);
            let mut known = BTreeSet::new();
            let mut count = 0;
            for (start, read_len) in reads {
                let bytes = start..(start + read_len).min(len);
                let mut touched = start / CHUNK_LEN..=(bytes.end - 1) / CHUNK_LEN;
                let is_new = touched.any(|chunk| !known.contains(&chunk));
                let range = fetched.fetch(&bytes);
                prop_assert_eq!(range.is_some(), is_new);
                if let Some(range) = range {
                    prop_assert!(range.start <= bytes.start && bytes.end <= range.end);
                    let unit = if count < STARTS { CHUNK_LEN } else { CHUNK_LEN * CHUNKS_MAX };
                    prop_assert!(range.start % unit == 0 && range.end % unit == 0);
                    prop_assert!(range.end - range.start < bytes.end - bytes.start + 2 * unit);
                    prop_assert!(fetched.is_latest(&bytes));
                    prop_assert!(!fetched.is_latest(&(range.start..range.end + 1)));
                    known.extend(range.start / CHUNK_LEN..range.end / CHUNK_LEN);
                    count += 1;
                }
            }
        }
    }

    #[test]
    fn rare_losses_are_borne_and_frequent_ones_stop_it_for_a_while() {
        let payoff = Payoff::new();
        for at in 0..10_000 {
            assert!(payoff.pays(), "after {at}");
            payoff.fetched();
            if at % 10 == 0 {
                payoff.lost();
            }
        }
        let mut count = 0;
        while payoff.pays() {
            payoff.fetched();
            payoff.lost();
            count += 1;
        }
        assert!(count <= 2 * CREDIT_MAX / LOSS, "{count}");
        // The first refusal was counted above.
        assert_eq!((1..).take_while(|_| !payoff.pays()).count() as i32, PAUSE - 1);
        payoff.is_short();
        assert!(!payoff.pays());
    }
}
