//! The frames of the log: how a group or a control record stands in a segment. The writer and the reader use it, and tests
//! that forge frames; it does no input or output.
//!
//! Each frame starts at a multiple of 4 bytes. All numbers are little-endian.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | checksum: CRC-32 over (file id, offset of the frame, bytes 6 to 15, payload and padding) |
//! | 4 | 2 | check of the header: the low half of the CRC-32 over (file id, offset of the frame, bytes 6 to 15) |
//! | 6 | 2 | known synced: how much lower its segment's number is than this one's; 65,535 where nothing is claimed |
//! | 8 | 4 | payload length in bytes, at most 64 MiB + 64 KiB, in the low 28 bits; above them the kind, not 0 |
//! | 12 | 4 | known synced: offset in its segment |
//! | 16 | n | payload |
//! | 16+n | 0 to 3 | zeros up to a multiple of 4 |
//!
//! *Known synced* is the end of what the writer knew to be durable when it wrote the frame. A reader that finds
//! damage at P and, anywhere later in the log, a valid frame that claims more than P, has found corruption of durable
//! data; without such a frame the damage is a torn tail. A segment that is too many numbers behind to be named counts as
//! nothing claimed, which is the weaker claim. Nothing claimed has one form: 65,535 and offset 0.
//!
//! The check of the header makes a search cheap: of places that hold no frame, one in 65,536 costs a checksum over what
//! would be its payload. Where far more do, the segment is refused. What a frame says is taken only if both match, 48
//! bits in all. Both begin with the CRC of the file id: in a file whose id has the same CRC, 32 bits, every frame of
//! this one passes at its offset. A segment made of a retired one gets an id for which that is not so. Where a header is
//! all zeros nothing was written: preallocated space reads so.
//!
//! Example: file id of sixteen 0x11, segment 3, offset 64, kind 1, known synced (3, 64), payload `hi`:
//! `fa d7 3c 19 e3 be 00 00 02 00 00 10 40 00 00 00 68 69 00 00`.

use std::path::Path;

use esker_base::checksum::{self, OfFile};
use esker_base::limits::FRAME_PAYLOAD_MAX;
use esker_base::{Error, FileId, FileNumber, LogPosition, mutant};

use crate::format::u32_at;

/// Bytes before the payload.
pub const HEADER_LEN: usize = 16;

/// Bytes of the checksum that a frame begins with; it covers all of it.
pub const CHECKSUM_LEN: usize = 4;

/// Frames start at multiples of this.
pub const ALIGNMENT: usize = 4;

/// The bytes of a header that the checksums cover begin here.
const COVERED_AT: usize = 6;

/// Bits of the word that holds length and kind which are the length.
const LEN_BITS: u32 = 28;

/// Stands for a claim of nothing.
const NO_CLAIM: u16 = u16::MAX;

/// What is wrong with a frame whose header passes and whose body does not.
const BODY_DAMAGED: &str = "checksum does not match";

/// A [`scan`] takes checksums of bodies in vain for at most so many times the length of the file, and a little. Random
/// bytes cost 32 times in the largest segment, a quarter of 2^-16 of its bytes being headers that pass with bodies of 32
/// MiB on average, and a fraction of once in one of 16 MiB.
const SCAN_COST_MAX: u64 = 64;

const _: () = assert!(FRAME_PAYLOAD_MAX < 1 << LEN_BITS);
const _: () = assert!(HEADER_LEN.is_multiple_of(ALIGNMENT));

/// The segment that frames stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    checksums: OfFile,
    number: FileNumber,
}

impl Place {
    /// In segment `number`, with the identity `file_id`.
    pub fn new(file_id: FileId, number: FileNumber) -> Place {
        Place { checksums: OfFile::new(file_id), number }
    }

    /// The checksum of a header at `offset`. Its low half checks the header; followed by the body's bytes it is that of
    /// the frame.
    #[inline]
    fn of_header(&self, offset: u64, header: &[u8; HEADER_LEN]) -> u32 {
        self.checksums.at(offset, &header[COVERED_AT..])
    }

