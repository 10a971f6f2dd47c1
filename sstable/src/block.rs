//! Reading one data block in place: parsing entries and the point search.
//!
//! Called by the reader (point reads) and by the block cursor. Every length is checked against the block, because a
//! matching checksum does not prove that a sane program wrote the bytes. Nothing here allocates.

use std::ops::Range;

use esker_base::{EntryKind, varint};

use crate::format::{Defect, u32_at, u64_at};

const MALFORMED: Defect = Defect::Damaged("a data block is malformed");

/// A data block's content, taken apart as far as its restart offsets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a> {
    content: &'a [u8],
    layout: Layout,
}

/// Where the parts of a block stand; kept by cursors, which own the bytes beside it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    /// Where the entries end and the restart offsets begin.
    pub entries_end: usize,
    pub restart_count: usize,
}

/// An entry as it stands in the block. Ranges index the content.
#[derive(Clone, Debug)]
pub(crate) struct RawEntry {
    pub shared: usize,
    pub suffix: Range<usize>,
    pub trailer: u64,
    pub value: Range<usize>,
}

/// What the point search found: the newest visible version of the key.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub trailer: u64,
    pub value: Range<usize>,
}

impl Layout {
    /// Reads the restart count at the end of `content`.
    pub fn parse(content: &[u8]) -> Result<Layout, Defect> {
        let restarts_end = content.len().checked_sub(4).ok_or(MALFORMED)?;
        let restart_count = u32_at(content, restarts_end) as usize;
        let restarts_len = restart_count.checked_mul(4).ok_or(MALFORMED)?;
        let entries_end = restarts_end.checked_sub(restarts_len).ok_or(MALFORMED)?;
        if restart_count == 0 || entries_end == 0 {
            return Err(MALFORMED);
        }
        Ok(Layout { entries_end, restart_count })
    }

    /// The block of these parts; `content` is what the layout was parsed from.
    pub fn of(self, content: &[u8]) -> Block<'_> {
        Block { content, layout: self }
    }
}

impl<'a> Block<'a> {
    pub fn parse(content: &'a [u8]) -> Result<Block<'a>, Defect> {
        Ok(Block { content, layout: Layout::parse(content)? })
    }

    /// Where restart `index` (below the count) starts.
    pub fn restart(&self, index: usize) -> usize {
        u32_at(self.content, self.layout.entries_end + 4 * index) as usize
    }

    pub fn restart_count(&self) -> usize {
        self.layout.restart_count
    }

    pub fn entries_end(&self) -> usize {
        self.layout.entries_end
    }

    /// The entry at `offset`, which lies before the end of the entries.
    pub fn entry(&self, offset: usize) -> Result<RawEntry, Defect> {
        let entries = &self.content[..self.layout.entries_end];
        let rest = entries.get(offset..).ok_or(MALFORMED)?;
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
        let suffix_at = trailer_at + 8;
        // Lengths are below 2^64 each and may add up to more than the address space.
        let value_at = suffix_at.checked_add(unshared).ok_or(MALFORMED)?;
        let end = value_at.checked_add(value_len).ok_or(MALFORMED)?;
        if end > entries.len() {
            return Err(MALFORMED);
        }
        let trailer = u64_at(entries, trailer_at);
        Ok(RawEntry { shared, suffix: suffix_at..value_at, trailer, value: value_at..end })
    }

    /// The last restart for which `before(user key, trailer)` holds; 0 if it holds for none.
    pub fn last_restart_where(
        &self,
        mut before: impl FnMut(&[u8], u64) -> bool,
    ) -> Result<usize, Defect> {
        let (mut low, mut high) = (0, self.layout.restart_count);
        // Invariant: restart `low` (if above 0) is before the target, restart `high` (if it exists) is not.
        while high - low > 1 {
            let middle = low.midpoint(high);
            let entry = self.entry(self.restart(middle))?;
            if entry.shared != 0 {
                return Err(MALFORMED);
            }
            if before(&self.content[entry.suffix], entry.trailer) {
                low = middle;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The first version of `user_key` with a trailer of at most `trailer_max`.
    ///
    /// The linear part never builds a key: `matched` is how many bytes the entry before has in common with the
    /// target, and because entries ascend and share as much as they can, an entry that shares more than that is
    /// still before the target, and one that shares less is past it.
    pub fn search(&self, user_key: &[u8], trailer_max: u64) -> Result<Option<Hit>, Defect> {
        let restart =
            self.last_restart_where(|key, trailer| match compare_keys(key, user_key) {
                std::cmp::Ordering::Less => true,
                std::cmp::Ordering::Equal => trailer > trailer_max,
                std::cmp::Ordering::Greater => false,
            })?;
        let mut offset = self.restart(restart);
        let mut next_restart = restart + 1;
        let mut boundary = self.boundary(next_restart);
        let mut matched = 0;
        while offset < self.layout.entries_end {
            if offset >= boundary {
                matched = 0;
                next_restart += 1;
                boundary = self.boundary(next_restart);
            }
            let entry = self.entry(offset)?;
            offset = entry.value.end;
            if entry.shared > matched {
                continue;
            }
            if entry.shared < matched {
                return Ok(None);
            }
            let suffix = &self.content[entry.suffix];
            let wanted = &user_key[matched..];
            let common = common_prefix_len(suffix, wanted);
            matched += common;
            match (suffix.get(common), wanted.get(common)) {
                (None, None) if entry.trailer <= trailer_max => {
                    return Ok(Some(Hit { trailer: entry.trailer, value: entry.value }));
                }
                // A version too new, or a key that is a prefix of the target.
                (None, _) => {}
                (Some(_), None) => return Ok(None),
                (Some(here), Some(there)) => {
                    if here > there {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(None)
    }

    fn boundary(&self, restart: usize) -> usize {
        if restart < self.layout.restart_count { self.restart(restart) } else { usize::MAX }
    }
}

fn compare_keys(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    a.cmp(b)
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
pub(crate) fn kind_of(trailer: u64) -> Result<EntryKind, Defect> {
    match EntryKind::try_from(trailer as u8) {
        Ok(kind @ (EntryKind::Put | EntryKind::Delete)) => Ok(kind),
        Ok(_) => Err(Defect::Unsupported("holds an entry of a kind that this build does not know")),
        Err(_) => Err(Defect::Damaged("an entry's kind is not a kind")),
    }
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
        // One entry that claims a value of 2^63 bytes, then one restart.
        let mut content = vec![0, 0];
        varint::encode(1 << 63, &mut content);
        content.extend_from_slice(&[0; 8]);
        content.extend_from_slice(&[0, 0, 0, 0, 1, 0, 0, 0]);
        let block = Block::parse(&content).unwrap_or_else(|_| panic!("the frame is sound"));
        assert!(block.entry(0).is_err());
        assert!(block.search(b"", u64::MAX).is_err());
        for content in [&[][..], &[0; 4], &[0, 0, 0, 0, 1, 0, 0, 0], &[0xff; 12]] {
            assert!(Block::parse(content).is_err());
        }
    }
}
