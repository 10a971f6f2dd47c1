//! The work that UpdateTable leaves behind: putting the items that a table has into a new index, and
//! taking a deleted one away. It is done in steps beside all other operations, by a thread where the
//! database has threads, and is begun anew after a crash.
//!
//! A new index is kept by writes from the moment at which it is in the catalog; the steps bring in what
//! is older. What makes that right:
//!
//! 1. No step begins before every write that does not know the change has ended: each of all item locks
//!    was free once since ([`Table::latest`]).
//! 2. A step reads an item, and whether the index has its entry, under the item's lock, and commits
//!    under it. So an entry that is there is always that of the item as it is, and no step brings back
//!    an older one.
//! 3. Writes ask whether the entry that they replace is there yet (`old_entries_of`), so that each is
//!    counted once.
//!
//! After a crash the entries that are there are right, and the steps pass them over. An item that has
//! no value that the index's key can have is passed over too.

use std::collections::VecDeque;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use esker::{Durability, KeyspaceOptions};
use parking_lot::Mutex;
use smallvec::smallvec;

use crate::block_on::block_on;
use crate::catalog::{self, TableRecord};
use crate::error::Result;
use crate::index::put_change;
use crate::item::ItemView;
use crate::item_lock::{ItemGuard, ItemLocks, Stripes};
use crate::schema::TableStatus;
use crate::settings::Settings;
use crate::table::{Table, TableDelta};
use crate::write::to_latest;
use crate::{TableError, Tables};

/// Items of one step, which are locked together until their entries are committed.
const STEP_ITEMS: usize = 64;
/// A step ends with the item that brings it to so many stored bytes.
const STEP_BYTES: usize = 256 << 10;

/// The work on indexes that there is to do.
#[derive(Default)]
pub(crate) struct IndexWork {
    /// Held while a step is done, before the control lock: whether the next is of a sum, if one is wanted.
    step: Mutex<bool>,
    /// Guards the tasks that have not ended: steps take the first and put it back last, operations
    /// append. A leaf.
    tasks: Mutex<VecDeque<Task>>,
    errors: AtomicU64,
    /// As [`IndexWork::failed`], if so. A leaf.
    error: Mutex<Option<String>>,
}

/// How the work on indexes goes that [`Tables::update_table`] leaves to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexWorkReport {
    /// How many indexes are still to be filled or taken away.
    pub pending: usize,
    /// How many steps have failed since the tables were opened.
    pub errors: u64,
    /// Why the last step of an index failed, if it did.
    pub error: Option<String>,
}

/// What a step was of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Nothing,
    Index,
    /// The size of an item collection: `collection/sums.rs`.
    Sum,
}

/// One index to be filled or taken away.
#[derive(Clone)]
pub(crate) struct Task {
    table: String,
    table_id: u64,
    index_id: u32,
    /// What it is on the way from: a task ends where the index has another status.
    status: TableStatus,
    stage: Stage,
    /// Why its last step failed, if it did.
    error: Option<String>,
}

#[derive(Clone)]
pub(crate) enum Stage {
    /// Writes may be under way that do not know the change, but none that holds one of so many first
    /// item locks.
    Begun(usize),
    /// The items up to this key are in the index.
    Filling(Vec<u8>),
}

/// Why a step of a task failed.
fn told(task: &Task, why: &str) -> String {
    let Task { table, index_id, .. } = task;
    format!("index {index_id} of table {table}: {why}")
}

impl Task {
    /// Whether both are about the same, however far they are.
    fn is_same(&self, other: &Task) -> bool {
        let of = |task: &Task| (task.table_id, task.index_id, task.status);
        of(self) == of(other)
    }
}

