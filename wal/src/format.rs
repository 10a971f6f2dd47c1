//! The bytes of a log segment. The writer and the reader use it; it does no input or output.
//!
//! A segment file, named by its number (`0000000002.wal`), is this header and then frames in the
//! framing of [`crate::frame`], the first at offset 64, each starting where the one before
//! ends. All numbers are little-endian.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | `ESKERWAL` |
//! | 8 | 2 | format version, 2 |
//! | 10 | 2 | 0 |
//! | 12 | 4 | compatible feature bits: a reader that does not know one ignores it. 1: *recycled*, see below |
//! | 16 | 4 | incompatible feature bits: a reader that does not know one refuses the file. None so far |
//! | 20 | 4 | the length in bytes that the file was made with; shorter means cut off, except behind a Seal |
//! | 24 | 8 | segment number, the same as in the file's name |
//! | 32 | 8 | epoch: which writable open of the database made the segment |
//! | 40 | 16 | file id, random (of a *recycled* segment 12 bytes of it); the checksum of every frame covers it |
//! | 56 | 4 | 0 |
//! | 60 | 4 | CRC-32 over bytes 0 to 59 |
//!
//! A header is valid if magic and checksum match, the version is 2, no unknown incompatible bit is
//! set and the epoch is below 2^63. Magic, version and checksum stay where they are in every later version, so that an old
//! reader can tell *newer* from *damaged*. Example, segment 2 of epoch 3 with a file id of sixteen
//! 0x11, made with 65,536 bytes: `45 53 4b 45 52 57 41 4c 02 00`, 10 zeros, `00 00 01 00 02 00 00 00 00 00 00 00 03 00
//! 00 00 00 00 00 00`, 16 times `11`, `00 00 00 00 de 81 f1 c5`.
//!
//! Frame kinds; the format version is theirs too:
//!
//! | kind | name | payload |
//! |---|---|---|
//! | 1 | Group | batches that were committed together; below |
//! | 2 | Continue | the segment is finished; 8 bytes: the number of the segment in which the log goes on |
//! | 3 | Seal | the log was closed cleanly; 8 bytes: the last sequence number of the log. The file ends here |
//!
//! Payload of a Group:
//!
//! | field | form |
//! |---|---|
//! | wall-clock time of the commit, milliseconds since 1970-01-01 UTC; an annotation, never an order | varint |
//! | first sequence number | varint |
//! | the batches, at least one, up to the payload's end | |
//!
//! Each batch: the number of operations (at least 1, below 2^32) and the length as varints ([`esker_base::varint`]), then that
//! many bytes in the form of [`esker_base::batch`]. The last sequence number is the first + the number of all operations - 1.
//! Example, time 0x0102, a batch `abc` of two operations at 5 and one `d` of one: `82 02 05 02 03 61 62 63 01 01 64`.
//!
//! What a clean close records of a segment is the CRC-32 over the first 4 bytes of each frame, its checksum, in order: they
//! cover every byte behind the header, which has a checksum of its own.
//!
//! Sequence numbers of consecutive groups only grow. They may skip numbers: operations that do not
//! pass through the log take some, and so does an open after the log lost what other files kept. A
//! group that was lost shows as damage between frames, never as a skip.
//!
//! A frame's *known synced* position is never past the frame itself. Segment numbers grow along
//! the log, so positions compare as (segment, offset). What stands behind a Continue frame is
//! unused. A Group always leaves room in its segment for one Continue or Seal.
//!
//! Behind its last frame a segment is zeros, but for what a torn write left. One made of the file of a retired segment
//! (*recycled*) still holds that one's bytes further on: zeros are certain only up to the next multiple of a step (the
//! largest power of two that is at most 65,536 and an eighth of the length that the file was made with), and a power cut
//! may bring old bytes back even there. They are no frames of this segment, because checksums cover its file id: the
//! last 4 bytes of that are chosen so that its CRC-32 is one more than that of the retired one's, and the old frames fail.

