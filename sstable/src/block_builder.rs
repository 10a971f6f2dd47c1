//! Building one data block: prefix compression with restart points, and values packed in pieces.
//!
//! Called by the writer only, which keeps the order and the limits; the bytes are specified in `format.rs`.

use esker_base::varint;
use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};

use crate::block::{Position, common_prefix_len};
use crate::format::Compression;

/// Values are packed together until they are this long, so that a point read unpacks no more than that.
const PIECE_LEN: usize = 1024;
/// Packing must save at least this part of a block, or the block stays as it is and is read without unpacking.
const PACKING_GAIN_MIN: usize = 8;
/// Bytes of the front of a block: two lengths, the lowest trailer and two numbers.
const FRONT_LEN_MAX: usize = 2 + 8 + 2 * 4;
/// The most that offsets of two bytes are used for.
const NARROW_MAX: usize = 0xffff;

/// Collects entries of one block.
pub(crate) struct BlockBuilder {
    /// Lengths and the rest of the user key of each entry, without the trailer between them.
    keys: Vec<u8>,
    entries: Vec<Entry>,
    values: Vec<u8>,
    /// Where pieces of the values end, but for the last.
    piece_ends: Vec<usize>,
    /// The numbers of the entries at restarts, and where their values start.
    restarts: Vec<(usize, usize)>,
    lowest_trailer: u64,
    highest_trailer: u64,
    restart_interval: usize,
    since_restart: usize,
    last_user_key: Vec<u8>,
    /// The finished block; kept for its memory, as the rest.
    content: Vec<u8>,
    packed: Vec<u8>,
    table: CompressTable,
}

/// Where the parts of an entry end in `keys`.
struct Entry {
    lens_end: usize,
    end: usize,
    trailer: u64,
}

/// A finished block.
pub(crate) struct Built<'a> {
    pub compression: Compression,
    /// The content as it is stored.
    pub content: &'a [u8],
    /// Its length with the values unpacked.
    pub len: usize,
}

