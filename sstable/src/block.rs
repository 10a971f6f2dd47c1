//! Reading one data block in place: parsing entries and the point search.
//!
//! Called by the reader (point reads) and by the block cursor. Every length is checked against the block, because a
//! matching checksum does not prove that a sane program wrote the bytes. Nothing here allocates.

use std::cmp::Ordering;
use std::ops::Range;

use esker_base::key::TRAILER_LEN;
use esker_base::{EntryKind, varint};

use crate::format::{Defect, u32_at, u64_at};
use crate::value_file::ValuePointer;

const MALFORMED: Defect = Defect::Damaged("a data block is malformed");

/// A data block's content, taken apart into its areas.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a> {
    restarts: &'a [u8],
    /// Everything of the entries but their values; entry offsets count from here.
    pub keys: &'a [u8],
    /// The values, one after the other; value offsets count from here.
    pub values: &'a [u8],
}

/// Where the areas of a block stand in its content; kept by cursors, which own the bytes beside it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    pub keys_start: usize,
    pub keys_end: usize,
}

/// An entry as it stands in the block.
#[derive(Clone, Debug)]
pub(crate) struct RawEntry {
    pub shared: usize,
    /// The rest of the user key, in the key area. The next entry starts at its end.
    pub suffix: Range<usize>,
    pub trailer: u64,
    pub value_len: usize,
}

/// Where an entry starts in the key area, and its value in the value area.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub key: usize,
    pub value: usize,
}

/// What the point search found: the newest visible version of the key.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub trailer: u64,
    /// Where the value stands in the value area.
    pub value: Range<usize>,
}

/// An entry that a search ended on.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub at: Position,
    pub entry: RawEntry,
    /// Whether it is a version of the key that was looked for.
    pub is_version: bool,
}

const RESTART_LEN: usize = 8;

impl Layout {
    /// What [`Layout::parse`] looks at.
    pub const HEADER_LEN: usize = 8;

    /// Reads the header at the front of `content`.
    pub fn parse(content: &[u8]) -> Result<Layout, Defect> {
        if content.len() < Layout::HEADER_LEN {
            return Err(MALFORMED);
        }
        let (restart_count, keys_len) = (u32_at(content, 0) as usize, u32_at(content, 4) as usize);
        let restarts_len = restart_count.checked_mul(RESTART_LEN).ok_or(MALFORMED)?;
        let keys_start = restarts_len.checked_add(Layout::HEADER_LEN).ok_or(MALFORMED)?;
        let keys_end = keys_start.checked_add(keys_len).ok_or(MALFORMED)?;
        if restart_count == 0 || keys_len == 0 || keys_end > content.len() {
            return Err(MALFORMED);
        }
        Ok(Layout { keys_start, keys_end })
    }

    /// The block of these parts; `content` is what the layout was parsed from.
    #[inline]
    pub fn of(self, content: &[u8]) -> Block<'_> {
        let (front, values) = content.split_at(self.keys_end);
        let (front, keys) = front.split_at(self.keys_start);
        Block { restarts: &front[Layout::HEADER_LEN.min(front.len())..], keys, values }
    }
}