impl IndexWork {
    /// What the indexes of a table leave to do.
    pub(crate) fn add(&self, name: &str, record: &TableRecord) {
        let mut tasks = self.tasks.lock();
        for index in record.indexes.iter().filter(|index| index.status != TableStatus::Active) {
            let task = Task {
                table: name.to_owned(),
                table_id: record.table_id,
                index_id: index.index_id,
                status: index.status,
                stage: Stage::Begun(0),
                error: None,
            };
            if !tasks.iter().any(|known| known.is_same(&task)) {
                tasks.push_back(task);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.lock().is_empty()
    }

    /// Notes why no step of an index can be begun, or what of a step has failed that is of none.
    pub(crate) fn failed(&self, why: String) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        *self.error.lock() = Some(why);
    }

    /// How many indexes have something left to do.
    pub(crate) fn len(&self) -> usize {
        self.tasks.lock().len()
    }
}

impl Tables {
    /// How the work on indexes goes. A failed step is tried again, after those of other indexes; where
    /// all fail, after a pause that grows.
    pub fn index_work_report(&self) -> IndexWorkReport {
        let work = self.index_work();
        let error = work.error.lock().clone();
        IndexWorkReport {
            pending: work.len(),
            errors: work.errors.load(Ordering::Relaxed),
            error: work.tasks.lock().iter().find_map(|task| task.error.clone()).or(error),
        }
    }

    /// Does one step of the work on indexes that [`Tables::update_table`] leaves to be done or, in turn
    /// with these, of summing up item collections whose size writes have to know; false if there is
    /// none. A thread calls this until all is done, unless the database was opened with
    /// [`esker::Background::Manual`]: then the caller does, and no step waits for an item that another
    /// write has locked, because that write may be a future that the caller has to poll. Such a step
    /// does what can be done, perhaps nothing, and answers true.
    ///
    /// # Errors
    /// `Internal` with the engine's report. The step will be done again, after those of other indexes.
    pub fn run_index_step(&self) -> Result<bool> {
        Ok(self.work_step()? != Step::Nothing)
    }

    /// As [`Tables::run_index_step`]; what it was of.
    pub(crate) fn work_step(&self) -> Result<Step> {
        let mut is_sum_next = self.index_work().step.lock();
        if std::mem::take(&mut *is_sum_next) && self.noted_sum_step() {
            return Ok(Step::Sum);
        }
        *is_sum_next = true;
        if self.index_step(|task| self.step(task))? {
            return Ok(Step::Index);
        }
        Ok(if self.noted_sum_step() { Step::Sum } else { Step::Nothing })
    }

    /// As [`Tables::sum_step`]; a panic is noted.
    fn noted_sum_step(&self) -> bool {
        catch_unwind(AssertUnwindSafe(|| self.sum_step())).unwrap_or_else(|panic| {
            self.index_work().failed("adding up an item collection panicked".to_owned());
            resume_unwind(panic)
        })
    }

