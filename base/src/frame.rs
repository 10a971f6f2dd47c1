//! The framing of the manifest; the write-ahead log has one of its own, which is smaller.
//!
//! A log file is a header of its own format followed by frames, each starting at a multiple of 8 bytes. All numbers
//! are little-endian.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | header checksum: CRC-32 over (file id, offset of the frame, bytes 4 to 31) |
//! | 4 | 4 | payload checksum: CRC-32 over (file id, offset of the payload, payload and padding) |
//! | 8 | 4 | payload length in bytes, at most 64 MiB + 64 KiB |
//! | 12 | 1 | kind, not 0; its meaning is the log's |
//! | 13 | 1 | version of that kind's payload, not 0 |
//! | 14 | 2 | 0 |
//! | 16 | 8 | known synced: file number |
//! | 24 | 8 | known synced: offset in that file |
//! | 32 | n | payload |
//! | 32+n | 0 to 7 | zeros up to a multiple of 8 |
//!
//! *Known synced* is the end of what the writer knew to be durable when it wrote the frame. A reader that finds
//! damage at P and, anywhere later in the log, a valid frame that claims more than P, has found corruption of durable
//! data; without such a frame the damage is a torn tail.
//!
//! The header has a checksum of its own, so that a damaged length is never followed and the search for later frames
//! costs 32 bytes a try. Where a header is all zeros nothing was written: preallocated space reads so.
//!
//! Example: file id of sixteen 0x11, offset 64, kind 1, version 1, known synced (3, 64), payload `hi`:
//! `8f b2 5f 74 6a 63 5a 1c 02 00 00 00 01 01 00 00 03 00 00 00 00 00 00 00 40 00 00 00 00 00 00 00 68 69 00
//! 00 00 00 00 00`.

use crate::checksum::{self, OfFile};
use crate::ids::{FileId, FileNumber, LogPosition};
use crate::limits::FRAME_PAYLOAD_MAX;

/// Bytes before the payload.
pub const HEADER_LEN: usize = 32;

/// Frames start at multiples of this.
pub const ALIGNMENT: usize = 8;

/// A valid frame, borrowing its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is; the log's own numbering.
    pub kind: u8,
    /// The version of that payload's format.
    pub version: u8,
    /// What was known to be durable when this was written.
    pub synced: LogPosition,
    /// The content.
    pub payload: &'a [u8],
    /// Where the frame starts in its file.
    pub offset: u64,
}

impl Frame<'_> {
    /// Where the next frame starts.
    pub fn end(&self) -> u64 {
        self.offset + encoded_len(self.payload.len()) as u64
    }
}

/// What stands at a place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A frame whose checksums match.
    Frame(Frame<'a>),
    /// Nothing was written here: the file ends, or the header is all zeros.
    Blank,
    /// Bytes that are not a frame; why, for a message.
    Damaged(&'static str),
}

/// The bytes that a payload of `payload_len` takes in the log, header and padding included.
pub fn encoded_len(payload_len: usize) -> usize {
    (HEADER_LEN + payload_len).next_multiple_of(ALIGNMENT)
}

/// Appends a frame to `out`, which is to be written at `offset - (out's length before)`; that is, the frame itself
/// lands at `offset`, a multiple of 8.
///
/// # Panics
/// If the payload is over [`FRAME_PAYLOAD_MAX`], `offset` is unaligned, or kind or version is 0; callers check.
pub fn encode(
    file_id: FileId,
    offset: u64,
    kind: u8,
    version: u8,
    synced: LogPosition,
    payload: &[u8],
    out: &mut Vec<u8>,
) {
    let start = out.len();
    let end = start + encoded_len(payload.len());
    out.reserve(end - start);
    out.extend_from_slice(&[0; HEADER_LEN]);
    out.extend_from_slice(payload);
    out.resize(end, 0);
    let place = (OfFile::new(file_id), offset);
    encode_in_place(place, kind, version, synced, payload.len(), &mut out[start..]);
}

/// Writes the header of a frame whose payload already stands in `frame` behind [`HEADER_LEN`] bytes of room, followed
/// by the zeros that fill it up to [`encoded_len`]; so that a payload built there is not copied. The frame is to stand at
/// the offset beside its file's checksums.
///
/// # Panics
/// As [`encode`], and if `frame` is not [`encoded_len`] bytes long; callers check.
pub fn encode_in_place(
    (file, offset): (OfFile, u64),
    kind: u8,
    version: u8,
    synced: LogPosition,
    payload_len: usize,
    frame: &mut [u8],
) {
    assert!(payload_len <= FRAME_PAYLOAD_MAX && frame.len() == encoded_len(payload_len));
    assert!(offset.is_multiple_of(ALIGNMENT as u64) && kind != 0 && version != 0);
    let (header, body) = frame.split_at_mut(HEADER_LEN);
    header.fill(0);
    let payload_crc = file.at(offset + HEADER_LEN as u64, body);
    header[4..8].copy_from_slice(&payload_crc.to_le_bytes());
    header[8..12].copy_from_slice(&(payload_len as u32).to_le_bytes());
    header[12] = kind;
    header[13] = version;
    header[16..24].copy_from_slice(&synced.file.0.to_le_bytes());
    header[24..32].copy_from_slice(&synced.offset.to_le_bytes());
    let header_crc = file.at(offset, &header[4..]);
    header[..4].copy_from_slice(&header_crc.to_le_bytes());
}

/// Reads what stands at `offset` of the file whose whole content is `file`.
pub fn decode(file_id: FileId, offset: u64, file: &[u8]) -> Parsed<'_> {
    let rest = usize::try_from(offset).ok().and_then(|start| file.get(start..)).unwrap_or(&[]);
    let Some((header, body)) = rest.split_first_chunk::<HEADER_LEN>() else {
        let blank = rest.iter().all(|&byte| byte == 0);
        return if blank {
            Parsed::Blank
        } else {
            Parsed::Damaged("the file ends within a header")
        };
    };
    if *header == [0; HEADER_LEN] {
        return Parsed::Blank;
    }
    if u32_at(header, 0) != checksum::at(file_id, offset, &header[4..]) {
        return Parsed::Damaged("header checksum does not match");
    }
    let len = u32_at(header, 8) as usize;
    let (kind, version) = (header[12], header[13]);
    if len > FRAME_PAYLOAD_MAX || kind == 0 || version == 0 || header[14..16] != [0, 0] {
        return Parsed::Damaged("header fields are out of range");
    }
    let Some(padded) = body.get(..encoded_len(len) - HEADER_LEN) else {
        return Parsed::Damaged("the file ends within a payload");
    };
    let payload_crc = checksum::at(file_id, offset + HEADER_LEN as u64, padded);
    if u32_at(header, 4) != payload_crc {
        return Parsed::Damaged("payload checksum does not match");
    }
    let synced = LogPosition { file: FileNumber(u64_at(header, 16)), offset: u64_at(header, 24) };
    Parsed::Frame(Frame { kind, version, synced, payload: &padded[..len], offset })
}