    /// What stands in a header for `synced`.
    fn claim(&self, synced: LogPosition) -> (u16, u32) {
        let behind = self.number.0.checked_sub(synced.file.0).map(u16::try_from);
        match (behind, u32::try_from(synced.offset)) {
            (Some(Ok(behind)), Ok(offset))
                if behind != NO_CLAIM && synced != LogPosition::default() =>
            {
                (behind, offset)
            }
            _ => (NO_CLAIM, 0),
        }
    }

    /// The opposite of [`Place::claim`]; `None` for what no writer makes.
    fn claimed(&self, behind: u16, offset: u32) -> Option<LogPosition> {
        match behind {
            NO_CLAIM => (offset == 0).then(LogPosition::default),
            _ => {
                let file = FileNumber(self.number.0.checked_sub(behind.into())?);
                let synced = LogPosition { file, offset: offset.into() };
                (synced != LogPosition::default()).then_some(synced)
            }
        }
    }
}

/// A valid frame, borrowing its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is: a [`crate::format::FrameKind`], or one of a later version.
    pub kind: u8,
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

/// A [`scan`] stopped at this offset: too many places look like frames and are none, which is no accident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GaveUp(pub u64);

impl GaveUp {
    /// As an error of the segment at `path`.
    pub(crate) fn error(self, path: &Path) -> Error {
        Error::corruption(path, self.0, "too much here looks like frames and is damaged")
    }
}

/// The bytes that a payload of `payload_len` takes in the log, header and padding included.
pub fn encoded_len(payload_len: usize) -> usize {
    (HEADER_LEN + payload_len).next_multiple_of(ALIGNMENT)
}

/// Appends a frame to `out`, which is to be written at `offset - (out's length before)`; that is, the frame itself
/// lands at `offset`, a multiple of 4.
///
/// # Panics
/// If the payload is over [`FRAME_PAYLOAD_MAX`], `offset` is unaligned, or the kind is not 1 to 15; callers check.
pub fn encode(
    place: Place,
    offset: u64,
    kind: u8,
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
    encode_in_place((place, offset), kind, synced, payload.len(), &mut out[start..]);
}

/// Writes the header of a frame whose payload already stands in `frame` behind [`HEADER_LEN`] bytes of room, followed
/// by the zeros that fill it up to [`encoded_len`]; so that a payload built there is not copied. The frame is to stand at
/// the offset beside its segment.
///
/// # Panics
/// As [`encode`], and if `frame` is not [`encoded_len`] bytes long; callers check.
pub(crate) fn encode_in_place(
    (place, offset): (Place, u64),
    kind: u8,
    synced: LogPosition,
    payload_len: usize,
    frame: &mut [u8],
) {
    assert!(payload_len <= FRAME_PAYLOAD_MAX && frame.len() == encoded_len(payload_len));
    assert!(offset.is_multiple_of(ALIGNMENT as u64) && (1..1 << (32 - LEN_BITS)).contains(&kind));
    let (room, body) = frame.split_at_mut(HEADER_LEN);
    let (behind, synced_offset) = place.claim(synced);
    let mut header = [0; HEADER_LEN];
    header[6..8].copy_from_slice(&behind.to_le_bytes());
    let len_and_kind = payload_len as u32 | u32::from(kind) << LEN_BITS;
    header[8..12].copy_from_slice(&len_and_kind.to_le_bytes());
    header[12..16].copy_from_slice(&synced_offset.to_le_bytes());
    let of_header = place.of_header(offset, &header);
    header[..4].copy_from_slice(&checksum::followed_by(of_header, body).to_le_bytes());
    header[4..6].copy_from_slice(&(of_header as u16).to_le_bytes());
    room.copy_from_slice(&header);
}

/// Reads what stands at `offset` of the file whose whole content is `file`.
pub fn decode(place: Place, offset: u64, file: &[u8]) -> Parsed<'_> {
    let rest = behind(offset, file);
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
    // Nothing of a header is used before its check.
    let of_header = place.of_header(offset, header);
    if u16_at(header, 4) != of_header as u16 {
        return Parsed::Damaged("header check does not match");
    }
    let (len, kind) = len_and_kind(header);
    let synced = place.claimed(u16_at(header, 6), u32_at(header, 12));
    let Some(synced) = synced.filter(|_| len <= FRAME_PAYLOAD_MAX && kind != 0) else {
        return Parsed::Damaged("header fields are out of range");
    };
    let Some(padded) = body.get(..encoded_len(len) - HEADER_LEN) else {
        return Parsed::Damaged("the file ends within a payload");
    };
    let checksum = checksum::followed_by(of_header, padded);
    if u32_at(header, 0) != checksum && !mutant!("wal_torn_payload_taken") {
        return Parsed::Damaged(BODY_DAMAGED);
    }
    Parsed::Frame(Frame { kind, synced, payload: &padded[..len], offset })
}