impl Block<'_> {
    /// Where restart `index` (below the count) starts.
    #[inline]
    pub fn restart(&self, index: usize) -> Position {
        let at = RESTART_LEN * index;
        let key = u32_at(self.restarts, at) as usize;
        Position { key, value: u32_at(self.restarts, at + 4) as usize }
    }

    pub fn restart_count(&self) -> usize {
        self.restarts.len() / RESTART_LEN
    }

    /// The entry at `offset` of the key area; an error also if that is not before its end.
    #[inline]
    pub fn entry(&self, offset: usize) -> Result<RawEntry, Defect> {
        let rest = self.keys.get(offset..).ok_or(MALFORMED)?;
        let (shared, unshared, value_len, header_len) = match *rest {
            // Almost every length fits a byte.
            [shared, unshared, value_len, ..] if (shared | unshared | value_len) < 0x80 => {
                (shared as usize, unshared as usize, value_len as usize, 3)
            }
            _ => {
                let mut input = rest;
                let mut next = || {
                    let value = varint::decode(&mut input).ok_or(MALFORMED)?;
                    usize::try_from(value).map_err(|_| MALFORMED)
                };
                let lens = (next()?, next()?, next()?);
                (lens.0, lens.1, lens.2, rest.len() - input.len())
            }
        };
        let trailer_at = offset + header_len;
        let suffix_at = trailer_at + TRAILER_LEN;
        // A length below 2^64 may leave the address space.
        let end = suffix_at.checked_add(unshared).ok_or(MALFORMED)?;
        if end > self.keys.len() {
            return Err(MALFORMED);
        }
        let trailer = u64_at(self.keys, trailer_at);
        Ok(RawEntry { shared, suffix: suffix_at..end, trailer, value_len })
    }

    /// The place of a value in the value area.
    #[inline]
    pub fn value_range(&self, start: usize, len: usize) -> Result<Range<usize>, Defect> {
        let end = start.checked_add(len).filter(|&end| end <= self.values.len());
        end.map(|end| start..end).ok_or(MALFORMED)
    }

    /// The last restart before (`user_key`, `trailer_max`); the first one if none is.
    pub fn last_restart_before(&self, user_key: &[u8], trailer_max: u64) -> Result<usize, Defect> {
        let (mut low, mut high) = (0, self.restart_count());
        // Invariant: restart `low` (if above 0) is before the target, restart `high` (if it exists) is not.
        while high - low > 1 {
            let middle = low.midpoint(high);
            let entry = self.entry(self.restart(middle).key)?;
            if entry.shared != 0 {
                return Err(MALFORMED);
            }
            let before = match self.keys[entry.suffix].cmp(user_key) {
                Ordering::Less => true,
                Ordering::Equal => entry.trailer > trailer_max,
                Ordering::Greater => false,
            };
            if before { low = middle } else { high = middle }
        }
        Ok(low)
    }

    /// The first version of `user_key` with a trailer of at most `trailer_max`.
    pub fn search(&self, user_key: &[u8], trailer_max: u64) -> Result<Option<Hit>, Defect> {
        match self.seek(user_key, trailer_max)? {
            Some(Place { at, entry, is_version: true }) => {
                let value = self.value_range(at.value, entry.value_len)?;
                Ok(Some(Hit { trailer: entry.trailer, value }))
            }
            _ => Ok(None),
        }
    }

    /// The first entry at or after (`user_key`, `trailer_max`). What it shares with the entry before it, it shares with
    /// `user_key` too.
    ///
    /// The linear part never builds a key: `matched` is how many bytes the entry before has in common with the
    /// target, and because entries ascend and share as much as they can, an entry that shares more than that is
    /// still before the target, and one that shares less is past it.
    #[inline]
    pub fn seek(&self, user_key: &[u8], trailer_max: u64) -> Result<Option<Place>, Defect> {
        let restart = self.last_restart_before(user_key, trailer_max)?;
        let mut at = self.restart(restart);
        // The restart after it, if there is one, is at or after the target; the search ends on it at the latest.
        let boundary = match restart + 1 {
            next if next < self.restart_count() => self.restart(next).key,
            _ => usize::MAX,
        };
        let mut matched = 0;
        while at.key < self.keys.len() {
            let entry = self.entry(at.key)?;
            if at.key == boundary {
                matched = 0;
            }
            let after = Position {
                key: entry.suffix.end,
                value: at.value.checked_add(entry.value_len).ok_or(MALFORMED)?,
            };
            if entry.shared < matched {
                return Ok(Some(Place { at, entry, is_version: false }));
            }
            if entry.shared == matched {
                let suffix = &self.keys[entry.suffix.clone()];
                let wanted = &user_key[matched..];
                let common = common_prefix_len(suffix, wanted);
                let past = match (suffix.get(common), wanted.get(common)) {
                    (None, None) if entry.trailer <= trailer_max => {
                        return Ok(Some(Place { at, entry, is_version: true }));
                    }
                    // A version too new, or a key that is a prefix of the target.
                    (None, _) => false,
                    (Some(_), None) => true,
                    (Some(here), Some(there)) => here > there,
                };
                if past {
                    return Ok(Some(Place { at, entry, is_version: false }));
                }
                matched += common;
            }
            at = after;
        }
        Ok(None)
    }
}

/// How many bytes `a` and `b` have in common at the front.
pub(crate) fn common_prefix_len(a: &[u8], b: &[u8]) -> usize {
    let len = a.len().min(b.len());
    let (a, b) = (&a[..len], &b[..len]);
    let mut at = 0;
    while let (Some(x), Some(y)) = (a[at..].first_chunk::<8>(), b[at..].first_chunk::<8>()) {
        let difference = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if difference != 0 {
            return at + difference.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + a[at..].iter().zip(&b[at..]).take_while(|(x, y)| x == y).count()
}

/// The kind in an entry's trailer, if this build reads it.
#[inline]
pub(crate) fn kind_of(trailer: u64) -> Result<EntryKind, Defect> {
    match EntryKind::try_from(trailer as u8) {
        Ok(kind @ (EntryKind::Put | EntryKind::Delete | EntryKind::ValuePointer)) => Ok(kind),
        Ok(_) => Err(Defect::Unsupported("holds an entry of a kind that this build does not know")),
        Err(_) => Err(Defect::Damaged("an entry's kind is not a kind")),
    }
}

/// Checks that the value of an entry of `kind` is what the kind says.
#[inline]
pub(crate) fn check_value(kind: EntryKind, value: &[u8]) -> Result<(), Defect> {
    if kind == EntryKind::ValuePointer && ValuePointer::decode(value).is_none() {
        return Err(Defect::Damaged("an entry's value pointer is malformed"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_prefixes_are_counted_across_words() {
        for len in 0..40usize {
            let a = vec![7u8; len];
            for differs_at in 0..len {
                let mut b = a.clone();
                b[differs_at] = 8;
                assert_eq!(common_prefix_len(&a, &b), differs_at);
            }
            assert_eq!(common_prefix_len(&a, &[7; 40]), len);
        }
    }

    #[test]
    fn lengths_that_leave_the_block_are_refused() {
        let block = |lens: &[u8]| {
            let keys = [lens, &[0; 8]].concat();
            let restarts = [1, 0, 0, 0, keys.len() as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            [&restarts[..], &keys].concat()
        };
        let searched = |content: &[u8]| Layout::parse(content)?.of(content).search(b"", u64::MAX);
        let huge = |at: usize| {
            let mut lens = Vec::new();
            (0..3).for_each(|n| varint::encode(u64::from(n == at) << 63, &mut lens));
            lens
        };
        assert!(searched(&block(&[0, 0, 0])).is_ok_and(|hit| hit.is_some()));
        assert!(searched(&block(&[0, 0, 1])).is_err(), "a value past the end");
        assert!(searched(&block(&[0, 1, 0])).is_err(), "a key past the end");
        assert!(searched(&block(&huge(1))).is_err());
        assert!(searched(&block(&huge(2))).is_err());
        for content in [&[][..], &[0; 8], &[1, 0, 0, 0, 0, 0, 0, 0], &[0xff; 24]] {
            assert!(searched(content).is_err());
        }
    }
}