/// Every valid frame that starts at an aligned place at or after `from`, found by trying each such place; for judging
/// damage. A frame inside another's payload is not reported twice: after a find, the search goes on behind it.
pub fn scan(file_id: FileId, from: u64, file: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    let mut offset = from.next_multiple_of(ALIGNMENT as u64);
    std::iter::from_fn(move || {
        while offset < file.len() as u64 {
            if !may_be_header(offset, file) {
                offset += ALIGNMENT as u64;
                continue;
            }
            match decode(file_id, offset, file) {
                Parsed::Frame(frame) => {
                    offset = frame.end();
                    return Some(frame);
                }
                Parsed::Damaged(_) => offset += ALIGNMENT as u64,
                Parsed::Blank => offset = behind_blank(offset, file),
            }
        }
        None
    })
}

/// Whether the fields of a header at `offset` are in range, or all zero. Most of what is no frame is told without a
/// checksum.
fn may_be_header(offset: u64, file: &[u8]) -> bool {
    let rest = usize::try_from(offset).ok().and_then(|start| file.get(start..)).unwrap_or(&[]);
    let Some(header) = rest.first_chunk::<HEADER_LEN>() else { return true };
    let fields = u64_at(header, 8);
    let (len, kind, version) = (fields as u32, fields >> 32 & 0xff, fields >> 40 & 0xff);
    fields == 0
        || (fields >> 48 == 0 && kind != 0 && version != 0 && len as usize <= FRAME_PAYLOAD_MAX)
}

/// An aligned place behind the blank header at `offset`, with only blank headers between. Reserved space is long, and not
/// to cost a try every 8 bytes.
fn behind_blank(offset: u64, file: &[u8]) -> u64 {
    let next = offset + ALIGNMENT as u64;
    let rest = usize::try_from(next).ok().and_then(|start| file.get(start..)).unwrap_or(&[]);
    let (chunks, _) = rest.as_chunks::<HEADER_LEN>();
    let blank = chunks.iter().take_while(|chunk| **chunk == [0; HEADER_LEN]).count();
    // The last of these chunks is a blank header itself; the one 8 bytes on reaches behind it.
    next + (blank * HEADER_LEN).saturating_sub(HEADER_LEN - ALIGNMENT) as u64
}

