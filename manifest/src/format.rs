//! The bytes of a manifest and of `CURRENT`. All numbers little-endian.
//!
//! # Manifest, `NNNNNNNNNN.manifest`
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `ESKERMAN` |
//! | 8 | 2 | format version, 1 |
//! | 10 | 2 | 0 |
//! | 12 | 4 | compatible feature bits: a reader may ignore what it does not know; none yet |
//! | 16 | 4 | incompatible feature bits: a reader refuses what it does not know; none yet |
//! | 20 | 4 | CRC-32 over bytes 0 to 19 and 24 to 63; stays here in every version |
//! | 24 | 8 | file number, the one in the name |
//! | 32 | 16 | file id |
//! | 48 | 16 | database id |
//! | 64 | | frames of [`esker_base::frame`] |
//! | | | zeros, to the end of the file |
//!
//! Frames, each claiming its own offset as known synced, because everything before it is durable
//! when it is written:
//!
//! | kind | payload |
//! |---|---|
//! | 1, snapshot part | part index u32, part count u32 (1 to 64), part of a snapshot's bytes |
//! | 2, edit | an edit's bytes |
//!
//! File numbers, keyspace ids and epochs are below 2^63, sequence numbers below 2^56.
//!
//! The snapshot's parts come first, all of them and in order; then the edits. [`crate::edit::v2`]
//! defines the bytes of both for frame version 2. The file is as long as its space is reserved, at
//! least the length that `CURRENT` names, so that a truncation anywhere is seen.
//!
//! # `CURRENT`, 64 bytes exactly
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `ESKERCUR` |
//! | 8 | 2 | format version, 1 |
//! | 10 | 2 | 0 |
//! | 12 | 8 | number of the live manifest |
//! | 20 | 16 | its file id |
//! | 36 | 16 | database id |
//! | 52 | 8 | the manifest is at least this long, in bytes |
//! | 60 | 4 | CRC-32 over bytes 0 to 59 |
//!
//! Example: manifest 5 with an id of sixteen 0x11, database id of sixteen 0x22, length 16,448:
//! `45534b4552435552 0100 0000 0500000000000000 11..11 22..22 4040000000000000`, then the CRC
//! `bee2265d` (as bytes).

use std::path::Path;

use esker_base::{Error, FileId, FileNumber, Result, checksum};

/// Bytes before the first frame.
pub const HEADER_LEN: usize = 64;
/// The length of `CURRENT`, in bytes.
pub const CURRENT_LEN: usize = 64;
/// Bytes before the snapshot's bytes in a snapshot frame.
pub const PART_PREFIX_LEN: usize = 8;
/// The most parts of a snapshot.
pub const PART_COUNT_MAX: u32 = 64;
/// The snapshot bytes in each part but the last.
pub const PART_LEN: usize = 32 << 20;

const MANIFEST_MAGIC: &[u8; 8] = b"ESKERMAN";
const CURRENT_MAGIC: &[u8; 8] = b"ESKERCUR";
const FORMAT_VERSION: u16 = 1;

const _: () = assert!(PART_LEN + PART_PREFIX_LEN <= esker_base::limits::FRAME_PAYLOAD_MAX);
const _: () =
    assert!(PART_LEN as u64 * PART_COUNT_MAX as u64 >= crate::edit::v2::SNAPSHOT_LEN_MAX as u64);

/// What a frame of a manifest holds. Stored on disk: never change a number; retired ones stay
/// reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// A part of the picture that the log starts from.
    Snapshot = 1,
    /// A change.
    Edit = 2,
}

impl TryFrom<u8> for FrameKind {
    type Error = u8;

    fn try_from(byte: u8) -> std::result::Result<FrameKind, u8> {
        match byte {
            1 => Ok(FrameKind::Snapshot),
            2 => Ok(FrameKind::Edit),
            other => Err(other),
        }
    }
}

