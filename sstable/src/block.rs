//! Reading one data block in place: parsing entries and the point search.
//!
//! Called by the reader (point reads) and by the block cursor. Every length is checked against the block, because a
//! matching checksum does not prove that a sane program wrote the bytes. Nothing here allocates.

use std::cmp::Ordering;
use std::ops::Range;

use esker_base::{EntryKind, varint};

use crate::format::{BLOCK_CONTENT_MAX, Compression, Defect, LZ4_EXPANSION_MAX, u32_at};
use crate::value_file::ValuePointer;

const MALFORMED: Defect = Defect::Damaged("a data block is malformed");
const BAD_PIECE: Defect = Defect::Damaged("a piece of a data block's values is malformed");

/// A data block's content, taken apart into its areas.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a> {
    layout: &'a Layout,
    restarts: &'a [u8],
    /// Everything of the entries but their values; entry offsets count from here.
    pub keys: &'a [u8],
    /// The rest: the values one after the other, or packed in pieces.
    stored: &'a [u8],
}

/// Where the areas of a block stand in its content, and how its numbers are read; kept by cursors, which own the bytes
/// beside it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Layout {
    keys_start: usize,
    keys_end: usize,
    /// Whether offsets take 4 bytes instead of 2.
    wide: bool,
    /// Bytes of an entry's trailer.
    trailer_len: usize,
    /// Those bits of a number that are in so many bytes.
    trailer_mask: u64,
    /// What every trailer is counted from.
    trailer_base: u64,
    /// How many pieces the values are packed in; 0 if they are not.
    piece_count: usize,
    /// The length of all values, unpacked.
    values_len: usize,
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

/// Where an entry starts in the key area, and its value among the values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub key: usize,
    pub value: usize,
}

/// What the point search found: the newest visible version of the key.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub trailer: u64,
    /// Where the value stands among the values.
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

/// Some values in a row, stored together.
#[derive(Clone, Debug)]
pub(crate) struct Piece<'a> {
    /// What it holds of the values.
    pub values: Range<usize>,
    /// Its bytes; packed unless they are as many as the values.
    pub stored: &'a [u8],
    /// What stands behind it.
    pub behind: &'a [u8],
}

impl Piece<'_> {
    /// Whether the values stand there as they are.
    pub fn is_plain(&self) -> bool {
        self.stored.len() == self.values.len()
    }
}

/// Bytes before the first number of a block.
const FIXED_LEN: usize = 10;
const TRAILER_LEN_MAX: usize = 8;

impl Layout {
    /// Reads the front of `content`, whose values are packed or not.
    pub fn parse(content: &[u8], compression: Compression) -> Result<Layout, Defect> {
        let Some(([offset_len, trailer_len, base @ ..], _)) =
            content.split_first_chunk::<FIXED_LEN>()
        else {
            return Err(MALFORMED);
        };
        let (wide, trailer_len) = match (*offset_len, usize::from(*trailer_len)) {
            (2, len @ 0..=TRAILER_LEN_MAX) => (false, len),
            (4, len @ 0..=TRAILER_LEN_MAX) => (true, len),
            _ => return Err(MALFORMED),
        };
        let offset_len = if wide { 4 } else { 2 };
        let restarts_start = FIXED_LEN + 2 * offset_len;
        let Some(numbers) = content.get(FIXED_LEN..restarts_start) else { return Err(MALFORMED) };
        let (restart_count, keys_len) = (number(numbers, wide, 0), number(numbers, wide, 1));
        let restarts_len = restart_count.checked_mul(2 * offset_len).ok_or(MALFORMED)?;
        let keys_start = restarts_len.checked_add(restarts_start).ok_or(MALFORMED)?;
        let keys_end = keys_start.checked_add(keys_len).ok_or(MALFORMED)?;
        if restart_count == 0 || keys_len == 0 || keys_end > content.len() {
            return Err(MALFORMED);
        }
        let mut layout = Layout {
            keys_start,
            keys_end,
            wide,
            trailer_len,
            trailer_mask: if trailer_len == 8 { u64::MAX } else { (1 << (8 * trailer_len)) - 1 },
            trailer_base: u64::from_le_bytes(*base),
            piece_count: 0,
            values_len: content.len() - keys_end,
        };
        if compression == Compression::Lz4 {
            layout.parse_pieces(&content[keys_end..])?;
        }
        Ok(layout)
    }