use std::path::Path;

use esker_base::limits::COUNTER_MAX;
use esker_base::{Epoch, Error, FileId, FileNumber, Result, checksum};

use crate::frame;

/// Bytes of the header; the offset of the first frame.
pub const HEADER_LEN: usize = 64;

/// The format version this build writes, and the newest it reads.
pub const FORMAT_VERSION: u16 = 2;

/// Incompatible feature bits that this build knows.
const INCOMPATIBLE_KNOWN: u32 = 0;

/// The compatible feature bit of a segment made of a retired one.
const RECYCLED: u32 = 1;

/// In a recycled segment of `size_bytes`, what is behind the last frame is made zeros in steps of so many bytes.
pub(crate) fn blank_step(size_bytes: u64) -> u64 {
    1 << (size_bytes / 8).clamp(1, BLANK_STEP_MAX).ilog2()
}

const BLANK_STEP_MAX: u64 = 64 << 10;

const MAGIC: [u8; 8] = *b"ESKERWAL";

/// Bytes that a Continue or a Seal frame takes; every segment keeps that much room at its end.
pub(crate) const CONTROL_LEN: u64 = (frame::HEADER_LEN + 8) as u64;

const _: () = assert!((frame::HEADER_LEN + 8).is_multiple_of(frame::ALIGNMENT));
const _: () = assert!(HEADER_LEN.is_multiple_of(frame::ALIGNMENT));

/// What a frame of the log is. Stored on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Batches that were committed together.
    Group = 1,
    /// The log goes on in another segment.
    Continue = 2,
    /// The log was closed cleanly.
    Seal = 3,
}

impl TryFrom<u8> for FrameKind {
    type Error = u8;

    fn try_from(value: u8) -> std::result::Result<FrameKind, u8> {
        match value {
            1 => Ok(FrameKind::Group),
            2 => Ok(FrameKind::Continue),
            3 => Ok(FrameKind::Seal),
            other => Err(other),
        }
    }
}

/// A segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The segment's number.
    pub number: FileNumber,
    /// The writable open that made it.
    pub epoch: Epoch,
    /// Its identity.
    pub file_id: FileId,
    /// The length in bytes that the file was made with.
    pub size_bytes: u32,
    /// Whether the file was another segment's before, and may still hold bytes of that.
    pub is_recycled: bool,
}

impl Header {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        let compatible = if self.is_recycled { RECYCLED } else { 0 };
        bytes[12..16].copy_from_slice(&compatible.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.size_bytes.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.number.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[40..56].copy_from_slice(&self.file_id.0);
        let crc = checksum::plain(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header from the front of `file`, the content of `path`. Corruption if it is damaged
    /// or too short, Unsupported if a newer build wrote it.
    pub fn decode(file: &[u8], path: &Path) -> Result<Header> {
        let Some((bytes, _)) = file.split_first_chunk::<HEADER_LEN>() else {
            return Err(Error::corruption(path, 0, "the log segment ends within its header"));
        };
        if bytes[..8] != MAGIC {
            return Err(Error::corruption(path, 0, "this is not a log segment"));
        }
        if u32_at(bytes, 60) != checksum::plain(&bytes[..60]) {
            return Err(Error::corruption(path, 0, "log segment header checksum does not match"));
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        let unknown = u32_at(bytes, 16) & !INCOMPATIBLE_KNOWN;
        if version != FORMAT_VERSION || unknown != 0 {
            let what = format!("log segment of format version {version}, features {unknown:#x}");
            return Err(Error::unsupported(path, what));
        }
        if u64_at(bytes, 32) > COUNTER_MAX {
            return Err(Error::corruption(path, 32, "a log segment of an impossible epoch"));
        }
        let mut file_id = FileId::default();
        file_id.0.copy_from_slice(&bytes[40..56]);
        Ok(Header {
            number: FileNumber(u64_at(bytes, 24)),
            epoch: Epoch(u64_at(bytes, 32)),
            file_id,
            size_bytes: u32_at(bytes, 20),
            is_recycled: u32_at(bytes, 12) & RECYCLED != 0,
        })
    }

    /// Where its frames stand.
    pub fn place(&self) -> frame::Place {
        frame::Place::new(self.file_id, self.number)
    }

    /// The part of `file`, the segment's content, that stands behind `end` and is zeros but for what a torn write left.
    pub(crate) fn unwritten<'a>(&self, file: &'a [u8], end: u64) -> &'a [u8] {
        let start = usize::try_from(end).map_or(file.len(), |end| end.min(file.len()));
        let step = end.next_multiple_of(blank_step(self.size_bytes.into())).min(file.len() as u64)
            as usize;
        if self.is_recycled { &file[start..step.max(start)] } else { &file[start..] }
    }
}

/// The little-endian number at `at`; callers have checked the length.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

/// The little-endian number at `at`; callers have checked the length.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use esker_base::ErrorKind;

