//! A batch of writes as bytes: what the log stores and what the memtables are filled from.
//!
//! The operations stand one after another, without padding; all lengths and ids are varints ([`crate::varint`]):
//!
//! | field | form |
//! |---|---|
//! | kind | 1 byte, an [`EntryKind`]; Delete or Put |
//! | keyspace id | varint |
//! | key length, key | varint, bytes |
//! | value length, value | varint, bytes; only for Put |
//!
//! Example: a put of `k` = `v1` in keyspace 7, then a delete of `k`: `02 07 01 6b 02 76 31 01 07 01 6b`.
//!
//! Each operation takes one sequence number, in order, so a later operation of a batch wins over an earlier one.

use crate::ids::KeyspaceId;
use crate::key::EntryKind;
use crate::limits::{BATCH_LEN_MAX, KEY_LEN_MAX};
use crate::{Error, Result, varint};

/// Writes to be committed together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    count: u32,
}

/// One operation of a batch, borrowing key and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOp<'a> {
    /// Put or Delete.
    pub kind: EntryKind,
    /// Where it goes.
    pub keyspace: KeyspaceId,
    /// At most [`KEY_LEN_MAX`] bytes.
    pub key: &'a [u8],
    /// Empty for a delete.
    pub value: &'a [u8],
}

impl Batch {
    /// A batch of nothing.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds a put. Refused, leaving the batch as it was, if the key is over 64 KiB or the batch would exceed 64 MiB.
    pub fn put(&mut self, keyspace: KeyspaceId, key: &[u8], value: &[u8]) -> Result<()> {
        self.push(&BatchOp { kind: EntryKind::Put, keyspace, key, value })
    }

    /// Adds a delete, with the same limits as [`Batch::put`].
    pub fn delete(&mut self, keyspace: KeyspaceId, key: &[u8]) -> Result<()> {
        self.push(&BatchOp { kind: EntryKind::Delete, keyspace, key, value: &[] })
    }

    /// Adds an operation, with the same limits as [`Batch::put`].
    pub fn push(&mut self, op: &BatchOp<'_>) -> Result<()> {
        // Reserved at once: growing byte by byte would copy a small batch several times.
        self.bytes.reserve(op_len(op, self.bytes.len())?);
        encode_op(op, &mut self.bytes);
        self.count += 1;
        Ok(())
    }

    /// The number of operations.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Forgets every operation and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// The encoded operations.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The operations in order.
    pub fn ops(&self) -> impl Iterator<Item = BatchOp<'_>> {
        ops(&self.bytes).map_while(|op| op)
    }
}

/// The bytes that `op` takes in a batch; refused if its key is over the limit, or if a batch that has `before`
/// bytes would be with it.
#[inline]
pub fn op_len(op: &BatchOp<'_>, before: usize) -> Result<usize> {
    let prefixed = |bytes: &[u8]| varint::encoded_len(bytes.len() as u64) + bytes.len();
    // The lengths are at most 10 bytes each; the sum cannot overflow because slices are below isize::MAX.
    let value_len = if op.kind == EntryKind::Put { prefixed(op.value) } else { 0 };
    let added = 1 + varint::encoded_len(op.keyspace.0) + prefixed(op.key) + value_len;
    if op.key.len() <= KEY_LEN_MAX && before + added <= BATCH_LEN_MAX {
        return Ok(added);
    }
    Err(over_limit(op))
}

#[cold]
fn over_limit(op: &BatchOp<'_>) -> Error {
    if op.key.len() > KEY_LEN_MAX {
        let len = op.key.len();
        return Error::invalid(format!("key of {len} bytes is over the limit of {KEY_LEN_MAX}"));
    }
    Error::invalid(format!(
        "batch would exceed {BATCH_LEN_MAX} bytes with this value of {} bytes; split it",
        op.value.len()
    ))
}

