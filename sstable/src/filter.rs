//! Filters: which user keys are certainly not in a file.
//!
//! The writer builds one over the hashes of the user keys, the reader asks it before it touches index or data. A
//! filter may say "perhaps" for a key that is absent, never "no" for one that is present.
//!
//! Kind 1 is the `bloomfilter` crate's filter as that crate serialises it (version, length, number of probes, seed,
//! bits); its input is the 8 little-endian bytes of the key hash.
//!
//! Kind 2 keeps all probes of a key within one 64-byte line, so that a lookup costs one cache miss:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | kind, 2 |
//! | 1 | 1 | probes a key, 1 to 16 |
//! | 2 | 64 n | n lines of 512 bits, n at least 1; bit b of a line is bit `b % 8` of byte `b / 8` |
//!
//! With h the key hash: the line is the high half of the 128-bit product `h * n`. With g = h * 0x9E3779B97F4A7C15
//! (mod 2^64), probe i is bit `g >> 55` of the line, after which g becomes g * 0x9E3779B97F4A7C15.

use std::hash::{Hash, Hasher};

use bloomfilter::Bloom;
use xxhash_rust::xxh3::xxh3_64;

use crate::format::{Defect, FILTER_BLOCKED, FILTER_BLOOM};

const LINE_LEN: usize = 64;
const PROBES_MAX: u32 = 16;
const BLOCKED_HEADER_LEN: usize = 2;
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
/// The seed is fixed: filters of equal keys are equal, and nobody gains by making false positives.
const BLOOM_SEED: [u8; 32] = *b"esker sstable filter kind 1 seed";

/// Which filter a writer builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterKind {
    /// The `bloomfilter` crate's: fewest false positives for its size, several cache misses a lookup.
    Bloom,
    /// One cache line a lookup, a few more false positives.
    Blocked,
}

/// The hash of a user key that every filter takes. Computed once for a read of many files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(u64);

impl Hash for KeyHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Bytes in a fixed order, so that the filter means the same on every machine.
        state.write(&self.0.to_le_bytes());
    }
}

/// Hashes a user key for [`crate::Reader::get_hashed`] and [`crate::Reader::may_contain_hash`].
pub fn key_hash(user_key: &[u8]) -> KeyHash {
    KeyHash(xxh3_64(user_key))
}

/// The filter section's content over `hashes` (not empty) with about `bits_per_key` (at least 1) bits a key.
pub(crate) fn build(kind: FilterKind, hashes: &[KeyHash], bits_per_key: u32) -> Vec<u8> {
    let bit_count = hashes.len().saturating_mul(bits_per_key as usize);
    match kind {
        FilterKind::Bloom => {
            let mut bloom = Bloom::new_with_seed(bit_count.div_ceil(8), hashes.len(), &BLOOM_SEED)
                .expect("the crate has no failing path for a positive size");
            hashes.iter().for_each(|hash| bloom.set(hash));
            let mut out = vec![FILTER_BLOOM];
            out.extend_from_slice(bloom.as_slice());
            out
        }
        FilterKind::Blocked => {
            let line_count = bit_count.div_ceil(8 * LINE_LEN);
            // The optimum of ln 2 probes a bit; crowding within lines makes slightly fewer better.
            let probes = (bits_per_key * 6 / 10).clamp(1, PROBES_MAX);
            let mut out = vec![0; BLOCKED_HEADER_LEN + line_count * LINE_LEN];
            out[0] = FILTER_BLOCKED;
            out[1] = probes as u8;
            for hash in hashes {
                let start = BLOCKED_HEADER_LEN + line_of(*hash, line_count) * LINE_LEN;
                let line = &mut out[start..start + LINE_LEN];
                for bit in probe_bits(*hash, probes) {
                    line[bit / 8] |= 1 << (bit % 8);
                }
            }
            out
        }
    }
}

fn line_of(hash: KeyHash, line_count: usize) -> usize {
    ((u128::from(hash.0) * line_count as u128) >> 64) as usize
}

/// The powers of the constant: what the hash is multiplied by for each probe.
const FACTORS: [u64; PROBES_MAX as usize] = {
    let mut factors = [GOLDEN; PROBES_MAX as usize];
    let mut at = 1;
    while at < factors.len() {
        factors[at] = factors[at - 1].wrapping_mul(GOLDEN);
        at += 1;
    }
    factors
};

fn probe_bits(hash: KeyHash, probes: u32) -> impl Iterator<Item = usize> {
    let mut state = hash.0;
    (0..probes).map(move |_| {
        state = state.wrapping_mul(GOLDEN);
        (state >> 55) as usize
    })
}

/// A filter in memory.
pub(crate) enum Filter {
    Bloom(Box<Bloom<KeyHash>>),
    Blocked { probes: u32, lines: Vec<Line> },
}

/// One cache line of a blocked filter.
#[derive(Clone)]
#[repr(align(64))]
pub(crate) struct Line([u64; LINE_LEN / 8]);