    /// Does the next step of an index, by `step`; false if there is none. Only under the lock of steps.
    pub(crate) fn index_step(
        &self,
        step: impl FnOnce(&Task) -> Result<Option<Stage>>,
    ) -> Result<bool> {
        let work = self.index_work();
        let Some(task) = work.tasks.lock().pop_front() else { return Ok(false) };
        // At the end from the start: however the step ends, the others are next.
        work.tasks.lock().push_back(task.clone());
        let next = catch_unwind(AssertUnwindSafe(|| step(&task)));
        *work.error.lock() = None;
        let mut tasks = work.tasks.lock();
        let mut known = tasks.iter().position(|known| known.is_same(&task));
        let why = match &next {
            Ok(Ok(Some(stage))) => {
                if let Some(at) = known {
                    tasks[at].stage = stage.clone();
                }
                None
            }
            Ok(Ok(None)) => {
                known.take().map(|at| tasks.remove(at));
                None
            }
            Ok(Err(error)) => Some(error.message()),
            Err(_) => Some("a step panicked"),
        };
        if why.is_some() {
            work.errors.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(at) = known {
            tasks[at].error = why.map(|why| told(&task, why));
        }
        drop(tasks);
        match next {
            Ok(next) => next.map(|_| true),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// What is to be done next of a task; `None` when it has ended.
    fn step(&self, task: &Task) -> Result<Option<Stage>> {
        let Some(table) = self.table_of(task) else { return Ok(None) };
        if let Stage::Filling(after) = &task.stage {
            return match self.fill(&table, task.index_id, after)? {
                Some(last) => Ok(Some(Stage::Filling(last))),
                None => self.end(task).map(|()| None),
            };
        }
        if let Stage::Begun(seen) = task.stage {
            for stripe in ItemLocks::stripes().skip(seen) {
                if !self.lock_one(stripe).holds(stripe) {
                    return Ok(Some(Stage::Begun(stripe)));
                }
            }
        }
        if task.status == TableStatus::Deleting {
            match self.db().drop_keyspace(&catalog::index_keyspace(task.table_id, task.index_id)) {
                Err(error) if error.kind() != esker::ErrorKind::NotFound => {
                    return Err(error.into());
                }
                _ => {}
            }
            return self.end(task).map(|()| None);
        }
        if let Some(index) = table.indexes.iter().find(|index| index.id() == task.index_id) {
            index.set_backfilling();
        }
        Ok(Some(Stage::Filling(Vec::new())))
    }

    /// The table of a task, if the index is still what the task is about.
    fn table_of(&self, task: &Task) -> Option<Arc<Table>> {
        let table = self.find(&task.table).filter(|table| table.id() == task.table_id)?;
        let is_meant = |index: &catalog::IndexRecord| {
            index.index_id == task.index_id && index.status == task.status
        };
        table.record.indexes.iter().any(is_meant).then_some(table)
    }

    /// The lock of one stripe, which is waited for where that ends without the caller.
    fn lock_one(&self, stripe: usize) -> ItemGuard {
        let stripes = Stripes::from_slice(&[stripe]);
        if self.db().has_background_threads() {
            return block_on(Arc::clone(self.locks()).lock(stripes));
        }
        self.locks().lock_free(stripes)
    }

    /// Puts the next items after a key into an index; up to which key all are there by now, `None` if
    /// there are no others.
    fn fill(&self, table: &Arc<Table>, index_id: u32, after: &[u8]) -> Result<Option<Vec<u8>>> {
        let start = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(after) };
        let mut stored = table.items.range::<&[u8]>((start, Bound::Unbounded));
        let (mut keys, mut bytes) = (Vec::new(), 0);
        while keys.len() < STEP_ITEMS
            && bytes < STEP_BYTES
            && let Some(item) = stored.next()
        {
            let (key, value) = item?;
            bytes += value.len();
            let stripe = ItemLocks::stripe_of(table.id(), &key);
            keys.push((stripe, key));
        }
        drop(stored);
        let Some((_, last)) = keys.last() else { return Ok(None) };
        let last = last.to_vec();
        let is_locked = |_: &usize| !esker::mutant!("index_filled_without_locks");
        let stripes = keys.iter().map(|(stripe, _)| *stripe).filter(is_locked).collect();
        // An item that a write has locked may be waiting for the disk. It must not keep others waiting
        // that are locked here: its turn comes when these are free.
        let guard = self.locks().lock_free(stripes);
        let is_free = |(stripe, _): &(usize, Bytes)| guard.holds(*stripe) || !is_locked(stripe);
        let (free, taken): (Vec<_>, Vec<_>) = keys.into_iter().partition(is_free);
        self.fill_locked(table, index_id, &free, guard)?;
        for (at, (stripe, key)) in taken.iter().enumerate() {
            let guard = self.lock_one(*stripe);
            if !guard.holds(*stripe) {
                // All that come before it are done.
                let before = free.iter().chain(&taken[..at]).map(|(_, done)| done);
                let before = before.filter(|done| *done < key).max();
                return Ok(Some(before.map_or(after, |done| &done[..]).to_vec()));
            }
            self.fill_locked(table, index_id, &taken[at..=at], guard)?;
        }
        Ok(Some(last))
    }

    /// Puts items that are locked into an index, and unlocks them. Buffered: nothing depends on an entry
    /// before the index is active, and the commit that says so comes behind it in the log, with a sync.
    fn fill_locked(
        &self,
        table: &Arc<Table>,
        index_id: u32,
        keys: &[(usize, Bytes)],
        guard: ItemGuard,
    ) -> Result<()> {
        let mut table = Arc::clone(table);
        to_latest(&mut table);
        let index = table.indexes.iter().find(|index| index.id() == index_id);
        // Deleted meanwhile: the next step sees it too.
        let Some(index) = index.filter(|index| index.is_being_filled()) else { return Ok(()) };
        let (mut batch, mut delta) = (self.db().batch(), TableDelta::default());
        for (_, key) in keys {
            // An item that cannot be read has no entry: it is the table's trouble.
            let entry = |item: &[u8]| index.shape.entry_of(key, ItemView::new(item)?);
            let Some(Ok(Some(entry))) = table.items.get_and(key, entry)? else { continue };
            if !index.entries.contains(&entry.key)? {
                let (change, _) = put_change(&mut batch, &index.entries, None, Some(&entry));
                delta.add_of_index(index_id, change);
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        // Without locks, what others do between is what goes wrong.
        if esker::mutant!("index_filled_without_locks") {
            self.db().sync()?;
        }
        let deltas = smallvec![(Arc::clone(&table), delta)];
        self.write_batch(&mut batch, deltas, guard, Some(Durability::Buffered))
    }

    /// The index of a task is there, or gone.
    fn end(&self, task: &Task) -> Result<()> {
        let _control = self.control();
        let Some(table) = self.table_of(task) else { return Ok(()) };
        let mut record = table.record.clone();
        if task.status == TableStatus::Deleting {
            record.indexes.retain(|index| index.index_id != task.index_id);
            record.drop_unused_definitions();
        }
        for index in record.indexes.iter_mut().filter(|index| index.index_id == task.index_id) {
            index.status = TableStatus::Active;
        }
        let settings = Settings::clone(&table.settings());
        self.store_record(&table, record, settings).map(|_| ())
    }

    /// Keeps a changed record of a table, durably; `table` is followed by one that has it. An index
    /// that is new in it is made, and what it leaves to do is noted. Only under the control lock.
    pub(crate) fn store_record(
        &self,
        table: &Arc<Table>,
        record: TableRecord,
        mut settings: Settings,
    ) -> Result<Arc<Table>> {
        let db = self.db();
        // What UpdateTable changes beside indexes is not in the record that the table was opened with.
        let record = settings.record(&record);
        settings.follow_indexes(&record);
        let is_known = |id: u32| table.record.indexes.iter().any(|known| known.index_id == id);
        let added = record.indexes.iter().find(|index| !is_known(index.index_id));
        let added = added.map(|index| catalog::index_keyspace(table.id(), index.index_id));
        let store = || -> Result<_> {
            let create = |name: &String| db.create_keyspace(name, KeyspaceOptions::default());
            let keyspace = added.as_ref().map(create).transpose()?;
            // Whatever can fail fails before the catalog has the record.
            let next = table.successor(record, keyspace)?;
            let mut batch = db.batch();
            catalog::put_record(&mut batch, self.catalog(), &table.name, &next.record)?;
            catalog::put_settings(&mut batch, self.catalog(), table.id(), &settings)?;
            // Everything that the index has by now is durable with it.
            db.write_with(batch, Durability::Sync)?;
            Ok(next)
        };
        let next = store().inspect_err(|_: &TableError| {
            // Left behind if this fails too, and dropped by the next open if the catalog does not have
            // the index after all.
            if let Some(name) = &added {
                let _ = db.drop_keyspace(name);
            }
        })?;
        let next = table.follow(next);
        next.set_settings(settings);
        self.replace(Arc::clone(&next));
        self.index_work().add(&next.name, &next.record);
        self.begin_index_work();
        Ok(next)
    }
}
