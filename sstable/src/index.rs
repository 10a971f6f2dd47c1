//! The index: which block may hold a key.
//!
//! Built by the writer, decoded whole by the reader when a file is opened; the bytes are specified in `format.rs`.
//! In memory, a search looks at 8-byte numbers (the separators' bytes after their common prefix) and touches real keys
//! only where those are equal. The numbers stand in groups of [`GROUP_LEN`], each beside the places of its blocks: a
//! search goes over the groups' last numbers, which are few and stay near, and then waits once for one group.

use std::cmp::Ordering;
use std::sync::atomic::{AtomicU64, Ordering as Memory};

use esker_base::{key, varint};

use crate::block::common_prefix_len;
use crate::format::{BlockHandle, Defect, HEADER_LEN, LZ4_EXPANSION_MAX, u64_at};
use crate::prefetch;

const MALFORMED: Defect = Defect::Damaged("the index is malformed");

/// Collects the index while data blocks are written.
#[derive(Default)]
pub(crate) struct IndexBuilder {
    content: Vec<u8>,
    last_user_key: Vec<u8>,
    separator_bytes: u64,
}

impl IndexBuilder {
    /// Adds the next block, whose last internal key is `last`; `next` is the first of the following block.
    pub fn add(&mut self, last: &[u8], next: Option<&[u8]>, stored_len: u32) {
        let last_user_key = key::user_key(last);
        let (separator, trailer) = match next.map(key::user_key) {
            Some(next) if next == last_user_key => {
                (last_user_key.to_vec(), u64_at(last, last.len() - 8))
            }
            Some(next) => (shortest_between(last_user_key, next), 0),
            None => (last_user_key.to_vec(), 0),
        };
        let shared = common_prefix_len(&self.last_user_key, &separator);
        varint::encode(shared as u64, &mut self.content);
        varint::encode((separator.len() - shared) as u64, &mut self.content);
        self.content.extend_from_slice(&trailer.to_le_bytes());
        varint::encode(u64::from(stored_len), &mut self.content);
        self.content.extend_from_slice(&separator[shared..]);
        self.separator_bytes += (separator.len() + key::TRAILER_LEN) as u64;
        self.last_user_key = separator;
    }

    /// Bytes of all separators, as a reader will hold them; must stay below 4 GiB.
    pub fn separator_bytes(&self) -> u64 {
        self.separator_bytes
    }

    pub fn len(&self) -> usize {
        self.content.len()
    }

    pub fn finish(self) -> Vec<u8> {
        self.content
    }
}

/// The shortest byte string s with `a <= s < b`, where a < b.
fn shortest_between(a: &[u8], b: &[u8]) -> Vec<u8> {
    let common = common_prefix_len(a, b);
    // One byte past the common part, raised by one, if that stays below b.
    if let (Some(&low), Some(&high)) = (a.get(common), b.get(common))
        && (low + 1 < high || b.len() > common + 1)
        && a.len() > common + 1
    {
        let mut out = a[..=common].to_vec();
        out[common] = low + 1;
        return out;
    }
    a.to_vec()
}

/// Blocks of one group.
const GROUP_LEN: usize = 16;
/// Where the state of a block starts in its place; below it is the offset.
const STATE_SHIFT: u32 = 48;
const OFFSET_MAX: u64 = (1 << STATE_SHIFT) - 1;

/// The decoded index of one file.
pub(crate) struct Index {
    /// The last head of each group.
    tops: Vec<u64>,
    groups: Vec<Group>,
    /// What all separators' user keys start with.
    prefix: Vec<u8>,
    /// The separators as internal keys, one after the other.
    keys: Vec<u8>,
    /// Where each separator ends in `keys`.
    key_ends: Vec<u32>,
}

/// What a search needs of some blocks in a row. The slot after the last block's holds the end of all blocks.
#[repr(align(64))]
struct Group {
    /// The first bytes of each separator's user key after `prefix`, padded with zeros, as big-endian numbers; the
    /// largest number in slots without a block.
    heads: [u64; GROUP_LEN],
    /// Where each block starts in the file; above it 16 bits that belong to the reader (see [`Index::state`]).
    places: [AtomicU64; GROUP_LEN],
}

