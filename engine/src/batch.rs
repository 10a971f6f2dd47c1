//! A batch as the user fills it: operations on keyspaces, committed atomically.

use std::sync::Arc;

use esker_base::{BatchOp, Error, Result};

use crate::keyspace::{Keyspace, KeyspaceInner};

/// Writes to any keyspaces of one database that are committed together: all of them or none. A later operation on a key
/// wins over an earlier one. Give it to [`crate::Db::write`].
///
/// At most 64 MiB in all; keys at most 64 KiB. An operation over a limit makes the whole batch fail with
/// `InvalidArgument` when it is written.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(crate) ops: esker_base::Batch,
    /// The keyspaces that occur, so that the commit need not look them up. Few, so a scan finds one fast.
    pub(crate) keyspaces: Vec<Arc<KeyspaceInner>>,
    /// The first operation that did not fit; reported by the write, so that filling a batch needs no `?`.
    pub(crate) error: Option<Error>,
}

impl Batch {
    /// A batch of nothing; the same as [`crate::Db::batch`].
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Sets `key` to `value` in `keyspace`.
    pub fn put(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let result = self.ops.put(keyspace.id(), key.as_ref(), value.as_ref());
        self.note(&keyspace.inner, result);
    }

    /// Removes `key` from `keyspace`.
    pub fn delete(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>) {
        let result = self.ops.delete(keyspace.id(), key.as_ref());
        self.note(&keyspace.inner, result);
    }

    /// Adds `op`, which is of `keyspace`.
    pub(crate) fn push_op(&mut self, keyspace: &Arc<KeyspaceInner>, op: &BatchOp<'_>) {
        let result = self.ops.push(op);
        self.note(keyspace, result);
    }

    #[inline]
    fn note(&mut self, keyspace: &Arc<KeyspaceInner>, result: Result<()>) {
        if let Err(error) = result {
            self.error.get_or_insert(error);
            return;
        }
        if !self.keyspaces.iter().rev().any(|known| Arc::ptr_eq(known, keyspace)) {
            self.keyspaces.push(Arc::clone(keyspace));
        }
    }

    /// The number of operations.
    pub fn len(&self) -> usize {
        self.ops.count() as usize
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The bytes that the operations take in the log.
    pub fn encoded_bytes(&self) -> usize {
        self.ops.as_bytes().len()
    }

    /// Forgets every operation and keeps the memory.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.keyspaces.clear();
        self.error = None;
    }
}