/// Appends `op` to `out`.
#[inline]
pub fn encode_op(op: &BatchOp<'_>, out: &mut Vec<u8>) {
    out.push(op.kind as u8);
    varint::encode(op.keyspace.0, out);
    varint::encode_slice(op.key, out);
    if op.kind == EntryKind::Put {
        varint::encode_slice(op.value, out);
    }
}

/// The operations encoded in `bytes`, in order. A malformed place yields one `None` and ends the iteration.
pub fn ops(bytes: &[u8]) -> impl Iterator<Item = Option<BatchOp<'_>>> {
    let mut input = bytes;
    std::iter::from_fn(move || {
        if input.is_empty() {
            return None;
        }
        let op = decode_op(&mut input);
        if op.is_none() {
            input = &[];
        }
        Some(op)
    })
}

fn decode_op<'a>(input: &mut &'a [u8]) -> Option<BatchOp<'a>> {
    let (&kind, mut rest) = input.split_first()?;
    let kind = EntryKind::try_from(kind).ok()?;
    let keyspace = KeyspaceId(varint::decode(&mut rest)?);
    let key = varint::decode_slice(&mut rest).filter(|key| key.len() <= KEY_LEN_MAX)?;
    let value = match kind {
        EntryKind::Put => varint::decode_slice(&mut rest)?,
        EntryKind::Delete => &[],
        _ => return None,
    };
    *input = rest;
    Some(BatchOp { kind, keyspace, key, value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEVEN: KeyspaceId = KeyspaceId(7);

    #[test]
    fn the_bytes_are_pinned() {
        let mut batch = Batch::new();
        batch.put(SEVEN, b"k", b"v1").expect("small");
        batch.delete(SEVEN, b"k").expect("small");
        assert_eq!(batch.as_bytes(), [2, 7, 1, 0x6b, 2, 0x76, 0x31, 1, 7, 1, 0x6b]);
        assert_eq!(batch.count(), 2);
        let kinds: Vec<_> = batch.ops().map(|op| op.kind).collect();
        assert_eq!(kinds, [EntryKind::Put, EntryKind::Delete]);
    }

    #[test]
    fn limits_are_checked_and_leave_the_batch_as_it_was() {
        let mut batch = Batch::new();
        batch.put(SEVEN, &[0; KEY_LEN_MAX], b"").expect("at the limit");
        let before = batch.clone();
        assert!(batch.put(SEVEN, &[0; KEY_LEN_MAX + 1], b"").is_err());
        assert!(batch.put(SEVEN, b"k", &vec![0; BATCH_LEN_MAX]).is_err());
        assert_eq!(batch, before);
    }

    #[test]
    fn malformed_bytes_end_the_operations() {
        let put = [2, 7, 1, 0x6b, 1, 0x76];
        assert_eq!(ops(&put).flatten().count(), 1);
        // Kinds that do not stand in a batch, an unknown one, and every cut.
        for kind in [0, 3, 4, 5, 6, 7] {
            let mut bytes = put.to_vec();
            bytes.extend([kind, 7, 1, 0x6b, 1, 0x76]);
            assert_eq!(ops(&bytes).map(|op| op.is_some()).collect::<Vec<_>>(), [true, false]);
        }
        for len in 1..put.len() {
            assert_eq!(ops(&put[..len]).collect::<Vec<_>>(), [None], "{len}");
        }
        let mut too_long = vec![1, 7];
        varint::encode_slice(&[0; KEY_LEN_MAX + 1], &mut too_long);
        assert_eq!(ops(&too_long).collect::<Vec<_>>(), [None]);
    }

    #[test]
    fn a_cleared_batch_starts_over() {
        let mut batch = Batch::new();
        batch.put(SEVEN, b"k", b"v").expect("small");
        batch.clear();
        assert!(batch.is_empty() && batch.as_bytes().is_empty());
        batch.delete(SEVEN, b"k").expect("small");
        assert_eq!((batch.count(), batch.ops().count()), (1, 1));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            prop_assert!(ops(&bytes).count() <= bytes.len());
        }
    }
}
