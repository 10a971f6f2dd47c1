//! Snapshots: a sequence number that compaction promises to keep readable.
//!
//! I2: a snapshot reads the visible sequence and registers it under the lock from which flush and compaction take
//! their list, and that list always ends with the visible sequence; so nothing a snapshot can see is dropped between
//! the two.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use esker_base::{SeqNo, mutant};

use crate::sync::{AtomicU64, Mutex};

/// The sequences that readers hold, and the one that new readers get.
#[derive(Debug, Default)]
pub(crate) struct SnapshotList {
    /// The highest sequence that is committed, applied and acknowledged (or about to be).
    visible: AtomicU64,
    /// Guards the registered sequences with their counts. A leaf: nothing is locked while it is held.
    held: Mutex<BTreeMap<SeqNo, usize>>,
}

impl SnapshotList {
    /// What a reader of the latest state reads at. I1: load the view first.
    pub(crate) fn visible(&self) -> SeqNo {
        SeqNo(self.visible.load(Ordering::Acquire))
    }

    /// Makes everything through `seq` visible. Only who holds the log's lock calls it, in order.
    pub(crate) fn publish(&self, seq: SeqNo) {
        debug_assert!(seq >= self.visible());
        self.visible.store(seq.0, Ordering::Release);
    }

    /// The registered sequences, ascending, with the visible one last.
    pub(crate) fn list(&self) -> Vec<SeqNo> {
        let held = self.held.lock();
        let visible = self.visible();
        let ignored = mutant!("compact_snapshots_ignored");
        let mut list: Vec<SeqNo> = held.keys().copied().filter(|_| !ignored).collect();
        if list.last() != Some(&visible) {
            list.push(visible);
        }
        list
    }

    /// The number of registered snapshots.
    pub(crate) fn count(&self) -> usize {
        self.held.lock().values().sum()
    }

    fn register(&self) -> SeqNo {
        let before = mutant!("race_snapshot_unlocked").then(|| self.visible());
        let mut held = self.held.lock();
        let seq = before.unwrap_or_else(|| self.visible());
        if !mutant!("snapshot_not_registered") {
            *held.entry(seq).or_insert(0) += 1;
        }
        seq
    }

    fn release(&self, seq: SeqNo) {
        let mut held = self.held.lock();
        if let Some(count) = held.get_mut(&seq) {
            *count -= 1;
            if *count == 0 || mutant!("snapshot_released_early") {
                held.remove(&seq);
            }
        }
    }
}

/// A consistent view of the whole database at one moment; cheap to take, clone and hold, but while it lives the
/// versions that it sees keep their space. Released when the last clone is dropped.
///
/// ```
/// # fn main() -> esker::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// let db = esker::Db::open(dir.path())?;
/// let users = db.keyspace("users")?;
/// users.put(b"alice", b"1")?;
/// let view = db.snapshot();
/// users.put(b"alice", b"2")?;
/// assert_eq!(users.get_at(&view, b"alice")?.as_deref(), Some(&b"1"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot(Arc<Registered>);

#[derive(Debug)]
struct Registered {
    list: Arc<SnapshotList>,
    seq: SeqNo,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.list.release(self.seq);
    }
}

impl Snapshot {
    pub(crate) fn take(list: &Arc<SnapshotList>) -> Snapshot {
        let seq = list.register();
        Snapshot(Arc::new(Registered { list: Arc::clone(list), seq }))
    }

    /// The sequence number it reads at.
    pub fn seq(&self) -> SeqNo {
        self.0.seq
    }

    /// Whether this snapshot was taken from the database with `list`.
    pub(crate) fn is_of(&self, list: &Arc<SnapshotList>) -> bool {
        Arc::ptr_eq(&self.0.list, list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_holds_every_snapshot_once_and_ends_with_the_visible_sequence() {
        let list = Arc::new(SnapshotList::default());
        list.publish(SeqNo(5));
        let a = Snapshot::take(&list);
        let b = Snapshot::take(&list);
        list.publish(SeqNo(9));
        assert_eq!(list.list(), [SeqNo(5), SeqNo(9)]);
        assert_eq!(list.count(), 2);
        drop(a);
        assert_eq!(list.list(), [SeqNo(5), SeqNo(9)]);
        drop(b.clone());
        drop(b);
        assert_eq!(list.list(), [SeqNo(9)]);
    }
}
