//! The key ranges of a keyspace's files as numbers, so that a point read finds its files without looking at their keys.
//!
//! Built with each view (`view.rs`), which asks here and compares whole keys only where the numbers are alike. All keys
//! of a keyspace tend to start alike, so the numbers are taken from behind what all bounds share.

use std::cmp::Ordering;

/// The first bytes of both ends of each file's range, level by level.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    /// What every bound starts with.
    prefix: Vec<u8>,
    levels: Vec<Vec<(u64, u64)>>,
}

/// A key as far as [`Bounds`] sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Head {
    /// The first bytes after the prefix.
    Number(u64),
    /// Before every bound.
    Before,
    /// After every bound.
    After,
}

/// Whether a key lies in a file's range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Within,
    Outside,
    /// The whole keys have to be compared.
    Unclear,
}

impl Bounds {
    /// The bounds of files whose smallest and largest user keys these are.
    pub(crate) fn of(levels: &[Vec<[Vec<u8>; 2]>]) -> Bounds {
        let mut keys = levels.iter().flatten().flatten();
        let mut prefix = keys.next().cloned().unwrap_or_default();
        for key in keys {
            let shared = prefix.iter().zip(key).take_while(|(a, b)| a == b).count();
            prefix.truncate(shared);
        }
        let number = |key: &Vec<u8>| number(&key[prefix.len()..]);
        let range = |[smallest, largest]: &[Vec<u8>; 2]| (number(smallest), number(largest));
        let levels = levels.iter().map(|level| level.iter().map(range).collect()).collect();
        Bounds { levels, prefix }
    }

    /// What the other functions take for a key.
    pub(crate) fn head(&self, user_key: &[u8]) -> Head {
        match user_key.strip_prefix(&self.prefix[..]) {
            Some(rest) => Head::Number(number(rest)),
            None if user_key < &self.prefix[..] => Head::Before,
            None => Head::After,
        }
    }

    /// Where a key lies by the range of file `at` of `level`.
    #[inline]
    pub(crate) fn of_file(&self, level: usize, at: usize, head: Head) -> Place {
        let Head::Number(head) = head else { return Place::Outside };
        let (smallest, largest) = self.levels[level][at];
        match (head.cmp(&smallest), head.cmp(&largest)) {
            (Ordering::Less, _) | (_, Ordering::Greater) => Place::Outside,
            (Ordering::Greater, Ordering::Less) => Place::Within,
            _ => Place::Unclear,
        }
    }

    /// The first file of a sorted level that does not certainly end before a key.
    #[inline]
    pub(crate) fn first_ending_at(&self, level: usize, head: Head) -> usize {
        let files = &self.levels[level];
        match head {
            Head::Number(head) => files.partition_point(|&(_, largest)| largest < head),
            Head::Before => 0,
            Head::After => files.len(),
        }
    }

    /// Whether file `at` may still end before the key.
    #[inline]
    pub(crate) fn may_end_before(&self, level: usize, at: usize, head: Head) -> bool {
        matches!(head, Head::Number(head) if self.levels[level][at].1 == head)
    }
}

/// The first 8 bytes as a number that orders as they do; shorter keys as if zeros followed.
fn number(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = bytes.len().min(8);
    first[..len].copy_from_slice(&bytes[..len]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_never_contradict_the_keys(
            prefix in "[a-b]{0,3}",
            mut ends in prop::collection::vec(prop::collection::vec(0u8..2, 0..11), 2..20),
            keys in prop::collection::vec((any::<bool>(), prop::collection::vec(0u8..2, 0..11)), 1..40),
        ) {
            ends.sort();
            let with_prefix = |key: &[u8]| [prefix.as_bytes(), key].concat();
            // Disjoint ranges in order; those of equal ends are of one key.
            let ranges: Vec<[Vec<u8>; 2]> = ends
                .chunks_exact(2)
                .map(|ends| [with_prefix(&ends[0]), with_prefix(&ends[1])])
                .collect();
            let bounds = Bounds::of(std::slice::from_ref(&ranges));
            for (prefixed, key) in keys {
                let key = if prefixed { with_prefix(&key) } else { key };
                let head = bounds.head(&key);
                for (at, [smallest, largest]) in ranges.iter().enumerate() {
                    let within = smallest <= &key && &key <= largest;
                    match bounds.of_file(0, at, head) {
                        Place::Within => prop_assert!(within),
                        Place::Outside => prop_assert!(!within),
                        Place::Unclear => {}
                    }
                }
                let mut at = bounds.first_ending_at(0, head);
                prop_assert!(ranges[..at].iter().all(|[_, largest]| largest < &key));
                while at < ranges.len() && bounds.may_end_before(0, at, head) && ranges[at][1] < key {
                    at += 1;
                }
                let first = ranges.iter().position(|[_, largest]| largest >= &key);
                prop_assert_eq!(first.unwrap_or(ranges.len()), at);
            }
        }
    }
}
