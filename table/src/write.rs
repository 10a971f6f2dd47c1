//! The write path that PutItem, DeleteItem, UpdateItem, BatchWriteItem and TransactWriteItems share: item locks, the old images,
//! one batch with the items, their indexes and the counts, the commit, and what follows from it. Whatever happens
//! to the caller, item locks are held until the commit is published.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use esker::vfs::Clock;
use esker::{Batch, Durability, ErrorKind, PendingCommit, mutant};
use parking_lot::MutexGuard;
use smallvec::SmallVec;

use crate::capacity;
use crate::collection::check_item_with_entries;
use crate::error::{Result, TableError, TableErrorKind};
use crate::expression::condition::BoundCondition;
use crate::index::{Entries, IndexUnits, entries_of, old_entries_of, put_change};
use crate::item::{ItemView, NewItem};
use crate::item_lock::{ItemGuard, ItemLocks};
use crate::key_codec::{StoredKey, collection_hash};
use crate::operation::ReturnValuesOnConditionCheckFailure;
use crate::spare::Spare;
use crate::table::{Counter, CountsDelta, Table, TableCounts, TableDelta};
use crate::throttle::{Resource, Use};
use crate::transaction::token::{Record, TokenWrite};
use crate::{Item, Tables, message};

/// One item to be written or deleted.
pub(crate) struct ItemWrite<'r> {
    pub(crate) table: Arc<Table>,
    pub(crate) key: StoredKey,
    /// `None` deletes.
    pub(crate) new: Option<NewItem>,
    /// What must hold of the item that is written over.
    pub(crate) check: Option<Check<'r>>,
    pub(crate) granted: Granted,
}

impl ItemWrite<'_> {
    /// Goes on with the table as it is now. Only under the item lock.
    ///
    /// # Errors
    /// `Validation` if an index has come meanwhile that does not take the new item.
    pub(crate) fn follow_table(&mut self) -> Result<()> {
        if to_latest(&mut self.table)
            && let Some(new) = &self.new
        {
            self.table.key.indexed().check(&ItemView::new(new.as_bytes())?.decode()?)?;
        }
        Ok(())
    }
}

/// What capacity a write has been granted, where requests are throttled.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Granted {
    /// None yet: it is refused where there is none.
    Nothing,
    /// So many units of its table.
    Units(f64),
    /// As part of a transaction, which uses twice as much of the table.
    Transaction,
}

/// A condition of a write, and what a failure answers.
pub(crate) struct Check<'r> {
    condition: BoundCondition<'r>,
    returns_item: bool,
}

impl<'r> Check<'r> {
    pub(crate) fn new(
        condition: BoundCondition<'r>,
        on_failure: Option<ReturnValuesOnConditionCheckFailure>,
    ) -> Self {
        let returns_item = on_failure == Some(ReturnValuesOnConditionCheckFailure::AllOld);
        Self { condition, returns_item }
    }

    /// Refuses the write unless the condition holds of an item, or of its absence.
    pub(crate) fn check(&self, item: Option<ItemView<'_>>) -> Result<()> {
        if self.condition.holds(item)? {
            return Ok(());
        }
        let shown = item.filter(|_| self.returns_item).map(|item| item.decode()).transpose()?;
        Err(TableError::condition_failed(shown))
    }
}

/// What a write replaced.
pub(crate) struct OldItem {
    pub(crate) size_bytes: u32,
    /// The whole of it, where it was asked for.
    pub(crate) item: Option<Item>,
    /// What the table's indexes have of it.
    entries: Entries,
}

impl OldItem {
    /// The bytes of its entry in the index at a position.
    pub(crate) fn entry_bytes(&self, at: usize) -> u32 {
        self.entries.get(at).and_then(Option::as_ref).map_or(0, |entry| entry.size_bytes)
    }

    /// Keeps only what a deletion needs: of what the indexes have, the keys and sizes.
    pub(crate) fn forget_values(&mut self) {
        self.entries.iter_mut().flatten().for_each(|entry| entry.value.clear());
    }
}

