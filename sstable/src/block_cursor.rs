//! A cursor over the entries of one data block, in both directions.
//!
//! Used by the sstable cursor and by verify. Of packed values one piece at a time is unpacked, when the cursor comes
//! to it. Forward it builds each key from the one before. Backward it decodes the restart interval in front of the
//! current entry once and then walks through what it remembers.

use std::ops::Range;

use bytes::Bytes;
use esker_base::{EntryKind, key};

use crate::block::{Block, Layout, Position, check_value, kind_of};
use crate::format::{Compression, Defect, u64_at};
use crate::lz4::{Decoder, SLACK_LEN};
use crate::prefetch;
use crate::value_file::ValuePointer;

/// How far ahead of the current value memory is asked for, in bytes. What comes first behind the values is the next
/// block of the file, so that its front arrives in time too.
const AHEAD_LEN: usize = 768;
/// Cache lines that are asked for with each entry, and where a walk begins.
const LINES_AT_NEXT: usize = 4;
const LINES_AT_SEEK: usize = 8;
/// Cache lines behind a piece (or before it) that are asked for when it is unpacked: about those of the next one.
const LINES_AT_PIECE: usize = 10;

/// A cursor that owns its block. The contract of [`esker_base::Cursor`], with defects for errors.
#[derive(Default)]
pub(crate) struct BlockCursor {
    content: Bytes,
    layout: Layout,
    valid: bool,
    /// Where the current entry starts.
    here: Position,
    /// Where the entry after it starts.
    after: Position,
    /// The current internal key.
    key: Vec<u8>,
    /// Entries before the current one, back to a restart; empty when unknown. The nearest is last.
    before: Vec<Remembered>,
    before_keys: Vec<u8>,
    /// The values of one piece, and which of all they are; of a packed block only.
    piece: Vec<u8>,
    piece_values: Range<usize>,
    /// Up to where [`BlockCursor::look_ahead`] has looked.
    looked: Position,
}

struct Remembered {
    here: Position,
    after: Position,
    /// Where its internal key starts in `before_keys`; it ends where the next one starts.
    key_start: usize,
}

const SHARES_TOO_MUCH: Defect = Defect::Damaged("an entry shares more than its predecessor has");

impl BlockCursor {
    /// Starts over on another block, unpositioned; keeps its buffers.
    pub fn reset(&mut self, content: Bytes, compression: Compression) -> Result<(), Defect> {
        self.clear();
        self.layout = Layout::parse(&content, compression)?;
        self.content = content;
        Ok(())
    }

    /// Leaves the block; invalid until the next reset.
    pub fn clear(&mut self) {
        self.valid = false;
        self.before.clear();
        self.content = Bytes::new();
        self.layout = Layout::default();
        self.piece_values = 0..0;
        self.looked = Position::default();
    }

    #[inline]
    pub fn valid(&self) -> bool {
        self.valid
    }

    #[inline]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    #[inline]
    pub fn value(&self) -> &[u8] {
        let (start, end) = (self.here.value, self.after.value);
        if !self.layout.is_packed() {
            return &self.block().plain_values()[start..end];
        }
        // An empty value is in no piece.
        let before = self.piece_values.start;
        if start == end { &[] } else { &self.piece[start - before..end - before] }
    }

    /// The length of the content with its values unpacked.
    pub fn unpacked_len(&self) -> usize {
        self.layout.unpacked_len()
    }

