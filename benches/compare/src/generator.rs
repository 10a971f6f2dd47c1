//! Keys and values from numbers: the same for every engine and every run of a seed, and checkable without keeping them.
//! Called by the workloads for every operation, so it must not allocate; it must never depend on anything but its
//! arguments.
//!
//! A key is `user` and 16 hexadecimal digits. Entry `index` of those that are loaded has the number `4 * index`, so that
//! key order is index order; `4 * index + 1` is never written; entries inserted later take the other two places, in
//! scattered order. A value names its index and version, goes on with random bytes and ends, half of it, in spaces.

use crate::engine::Key;

/// The part of a value that says what it is: index and version, 8 bytes each.
pub const VALUE_BYTES_MIN: usize = 16;

/// A small generator of numbers (splitmix64); fast, and good enough for choosing keys.
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Numbers {
        Numbers(seed)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// The next number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// The next number from 0 to 1, without 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A scattered order of `0..len`: each number once.
#[derive(Clone, Debug)]
pub struct Permutation {
    len: u64,
    half_bits: u32,
    seed: u64,
}

impl Permutation {
    /// An order of `0..len` that depends on `seed`.
    pub fn new(len: u64, seed: u64) -> Permutation {
        let bits = 64 - len.max(2).saturating_sub(1).leading_zeros();
        Permutation { len: len.max(1), half_bits: bits.div_ceil(2), seed }
    }

    /// The number at `position`, which is below the length.
    pub fn at(&self, position: u64) -> u64 {
        // A Feistel network permutes a power of four that is at least the length; numbers beyond it go round again.
        let mut number = position;
        loop {
            number = self.round_trip(number);
            if number < self.len {
                return number;
            }
        }
    }

    fn round_trip(&self, number: u64) -> u64 {
        let mask = (1_u64 << self.half_bits) - 1;
        let (mut left, mut right) = (number >> self.half_bits, number & mask);
        for round in 0..4 {
            let next = left ^ (mix(right ^ self.seed.rotate_left(round * 16)) & mask);
            (left, right) = (right, next);
        }
        (left << self.half_bits) | right
    }
}

/// The entries of one measurement.
#[derive(Clone, Debug)]
pub struct Entries {
    keys: u64,
    value_bytes: usize,
    seed: u64,
    order: Permutation,
}

impl Entries {
    /// `keys` entries to be loaded, with values of `value_bytes` (at least [`VALUE_BYTES_MIN`]).
    pub fn new(keys: u64, value_bytes: usize, seed: u64) -> Entries {
        assert!(value_bytes >= VALUE_BYTES_MIN, "the command line checks the size");
        Entries { keys, value_bytes, seed, order: Permutation::new(keys, seed ^ 0x5eed) }
    }

    /// How many are loaded.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// The bytes of one entry, key and value.
    pub fn entry_bytes(&self) -> u64 {
        (size_of::<Key>() + self.value_bytes) as u64
    }

    /// The index at `position` of a scattered order of all that are loaded.
    pub fn scattered(&self, position: u64) -> u64 {
        self.order.at(position % self.keys)
    }

    /// The key of an entry: loaded if the index is below the number of keys, inserted later otherwise.
    pub fn key(&self, index: u64) -> Key {
        if index < self.keys {
            return key_of_number(4 * index);
        }
        let (cycle, place) = ((index - self.keys) / self.keys, (index - self.keys) % self.keys);
        key_of_number(4 * self.order.at(place) + 2 + (cycle & 1))
    }

    /// How many entries can be inserted before keys repeat.
    pub fn inserts_max(&self) -> u64 {
        2 * self.keys
    }

    /// A key beside that of `index` that is never written.
    pub fn missing_key(&self, index: u64) -> Key {
        key_of_number(4 * index + 1)
    }

    /// Makes `value` the value of an entry.
    pub fn value(&self, index: u64, version: u64, value: &mut Vec<u8>) {
        value.clear();
        value.extend_from_slice(&index.to_le_bytes());
        value.extend_from_slice(&version.to_le_bytes());
        let mut words = self.words(index, version);
        let random_end = self.random_end();
        while value.len() < random_end {
            let word = words.next().to_le_bytes();
            let len = word.len().min(random_end - value.len());
            value.extend_from_slice(&word[..len]);
        }
        value.resize(self.value_bytes, b' ');
    }

    /// Whether `value` is one that `key` had in some version.
    pub fn is_valid(&self, key: &[u8], value: &[u8]) -> bool {
        if value.len() != self.value_bytes {
            return false;
        }
        let (Some((index, rest)), random_end) = (value.split_first_chunk(), self.random_end())
        else {
            return false;
        };
        let Some((version, _)) = rest.split_first_chunk() else { return false };
        let (index, version) = (u64::from_le_bytes(*index), u64::from_le_bytes(*version));
        if index / 3 >= self.keys || key != self.key(index) {
            return false;
        }
        let mut words = self.words(index, version);
        let (random, spaces) = value[VALUE_BYTES_MIN..].split_at(random_end - VALUE_BYTES_MIN);
        // Every byte is looked at, eight at a time and without a branch: what it takes to check a value counts as time
        // of the engine.
        is_all(random, || words.next()) && is_all(spaces, || u64::from_le_bytes([b' '; 8]))
    }

    /// The index and version that a value names; zeros if it is too short.
    pub fn said(value: &[u8]) -> (u64, u64) {
        let number = |place| value.get(place..place + 8)?.try_into().ok().map(u64::from_le_bytes);
        (number(0).unwrap_or(0), number(8).unwrap_or(0))
    }

    fn words(&self, index: u64, version: u64) -> Numbers {
        Numbers::new(mix(self.seed ^ mix(index ^ version.rotate_left(40))))
    }

    /// Where the random bytes of a value end and the compressible half begins.
    fn random_end(&self) -> usize {
        (self.value_bytes / 2).max(VALUE_BYTES_MIN)
    }
}

/// Whether `bytes` are the words that `next` gives, the last one cut where they end.
#[inline]
fn is_all(bytes: &[u8], mut next: impl FnMut() -> u64) -> bool {
    let (whole, rest) = bytes.as_chunks::<8>();
    let mut different = 0;
    for chunk in whole {
        different |= u64::from_le_bytes(*chunk) ^ next();
    }
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let kept = u64::MAX >> (64 - 8 * rest.len());
        different |= u64::from_le_bytes(last) ^ (next() & kept);
    }
    different == 0
}

