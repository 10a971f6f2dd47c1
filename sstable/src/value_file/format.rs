//! The bytes of a value file and of the pointers into it: the specification, and the code for their parts.
//!
//! All numbers are little-endian. `at(offset, bytes)` is the CRC-32 over (file id, offset, bytes), as in an sstable. From
//! front to back, without gaps:
//!
//! | what | bytes |
//! |---|---|
//! | header | 48 |
//! | records, one or more | each 13 and the value as it is stored |
//! | footer | 48 |
//!
//! **Header**
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | `ESKERVAL` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | compatible features: a reader may ignore bits that it does not know |
//! | 16 | 4 | incompatible features: a reader must refuse bits that it does not know; none exist |
//! | 20 | 4 | 0 |
//! | 24 | 16 | file id, random |
//! | 40 | 4 | 0 |
//! | 44 | 4 | CRC-32 of bytes 0 to 43 |
//!
//! **Record**: found by a pointer, or by walking from the first.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | n, the length of the value as it is stored |
//! | 4 | 4 | the length of the value; equal to n for compression 0 |
//! | 8 | 1 | compression, as in an sstable: 0 none, 1 lz4 |
//! | 9 | n | the value, compressed or not |
//! | 9 + n | 4 | `at(offset of the record, bytes 0 to n + 8)` |
//!
//! **Footer**
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | number of records |
//! | 8 | 8 | their total length, in bytes |
//! | 16 | 8 | length of the file |
//! | 24 | 8 | 0 |
//! | 32 | 4 | 0 |
//! | 36 | 8 | `ESKERVND` |
//! | 44 | 4 | `at(offset of the footer, bytes 0 to 43)` |
//!
//! **Pointer**: the value of an sstable's entry of the kind value pointer. Four varints: number of the value file, offset
//! of the record, length of the record, length of the value.
//!
//! Example: in a file with id sixteen 0x11, the value `abc` as the first record, at offset 48, is
//! `03000000 03000000 00 616263`, then the CRC `28a09688` (as bytes). Its pointer, if the file is number 7, is
//! `07 30 10 03`.

use esker_base::limits::BATCH_LEN_MAX;
use esker_base::{FileId, FileNumber, checksum, varint};

use crate::format::{self, Compression, Defect, u32_at, u64_at};

/// The first bytes of every value file.
pub const HEADER_MAGIC: [u8; 8] = *b"ESKERVAL";
/// The last bytes of every value file but for the checksum.
pub const FOOTER_MAGIC: [u8; 8] = *b"ESKERVND";
/// The format that this build writes, and the only one that it reads.
pub const VERSION: u32 = 1;
/// Bytes of the header.
pub const HEADER_LEN: usize = 48;
/// Bytes of the footer.
pub const FOOTER_LEN: usize = 48;
/// Bytes of a record before the value.
pub const RECORD_HEADER_LEN: usize = 9;
/// Bytes of a record besides the value.
pub const RECORD_OVERHEAD: usize = RECORD_HEADER_LEN + 4;

/// Where a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValuePointer {
    /// The number of the value file.
    pub file: FileNumber,
    /// Where its record starts, in bytes.
    pub offset: u64,
    /// The length of the record, in bytes.
    pub record_len: u32,
    /// The length of the value, in bytes.
    pub value_len: u32,
}

impl ValuePointer {
    /// The most bytes that a pointer takes.
    pub const LEN_MAX: usize = 2 * varint::LEN_MAX + 10;

    /// Appends the pointer's bytes to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        varint::encode(self.file.0, out);
        varint::encode(self.offset, out);
        varint::encode(u64::from(self.record_len), out);
        varint::encode(u64::from(self.value_len), out);
    }

    /// The pointer in `bytes`; `None` if they are anything else, or point where no record can be.
    pub fn decode(mut bytes: &[u8]) -> Option<ValuePointer> {
        let file = FileNumber(varint::decode(&mut bytes)?);
        let offset = varint::decode(&mut bytes)?;
        let record_len = u32::try_from(varint::decode(&mut bytes)?).ok()?;
        let value_len = u32::try_from(varint::decode(&mut bytes)?).ok()?;
        let is_possible = bytes.is_empty()
            && offset >= HEADER_LEN as u64
            && offset.checked_add(u64::from(record_len)).is_some()
            && record_len as usize >= RECORD_OVERHEAD
            && value_len as usize <= BATCH_LEN_MAX;
        is_possible.then_some(ValuePointer { file, offset, record_len, value_len })
    }

    /// The byte after the record.
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.record_len)
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
        return Err(Defect::Damaged("the file does not start like a value file"));
    }
    if checksum::plain(&bytes[..44]) != u32_at(bytes, 44) {
        return Err(Defect::Damaged("header checksum does not match"));
    }
    if u32_at(bytes, 8) != VERSION {
        return Err(Defect::Unsupported(
            "has a value file format version that this build does not know",
        ));
    }
    if u32_at(bytes, 16) != 0 {
        return Err(Defect::Unsupported(
            "needs a value file feature that this build does not have",
        ));
    }
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[24..40]);
    Ok(FileId(id))
}

/// What the footer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Footer {
    pub record_count: u64,
    pub record_bytes: u64,
}

impl Footer {
    /// Where the footer stands.
    fn offset(&self) -> u64 {
        HEADER_LEN as u64 + self.record_bytes
    }