/// What a write does.
pub(crate) struct Written {
    /// What it replaces.
    pub(crate) old: Option<OldItem>,
    /// What it costs each index of the table; known when the batch is made.
    pub(crate) index_units: IndexUnits,
}

impl Written {
    pub(crate) fn over(old: Option<OldItem>) -> Self {
        Self { old, index_units: IndexUnits::new() }
    }
}

/// What an update did.
pub(crate) struct Updated {
    pub(crate) old_bytes: Option<u32>,
    pub(crate) new_bytes: Option<u32>,
    /// As of [`Written`].
    pub(crate) index_units: IndexUnits,
}

/// The token of a transaction, which goes into its batch.
pub(crate) struct Token {
    pub(crate) write: TokenWrite,
    pub(crate) record: Record,
}

/// How the end of a commit is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// On the calling thread, which carries the commit out if nobody else is at it.
    Blocks,
    /// As a future; the engine's own thread carries the commit out.
    Polls,
}

/// A poll that reads goes on to the next read only while it has taken less than this.
const POLL_MAX: Duration = Duration::from_micros(100);

/// Ends polls that have taken long.
pub(crate) struct Pace<'c> {
    clock: &'c dyn Clock,
    since: Duration,
}

impl<'c> Pace<'c> {
    pub(crate) fn new(clock: &'c dyn Clock) -> Self {
        Self { since: clock.monotonic(), clock }
    }

    /// Lets whoever polls do something else, if this poll has taken long.
    pub(crate) async fn pause(&mut self) {
        if self.clock.monotonic().saturating_sub(self.since) < POLL_MAX {
            return;
        }
        let mut is_back = false;
        let leave = poll_fn(|context: &mut Context<'_>| {
            if std::mem::replace(&mut is_back, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        });
        leave.await;
        self.since = self.clock.monotonic();
    }
}

