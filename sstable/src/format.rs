//! The bytes of an sstable: the specification, and the code for its fixed-size parts.
//!
//! All numbers are little-endian. A varint is LEB128 in its shortest form. `at(offset, bytes)` is the CRC-32 over
//! (file id, offset, bytes), so that a block from another place or another file fails. From front to back, without
//! gaps:
//!
//! | what | bytes |
//! |---|---|
//! | header | 48 |
//! | data blocks, one or more | each a *stored block* |
//! | index | one stored block, uncompressed |
//! | filter, may be absent | one stored block, uncompressed |
//! | properties | one stored block, uncompressed |
//! | footer | 72 |
//!
//! **Header**
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | `ESKERSST` |
//! | 8 | 4 | format version, 2 |
//! | 12 | 4 | compatible features: a reader may ignore bits that it does not know |
//! | 16 | 4 | incompatible features: a reader must refuse bits that it does not know; none exist |
//! | 20 | 4 | 0 |
//! | 24 | 16 | file id, random |
//! | 40 | 4 | 0 |
//! | 44 | 4 | CRC-32 of bytes 0 to 43 |
//!
//! **Stored block**: n content bytes, then a trailer.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | n | content |
//! | n | 1 | compression: 0 none, 1 lz4 (data blocks only: the values are packed) |
//! | n+1 | 4 | length of the content with its values unpacked; equal to n for none |
//! | n+5 | 4 | `at(offset of the block, bytes 0 to n+4)` |
//!
//! **Data block content**: keys and values stand apart, so that a point read looks through few cache lines, and only
//! values are ever packed, so that keys are searched where they are stored.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | w, the size of the numbers below: 2 or 4 |
//! | 1 | 1 | t, the size of a trailer in an entry: 0 to 8 |
//! | 2 | 8 | what trailers are counted from, modulo 2^64; a writer takes the lowest |
//! | 10 | w | r, the number of restarts, not 0 |
//! | 10 + w | w | k, the length of the key area, not 0 |
//! | 10 + 2 w | 2 w r | restarts: offset in the key area (w), offset among the values (w); they ascend, the first is (0, 0) |
//! | 10 + 2 w + 2 w r | k | key area: entries without their values |
//! | behind it | to the end | the values in the same order, one after the other; or packed |
//!
//! Entries ascend in the order of internal keys, within the block and from block to block.
//!
//! | field of an entry | size |
//! |---|---|
//! | shared: bytes of the user key that equal the previous entry's; as many as possible, but 0 at a restart | varint |
//! | unshared: bytes of the user key that follow | varint |
//! | value length | varint |
//! | trailer of the internal key, sequence << 8 \| kind, counted from what the front says | t |
//! | the rest of the user key | unshared |
//!
//! **Packed values**: cut between values into pieces, none of them empty, so that one value is had by unpacking one
//! piece. No value lies in two pieces.
//!
//! | field | size |
//! |---|---|
//! | p, the number of pieces, not 0 | w |
//! | for each piece: where its values end among all (w), where its bytes end among those of all pieces (w) | 2 w p |
//! | the pieces: lz4 (raw block format), or the values as they are where both lengths are the same | to the end |
//!
//! **Index content**: one entry a data block, in order. The blocks follow one another from offset 48 on.
//!
//! | field | size |
//! |---|---|
//! | shared bytes with the previous separator's user key | varint |
//! | unshared bytes | varint |
//! | trailer of the separator | 8 |
//! | stored length of the block, its trailer included | varint |
//! | the rest of the separator's user key | unshared |
//!
//! A separator is an internal key at or after the last key of its block and before the first of the next. If the
//! two user keys differ it is the shortest such user key with trailer 0 (which comes after every version), else the
//! last key itself.
//!
//! **Filter content**: kind (1 byte), then what the kind defines; see [`FILTER_BLOOM`] and [`FILTER_BLOCKED`].
//! A reader does without a filter of an unknown kind.
//!
//! **Properties content**: fields of (number: 2 bytes, length: 4 bytes, bytes), numbers ascending; unknown ones
//! are skipped. The numbers stand in `properties.rs`.
//!
//! **Footer**
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 12 | index: offset (8), stored length with trailer (4) |
//! | 12 | 12 | filter, or zeros |
//! | 24 | 12 | properties |
//! | 36 | 12 | reserved for range tombstones: zeros; anything else is refused as unsupported |
//! | 48 | 8 | length of the file |
//! | 56 | 4 | 0 |
//! | 60 | 8 | `ESKEREND` |
//! | 68 | 4 | `at(offset of the footer, bytes 0 to 67)` |
//!
//! The kinds put, delete and value pointer are all that an entry may have today. A reserved kind is refused as
//! unsupported, any other as corruption. The value of a value pointer is specified in `value_file/format.rs`.
//!
//! Example: the values `a` and 34 times `b` are packed as one piece of lz4, with w = 2, as `01 00`, `23 00 0d 00`,
//! `2f 61 62 01 00 08 60 62 62 62 62 62 62`. The golden tests spell out whole files.