    /// The length of the file.
    pub fn file_len(&self) -> u64 {
        self.offset() + FOOTER_LEN as u64
    }

    /// The footer's bytes.
    pub fn encode(&self, file_id: FileId) -> [u8; FOOTER_LEN] {
        let mut out = [0; FOOTER_LEN];
        out[..8].copy_from_slice(&self.record_count.to_le_bytes());
        out[8..16].copy_from_slice(&self.record_bytes.to_le_bytes());
        out[16..24].copy_from_slice(&self.file_len().to_le_bytes());
        out[36..44].copy_from_slice(&FOOTER_MAGIC);
        let crc = checksum::at(file_id, self.offset(), &out[..44]);
        out[44..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the last bytes of a file of `file_len`, at least header and footer long.
    pub fn decode(
        file_id: FileId,
        file_len: u64,
        bytes: &[u8; FOOTER_LEN],
    ) -> Result<Footer, Defect> {
        let offset = file_len - FOOTER_LEN as u64;
        if bytes[36..44] != FOOTER_MAGIC {
            return Err(Defect::Damaged("the file does not end like a value file"));
        }
        if checksum::at(file_id, offset, &bytes[..44]) != u32_at(bytes, 44) {
            return Err(Defect::Damaged("footer checksum does not match"));
        }
        let footer = Footer { record_count: u64_at(bytes, 0), record_bytes: u64_at(bytes, 8) };
        let overhead = footer.record_count.checked_mul(RECORD_OVERHEAD as u64);
        if u64_at(bytes, 16) != file_len
            || footer.record_bytes != offset - HEADER_LEN as u64
            || footer.record_count == 0
            || overhead.is_none_or(|overhead| overhead > footer.record_bytes)
        {
            return Err(Defect::Damaged("the footer contradicts itself"));
        }
        Ok(footer)
    }
}

/// A record, verified: its value as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub compression: Compression,
    pub stored: &'a [u8],
    pub value_len: u32,
}

impl Record<'_> {
    /// Appends the record to `out` as it stands at `offset` of the file with `file_id`; its length.
    pub fn encode_into(&self, file_id: FileId, offset: u64, out: &mut Vec<u8>) -> u32 {
        let from = out.len();
        out.extend_from_slice(&(self.stored.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.value_len.to_le_bytes());
        out.push(self.compression as u8);
        out.extend_from_slice(self.stored);
        let crc = checksum::at(file_id, offset, &out[from..]);
        out.extend_from_slice(&crc.to_le_bytes());
        (out.len() - from) as u32
    }
}

/// The length of the record that starts with `header`.
pub(crate) fn record_len(header: &[u8; RECORD_HEADER_LEN]) -> u64 {
    u64::from(u32_at(header, 0)) + RECORD_OVERHEAD as u64
}

/// Verifies the record in `bytes`, all of them.
pub(crate) fn open_record(
    file_id: FileId,
    offset: u64,
    bytes: &[u8],
) -> Result<Record<'_>, Defect> {
    let Some((covered, crc)) = bytes.split_last_chunk::<4>() else {
        return Err(Defect::Damaged("a record is shorter than its checksum"));
    };
    let matches = checksum::at(file_id, offset, covered) == u32::from_le_bytes(*crc);
    if !matches && !esker_base::mutant!("value_checksum_skipped") {
        return Err(Defect::Damaged("record checksum does not match"));
    }
    open_verified(bytes)
}

/// As [`open_record`], for a record whose checksum matched before and whose bytes cannot have changed since.
fn open_verified(bytes: &[u8]) -> Result<Record<'_>, Defect> {
    let parts = bytes.split_last_chunk::<4>();
    let parts = parts.and_then(|(covered, _)| covered.split_first_chunk::<RECORD_HEADER_LEN>());
    let Some((header, stored)) = parts else {
        return Err(Defect::Damaged("a record is shorter than its header and its checksum"));
    };
    let value_len = u32_at(header, 4);
    let Ok(compression) = Compression::try_from(header[8]) else {
        return Err(Defect::Unsupported("uses a compression that this build does not know"));
    };
    let len = value_len as usize;
    let plausible = match compression {
        Compression::None => len == stored.len(),
        Compression::Lz4 => {
            len <= BATCH_LEN_MAX && len <= stored.len().saturating_mul(format::LZ4_EXPANSION_MAX)
        }
    };
    if record_len(header) != bytes.len() as u64 || !plausible {
        return Err(Defect::Damaged("a record's length is impossible"));
    }
    Ok(Record { compression, stored, value_len })
}

/// Verifies the record in `bytes` and that it is the one that `pointer` means. Without a look at the checksum if it
/// `was_verified`.
pub(crate) fn open_pointed<'a>(
    file_id: FileId,
    pointer: &ValuePointer,
    bytes: &'a [u8],
    was_verified: bool,
) -> Result<Record<'a>, Defect> {
    let verified = if was_verified { open_verified(bytes).ok() } else { None };
    let record = match verified {
        Some(record) => record,
        // Or it is not the record that was verified, and its checksum says so.
        None => open_record(file_id, pointer.offset, bytes)?,
    };
    if record.value_len != pointer.value_len {
        return Err(Defect::Damaged("a pointer does not agree with its record"));
    }
    Ok(record)
}