    /// As [`Layout::parse`], and held against the length that the block's trailer claims. The first restart has to be the
    /// first entry: what stands before it would be found by no search.
    pub fn checked(
        content: &[u8],
        compression: Compression,
        unpacked_len: usize,
    ) -> Result<Layout, Defect> {
        let layout = Layout::parse(content, compression)?;
        if layout.of(content).restart(0) != Position::default() {
            return Err(MALFORMED);
        }
        if layout.unpacked_len() == unpacked_len { Ok(layout) } else { Err(BAD_PIECE) }
    }

    /// Reads the number of pieces and what the last of them says.
    fn parse_pieces(&mut self, stored: &[u8]) -> Result<(), Defect> {
        let offset_len = self.offset_len();
        let Some(count) = stored.get(..offset_len) else { return Err(MALFORMED) };
        let count = number(count, self.wide, 0);
        let table_len = count.checked_mul(2 * offset_len).ok_or(MALFORMED)?;
        let Some(table) = stored[offset_len..].get(..table_len) else { return Err(MALFORMED) };
        if count == 0 {
            return Err(MALFORMED);
        }
        let pieces_len = stored.len() - offset_len - table_len;
        if number(table, self.wide, 2 * count - 1) != pieces_len {
            return Err(MALFORMED);
        }
        self.piece_count = count;
        self.values_len = number(table, self.wide, 2 * count - 2);
        Ok(())
    }

    #[inline]
    fn offset_len(&self) -> usize {
        if self.wide { 4 } else { 2 }
    }

    /// Whether the values are packed.
    #[inline]
    pub fn is_packed(&self) -> bool {
        self.piece_count > 0
    }

    /// The length of the content with its values unpacked.
    pub fn unpacked_len(&self) -> usize {
        self.keys_end + self.values_len
    }

    /// The block of these parts; `content` is what the layout was parsed from.
    #[inline]
    pub fn of<'a>(&'a self, content: &'a [u8]) -> Block<'a> {
        let (front, stored) = content.split_at(self.keys_end);
        let (front, keys) = front.split_at(self.keys_start);
        let restarts_start = (FIXED_LEN + 2 * self.offset_len()).min(front.len());
        Block { layout: self, restarts: &front[restarts_start..], keys, stored }
    }
}

/// Number `at` of some in a row.
#[inline(always)]
fn number(bytes: &[u8], wide: bool, at: usize) -> usize {
    match wide {
        false => usize::from(u16::from_le_bytes([bytes[2 * at], bytes[2 * at + 1]])),
        true => u32_at(bytes, 4 * at) as usize,
    }
}

impl<'a> Block<'a> {
    /// Where restart `index` (below the count) starts.
    #[inline]
    pub fn restart(&self, index: usize) -> Position {
        let number = |at| number(self.restarts, self.layout.wide, at);
        Position { key: number(2 * index), value: number(2 * index + 1) }
    }

    pub fn restart_count(&self) -> usize {
        self.restarts.len() / (2 * self.layout.offset_len())
    }

    /// The length of all values, unpacked.
    #[inline]
    pub fn values_len(&self) -> usize {
        self.layout.values_len
    }

