//! What a file says about itself: counts, bounds and who wrote it.
//!
//! Written by the writer, read when a file is opened, held against the entries by verify. The framing is specified
//! in `format.rs`; the fields are:
//!
//! | number | bytes | field |
//! |---|---|---|
//! | 1 | 8 | entries |
//! | 2 | 8 | deletes among them |
//! | 3 | 8 | lowest sequence number |
//! | 4 | 8 | highest sequence number |
//! | 5 | 8 | bytes of all user keys |
//! | 6 | 8 | bytes of all values |
//! | 7 | 8 | keyspace id that the file was written for |
//! | 8 | n | smallest internal key |
//! | 9 | n | largest internal key |
//! | 10 | n | what wrote the file, in UTF-8 |
//! | 11 | 8 | data blocks |
//! | 12 | n | value files that entries point into: for each, ascending by number, three varints: number, entries, bytes; absent without pointers |

use esker_base::{FileNumber, InternalKey, KeyspaceId, SeqNo, ValueReference, varint};

use crate::format::Defect;

const MALFORMED: Defect = Defect::Damaged("the properties are malformed");

/// What a file says about itself. It is covered by checksums; [`crate::Reader::verify`] compares it with the entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Entries of every kind.
    pub entry_count: u64,
    /// Deletes among them.
    pub delete_count: u64,
    /// The lowest sequence number of an entry.
    pub min_seq: SeqNo,
    /// The highest sequence number of an entry.
    pub max_seq: SeqNo,
    /// Bytes of all user keys, before prefix compression.
    pub raw_key_bytes: u64,
    /// Bytes of all values.
    pub raw_value_bytes: u64,
    /// The keyspace that the file was first written for.
    pub keyspace: KeyspaceId,
    /// The first internal key.
    pub smallest: Vec<u8>,
    /// The last internal key.
    pub largest: Vec<u8>,
    /// The program that wrote the file, with its version.
    pub creator: String,
    /// Data blocks.
    pub block_count: u64,
    /// The value files that entries point into, ascending by number.
    pub values: Vec<ValueReference>,
}

impl Properties {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut field = |number: u16, bytes: &[u8]| {
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            out.extend_from_slice(bytes);
        };
        field(1, &self.entry_count.to_le_bytes());
        field(2, &self.delete_count.to_le_bytes());
        field(3, &self.min_seq.0.to_le_bytes());
        field(4, &self.max_seq.0.to_le_bytes());
        field(5, &self.raw_key_bytes.to_le_bytes());
        field(6, &self.raw_value_bytes.to_le_bytes());
        field(7, &self.keyspace.0.to_le_bytes());
        field(8, &self.smallest);
        field(9, &self.largest);
        field(10, self.creator.as_bytes());
        field(11, &self.block_count.to_le_bytes());
        if !self.values.is_empty() {
            let mut references = Vec::new();
            for reference in &self.values {
                varint::encode(reference.file.0, &mut references);
                varint::encode(reference.entries, &mut references);
                varint::encode(reference.bytes, &mut references);
            }
            field(12, &references);
        }
        out
    }

    pub(crate) fn decode(mut content: &[u8]) -> Result<Properties, Defect> {
        let mut properties = Properties::default();
        let mut last_number = 0;
        while !content.is_empty() {
            let (number, rest) = content.split_first_chunk::<2>().ok_or(MALFORMED)?;
            let (len, rest) = rest.split_first_chunk::<4>().ok_or(MALFORMED)?;
            let len = u32::from_le_bytes(*len) as usize;
            let (bytes, rest) = rest.split_at_checked(len).ok_or(MALFORMED)?;
            content = rest;
            let number = u16::from_le_bytes(*number);
            if number <= last_number {
                return Err(MALFORMED);
            }
            last_number = number;
            let count = || bytes.try_into().map(u64::from_le_bytes).map_err(|_| MALFORMED);
            match number {
                1 => properties.entry_count = count()?,
                2 => properties.delete_count = count()?,
                3 => properties.min_seq = SeqNo(count()?),
                4 => properties.max_seq = SeqNo(count()?),
                5 => properties.raw_key_bytes = count()?,
                6 => properties.raw_value_bytes = count()?,
                7 => properties.keyspace = KeyspaceId(count()?),
                8 => properties.smallest = bytes.to_vec(),
                9 => properties.largest = bytes.to_vec(),
                10 => {
                    let text = std::str::from_utf8(bytes).map_err(|_| MALFORMED)?;
                    properties.creator = text.to_string();
                }
                11 => properties.block_count = count()?,
                12 => properties.values = decode_references(bytes).ok_or(MALFORMED)?,
                _ => {}
            }
        }
        let sound = |key: &[u8]| InternalKey::decode(key).is_some();
        if properties.entry_count == 0
            || !sound(&properties.smallest)
            || !sound(&properties.largest)
        {
            return Err(MALFORMED);
        }
        Ok(properties)
    }
}

/// References ascend by file and count something.
fn decode_references(mut bytes: &[u8]) -> Option<Vec<ValueReference>> {
    let mut references: Vec<ValueReference> = Vec::new();
    while !bytes.is_empty() {
        let file = FileNumber(varint::decode(&mut bytes)?);
        let entries = varint::decode(&mut bytes)?;
        let reference = ValueReference { file, entries, bytes: varint::decode(&mut bytes)? };
        if entries == 0 || references.last().is_some_and(|before| before.file >= file) {
            return None;
        }
        references.push(reference);
    }
    Some(references)
}

#[cfg(test)]
mod tests {
    use super::*;
    use esker_base::{EntryKind, key};

    #[test]
    fn properties_survive_and_unknown_fields_are_skipped() {
        let properties = Properties {
            entry_count: 3,
            delete_count: 1,
            min_seq: SeqNo(4),
            max_seq: SeqNo(9),
            raw_key_bytes: 5,
            raw_value_bytes: 6,
            keyspace: KeyspaceId(7),
            smallest: key::encode(b"a", SeqNo(4), EntryKind::Put),
            largest: key::encode(b"b", SeqNo(9), EntryKind::Put),
            creator: "test".to_string(),
            block_count: 2,
            values: vec![
                ValueReference { file: FileNumber(4), entries: 2, bytes: 300 },
                ValueReference { file: FileNumber(1000), entries: 1, bytes: 1 << 40 },
            ],
        };
        let mut bytes = properties.encode();
        assert_eq!(Properties::decode(&bytes), Ok(properties.clone()));
        for len in 0..bytes.len() {
            // Cut anywhere but between two fields it fails; between fields something is missing or defaulted.
            let _ = Properties::decode(&bytes[..len]);
        }
        bytes.extend_from_slice(&[0xe8, 0x03, 2, 0, 0, 0, 1, 2]);
        assert_eq!(Properties::decode(&bytes), Ok(properties));
        bytes.extend_from_slice(&[0x01, 0x00, 0, 0, 0, 0]);
        assert!(Properties::decode(&bytes).is_err(), "numbers must ascend");
    }
}