fn key_of_number(number: u64) -> Key {
    let mut key = *b"user0000000000000000";
    key[4..12].copy_from_slice(&digits((number >> 32) as u32));
    key[12..].copy_from_slice(&digits(number as u32));
    key
}

/// The eight hexadecimal digits of a number, all at once.
fn digits(number: u32) -> [u8; 8] {
    let mut spread = u64::from(number);
    spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff;
    spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    spread = (spread | spread << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = ((spread + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (spread + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn permutation_has_every_number_once() {
        for len in [1, 2, 3, 4, 5, 100, 1000, 4096, 4097] {
            let order = Permutation::new(len, 7);
            let seen: BTreeSet<u64> = (0..len).map(|position| order.at(position)).collect();
            assert_eq!(seen.len() as u64, len);
            assert!(seen.iter().all(|number| *number < len));
        }
    }

    #[test]
    fn loaded_keys_are_in_index_order_and_no_two_keys_are_equal() {
        let entries = Entries::new(500, 100, 1);
        let loaded: Vec<Key> = (0..500).map(|index| entries.key(index)).collect();
        assert!(loaded.is_sorted());
        let mut all: BTreeSet<Key> =
            (0..500 + entries.inserts_max()).map(|i| entries.key(i)).collect();
        assert_eq!(all.len(), 1500);
        all.extend((0..500).map(|index| entries.missing_key(index)));
        assert_eq!(all.len(), 2000);
    }

    #[test]
    fn keys_are_numbers_in_hexadecimal() {
        for number in [0, 9, 10, 0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321, u64::MAX] {
            assert_eq!(key_of_number(number)[..], *format!("user{number:016x}").as_bytes());
        }
    }

    #[test]
    fn values_are_valid_for_their_key_alone() {
        for value_bytes in [16, 17, 33, 100, 1024] {
            let entries = Entries::new(50, value_bytes, 3);
            let mut value = Vec::new();
            entries.value(9, 4, &mut value);
            assert_eq!(value.len(), value_bytes);
            assert!(entries.is_valid(&entries.key(9), &value));
            assert!(!entries.is_valid(&entries.key(8), &value));
            assert!(!entries.is_valid(&entries.key(9), &value[..value_bytes - 1]));
            assert!(!entries.is_valid(&entries.key(9), &[]));
            for place in [0, value_bytes / 2, value_bytes - 1] {
                let mut wrong = value.clone();
                wrong[place] ^= 1;
                let version_alone = value_bytes <= 17 && (8..16).contains(&place);
                assert!(version_alone || !entries.is_valid(&entries.key(9), &wrong), "{place}");
            }
        }
    }

    #[test]
    fn a_seed_decides_the_values() {
        let (mut one, mut other, mut again) = (Vec::new(), Vec::new(), Vec::new());
        Entries::new(50, 100, 1).value(3, 0, &mut one);
        Entries::new(50, 100, 2).value(3, 0, &mut other);
        Entries::new(50, 100, 1).value(3, 0, &mut again);
        assert_ne!(one, other);
        assert_eq!(one, again);
    }
}
