//! Which value files an sstable points into, and how much of each.
//!
//! The writer of an sstable counts them, its properties and the manifest keep them, and the live bytes of a value file are
//! their sum over the sstables of the version. No other count of what is live is kept anywhere, so none can drift.

use std::collections::BTreeMap;

use crate::ids::FileNumber;

/// What one sstable references of one value file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueReference {
    /// The value file.
    pub file: FileNumber,
    /// Entries that point into it; at least 1.
    pub entries: u64,
    /// The length of the records that they point to, in bytes.
    pub bytes: u64,
}

/// References under way: counted entry by entry, then listed by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValueReferences(BTreeMap<FileNumber, (u64, u64)>);

impl ValueReferences {
    /// Counts entries that point to `bytes` of records in `file`.
    pub fn add(&mut self, file: FileNumber, entries: u64, bytes: u64) {
        let (known_entries, known_bytes) = self.0.entry(file).or_default();
        *known_entries = known_entries.saturating_add(entries);
        *known_bytes = known_bytes.saturating_add(bytes);
    }

    /// The references, ascending by file.
    pub fn list(&self) -> Vec<ValueReference> {
        let of = |(&file, &(entries, bytes))| ValueReference { file, entries, bytes };
        self.0.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_counted_by_file_and_listed_in_order() {
        let mut references = ValueReferences::default();
        for (file, bytes) in [(7, 10), (3, 1), (7, 5)] {
            references.add(FileNumber(file), 1, bytes);
        }
        assert_eq!(
            references.list(),
            [
                ValueReference { file: FileNumber(3), entries: 1, bytes: 1 },
                ValueReference { file: FileNumber(7), entries: 2, bytes: 15 },
            ]
        );
    }
}