impl BlockBuilder {
    /// A builder with a restart every `restart_interval` (at least 1) entries.
    pub fn new(restart_interval: usize) -> BlockBuilder {
        BlockBuilder {
            keys: Vec::new(),
            entries: Vec::new(),
            values: Vec::new(),
            piece_ends: Vec::new(),
            restarts: Vec::new(),
            lowest_trailer: u64::MAX,
            highest_trailer: 0,
            restart_interval,
            since_restart: 0,
            last_user_key: Vec::new(),
            content: Vec::new(),
            packed: Vec::new(),
            table: CompressTable::default(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The length of the content if it were finished now and not packed, about: with long offsets.
    pub fn len(&self) -> usize {
        FRONT_LEN_MAX
            + 8 * self.restarts.len()
            + self.keys.len()
            + trailer_len(self.lowest_trailer, self.highest_trailer) * self.entries.len()
            + self.values.len()
    }

    /// The most that the content would be long with one more entry.
    pub fn len_with(&self, user_key: &[u8], trailer: u64, value: &[u8]) -> usize {
        let lens = varint::encoded_len(user_key.len() as u64) * 2
            + varint::encoded_len(value.len() as u64);
        let (lowest, highest) =
            (self.lowest_trailer.min(trailer), self.highest_trailer.max(trailer));
        let offset_len =
            if self.len() + lens + user_key.len() + value.len() < NARROW_MAX / 2 { 2 } else { 4 };
        FRONT_LEN_MAX
            + 2 * offset_len * (self.restarts.len() + 1)
            + self.keys.len()
            + lens
            + user_key.len()
            + trailer_len(lowest, highest) * (self.entries.len() + 1)
            + self.values.len()
            + value.len()
    }

    pub fn add(&mut self, user_key: &[u8], trailer: u64, value: &[u8]) {
        let restart = self.restarts.is_empty() || self.since_restart >= self.restart_interval;
        let shared = if restart {
            self.restarts.push((self.entries.len(), self.values.len()));
            self.since_restart = 0;
            0
        } else {
            common_prefix_len(&self.last_user_key, user_key)
        };
        self.since_restart += 1;
        varint::encode(shared as u64, &mut self.keys);
        varint::encode((user_key.len() - shared) as u64, &mut self.keys);
        varint::encode(value.len() as u64, &mut self.keys);
        let lens_end = self.keys.len();
        self.keys.extend_from_slice(&user_key[shared..]);
        self.entries.push(Entry { lens_end, end: self.keys.len(), trailer });
        self.lowest_trailer = self.lowest_trailer.min(trailer);
        self.highest_trailer = self.highest_trailer.max(trailer);
        let piece_start = self.piece_ends.last().copied().unwrap_or(0);
        let piece_len = self.values.len() - piece_start;
        if piece_len > 0 && piece_len + value.len() > PIECE_LEN {
            self.piece_ends.push(self.values.len());
        }
        self.values.extend_from_slice(value);
        self.last_user_key.truncate(shared);
        self.last_user_key.extend_from_slice(&user_key[shared..]);
    }

    /// Completes the block, packed if that is wanted and pays, and hands it to `take`; the builder is then empty again
    /// and keeps its memory.
    pub fn finish<R>(&mut self, wanted: Compression, take: impl FnOnce(Built<'_>) -> R) -> R {
        // What the offsets can be at most; packed they are no longer than a table of the pieces more.
        let wide = self.len() + 4 * (self.piece_ends.len() + 2) > NARROW_MAX;
        self.put_front(wide);
        let len = self.content.len() + self.values.len();
        let packed =
            wanted == Compression::Lz4 && !self.values.is_empty() && self.packs_well(wide, len);
        let compression = if packed { Compression::Lz4 } else { Compression::None };
        self.content.extend_from_slice(if packed { &self.packed } else { &self.values });
        self.keys.clear();
        self.entries.clear();
        self.values.clear();
        self.piece_ends.clear();
        self.restarts.clear();
        (self.lowest_trailer, self.highest_trailer) = (u64::MAX, 0);
        self.since_restart = 0;
        self.last_user_key.clear();
        take(Built { compression, content: &self.content, len })
    }

    /// Makes `content` everything but the values.
    fn put_front(&mut self, wide: bool) {
        let (base, out) = (self.lowest_trailer, &mut self.content);
        let trailer_len = trailer_len(base, self.highest_trailer);
        out.clear();
        out.push(if wide { 4 } else { 2 });
        out.push(trailer_len as u8);
        out.extend_from_slice(&base.to_le_bytes());
        put_number(out, wide, self.restarts.len());
        put_number(out, wide, self.keys.len() + trailer_len * self.entries.len());
        for &(entry, value) in &self.restarts {
            let start = entry.checked_sub(1).map_or(0, |before| self.entries[before].end);
            let position = Position { key: start + trailer_len * entry, value };
            put_number(out, wide, position.key);
            put_number(out, wide, position.value);
        }
        let mut start = 0;
        for entry in &self.entries {
            out.extend_from_slice(&self.keys[start..entry.lens_end]);
            out.extend_from_slice(&(entry.trailer - base).to_le_bytes()[..trailer_len]);
            out.extend_from_slice(&self.keys[entry.lens_end..entry.end]);
            start = entry.end;
        }
    }

    /// Packs the values into `packed`; whether that saved enough of a content of `len` bytes.
    fn packs_well(&mut self, wide: bool, len: usize) -> bool {
        // A cut in front of empty values at the end would make an empty piece.
        if self.piece_ends.last() == Some(&self.values.len()) {
            self.piece_ends.pop();
        }
        self.piece_ends.push(self.values.len());
        let offset_len = if wide { 4 } else { 2 };
        let (count, out) = (self.piece_ends.len(), &mut self.packed);
        out.clear();
        put_number(out, wide, count);
        let pieces_start = offset_len * (1 + 2 * count);
        out.resize(pieces_start, 0);
        let mut start = 0;
        for (at, &end) in self.piece_ends.iter().enumerate() {
            let (piece, stored_start) = (&self.values[start..end], out.len());
            out.resize(stored_start + get_maximum_output_size(piece.len()), 0);
            let room = &mut out[stored_start..];
            let stored_len = compress_into_with_table(piece, room, &mut self.table);
            // One that is not shorter stays as it is: its length says so.
            match stored_len.ok().filter(|&stored_len| stored_len < piece.len()) {
                Some(stored_len) => out.truncate(stored_start + stored_len),
                None => {
                    out.truncate(stored_start);
                    out.extend_from_slice(piece);
                }
            }
            let stored_end = out.len() - pieces_start;
            let mut numbers = Vec::with_capacity(8);
            put_number(&mut numbers, wide, end);
            put_number(&mut numbers, wide, stored_end);
            let place = offset_len * (1 + 2 * at);
            out[place..place + numbers.len()].copy_from_slice(&numbers);
            start = end;
        }
        let saved = self.values.len().saturating_sub(out.len());
        saved >= len / PACKING_GAIN_MIN
    }
}

fn put_number(out: &mut Vec<u8>, wide: bool, number: usize) {
    match wide {
        false => out.extend_from_slice(&(number as u16).to_le_bytes()),
        true => out.extend_from_slice(&(number as u32).to_le_bytes()),
    }
}

/// Bytes that hold every trailer from `lowest` to `highest`, counted from the lowest.
fn trailer_len(lowest: u64, highest: u64) -> usize {
    (u64::BITS - highest.saturating_sub(lowest).leading_zeros()).div_ceil(8) as usize
}
