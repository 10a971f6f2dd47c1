//! The write path that PutItem, DeleteItem and BatchWriteItem share: item locks, the old images,
//! one batch with the items and the counts, the commit, and what follows from it. Whatever happens
//! to the caller, item locks are held until the commit is published.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use esker::{Db, Keyspace, PendingCommit, mutant};

use crate::Tables;
use crate::error::Result;
use crate::item::EncodedItem;
use crate::item_lock::{ItemGuard, ItemLocks};
use crate::table::{CountsDelta, Table};

/// One item to be written or deleted.
pub(crate) struct ItemWrite {
    pub(crate) table: Arc<Table>,
    pub(crate) key: Vec<u8>,
    /// `None` deletes.
    pub(crate) new: Option<EncodedItem>,
}

/// What a write replaced.
pub(crate) struct OldItem {
    pub(crate) size_bytes: u32,
    item: EncodedItem,
}

impl OldItem {
    /// The whole item.
    pub(crate) fn decode(&self) -> Result<crate::Item> {
        self.item.decode()
    }
}

impl Tables {
    /// Commits writes, no two of them of the same item; answers what each replaced, when all are as
    /// durable as the database's default says.
    pub(crate) async fn commit(&self, writes: &[ItemWrite]) -> Result<Vec<Option<OldItem>>> {
        let stripes = writes.iter().map(|w| ItemLocks::stripe_of(w.table.id(), &w.key));
        let stripes = stripes.filter(|_| !mutant!("items_not_locked")).collect();
        let guard = Arc::clone(self.locks()).lock(stripes).await;
        let mut olds = Vec::with_capacity(writes.len());
        for write in writes {
            olds.push(read_old(write)?);
        }
        // Without anything to change, the answer is from what was published under the locks.
        if let Some(in_flight) = self.submit(writes, &olds, guard)? {
            in_flight.await?;
        }
        Ok(olds)
    }

    /// Puts the batch in line, with the counts of its tables.
    fn submit(
        &self,
        writes: &[ItemWrite],
        olds: &[Option<OldItem>],
        guard: ItemGuard,
    ) -> Result<Option<InFlight>> {
        let mut batch = self.db().batch();
        let mut deltas: Vec<(Arc<Table>, CountsDelta)> = Vec::with_capacity(1);
        for (write, old) in writes.iter().zip(olds) {
            match &write.new {
                Some(item) => batch.put(&write.table.items, &write.key, item.as_bytes()),
                None if old.is_some() => batch.delete(&write.table.items, &write.key),
                None => continue,
            }
            let old_bytes = old.as_ref().map(|old| old.size_bytes);
            let is_replaced = write.new.is_some() && mutant!("items_replaced_counted_twice");
            let old_bytes = old_bytes.filter(|_| !is_replaced);
            let new_bytes = write.new.as_ref().map(EncodedItem::logical_size);
            let delta = CountsDelta::of(old_bytes, new_bytes);
            match deltas.iter_mut().find(|(table, _)| table.id() == write.table.id()) {
                Some((_, sum)) => sum.add(delta),
                None => deltas.push((Arc::clone(&write.table), delta)),
            }
        }
        if batch.is_empty() {
            return Ok(None);
        }
        deltas.sort_unstable_by_key(|(table, _)| table.id());
        let mut counters = Vec::with_capacity(deltas.len());
        for (table, delta) in &deltas {
            let counter = table.lock_counter()?;
            let counts = counter.put_changed(&mut batch, self.catalog(), table.id(), *delta);
            counters.push((counter, counts));
        }
        let pending = self.db().submit(batch)?;
        for (mut counter, counts) in counters {
            counter.set(counts);
        }
        let (db, catalog) = (self.db().clone(), self.catalog().clone());
        Ok(Some(InFlight(Some(Commit { pending, deltas, guard, db, catalog }))))
    }
}

/// The item that a write replaces. Only under its item lock.
fn read_old(write: &ItemWrite) -> Result<Option<OldItem>> {
    let Some(bytes) = write.table.items.get(&write.key)? else { return Ok(None) };
    let item = EncodedItem::from_bytes(bytes)?;
    Ok(Some(OldItem { size_bytes: item.logical_size(), item }))
}

/// A commit under way, with what has to happen when it is done.
struct Commit {
    pending: PendingCommit,
    deltas: Vec<(Arc<Table>, CountsDelta)>,
    /// Dropped last of all: the items are unlocked when the counts are right.
    guard: ItemGuard,
    db: Db,
    catalog: Keyspace,
}

impl Commit {
    /// Tells the counts how the commit ended, and unlocks the items.
    fn settle(
        deltas: Vec<(Arc<Table>, CountsDelta)>,
        guard: ItemGuard,
        db: &Db,
        catalog: &Keyspace,
        committed: bool,
    ) {
        for (table, delta) in deltas {
            if committed {
                table.publish(delta);
            } else {
                table.withdraw(db, catalog, delta);
            }
        }
        drop(guard);
    }

    fn wait(self) {
        let committed = self.pending.wait().is_ok();
        Self::settle(self.deltas, self.guard, &self.db, &self.catalog, committed);
    }
}

/// The future of a commit. A caller that goes away leaves the rest to a thread, because the commit
/// cannot be called back and the items must not be unlocked before it is published.
struct InFlight(Option<Commit>);

impl Future for InFlight {
    type Output = esker::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<esker::Result<()>> {
        let commit = self.0.as_mut().expect("invariant: not polled after its end");
        let result = match Pin::new(&mut commit.pending).poll(context) {
            Poll::Ready(result) => result.map(|_| ()),
            Poll::Pending => return Poll::Pending,
        };
        if let Some(Commit { deltas, guard, db, catalog, .. }) = self.0.take() {
            Commit::settle(deltas, guard, &db, &catalog, result.is_ok());
        }
        Poll::Ready(result)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Some(commit) = self.0.take() else { return };
        // Held in a slot that both can reach: a thread that cannot be started has dropped its half.
        let slot = Arc::new(parking_lot::Mutex::new(Some(commit)));
        let theirs = Arc::clone(&slot);
        let finish = move || {
            let commit = theirs.lock().take();
            if let Some(commit) = commit {
                commit.wait();
            }
        };
        let started = std::thread::Builder::new().name("esker-settle".to_owned()).spawn(finish);
        if started.is_err()
            && let Some(commit) = slot.lock().take()
        {
            commit.wait();
        }
    }
}