fn u32_at(header: &[u8; HEADER_LEN], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

fn u64_at(header: &[u8; HEADER_LEN], at: usize) -> u64 {
    u64::from(u32_at(header, at)) | u64::from(u32_at(header, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: FileId = FileId([0x11; 16]);

    fn position(file: u64, offset: u64) -> LogPosition {
        LogPosition { file: FileNumber(file), offset }
    }

    fn sample() -> Vec<u8> {
        let mut file = vec![0; 64];
        encode(ID, 64, 1, 1, position(3, 64), b"hi", &mut file);
        let next = file.len() as u64;
        encode(ID, next, 2, 1, position(3, next), &[7; 100], &mut file);
        file
    }

    #[test]
    fn the_bytes_are_pinned() {
        let file = sample();
        let hex: Vec<String> = file[64..104].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex.join(" "),
            "8f b2 5f 74 6a 63 5a 1c 02 00 00 00 01 01 00 00 03 00 00 00 \
             00 00 00 00 40 00 00 00 00 00 00 00 68 69 00 00 00 00 00 00"
        );
    }

    #[test]
    fn frames_are_read_back_and_the_end_is_blank() {
        let file = sample();
        let Parsed::Frame(first) = decode(ID, 64, &file) else { panic!("no frame") };
        assert_eq!((first.kind, first.synced, first.payload), (1, position(3, 64), &b"hi"[..]));
        let Parsed::Frame(second) = decode(ID, first.end(), &file) else { panic!("no frame") };
        assert_eq!(second.payload, [7; 100]);
        assert_eq!(decode(ID, second.end(), &file), Parsed::Blank);
        assert_eq!(decode(ID, u64::MAX, &file), Parsed::Blank);
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let file = sample();
        for bit in 64 * 8..file.len() * 8 {
            let mut bad = file.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let frames: Vec<_> = scan(ID, 64, &bad).map(|frame| frame.offset).collect();
            assert_eq!(frames.len(), 1, "bit {bit}");
        }
    }

    /// Checksums that match do not excuse a header that [`encode`] would never write.
    #[test]
    fn a_frame_behind_any_length_of_blank_space_is_found() {
        for gap in (0..400).step_by(ALIGNMENT) {
            let mut file = vec![0; 64 + gap];
            let at = file.len() as u64;
            encode(ID, at, 1, 1, position(3, 64), b"behind", &mut file);
            file.resize(file.len() + gap % 48, 0);
            let found: Vec<_> = scan(ID, 0, &file).map(|frame| frame.offset).collect();
            assert_eq!(found, [at], "{gap}");
        }
    }

    #[test]
    fn header_fields_out_of_range_are_refused() {
        let good = sample();
        let forged = |at: usize, bytes: &[u8]| {
            let mut file = good.clone();
            file[64 + at..64 + at + bytes.len()].copy_from_slice(bytes);
            let crc = checksum::at(ID, 64, &file[68..96]);
            file[64..68].copy_from_slice(&crc.to_le_bytes());
            file
        };
        assert!(matches!(decode(ID, 64, &forged(12, &[1])), Parsed::Frame(_)));
        let too_long = (FRAME_PAYLOAD_MAX as u32 + 1).to_le_bytes();
        for (at, bytes) in
            [(8, &too_long[..]), (8, &[0xff; 4]), (12, &[0]), (13, &[0]), (14, &[1]), (15, &[1])]
        {
            let file = forged(at, bytes);
            let Parsed::Damaged(why) = decode(ID, 64, &file) else { panic!("{at} passed") };
            assert_eq!(why, "header fields are out of range", "{at}");
        }
        // A length within the limit, but past the end of the file.
        let at_the_limit = forged(8, &(FRAME_PAYLOAD_MAX as u32).to_le_bytes());
        let Parsed::Damaged(why) = decode(ID, 64, &at_the_limit) else { panic!("passed") };
        assert_eq!(why, "the file ends within a payload");
    }

    #[test]
    fn what_a_reader_would_refuse_is_not_encoded() {
        let synced = position(0, 0);
        let encode = |offset, kind, version, payload_len, frame_len: usize| {
            std::panic::catch_unwind(|| {
                let mut frame = vec![0; frame_len];
                let place = (OfFile::new(ID), offset);
                encode_in_place(place, kind, version, synced, payload_len, &mut frame);
                frame
            })
        };
        let whole = encode(0, 1, 1, 8, 40).expect("a sound frame");
        assert!(matches!(decode(ID, 0, &whole), Parsed::Frame(_)));
        for (what, result) in [
            ("unaligned", encode(4, 1, 1, 8, 40)),
            ("no kind", encode(0, 0, 1, 8, 40)),
            ("no version", encode(0, 1, 0, 8, 40)),
            ("no room for padding", encode(0, 1, 1, 7, 39)),
            ("too long", encode(0, 1, 1, FRAME_PAYLOAD_MAX + 1, 40)),
        ] {
            assert!(result.is_err(), "{what}");
        }
    }

    #[test]
    fn a_frame_does_not_pass_elsewhere_or_cut_short() {
        let file = sample();
        assert!(matches!(decode(FileId([0x12; 16]), 64, &file), Parsed::Damaged(_)));
        assert!(matches!(decode(ID, 56, &file[8..]), Parsed::Damaged(_)));
        for len in 65..104 {
            assert!(matches!(decode(ID, 64, &file[..len]), Parsed::Damaged(_)), "{len}");
        }
    }
}
