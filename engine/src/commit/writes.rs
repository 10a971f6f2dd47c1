//! What one commit writes: a batch, or the one operation of a put or delete, which then needs no batch of its own.
//!
//! The commit path takes either, so that both are judged, logged and applied by the same code.

use std::slice;
use std::sync::Arc;

use esker_base::{BatchOp, Error, Result, SeqNo, batch};
use esker_wal::GroupBuilder;

use crate::Batch;
use crate::keyspace::KeyspaceInner;

/// The writes of one commit.
pub(crate) trait Writes {
    /// Why they cannot be written at all.
    fn error(&self) -> Option<&Error>;

    /// The keyspaces that occur.
    fn keyspaces(&self) -> &[Arc<KeyspaceInner>];

    /// The number of operations.
    fn count(&self) -> u32;

    /// The bytes that they take in the log.
    fn encoded_bytes(&self) -> usize;

    /// The operations in order.
    fn ops(&self) -> impl Iterator<Item = BatchOp<'_>>;

    /// Adds them to a group.
    fn encode(&self, payload: &mut GroupBuilder) -> Result<SeqNo>;
}

impl Writes for Batch {
    fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    fn keyspaces(&self) -> &[Arc<KeyspaceInner>] {
        &self.keyspaces
    }

    fn count(&self) -> u32 {
        self.ops.count()
    }

    fn encoded_bytes(&self) -> usize {
        Batch::encoded_bytes(self)
    }

    fn ops(&self) -> impl Iterator<Item = BatchOp<'_>> {
        self.ops.ops()
    }

    fn encode(&self, payload: &mut GroupBuilder) -> Result<SeqNo> {
        payload.push(self.ops.as_bytes(), self.ops.count())
    }
}

/// One put or delete, borrowed from the caller; within the limits.
pub(crate) struct One<'a> {
    keyspace: &'a Arc<KeyspaceInner>,
    op: BatchOp<'a>,
    len: usize,
}

impl<'a> One<'a> {
    /// `op`, which is of `keyspace`, unless it is over a limit.
    pub(crate) fn new(keyspace: &'a Arc<KeyspaceInner>, op: BatchOp<'a>) -> Result<One<'a>> {
        Ok(One { keyspace, op, len: batch::op_len(&op, 0)? })
    }
}

impl Writes for One<'_> {
    fn error(&self) -> Option<&Error> {
        None
    }

    fn keyspaces(&self) -> &[Arc<KeyspaceInner>] {
        slice::from_ref(self.keyspace)
    }

    fn count(&self) -> u32 {
        1
    }

    fn encoded_bytes(&self) -> usize {
        self.len
    }

    fn ops(&self) -> impl Iterator<Item = BatchOp<'_>> {
        std::iter::once(self.op)
    }

    fn encode(&self, payload: &mut GroupBuilder) -> Result<SeqNo> {
        payload.push_with(1, self.len, |bytes| batch::encode_op(&self.op, bytes))
    }
}