    fn sample() -> Header {
        let file_id = FileId([0x11; 16]);
        let (number, epoch) = (FileNumber(2), Epoch(3));
        let size_bytes = 0x0001_0000;
        Header { number, epoch, file_id, size_bytes, is_recycled: false }
    }

    /// Writes `value` at `at` and a checksum that matches.
    fn with(mut bytes: [u8; HEADER_LEN], at: usize, value: u8) -> [u8; HEADER_LEN] {
        bytes[at] = value;
        let crc = checksum::plain(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    #[test]
    fn the_header_is_pinned() {
        let hex: Vec<_> = sample().encode().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex.join(" "),
            "45 53 4b 45 52 57 41 4c 02 00 00 00 00 00 00 00 00 00 00 00 00 00 01 00 \
             02 00 00 00 00 00 00 00 03 00 00 00 00 00 00 00 \
             11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 11 00 00 00 00 de 81 f1 c5"
        );
        assert_eq!(Header::decode(&sample().encode(), Path::new("x")).unwrap(), sample());
    }

    #[test]
    fn every_flipped_bit_and_every_missing_byte_is_seen() {
        let bytes = sample().encode();
        for bit in 0..HEADER_LEN * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = Header::decode(&bad, Path::new("x")).unwrap_err();
            assert_eq!((error.kind(), error.offset()), (ErrorKind::Corruption, Some(0)));
        }
        for len in 0..HEADER_LEN {
            let error = Header::decode(&bytes[..len], Path::new("x")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption);
        }
    }

    #[test]
    fn a_newer_version_and_an_unknown_feature_are_unsupported() {
        for (at, value) in [(8, 1), (8, 3), (9, 1), (16, 1), (19, 0x80)] {
            let bytes = with(sample().encode(), at, value);
            let error = Header::decode(&bytes, Path::new("x")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{at}");
        }
        let error = Header::decode(&with(sample().encode(), 39, 0x80), Path::new("x")).unwrap_err();
        assert_eq!((error.kind(), error.offset()), (ErrorKind::Corruption, Some(32)));
        let compatible = with(sample().encode(), 12, 2);
        assert_eq!(Header::decode(&compatible, Path::new("x")).unwrap(), sample());
        let recycled = Header { is_recycled: true, ..sample() };
        assert_eq!(with(sample().encode(), 12, 1), recycled.encode());
        assert_eq!(Header::decode(&recycled.encode(), Path::new("x")).unwrap(), recycled);
    }

    #[test]
    fn frame_kinds_are_pinned() {
        let kinds = [FrameKind::Group, FrameKind::Continue, FrameKind::Seal];
        for (kind, number) in kinds.into_iter().zip(1u8..) {
            assert_eq!(kind as u8, number);
            assert_eq!(FrameKind::try_from(number), Ok(kind));
        }
        assert_eq!(FrameKind::try_from(0), Err(0));
        assert_eq!(FrameKind::try_from(4), Err(4));
    }
}