impl Filter {
    /// Reads a filter section's content. `None` if its kind is one that only later versions know.
    pub fn decode(content: &[u8]) -> Result<Option<Filter>, Defect> {
        const BAD: Defect = Defect::Damaged("the filter is malformed");
        match content.split_first() {
            Some((&FILTER_BLOOM, bytes)) => {
                let bloom = Bloom::from_slice(bytes).map_err(|_| BAD)?;
                // The crate divides by the length and loops over the probes unchecked.
                if bloom.len() < 8 || bloom.number_of_hash_functions() > 1024 {
                    return Err(BAD);
                }
                Ok(Some(Filter::Bloom(Box::new(bloom))))
            }
            Some((&FILTER_BLOCKED, [probes, bytes @ ..])) => {
                let (chunks, rest) = bytes.as_chunks::<LINE_LEN>();
                let probes = u32::from(*probes);
                if chunks.is_empty() || !rest.is_empty() || !(1..=PROBES_MAX).contains(&probes) {
                    return Err(BAD);
                }
                let word = |chunk: &[u8; LINE_LEN], at: usize| crate::format::u64_at(chunk, 8 * at);
                let lines = chunks
                    .iter()
                    .map(|chunk| Line(std::array::from_fn(|at| word(chunk, at))))
                    .collect();
                Ok(Some(Filter::Blocked { probes, lines }))
            }
            Some((&FILTER_BLOCKED, _)) | None => Err(BAD),
            Some(_) => Ok(None),
        }
    }

    #[inline]
    pub fn may_contain(&self, hash: KeyHash) -> bool {
        if hash.0.is_multiple_of(16) && esker_base::mutant!("sstable_filter_false_negative") {
            return false;
        }
        match self {
            Filter::Bloom(bloom) => bloom.check(&hash),
            Filter::Blocked { probes, lines } => {
                let line = &lines[line_of(hash, lines.len())];
                // All probes without a branch: which one is the first to deny cannot be foreseen.
                let mut all = 1;
                for factor in &FACTORS[..*probes as usize] {
                    let bit = (hash.0.wrapping_mul(*factor) >> 55) as usize;
                    all &= line.0[bit / 64] >> (bit % 64);
                }
                all == 1
            }
        }
    }

    /// Asks for the memory that [`Filter::may_contain`] will look at.
    #[inline]
    pub fn prefetch(&self, hash: KeyHash) {
        if let Filter::Blocked { lines, .. } = self {
            crate::prefetch::line(&lines[line_of(hash, lines.len())]);
        }
    }

    pub fn memory_bytes(&self) -> usize {
        match self {
            Filter::Bloom(bloom) => bloom.as_slice().len(),
            Filter::Blocked { lines, .. } => lines.len() * LINE_LEN,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn members_always_pass_and_strangers_rarely() {
        for kind in [FilterKind::Bloom, FilterKind::Blocked] {
            for count in [1usize, 2, 7, 100, 20_000] {
                let hash = |n: usize| key_hash(format!("key{n}").as_bytes());
                let hashes: Vec<_> = (0..count).map(hash).collect();
                let filter = Filter::decode(&build(kind, &hashes, 10)).unwrap().unwrap();
                assert!(hashes.iter().all(|&hash| filter.may_contain(hash)));
                if count >= 20_000 {
                    let wrong = (count..2 * count).filter(|&n| filter.may_contain(hash(n))).count();
                    let percent = wrong as f64 / count as f64 * 100.0;
                    assert!(percent < 1.5, "{kind:?}: {percent}% false positives");
                }
            }
        }
    }

    #[test]
    fn bytes_that_are_no_filter_are_refused_and_later_kinds_bypassed() {
        for content in [&[][..], &[1], &[1; 46], &[2], &[2, 6], &[2, 0, 0], &[2, 6, 1, 2, 3]] {
            assert!(Filter::decode(content).is_err(), "{content:?}");
        }
        assert!(Filter::decode(&[3, 1, 2]).unwrap().is_none());
        // Whole lines, but no or too many probes, or bytes behind the last line.
        let lines = |probes: u8, len: usize| [&[2, probes][..], &vec![7; len]].concat();
        assert!(Filter::decode(&lines(PROBES_MAX as u8, LINE_LEN)).is_ok());
        for (probes, len) in
            [(0, LINE_LEN), (PROBES_MAX as u8 + 1, LINE_LEN), (255, LINE_LEN), (6, LINE_LEN + 1)]
        {
            assert!(Filter::decode(&lines(probes, len)).is_err(), "{probes} {len}");
        }
        // A bloom filter of no bits, and one that would be probed four thousand million times.
        let good = build(FilterKind::Bloom, &[key_hash(b"a")], 10);
        let mut empty = good[..46].to_vec();
        empty[2..10].fill(0);
        assert!(Filter::decode(&empty).is_err());
        let mut endless = good.clone();
        endless[10..14].fill(0xff);
        assert!(Filter::decode(&endless).is_err());
        for content in [good, lines(6, LINE_LEN)] {
            let bytes = Filter::decode(&content).unwrap().unwrap().memory_bytes();
            assert!((2..=content.len()).contains(&bytes), "{bytes}");
        }
    }

    #[test]
    fn a_filter_is_pinned_bit_by_bit() {
        let blocked = build(FilterKind::Blocked, &[key_hash(b"a")], 10);
        let crc = esker_base::checksum::plain(&blocked);
        let bloom = build(FilterKind::Bloom, &[key_hash(b"a"), key_hash(b"b")], 10);
        let crcs = (crc, esker_base::checksum::plain(&bloom));
        assert_eq!(crcs, (0x1118_7466, 0x3983_ce6f), "{crcs:08x?}");
    }
}