/// The identity at the head of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The number in the file's name.
    pub number: FileNumber,
    /// The file's own identity.
    pub file_id: FileId,
    /// Whose manifest it is.
    pub database_id: [u8; 16],
}

impl Header {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..8].copy_from_slice(MANIFEST_MAGIC);
        out[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[24..32].copy_from_slice(&self.number.0.to_le_bytes());
        out[32..48].copy_from_slice(&self.file_id.0);
        out[48..64].copy_from_slice(&self.database_id);
        let crc = header_crc(&out);
        out[20..24].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header at the front of `file`, the content of `path`. `Corruption` if it is damaged,
    /// `Unsupported` if it is of a later version or needs a feature that this build does not know.
    pub fn decode(file: &[u8], path: &Path) -> Result<Header> {
        let Some(bytes) = file.first_chunk::<HEADER_LEN>() else {
            return Err(Error::corruption(path, 0, "the manifest ends within its header"));
        };
        if &bytes[..8] != MANIFEST_MAGIC {
            return Err(Error::corruption(path, 0, "this is not a manifest"));
        }
        if u32_at(bytes, 20) != header_crc(bytes) {
            return Err(Error::corruption(path, 20, "header checksum does not match"));
        }
        let (version, incompatible) = (u32_at(bytes, 8), u32_at(bytes, 16));
        if version != u32::from(FORMAT_VERSION) || incompatible != 0 {
            return Err(Error::unsupported(
                path,
                format!("manifest version {version:#x}, features {incompatible:#x}"),
            ));
        }
        Ok(Header {
            number: FileNumber(u64_at(bytes, 24)),
            file_id: FileId(array_at(bytes, 32)),
            database_id: array_at(bytes, 48),
        })
    }
}

/// What `CURRENT` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    /// The live manifest.
    pub manifest: FileNumber,
    /// Its identity.
    pub file_id: FileId,
    /// The database's identity.
    pub database_id: [u8; 16],
    /// The manifest is at least this long, in bytes.
    pub min_len: u64,
}