    pub fn block(&self) -> Block<'_> {
        self.layout.of(&self.content)
    }

    pub fn seek_to_first(&mut self) -> Result<(), Defect> {
        self.before.clear();
        if !self.layout.is_packed() {
            prefetch::front(self.block().plain_values(), LINES_AT_SEEK);
        }
        self.read_restart(0)
    }

    pub fn seek_to_last(&mut self) -> Result<(), Defect> {
        self.before.clear();
        let block = self.block();
        if !self.layout.is_packed() {
            let values = block.plain_values();
            let last_values = values.len().saturating_sub(LINES_AT_SEEK * prefetch::LINE_LEN);
            prefetch::front(&values[last_values..], LINES_AT_SEEK);
        }
        self.here = Position { key: block.keys.len(), value: 0 };
        self.prev()
    }

    pub fn seek(&mut self, target: &[u8]) -> Result<(), Defect> {
        self.valid = false;
        self.before.clear();
        let (user_key, trailer_max) = target.split_at(target.len() - key::TRAILER_LEN);
        let block = self.layout.of(&self.content);
        let Some(place) = block.seek(user_key, u64_at(trailer_max, 0))? else { return Ok(()) };
        if !self.layout.is_packed() {
            let values = block.plain_values().get(place.at.value..);
            prefetch::front(values.unwrap_or_default(), LINES_AT_SEEK);
        }
        // What the entry shares with the one before it, it shares with the target.
        self.key.clear();
        self.key.extend_from_slice(target);
        self.read(place.at)
    }

    #[inline]
    pub fn next(&mut self) -> Result<(), Defect> {
        self.before.clear();
        self.read(self.after)
    }

    pub fn prev(&mut self) -> Result<(), Defect> {
        self.valid = false;
        if self.before.is_empty() {
            self.remember()?;
        }
        let Some(entry) = self.before.pop() else { return Ok(()) };
        self.key.clear();
        self.key.extend_from_slice(&self.before_keys[entry.key_start..]);
        self.before_keys.truncate(entry.key_start);
        self.here = entry.here;
        self.after = entry.after;
        let value = entry.here.value..entry.after.value;
        if self.layout.is_packed() {
            self.reach(&value, false)?;
        } else {
            for line in 0..value.len().div_ceil(prefetch::LINE_LEN).min(LINES_AT_NEXT) {
                let before = AHEAD_LEN + line * prefetch::LINE_LEN;
                let values = self.block().plain_values();
                prefetch::somewhere_behind(values, value.start.wrapping_sub(before));
            }
        }
        let trailer = u64_at(&self.key, self.key.len() - key::TRAILER_LEN);
        check_value(kind_of(trailer)?, self.value())?;
        self.valid = true;
        Ok(())
    }

    /// Unpacks the piece that holds a value, unless it is there.
    #[inline]
    fn reach(&mut self, value: &Range<usize>, forward: bool) -> Result<(), Defect> {
        let held = &self.piece_values;
        if value.is_empty() || (held.start <= value.start && value.end <= held.end) {
            return Ok(());
        }
        self.unpack(value, forward)
    }

    #[inline(never)]
    fn unpack(&mut self, value: &Range<usize>, forward: bool) -> Result<(), Defect> {
        self.piece_values = 0..0;
        let piece = self.layout.of(&self.content).piece_of(value)?;
        for line in 0..LINES_AT_PIECE {
            let distance = line * prefetch::LINE_LEN;
            match forward {
                true => prefetch::somewhere_behind(piece.behind, distance),
                false => {
                    prefetch::somewhere_behind(
                        piece.stored,
                        0usize.wrapping_sub(distance + prefetch::LINE_LEN),
                    );
                }
            }
        }
        let len = piece.values.len();
        if self.piece.len() < len + SLACK_LEN {
            self.piece.resize(len + SLACK_LEN, 0);
        }
        match piece.is_plain() {
            true => self.piece[..len].copy_from_slice(piece.stored),
            false => Decoder::new(piece.stored, len).finish(&mut self.piece)?,
        }
        self.piece_values = piece.values;
        Ok(())
    }

    /// Hands the value pointers among the next `count` entries of the block to `visit`: those behind the current one that
    /// were not looked at before, or with `from_here` the current one and those behind it. How many entries that were.
    /// What is malformed is left to who gets there.
    pub fn look_ahead(
        &mut self,
        count: usize,
        from_here: bool,
        visit: &mut impl FnMut(ValuePointer),
    ) -> usize {
        if !self.valid {
            return 0;
        }
        let block = self.layout.of(&self.content);
        let mut at = match from_here {
            true => self.here,
            false if self.looked.key > self.after.key => self.looked,
            false => self.after,
        };
        let mut seen = 0;
        while seen < count && at.key < block.keys.len() {
            let Ok(entry) = block.entry(at.key) else { break };
            let Ok(value) = block.value_range(at.value, entry.value_len) else { break };
            let next = Position { key: entry.suffix.end, value: value.end };
            if entry.trailer as u8 == EntryKind::ValuePointer as u8 {
                let bytes = match self.layout.is_packed() {
                    false => block.plain_values().get(value),
                    true => {
                        let from = value.start.checked_sub(self.piece_values.start);
                        let is_held = value.end <= self.piece_values.end;
                        let from = from.filter(|_| is_held);
                        from.and_then(|from| self.piece.get(from..from + value.len()))
                    }
                };
                // What is not unpacked yet is looked at when the walk gets there.
                let Some(bytes) = bytes else { break };
                if let Some(pointer) = ValuePointer::decode(bytes) {
                    visit(pointer);
                }
            }
            at = next;
            seen += 1;
        }
        self.looked = at;
        seen
    }

    fn read_restart(&mut self, restart: usize) -> Result<(), Defect> {
        self.key.clear();
        self.read(self.block().restart(restart))
    }

    /// Reads the entry at `at`, whose predecessor's key is in `self.key` (cleared at a restart); invalid at the end.
    #[inline]
    fn read(&mut self, at: Position) -> Result<(), Defect> {
        self.valid = false;
        let block = self.layout.of(&self.content);
        if at.key >= block.keys.len() {
            return Ok(());
        }
        let entry = block.entry(at.key)?;
        let kind = kind_of(entry.trailer)?;
        let value = block.value_range(at.value, entry.value_len)?;
        if entry.shared > self.key.len().saturating_sub(key::TRAILER_LEN) {
            return Err(SHARES_TOO_MUCH);
        }
        self.here = at;
        self.after = Position { key: entry.suffix.end, value: value.end };
        self.key.truncate(entry.shared);
        self.key.extend_from_slice(&block.keys[entry.suffix]);
        self.key.extend_from_slice(&entry.trailer.to_le_bytes());
        if self.layout.is_packed() {
            self.reach(&value, true)?;
        } else {
            for line in 0..value.len().div_ceil(prefetch::LINE_LEN).min(LINES_AT_NEXT) {
                let at = value.end + AHEAD_LEN + line * prefetch::LINE_LEN;
                prefetch::somewhere_behind(block.plain_values(), at);
            }
        }
        check_value(kind, self.value())?;
        self.valid = true;
        Ok(())
    }

    /// Decodes the entries from the last restart before `self.here` up to it into `before`.
    fn remember(&mut self) -> Result<(), Defect> {
        let block = self.layout.of(&self.content);
        let (mut low, mut high) = (0, block.restart_count());
        while high - low > 1 {
            let middle = low.midpoint(high);
            if block.restart(middle).key < self.here.key { low = middle } else { high = middle }
        }
        let mut at = block.restart(low);
        self.before_keys.clear();
        // The user key of the entry before, within `before_keys`.
        let mut last = 0..0;
        while at.key < self.here.key {
            let entry = block.entry(at.key)?;
            kind_of(entry.trailer)?;
            let value = block.value_range(at.value, entry.value_len)?;
            if entry.shared > last.len() {
                return Err(SHARES_TOO_MUCH);
            }
            let key_start = self.before_keys.len();
            self.before_keys.extend_from_within(last.start..last.start + entry.shared);
            let after = Position { key: entry.suffix.end, value: value.end };
            self.before_keys.extend_from_slice(&block.keys[entry.suffix]);
            last = key_start..self.before_keys.len();
            self.before_keys.extend_from_slice(&entry.trailer.to_le_bytes());
            self.before.push(Remembered { here: at, after, key_start });
            at = after;
        }
        Ok(())
    }
}