impl Index {
    /// Decodes an index section's content; the blocks must end at `blocks_end`.
    pub fn decode(mut content: &[u8], blocks_end: u64) -> Result<Index, Defect> {
        let mut keys = Vec::new();
        let mut key_ends: Vec<u32> = Vec::new();
        let mut offsets = vec![HEADER_LEN as u64];
        let mut user_key: Vec<u8> = Vec::new();
        let mut prefix: Option<Vec<u8>> = None;
        let mut end = HEADER_LEN as u64;
        while !content.is_empty() {
            let shared = decode_len(&mut content)?;
            let unshared = decode_len(&mut content)?;
            let (trailer, rest) = content.split_first_chunk::<8>().ok_or(MALFORMED)?;
            content = rest;
            let stored_len = varint::decode(&mut content).ok_or(MALFORMED)?;
            let (suffix, rest) = content.split_at_checked(unshared).ok_or(MALFORMED)?;
            content = rest;
            if shared > user_key.len() || shared + unshared > esker_base::limits::KEY_LEN_MAX {
                return Err(MALFORMED);
            }
            user_key.truncate(shared);
            user_key.extend_from_slice(suffix);
            end = end.checked_add(stored_len).ok_or(MALFORMED)?;
            // A separator is no longer than its block once decompressed: this bounds what prefixes can expand to.
            let separator_max = stored_len.saturating_mul(LZ4_EXPANSION_MAX as u64);
            if stored_len > u64::from(u32::MAX)
                || end > blocks_end
                || end > OFFSET_MAX
                || user_key.len() as u64 > separator_max
            {
                return Err(MALFORMED);
            }
            offsets.push(end);
            keys.extend_from_slice(&user_key);
            keys.extend_from_slice(trailer);
            key_ends.push(u32::try_from(keys.len()).map_err(|_| MALFORMED)?);
            match &mut prefix {
                Some(prefix) => prefix.truncate(common_prefix_len(prefix, &user_key)),
                None => prefix = Some(user_key.clone()),
            }
        }
        if key_ends.is_empty() || end != blocks_end {
            return Err(MALFORMED);
        }
        let prefix = prefix.unwrap_or_default();
        let mut index = Index { tops: Vec::new(), groups: Vec::new(), prefix, keys, key_ends };
        index.groups = offsets
            .chunks(GROUP_LEN)
            .enumerate()
            .map(|(group, offsets)| Group {
                heads: std::array::from_fn(|at| index.decoded_head(group * GROUP_LEN + at)),
                places: std::array::from_fn(|at| {
                    AtomicU64::new(offsets.get(at).copied().unwrap_or(end))
                }),
            })
            .collect();
        index.tops = index.groups.iter().map(|group| group.heads[GROUP_LEN - 1]).collect();
        for at in 1..index.block_count() {
            if key::compare(index.separator(at - 1), index.separator(at)) != Ordering::Less {
                return Err(Defect::Damaged("the index is out of order"));
            }
        }
        Ok(index)
    }

    pub fn block_count(&self) -> usize {
        self.key_ends.len()
    }

    /// The separator after block `at`, an internal key whose trailer may be 0.
    pub fn separator(&self, at: usize) -> &[u8] {
        let start = if at == 0 { 0 } else { self.key_ends[at - 1] as usize };
        &self.keys[start..self.key_ends[at] as usize]
    }

    /// The head of block `at`'s separator; the largest number past the end.
    fn decoded_head(&self, at: usize) -> u64 {
        if at >= self.block_count() {
            return u64::MAX;
        }
        head(&key::user_key(self.separator(at))[self.prefix.len()..])
    }

    fn place(&self, at: usize) -> &AtomicU64 {
        &self.groups[at / GROUP_LEN].places[at % GROUP_LEN]
    }

    fn head_of(&self, at: usize) -> u64 {
        self.groups[at / GROUP_LEN].heads[at % GROUP_LEN]
    }

    pub fn handle(&self, at: usize) -> BlockHandle {
        let offset = |at| self.place(at).load(Memory::Relaxed) & OFFSET_MAX;
        let (start, end) = (offset(at), offset(at + 1));
        BlockHandle { offset: start, len: (end - start) as u32 }
    }

    /// What the reader noted of block `at`; 0 at first.
    pub fn state(&self, at: usize) -> u16 {
        (self.place(at).load(Memory::Relaxed) >> STATE_SHIFT) as u16
    }

    /// Notes something of block `at`. Of two threads that do so at once, one wins.
    pub fn set_state(&self, at: usize, state: u16) {
        let place = self.place(at);
        let offset = place.load(Memory::Relaxed) & OFFSET_MAX;
        place.store(offset | u64::from(state) << STATE_SHIFT, Memory::Relaxed);
    }