impl Current {
    /// The bytes of `CURRENT`.
    pub fn encode(&self) -> [u8; CURRENT_LEN] {
        let mut out = [0; CURRENT_LEN];
        out[..8].copy_from_slice(CURRENT_MAGIC);
        out[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[12..20].copy_from_slice(&self.manifest.0.to_le_bytes());
        out[20..36].copy_from_slice(&self.file_id.0);
        out[36..52].copy_from_slice(&self.database_id);
        out[52..60].copy_from_slice(&self.min_len.to_le_bytes());
        let crc = checksum::plain(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// What `bytes`, the content of `path`, says. Errors as for [`Header::decode`].
    pub fn decode(bytes: &[u8], path: &Path) -> Result<Current> {
        let Ok(bytes) = <&[u8; CURRENT_LEN]>::try_from(bytes) else {
            let message = format!("{} bytes long instead of {CURRENT_LEN}", bytes.len());
            return Err(Error::corruption(path, 0, message));
        };
        if u32_at(bytes, 60) != checksum::plain(&bytes[..60]) || &bytes[..8] != CURRENT_MAGIC {
            return Err(Error::corruption(path, 0, "checksum or magic does not match"));
        }
        let version = u32_at(bytes, 8);
        if version != u32::from(FORMAT_VERSION) {
            return Err(Error::unsupported(path, format!("CURRENT of version {version:#x}")));
        }
        Ok(Current {
            manifest: FileNumber(u64_at(bytes, 12)),
            file_id: FileId(array_at(bytes, 20)),
            database_id: array_at(bytes, 36),
            min_len: u64_at(bytes, 52),
        })
    }
}

fn header_crc(bytes: &[u8; HEADER_LEN]) -> u32 {
    let mut running = checksum::Running::new();
    running.update(&bytes[..20]);
    running.update(&bytes[24..]);
    running.value()
}

fn array_at<const N: usize>(bytes: &[u8; 64], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("offsets are constants within the 64 bytes")
}

fn u32_at(bytes: &[u8; 64], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

fn u64_at(bytes: &[u8; 64], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use esker_base::ErrorKind;

    fn current() -> Current {
        Current {
            manifest: FileNumber(5),
            file_id: FileId([0x11; 16]),
            database_id: [0x22; 16],
            min_len: 16_448,
        }
    }

    #[test]
    fn the_bytes_of_current_are_pinned() {
        let bytes = current().encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = format!(
            "45534b455243555201000000{}{}{}4040000000000000bee2265d",
            "0500000000000000",
            "11".repeat(16),
            "22".repeat(16)
        );
        assert_eq!(hex, expected);
        assert_eq!(Current::decode(&bytes, Path::new("CURRENT")).unwrap(), current());
    }

    #[test]
    fn the_bytes_of_the_header_are_pinned() {
        let header =
            Header { number: FileNumber(5), file_id: FileId([0x11; 16]), database_id: [0x22; 16] };
        let bytes = header.encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = format!(
            "45534b45524d414e010000000000000000000000{}0500000000000000{}{}",
            "d8402ceb",
            "11".repeat(16),
            "22".repeat(16)
        );
        assert_eq!(hex, expected);
        assert_eq!(Header::decode(&bytes, Path::new("m")).unwrap(), header);
    }

    #[test]
    fn numbers_on_disk_are_pinned() {
        use crate::version::{Compression, StrategyKind};
        for (kind, byte) in [(FrameKind::Snapshot, 1), (FrameKind::Edit, 2)] {
            assert_eq!((kind as u8, FrameKind::try_from(byte)), (byte, Ok(kind)));
        }
        for (kind, byte) in
            [(StrategyKind::Leveled, 1), (StrategyKind::Tiered, 2), (StrategyKind::Fifo, 3)]
        {
            assert_eq!((kind as u8, StrategyKind::try_from(byte)), (byte, Ok(kind)));
        }
        for (kind, byte) in [(Compression::None, 1), (Compression::Lz4, 2)] {
            assert_eq!((kind as u8, Compression::try_from(byte)), (byte, Ok(kind)));
        }
        for byte in [0, 9] {
            assert_eq!(FrameKind::try_from(byte), Err(byte));
            assert_eq!(StrategyKind::try_from(byte), Err(byte));
            assert_eq!(Compression::try_from(byte), Err(byte));
        }
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let mut bytes = current().encode();
        bytes[8] = 2;
        let error = Current::decode(&bytes, Path::new("CURRENT")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        let crc = checksum::plain(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        let error = Current::decode(&bytes, Path::new("CURRENT")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        // Another magic is not a version, whatever the checksum says.
        bytes[0] ^= 1;
        let crc = checksum::plain(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        let error = Current::decode(&bytes, Path::new("CURRENT")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);

        let header =
            Header { number: FileNumber(5), file_id: FileId([0x11; 16]), database_id: [0x22; 16] };
        let forged = |at: usize, value| {
            let mut bytes = header.encode();
            bytes[at] = value;
            let crc = header_crc(&bytes);
            bytes[20..24].copy_from_slice(&crc.to_le_bytes());
            Header::decode(&bytes, Path::new("m"))
        };
        // The version, the two bytes behind it, and a feature that a reader must know.
        for (at, value) in [(8, 2), (9, 1), (10, 1), (16, 1), (19, 0x80)] {
            assert_eq!(forged(at, value).unwrap_err().kind(), ErrorKind::Unsupported, "{at}");
        }
        assert_eq!(forged(0, b'e').unwrap_err().kind(), ErrorKind::Corruption);
        // A feature that a reader may ignore.
        assert_eq!(forged(12, 1).unwrap(), header);
        for len in 0..HEADER_LEN {
            let error = Header::decode(&header.encode()[..len], Path::new("m")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corruption, "{len}");
        }
    }
}
