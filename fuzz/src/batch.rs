//! Batches: what decodes must be writable again, and read back the same.

use esker_base::batch::{self, Batch};
use esker_base::{EntryKind, KeyspaceId};

/// Decodes `data` as the operations of a batch and builds that batch anew.
pub fn check(data: &[u8]) {
    let mut again = Batch::new();
    let mut whole = true;
    for op in batch::ops(data) {
        let Some(op) = op else {
            whole = false;
            break;
        };
        let added = match op.kind {
            EntryKind::Put => again.put(op.keyspace, op.key, op.value),
            EntryKind::Delete => again.delete(op.keyspace, op.key),
            other => panic!("{other:?} is reserved and must not decode"),
        };
        added.expect("an operation that decodes is within the limits");
    }
    assert!(data.starts_with(again.as_bytes()), "one batch has one encoding");
    assert!(!whole || again.as_bytes() == data);
}

/// A few batches.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut batch = Batch::new();
    let mut batches = vec![Vec::new()];
    for (keyspace, key, value) in
        [(7, &b"k"[..], &b"v1"[..]), (u64::MAX, b"", b""), (1, b"kk", &[9; 200])]
    {
        batch.put(KeyspaceId(keyspace), key, value).expect("small");
        batch.delete(KeyspaceId(keyspace), key).expect("small");
        batches.push(batch.as_bytes().to_vec());
    }
    batches
}