use esker_base::{FileId, checksum};

use crate::lz4::{Decoder, SLACK_LEN};

/// The first bytes of every sstable.
pub const HEADER_MAGIC: [u8; 8] = *b"ESKERSST";
/// The last bytes of every sstable but for the checksum.
pub const FOOTER_MAGIC: [u8; 8] = *b"ESKEREND";
/// The format that this build writes, and the only one that it reads.
pub const VERSION: u32 = 2;
/// Bytes of the header.
pub const HEADER_LEN: usize = 48;
/// Bytes of the footer.
pub const FOOTER_LEN: usize = 72;
/// Bytes after a block's content.
pub const BLOCK_TRAILER_LEN: usize = 9;
/// The most that a data block may hold once decompressed: one entry at the limits and then some.
pub const BLOCK_CONTENT_MAX: usize =
    esker_base::limits::BATCH_LEN_MAX + esker_base::limits::KEY_LEN_MAX + 64 * 1024;
/// lz4 cannot expand a block by more than this factor; a larger claim is a lie.
pub(crate) const LZ4_EXPANSION_MAX: usize = 256;

/// Filter kind 1: the `bloomfilter` crate's bytes over the key hash (XXH3-64 of the user key, 8 bytes little-endian).
pub const FILTER_BLOOM: u8 = 1;
/// Filter kind 2: a blocked filter; see `filter.rs` for the probe sequence.
pub const FILTER_BLOCKED: u8 = 2;

/// How a block's content is compressed. Stored on disk: never change a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Compression {
    /// Stored as it is.
    None = 0,
    /// Values packed by the lz4 block format, without a length in front.
    Lz4 = 1,
}

impl TryFrom<u8> for Compression {
    type Error = u8;

    fn try_from(byte: u8) -> Result<Compression, u8> {
        match byte {
            0 => Ok(Compression::None),
            1 => Ok(Compression::Lz4),
            other => Err(other),
        }
    }
}

/// What is wrong with some bytes; the caller adds file and offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// The bytes are not what was written.
    Damaged(&'static str),
    /// The bytes need something that this build does not have.
    Unsupported(&'static str),
}

/// Where a stored block stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockHandle {
    /// First byte in the file.
    pub offset: u64,
    /// Stored length in bytes, with the trailer.
    pub len: u32,
}

impl BlockHandle {
    /// The byte after the block.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(u64::from(self.len))
    }

    /// Whether the section is absent.
    pub fn is_absent(&self) -> bool {
        self.len == 0
    }
}