    /// The first block that may hold an entry at or after (`user_key`, `trailer`); `None` past the end.
    pub fn find(&self, user_key: &[u8], trailer: u64) -> Option<usize> {
        let Some(rest) = user_key.strip_prefix(&self.prefix[..]) else {
            // Without the common prefix the key is before every separator or after all of them.
            return (user_key < &self.prefix[..]).then_some(0);
        };
        let wanted = head(rest);
        let group_at = self.tops.partition_point(|&top| top < wanted);
        let group = self.groups.get(group_at)?;
        // The lines of a group: two of heads, two of places.
        prefetch::line(&group.heads[GROUP_LEN / 2]);
        prefetch::line(&group.places[0]);
        prefetch::line(&group.places[GROUP_LEN / 2]);
        let before: usize = group.heads.iter().map(|&head| usize::from(head < wanted)).sum();
        let low = group_at * GROUP_LEN + before;
        if low >= self.block_count() {
            return None;
        }
        // Most heads are unlike their neighbours.
        if group.heads[before] > wanted {
            return Some(low);
        }
        let mut high = low + 1;
        while high < self.block_count() && self.head_of(high) == wanted {
            // In growing steps: many may be alike.
            high = (low + 2 * (high - low)).min(self.block_count());
        }
        let ties_end = partition_point(low, high, |at| self.head_of(at) == wanted);
        let at = partition_point(low, ties_end, |at| {
            let (key, end) =
                self.separator(at).split_last_chunk::<8>().expect("8 bytes of trailer");
            match key[self.prefix.len()..].cmp(rest) {
                Ordering::Less => true,
                Ordering::Equal => u64::from_le_bytes(*end) > trailer,
                Ordering::Greater => false,
            }
        });
        let at = at + usize::from(esker_base::mutant!("sstable_index_off_by_one"));
        (at < self.block_count()).then_some(at)
    }

    pub fn memory_bytes(&self) -> usize {
        self.tops.len() * 8
            + self.groups.len() * size_of::<Group>()
            + self.key_ends.len() * 4
            + self.keys.len()
    }
}

fn partition_point(mut low: usize, mut high: usize, before: impl Fn(usize) -> bool) -> usize {
    while low < high {
        let middle = low.midpoint(high);
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

fn head(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            u64::from_be_bytes(padded)
        }
    }
}

fn decode_len(input: &mut &[u8]) -> Result<usize, Defect> {
    let len = varint::decode(input).ok_or(MALFORMED)?;
    // No key is longer; so sums of two lengths cannot overflow.
    usize::try_from(len).ok().filter(|&len| len <= esker_base::limits::KEY_LEN_MAX).ok_or(MALFORMED)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use esker_base::{EntryKind, SeqNo};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_shortest_separator_separates(a: Vec<u8>, b: Vec<u8>, common: Vec<u8>) {
            let (a, b) = ([&common[..], &a].concat(), [&common[..], &b].concat());
            let (a, b) = if a < b { (a, b) } else { (b, a) };
            if a != b {
                let between = shortest_between(&a, &b);
                prop_assert!(a <= between && between < b);
                prop_assert!(between.len() <= a.len());
            }
        }

        #[test]
        fn a_search_finds_the_first_block_that_may_hold_the_key(
            keys in prop::collection::btree_set((prop::collection::vec(0u8..3, 0..12), 0u64..4), 1..60),
            prefix in "[a-c]{0,10}",
            probes in prop::collection::vec((prop::collection::vec(0u8..3, 0..12), 0u64..5), 1..40),
        ) {
            let full = |key: &[u8]| [prefix.as_bytes(), key].concat();
            let mut keys: Vec<_> = keys
                .iter()
                .map(|(k, seq)| key::encode(&full(k), SeqNo(*seq), EntryKind::Put))
                .collect();
            keys.sort_by(|a, b| key::compare(a, b));
            let mut builder = IndexBuilder::default();
            for (at, last) in keys.iter().enumerate() {
                builder.add(last, keys.get(at + 1).map(|key| &key[..]), 10);
            }
            let index = Index::decode(&builder.finish(), 48 + 10 * keys.len() as u64).unwrap();
            for (k, seq) in probes {
                for k in [full(&k), k] {
                    let target = key::seek_key(&k, SeqNo(seq));
                    let want = (0..keys.len())
                        .find(|&at| key::compare(index.separator(at), &target).is_ge());
                    prop_assert_eq!(index.find(&k, seq << 8 | 0xff), want);
                    // The block before holds nothing at or after the target.
                    if let Some(at) = want && at > 0 {
                        prop_assert!(key::compare(&keys[at - 1], &target).is_lt());
                    }
                }
            }
        }
    }
}