impl Tables {
    /// Commits writes, no two of them of the same item; answers what each replaced, when all are as
    /// durable as the database's default says.
    pub(crate) async fn commit(
        &self,
        writes: &mut [ItemWrite<'_>],
        wants_old: bool,
        waiting: Waiting,
    ) -> Result<SmallVec<[Written; 1]>> {
        let stripes = writes.iter().map(|w| ItemLocks::stripe_of(w.table.id(), &w.key));
        let stripes = stripes.filter(|_| !mutant!("items_not_locked")).collect();
        let guard = Arc::clone(self.locks()).lock(stripes).await;
        let mut pace = (writes.len() > 1 && waiting == Waiting::Polls)
            .then(|| Pace::new(self.db().world().clock.as_ref()));
        let mut written = SmallVec::with_capacity(writes.len());
        for write in writes.iter_mut() {
            write.follow_table()?;
            // Each may wait for the disk, and whoever polls may have others to serve.
            if let Some(pace) = &mut pace {
                pace.pause().await;
            }
            if let Some(new) = &write.new {
                check_item_with_entries(&write.table.indexes, &write.key, new, message::ITEM_SIZE)?;
            }
            let old = read_old(write, wants_old).inspect_err(|e| self.account_failed(write, e))?;
            written.push(Written::over(old));
        }
        self.check_collections(writes, &written).map_err(|(_, error)| error)?;
        self.finish(writes, &mut written, None, guard, waiting).await?;
        Ok(written)
    }

    /// Commits what `change` makes, for the table as it is now, of the item that is there, unless it makes nothing. What was there is not kept: `change` takes it over.
    pub(crate) async fn commit_update(
        &self,
        mut write: ItemWrite<'_>,
        waiting: Waiting,
        change: impl FnOnce(&Table, Option<Item>) -> Result<Option<NewItem>>,
    ) -> Result<Updated> {
        let stripes = std::iter::once(ItemLocks::stripe_of(write.table.id(), &write.key));
        let stripes = stripes.filter(|_| !mutant!("items_not_locked")).collect();
        let guard = Arc::clone(self.locks()).lock(stripes).await;
        to_latest(&mut write.table);
        let old = read_old(&write, true).inspect_err(|e| self.account_failed(&write, e))?;
        let mut written = [Written::over(old)];
        let old_item = written[0].old.as_mut().and_then(|old| old.item.take());
        write.new = change(&write.table, old_item)?;
        let new_bytes = write.new.as_ref().map(NewItem::logical_size);
        if let Some(new) = &write.new {
            let (table, refusal) = (&write.table, message::UPDATED_ITEM_SIZE);
            check_item_with_entries(&table.indexes, &write.key, new, refusal)?;
            let writes = std::slice::from_ref(&write);
            self.check_collections(writes, &written).map_err(|(_, error)| error)?;
            match waiting {
                Waiting::Blocks => self.write(&[write], &mut written, None, guard)?,
                Waiting::Polls => {
                    // The new item is in the batch, and needs not be here too until the commit has ended.
                    let in_flight = self.submit(&[write], &mut written, None, guard)?;
                    if let Some(in_flight) = in_flight {
                        in_flight.await?;
                    }
                }
            }
        }
        let [Written { old, index_units }] = written;
        Ok(Updated { old_bytes: old.map(|old| old.size_bytes), new_bytes, index_units })
    }

    /// Commits writes under their item locks, and a token with them.
    pub(crate) async fn finish(
        &self,
        writes: &[ItemWrite<'_>],
        written: &mut [Written],
        token: Option<&Token>,
        guard: ItemGuard,
        waiting: Waiting,
    ) -> Result<()> {
        match waiting {
            Waiting::Blocks => self.write(writes, written, token, guard)?,
            Waiting::Polls => {
                // Without anything to change, the answer is from what was published under the locks.
                let in_flight = self.submit(writes, written, token, guard)?;
                if let Some(in_flight) = in_flight {
                    in_flight.await?;
                }
            }
        }
        if let Some(token) = token.filter(|_| mutant!("items_token_apart")) {
            let mut batch = self.db().batch();
            token.write.put(&mut batch, &token.record);
            self.db().write(batch)?;
        }
        Ok(())
    }

    /// Commits the batch, with the counts of its tables, on this thread.
    fn write(
        &self,
        writes: &[ItemWrite<'_>],
        written: &mut [Written],
        token: Option<&Token>,
        guard: ItemGuard,
    ) -> Result<()> {
        let mut batch = Spare::<Batch>::take();
        let deltas = changes(self, &mut batch, writes, written)?;
        self.account(writes, written)?;
        if let Some(token) = token.filter(|_| !mutant!("items_token_apart")) {
            token.write.put(&mut batch, &token.record);
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.write_batch(&mut batch, deltas, guard, None)
    }

    /// Commits a batch with the counts that go with it, on this thread; with the database's default
    /// durability where there is none of its own.
    pub(crate) fn write_batch(
        &self,
        batch: &mut Batch,
        deltas: Deltas,
        guard: ItemGuard,
        durability: Option<Durability>,
    ) -> Result<()> {
        let counters = lock_counters(self, &deltas, batch)?;
        let mut is_in_line = false;
        let in_line = || {
            set_counters(counters);
            is_in_line = true;
        };
        let result = match durability {
            None => self.db().write_ordered(batch, in_line),
            Some(durability) => self.db().write_ordered_with(batch, durability, in_line),
        };
        if is_in_line {
            settle(self, deltas, guard, result.is_ok());
        }
        result.map_err(refused)?;
        Ok(())
    }

    /// Puts the batch in line, with the counts of its tables.
    fn submit(
        &self,
        writes: &[ItemWrite<'_>],
        written: &mut [Written],
        token: Option<&Token>,
        guard: ItemGuard,
    ) -> Result<Option<InFlight>> {
        let mut batch = self.db().batch();
        let deltas = changes(self, &mut batch, writes, written)?;
        self.account(writes, written)?;
        if let Some(token) = token.filter(|_| !mutant!("items_token_apart")) {
            token.write.put(&mut batch, &token.record);
        }
        if batch.is_empty() {
            return Ok(None);
        }
        let counters = lock_counters(self, &deltas, &mut batch)?;
        let pending = self.db().submit(batch).map_err(refused)?;
        set_counters(counters);
        let commit = Commit { pending, deltas, guard, tables: self.clone() };
        Ok(Some(InFlight(Some(commit))))
    }

    /// Refuses writes for which there is no capacity left; from here on what they use is used.
    #[inline]
    fn account(&self, writes: &[ItemWrite<'_>], written: &[Written]) -> Result<()> {
        if self.is_throttling() { self.account_now(writes, written) } else { Ok(()) }
    }

    #[cold]
    fn account_now(&self, writes: &[ItemWrite<'_>], written: &[Written]) -> Result<()> {
        for (write, Written { index_units, .. }) in writes.iter().zip(written) {
            if write.granted == Granted::Nothing {
                self.admit(Resource::table(&write.table), Use::Write)?;
                let used = write.table.used_indexes(index_units);
                for (index, _) in used.filter(|(_, units)| *units > 0.0) {
                    self.admit(Resource::index(&write.table, index), Use::Write)?;
                }
            }
        }
        for (write, Written { old, index_units, .. }) in writes.iter().zip(written) {
            let old_bytes = old.as_ref().map_or(0, |old| old.size_bytes.into());
            let new_bytes = write.new.as_ref().map_or(0, |new| new.logical_size().into());
            let units = capacity::write_units(old_bytes, new_bytes);
            let units = match write.granted {
                Granted::Nothing => units,
                Granted::Units(granted) => units - granted,
                Granted::Transaction => capacity::TRANSACTION_FACTOR * units,
            };
            self.charge_write(&write.table, units, index_units);
        }
        Ok(())
    }

    /// A write whose condition does not hold uses capacity too.
    #[cold]
    fn account_failed(&self, write: &ItemWrite<'_>, error: &TableError) {
        if error.kind() == TableErrorKind::ConditionalCheckFailed {
            self.charge(Resource::table(&write.table), Use::Write, capacity::write_units(0, 0));
        }
    }
}

/// Why a batch is not taken. Only that of a transaction can be over a limit of the engine: keys are short, and
/// other writes have few items.
fn refused(error: esker::Error) -> TableError {
    match error.kind() {
        ErrorKind::InvalidArgument => TableError::validation(message::TRANSACTION_INDEX_SIZE),
        _ => error.into(),
    }
}

/// The tables that a batch changes the counts of, in the order of their ids, and how.
pub(crate) type Deltas = SmallVec<[(Arc<Table>, TableDelta); 1]>;

/// The locked counters of a batch, with the counts to come.
type Counters<'t> = SmallVec<[(MutexGuard<'t, Counter>, TableCounts); 1]>;

fn set_counters(counters: Counters<'_>) {
    for (mut counter, counts) in counters {
        counter.set(counts);
    }
}

/// Puts the items and the changes of their indexes into the batch, without the counts; how these
/// change, and into each of `written` what it costs the indexes.
fn changes(
    tables: &Tables,
    batch: &mut Batch,
    writes: &[ItemWrite<'_>],
    written: &mut [Written],
) -> Result<Deltas> {
    let mut deltas = Deltas::new();
    for (write, Written { old, index_units }) in writes.iter().zip(written) {
        match &write.new {
            Some(item) => batch.put(&write.table.items, &write.key, item.as_bytes()),
            None if old.is_some() => batch.delete(&write.table.items, &write.key),
            None => continue,
        }
        let old_bytes = old.as_ref().map(|old| old.size_bytes);
        let is_replaced = write.new.is_some() && mutant!("items_replaced_counted_twice");
        let old_bytes = old_bytes.filter(|_| !is_replaced);
        let new_bytes = write.new.as_ref().map(NewItem::logical_size);
        let delta = CountsDelta::of(old_bytes, new_bytes);
        let at = deltas.iter().position(|(table, _)| table.id() == write.table.id());
        let at = at.unwrap_or_else(|| {
            deltas.push((Arc::clone(&write.table), TableDelta::default()));
            deltas.len() - 1
        });
        let sum = &mut deltas[at].1;
        sum.table.add(delta);
        if write.table.indexes.is_empty() {
            continue;
        }
        let mut apart = mutant!("index_written_apart").then(|| tables.db().batch());
        let own = apart.as_mut().unwrap_or(&mut *batch);
        let local_bytes;
        (*index_units, local_bytes) = index_changes(own, write, old.as_ref(), sum)?;
        if let Some(local_bytes) = local_bytes {
            sum.collections.push((collection_hash(&write.key), delta.bytes + local_bytes));
        }
        if let Some(apart) = apart {
            tables.db().write(apart)?;
        }
    }
    deltas.sort_unstable_by_key(|(table, _)| table.id());
    Ok(deltas)
}

/// Puts what a write changes in the indexes of its table into a batch; what that costs each of them, and how many bytes
/// it adds to the local ones, if there are such.
fn index_changes(
    batch: &mut Batch,
    write: &ItemWrite<'_>,
    old: Option<&OldItem>,
    sum: &mut TableDelta,
) -> Result<(IndexUnits, Option<i64>)> {
    let indexes = &write.table.indexes;
    let mut local_bytes = None;
    let mut new = match &write.new {
        Some(item) => entries_of(indexes, &write.key, ItemView::new(item.as_bytes())?)?,
        None => Entries::new(),
    };
    new.resize(indexes.len(), None);
    let mut units = IndexUnits::with_capacity(indexes.len());
    for (at, (index, new)) in indexes.iter().zip(new).enumerate() {
        let old = old.and_then(|old| old.entries[at].as_ref());
        let (delta, cost) = put_change(batch, &index.entries, old, new.as_ref());
        sum.add_of_index(index.id(), delta);
        units.push((index.id(), cost));
        if !index.shape.is_global {
            *local_bytes.get_or_insert(0) += delta.bytes;
        }
    }
    Ok((units, local_bytes))
}

/// Locks the counters of the tables, and puts their new counts into the batch.
fn lock_counters<'t>(
    tables: &Tables,
    deltas: &'t [(Arc<Table>, TableDelta)],
    batch: &mut Batch,
) -> Result<Counters<'t>> {
    let mut counters = Counters::with_capacity(deltas.len());
    for (table, delta) in deltas {
        let counter = table.lock_counter()?;
        let counts = counter.put_changed(batch, tables.catalog(), table.id(), delta);
        counters.push((counter, counts));
    }
    Ok(counters)
}

/// Goes on with the table as it is now; true if that is another one. Only under the item lock.
pub(crate) fn to_latest(table: &mut Arc<Table>) -> bool {
    let Some(latest) = table.latest() else { return false };
    *table = Arc::clone(latest);
    true
}

/// The item that a write replaces, the whole of it only where it `is_wanted`. Only under its item lock.
pub(crate) fn read_old(write: &ItemWrite<'_>, is_wanted: bool) -> Result<Option<OldItem>> {
    let read = |bytes: &[u8]| -> Result<OldItem> {
        let old = ItemView::new(bytes)?;
        if let Some(check) = &write.check {
            check.check(Some(old))?;
        }
        let item = if is_wanted { Some(old.decode()?) } else { None };
        let entries = old_entries_of(&write.table.indexes, &write.key, old)?;
        Ok(OldItem { size_bytes: old.logical_size(), item, entries })
    };
    let old = write.table.items.get_and(&write.key, read)?.transpose()?;
    if let (None, Some(check)) = (&old, &write.check) {
        check.check(None)?;
    }
    Ok(old)
}

/// A commit under way, with what has to happen when it is done.
struct Commit {
    pending: PendingCommit,
    deltas: Deltas,
    guard: ItemGuard,
    tables: Tables,
}

/// Tells the counts how a commit ended, and then unlocks its items.
fn settle(tables: &Tables, deltas: Deltas, guard: ItemGuard, committed: bool) {
    for (table, delta) in deltas {
        if committed {
            table.publish(&delta);
            tables.collections().add(table.id(), &delta);
        } else {
            table.withdraw(tables.db(), tables.catalog(), &delta);
        }
    }
    drop(guard);
}

impl Commit {
    fn wait(self) {
        let committed = self.pending.wait().is_ok();
        settle(&self.tables, self.deltas, self.guard, committed);
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
        if let Some(Commit { deltas, guard, tables, .. }) = self.0.take() {
            settle(&tables, deltas, guard, result.is_ok());
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
