//! Checksums bound to a place: CRC-32 (the IEEE polynomial) over file id, offset and bytes.
//!
//! Because the id and the offset are covered, a block that is stale, swapped with another, or taken from another
//! file fails, up to 2^-32 a block. What is valid at a place of one file fails for certain at the same place of another whose
//! id has another CRC; if the two are the same, everything of the one passes in the other. A CRC detects accidents; it does not authenticate.

use crate::ids::FileId;

/// The checksum of `bytes` as they stand at `offset` of the file with identity `file_id`.
pub fn at(file_id: FileId, offset: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&file_id.0);
    hasher.update(&offset.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// The checksums of what stands in one file: the same as [`at`] gives, with the identity taken in once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfFile(u32);

impl OfFile {
    /// For the file with the identity `file_id`.
    pub fn new(file_id: FileId) -> OfFile {
        OfFile(plain(&file_id.0))
    }

    /// The checksum of `bytes` as they stand at `offset`.
    pub fn at(self, offset: u64, bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0);
        hasher.update(&offset.to_le_bytes());
        hasher.update(bytes);
        hasher.finalize()
    }
}

/// The checksum of what has the checksum `before`, followed by `bytes`.
pub fn followed_by(before: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(before);
    hasher.update(bytes);
    hasher.finalize()
}

/// The four bytes that lead from the checksum `before` to `wanted`: what has the one, followed by them, has the other.
pub fn bridge(before: u32, wanted: u32) -> [u8; 4] {
    /// The polynomial, lowest power first.
    const POLYNOMIAL: u32 = 0xedb8_8320;
    // The division that a checksum is, 32 steps of it taken back. The bytes meet the register where it was then.
    let mut register = !wanted;
    for _ in 0..32 {
        register = match register >> 31 {
            0 => register << 1,
            _ => (register ^ POLYNOMIAL) << 1 | 1,
        };
    }
    (register ^ !before).to_le_bytes()
}

/// The checksum of `bytes` alone; for headers, which carry the identity themselves, and for whole files.
pub fn plain(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// A checksum over bytes that arrive in pieces, such as a whole file while it is written.
#[derive(Clone, Debug, Default)]
pub struct Running(crc32fast::Hasher);

impl Running {
    /// The checksum of nothing yet.
    pub fn new() -> Running {
        Running::default()
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of everything added so far; equal to [`plain`] of the concatenation.
    pub fn value(&self) -> u32 {
        self.0.clone().finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_part_of_the_checksum() {
        let (a, b) = (FileId([1; 16]), FileId([2; 16]));
        assert_ne!(at(a, 0, b"x"), at(b, 0, b"x"));
        assert_ne!(at(a, 0, b"x"), at(a, 1, b"x"));
        for len in [0, 1, 36, 127, 128, 129, 1000] {
            let bytes = vec![3; len];
            assert_eq!(OfFile::new(a).at(77, &bytes), at(a, 77, &bytes), "{len}");
            for cut in [0, len / 2, len] {
                let front = at(a, 77, &bytes[..cut]);
                assert_eq!(followed_by(front, &bytes[cut..]), at(a, 77, &bytes), "{len}");
            }
        }
    }

    #[test]
    fn four_bytes_lead_to_any_checksum() {
        let mut wanted = 7_u32;
        for before in [plain(b""), plain(b"123456789"), 0, 1, u32::MAX] {
            for _ in 0..20 {
                wanted = wanted.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                assert_eq!(followed_by(before, &bridge(before, wanted)), wanted);
            }
        }
    }

    #[test]
    fn pieces_and_whole_agree_with_the_published_check_value() {
        // The check value of CRC-32/ISO-HDLC over the nine digits, from the CRC catalogues.
        assert_eq!(plain(b"123456789"), 0xcbf4_3926);
        let mut running = Running::new();
        running.update(b"1234");
        running.update(b"56789");
        assert_eq!(running.value(), 0xcbf4_3926);
    }
}