/// The header of a file with `file_id`.
pub(crate) fn encode_header(file_id: FileId) -> [u8; HEADER_LEN] {
    let mut out = [0; HEADER_LEN];
    out[..8].copy_from_slice(&HEADER_MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[24..40].copy_from_slice(&file_id.0);
    let crc = checksum::plain(&out[..44]);
    out[44..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// The file id that a valid header carries.
pub(crate) fn decode_header(bytes: &[u8; HEADER_LEN]) -> Result<FileId, Defect> {
    if bytes[..8] != HEADER_MAGIC {
        return Err(Defect::Damaged("the file does not start like an sstable"));
    }
    if checksum::plain(&bytes[..44]) != u32_at(bytes, 44) {
        return Err(Defect::Damaged("header checksum does not match"));
    }
    if u32_at(bytes, 8) != VERSION {
        return Err(Defect::Unsupported(
            "has an sstable format version that this build does not know",
        ));
    }
    if u32_at(bytes, 16) != 0 {
        return Err(Defect::Unsupported("needs an sstable feature that this build does not have"));
    }
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[24..40]);
    Ok(FileId(id))
}

/// Where the sections stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footer {
    pub index: BlockHandle,
    pub filter: BlockHandle,
    pub properties: BlockHandle,
    pub file_len: u64,
}

impl Footer {
    fn offset(&self) -> u64 {
        self.file_len - FOOTER_LEN as u64
    }

    /// The footer's bytes; `file_len` counts them.
    pub fn encode(&self, file_id: FileId) -> [u8; FOOTER_LEN] {
        let mut out = [0; FOOTER_LEN];
        for (index, handle) in [self.index, self.filter, self.properties].into_iter().enumerate() {
            out[12 * index..12 * index + 8].copy_from_slice(&handle.offset.to_le_bytes());
            out[12 * index + 8..12 * index + 12].copy_from_slice(&handle.len.to_le_bytes());
        }
        out[48..56].copy_from_slice(&self.file_len.to_le_bytes());
        out[60..68].copy_from_slice(&FOOTER_MAGIC);
        let crc = checksum::at(file_id, self.offset(), &out[..68]);
        out[68..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the last bytes of a file of `file_len`, at least header and footer long. The sections tile what lies
    /// between the data blocks and the footer.
    pub fn decode(
        file_id: FileId,
        file_len: u64,
        bytes: &[u8; FOOTER_LEN],
    ) -> Result<Footer, Defect> {
        let offset = file_len - FOOTER_LEN as u64;
        if bytes[60..68] != FOOTER_MAGIC {
            return Err(Defect::Damaged("the file does not end like an sstable"));
        }
        if checksum::at(file_id, offset, &bytes[..68]) != u32_at(bytes, 68) {
            return Err(Defect::Damaged("footer checksum does not match"));
        }
        let handle =
            |at: usize| BlockHandle { offset: u64_at(bytes, at), len: u32_at(bytes, at + 8) };
        if handle(36) != BlockHandle::default() {
            return Err(Defect::Unsupported(
                "holds range tombstones, which this build does not know",
            ));
        }
        let footer = Footer {
            index: handle(0),
            filter: handle(12),
            properties: handle(24),
            file_len: u64_at(bytes, 48),
        };
        let filter_end =
            if footer.filter.is_absent() { footer.index.end() } else { footer.filter.end() };
        let tiled = footer.file_len == file_len
            && footer.index.offset > HEADER_LEN as u64
            && (footer.filter == BlockHandle::default()
                || footer.filter.offset == footer.index.end())
            && footer.properties.offset == filter_end
            && footer.properties.end() == offset;
        let whole = |handle: BlockHandle| handle.len as usize >= BLOCK_TRAILER_LEN;
        if !tiled || !whole(footer.index) || !whole(footer.properties) {
            return Err(Defect::Damaged("the footer contradicts itself"));
        }
        Ok(footer)
    }
}

/// Appends the trailer to `stored`, which holds nothing but a block's content as it is stored.
pub(crate) fn seal_block(
    file_id: FileId,
    offset: u64,
    compression: Compression,
    content_len: usize,
    stored: &mut Vec<u8>,
) {
    seal_tail(file_id, offset, compression, content_len, stored, 0);
}

/// As [`seal_block`], for a block that starts at `start` of `bytes`.
pub(crate) fn seal_tail(
    file_id: FileId,
    offset: u64,
    compression: Compression,
    content_len: usize,
    bytes: &mut Vec<u8>,
    start: usize,
) {
    bytes.push(compression as u8);
    bytes.extend_from_slice(&(content_len as u32).to_le_bytes());
    let crc = checksum::at(file_id, offset, &bytes[start..]);
    bytes.extend_from_slice(&crc.to_le_bytes());
}

/// Verifies a stored block and gives its compression, its content as stored and the content's real length.
pub(crate) fn open_block(
    file_id: FileId,
    offset: u64,
    stored: &[u8],
) -> Result<(Compression, &[u8], usize), Defect> {
    let Some((covered, crc)) = stored.split_last_chunk::<4>() else {
        return Err(Defect::Damaged("a block is shorter than its trailer"));
    };
    let matches = checksum::at(file_id, offset, covered) == u32::from_le_bytes(*crc);
    if !matches && !esker_base::mutant!("sstable_checksum_skipped") {
        return Err(Defect::Damaged("block checksum does not match"));
    }
    open_verified(stored)
}

/// As [`open_block`], for a block whose checksum matched before and whose bytes cannot have changed since.
pub(crate) fn open_verified(stored: &[u8]) -> Result<(Compression, &[u8], usize), Defect> {
    let Some((covered, _)) = stored.split_last_chunk::<4>() else {
        return Err(Defect::Damaged("a block is shorter than its trailer"));
    };
    let Some((content, [kind, len @ ..])) = covered.split_last_chunk::<5>() else {
        return Err(Defect::Damaged("a block is shorter than its trailer"));
    };
    let len = u32::from_le_bytes(*len) as usize;
    let Ok(compression) = Compression::try_from(*kind) else {
        return Err(Defect::Unsupported("uses a compression that this build does not know"));
    };
    let plausible = match compression {
        Compression::None => len == content.len(),
        Compression::Lz4 => {
            len <= BLOCK_CONTENT_MAX && len <= content.len().saturating_mul(LZ4_EXPANSION_MAX)
        }
    };
    if !plausible {
        return Err(Defect::Damaged("a block's length is impossible"));
    }
    Ok((compression, content, len))
}

/// Decompresses a value of a value file into exactly `len` bytes.
pub(crate) fn decompress(content: &[u8], len: usize) -> Result<Vec<u8>, Defect> {
    let mut out = vec![0; len + SLACK_LEN];
    Decoder::new(content, len).finish(&mut out)?;
    out.truncate(len);
    Ok(out)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a slice of 4 bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a slice of 8 bytes"))
}