/// Every valid frame that starts at an aligned place at or after `from`, and claims nothing behind itself, found by trying
/// each such place; for judging damage. A frame inside another's payload is not reported twice: after a find, the search
/// goes on behind it. An error is the last item.
pub fn scan(
    place: Place,
    from: u64,
    file: &[u8],
) -> impl Iterator<Item = Result<Frame<'_>, GaveUp>> {
    let mut offset = from.next_multiple_of(ALIGNMENT as u64);
    let mut in_vain = 0;
    std::iter::from_fn(move || {
        while offset < file.len() as u64 {
            if !may_be_header(place, offset, file) {
                offset += ALIGNMENT as u64;
                continue;
            }
            match decode(place, offset, file) {
                Parsed::Frame(frame) => {
                    offset = frame.end();
                    return Some(Ok(frame));
                }
                Parsed::Damaged(why) => {
                    if why == BODY_DAMAGED {
                        in_vain += payload_len(offset, file);
                    }
                    if in_vain / SCAN_COST_MAX > file.len() as u64 {
                        let at = std::mem::replace(&mut offset, u64::MAX);
                        return Some(Err(GaveUp(at)));
                    }
                    offset += ALIGNMENT as u64;
                }
                Parsed::Blank => offset = behind_blank(offset, file),
            }
        }
        None
    })
}

/// Whether the fields of a header at `offset` are in range, or all zero. Most of what is no frame is told without a
/// checksum: a segment made of an old one is full of that.
fn may_be_header(place: Place, offset: u64, file: &[u8]) -> bool {
    let Some(header) = behind(offset, file).first_chunk::<HEADER_LEN>() else { return true };
    let (len, kind) = len_and_kind(header);
    if kind == 0 || len > FRAME_PAYLOAD_MAX {
        return kind == 0 && len == 0;
    }
    let own = LogPosition { file: place.number, offset };
    let claimed = place.claimed(u16_at(header, 6), u32_at(header, 12));
    claimed.is_some_and(|synced| synced <= own)
}

/// The payload length that a header at `offset` says; 0 where there is none.
fn payload_len(offset: u64, file: &[u8]) -> u64 {
    let header = behind(offset, file).first_chunk::<HEADER_LEN>();
    header.map_or(0, |header| len_and_kind(header).0 as u64)
}

/// An aligned place behind the blank header at `offset`, with only blank headers between. Reserved space is long, and not
/// to cost a try every 4 bytes.
fn behind_blank(offset: u64, file: &[u8]) -> u64 {
    let next = offset + ALIGNMENT as u64;
    let (chunks, _) = behind(next, file).as_chunks::<HEADER_LEN>();
    let blank = chunks.iter().take_while(|chunk| **chunk == [0; HEADER_LEN]).count();
    // The last of these chunks is a blank header itself; the one 4 bytes on reaches behind it.
    next + (blank * HEADER_LEN).saturating_sub(HEADER_LEN - ALIGNMENT) as u64
}

/// What stands from `offset` on; nothing past the end.
fn behind(offset: u64, file: &[u8]) -> &[u8] {
    usize::try_from(offset).ok().and_then(|start| file.get(start..)).unwrap_or(&[])
}

fn len_and_kind(header: &[u8; HEADER_LEN]) -> (usize, u8) {
    let word = u32_at(header, 8);
    ((word & ((1 << LEN_BITS) - 1)) as usize, (word >> LEN_BITS) as u8)
}

fn u16_at(header: &[u8; HEADER_LEN], at: usize) -> u16 {
    u16::from_le_bytes([header[at], header[at + 1]])
}

#[cfg(test)]
mod tests;