    /// The values; only of a block that is not packed.
    #[inline]
    pub fn plain_values(&self) -> &'a [u8] {
        self.stored
    }

    pub fn piece_count(&self) -> usize {
        self.layout.piece_count
    }

    /// The table of the pieces, and the pieces.
    #[inline]
    fn pieces(&self) -> (&'a [u8], &'a [u8]) {
        let offset_len = self.layout.offset_len();
        self.stored[offset_len..].split_at(2 * offset_len * self.layout.piece_count)
    }

    /// Piece `at`, which is below the count.
    #[inline]
    pub fn piece(&self, at: usize) -> Result<Piece<'a>, Defect> {
        let (table, pieces) = self.pieces();
        let number = |at| number(table, self.layout.wide, at);
        let (end, stored_end) = (number(2 * at), number(2 * at + 1));
        let (start, stored_start) = match at {
            0 => (0, 0),
            at => (number(2 * at - 2), number(2 * at - 1)),
        };
        let stored = pieces.get(stored_start..stored_end).ok_or(BAD_PIECE)?;
        // This bounds the memory that a lie about a length can ask for.
        let len_max = stored.len().saturating_mul(LZ4_EXPANSION_MAX).min(BLOCK_CONTENT_MAX);
        if start >= end || end > self.values_len() || end - start > len_max {
            return Err(BAD_PIECE);
        }
        Ok(Piece { values: start..end, stored, behind: &pieces[stored_end..] })
    }

    /// The piece that holds a value, which is not empty.
    #[inline]
    pub fn piece_of(&self, value: &Range<usize>) -> Result<Piece<'a>, Defect> {
        let (table, _) = self.pieces();
        let (mut low, mut high) = (0, self.layout.piece_count - 1);
        while low < high {
            let middle = low.midpoint(high);
            let end = number(table, self.layout.wide, 2 * middle);
            if end < value.end { low = middle + 1 } else { high = middle }
        }
        let piece = self.piece(low)?;
        if piece.values.start <= value.start && value.end <= piece.values.end {
            Ok(piece)
        } else {
            Err(BAD_PIECE)
        }
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
        let suffix_at = trailer_at + self.layout.trailer_len;
        // A length below 2^64 may leave the address space.
        let end = suffix_at.checked_add(unshared).ok_or(MALFORMED)?;
        if end > self.keys.len() {
            return Err(MALFORMED);
        }
        Ok(RawEntry {
            shared,
            suffix: suffix_at..end,
            trailer: self.trailer(trailer_at),
            value_len,
        })
    }

    /// The trailer that is stored at `at`, where its bytes are within the keys.
    #[inline]
    fn trailer(&self, at: usize) -> u64 {
        let Layout { trailer_len, trailer_mask, trailer_base, .. } = *self.layout;
        let more = match self.keys[at..].first_chunk::<8>() {
            Some(chunk) => u64::from_le_bytes(*chunk) & trailer_mask,
            None => {
                let mut padded = [0; 8];
                padded[..trailer_len].copy_from_slice(&self.keys[at..at + trailer_len]);
                u64::from_le_bytes(padded)
            }
        };
        trailer_base.wrapping_add(more)
    }

    /// The place of a value among the values.
    #[inline]
    pub fn value_range(&self, start: usize, len: usize) -> Result<Range<usize>, Defect> {
        let end = start.checked_add(len).filter(|&end| end <= self.values_len());
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
    fn a_first_restart_that_is_not_the_first_entry_is_refused() {
        let keys = [[0, 0, 0], [0, 1, b'a'], [0, 0, 0]].concat();
        for (restart, is_sound) in
            [([0, 0, 0, 0], true), ([3, 0, 0, 0], false), ([0, 0, 1, 0], false)]
        {
            let fixed = [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, keys.len() as u8, 0];
            let content = [&fixed[..], &restart, &keys, b"value"].concat();
            let layout = Layout::checked(&content, Compression::None, content.len());
            assert_eq!(layout.is_ok(), is_sound, "{restart:?}");
        }
    }

    #[test]
    fn lengths_that_leave_the_block_are_refused() {
        let block = |lens: &[u8]| {
            let keys = [lens, &[0; 8]].concat();
            let fixed = [2, 8, 0, 0, 0, 0, 0, 0, 0, 0];
            [&fixed[..], &[1, 0, keys.len() as u8, 0, 0, 0, 0, 0], &keys].concat()
        };
        let searched = |content: &[u8]| {
            let layout = Layout::parse(content, Compression::None)?;
            layout.of(content).search(b"", u64::MAX)
        };
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
        for content in [&[][..], &[0; 10], &[2; 10], &[2; 13], &[4; 30], &[0xff; 24]] {
            assert!(searched(content).is_err());
        }
    }
}
