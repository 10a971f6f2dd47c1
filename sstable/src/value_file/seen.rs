//! Which records of a mapped value file were verified: one bit for each stretch of the file in which one begins.
//!
//! Only records at least as long as a stretch are remembered, so no two of them share a bit; shorter ones are verified each
//! time, which costs little. A bit is set after the checksum matched and says nothing else: the reader still holds the
//! record's own lengths against the pointer.

use std::sync::atomic::{AtomicU64, Ordering};

use super::format::ValuePointer;

/// Bytes of a file that share a bit: 16 KiB of memory for a file of 64 MiB.
const STRETCH_LEN: u64 = 512;

/// See the module.
pub(super) struct Seen(Box<[AtomicU64]>);

impl Seen {
    /// Nothing is verified of a file of `file_len`, which the caller has found to be the file's length.
    pub(super) fn new(file_len: u64) -> Seen {
        let words = file_len.div_ceil(STRETCH_LEN * 64);
        Seen((0..words).map(|_| AtomicU64::new(0)).collect())
    }

    /// The word and the bit of a record; `None` if it is too short to have one.
    fn place(&self, pointer: &ValuePointer) -> Option<(&AtomicU64, u64)> {
        let stretch = pointer.offset / STRETCH_LEN;
        let word = self.0.get(usize::try_from(stretch / 64).ok()?)?;
        (u64::from(pointer.record_len) >= STRETCH_LEN).then_some((word, 1 << (stretch % 64)))
    }

    /// Whether the record was verified before.
    pub(super) fn has(&self, pointer: &ValuePointer) -> bool {
        self.place(pointer).is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// Notes that the record's checksum matched.
    pub(super) fn add(&self, pointer: &ValuePointer) {
        if let Some((word, bit)) = self.place(pointer) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use esker_base::FileNumber;
    use proptest::{prop_assert_eq, proptest};

    proptest! {
        /// Records in a row, of any lengths: each is known exactly if it was added and is not too short.
        #[test]
        fn a_record_is_known_only_by_itself(
            lens in proptest::collection::vec((13u32..2000, proptest::bool::ANY), 1..200)
        ) {
            let mut offset = 48;
            let mut records = Vec::new();
            for (record_len, is_added) in lens {
                let value_len = record_len - 13;
                let file = FileNumber(1);
                records.push((ValuePointer { file, offset, record_len, value_len }, is_added));
                offset += u64::from(record_len);
            }
            let seen = Seen::new(offset + 48);
            records.iter().filter(|(_, added)| *added).for_each(|(record, _)| seen.add(record));
            for (record, is_added) in &records {
                let is_long = u64::from(record.record_len) >= STRETCH_LEN;
                prop_assert_eq!(seen.has(record), *is_added && is_long);
            }
        }
    }
}
