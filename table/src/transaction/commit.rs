//! The commit of a write transaction: all its items are locked, in the order of their stripes, until
//! it is published; under the locks every action is judged, and either all of them and the token go
//! into one batch, or nothing does. Called by TransactWriteItems alone.

use std::sync::Arc;

use esker::mutant;

use super::token::{Record, TokenWrite};
use super::{Ongoing, Volume, ongoing};
use crate::capacity::{TRANSACTION_FACTOR, write_units};
use crate::collection::check_item_with_entries;
use crate::error::{CancellationReason, Result, TableError};
use crate::expression::update::BoundUpdate;
use crate::index::IndexUnits;
use crate::item::{ItemView, NewItem};
use crate::item_lock::ItemLocks;
use crate::key_codec::StoredKey;
use crate::operation::as_update;
use crate::table::Table;
use crate::throttle::{Resource, Use};
use crate::write::{
    Check, Granted, ItemWrite, OldItem, Pace, Token, Waiting, Written, read_old, to_latest,
};
use crate::{Item, Tables, message};

/// One action, ready to be judged.
pub(crate) struct Action<'r> {
    pub(crate) table: Arc<Table>,
    /// Where the item is, or what is wrong with the action whatever the item.
    pub(crate) key: Result<StoredKey>,
    pub(crate) check: Option<Check<'r>>,
    pub(crate) change: Change<'r>,
}

/// What an action does to its item.
pub(crate) enum Change<'r> {
    Put(NewItem),
    Update {
        key: &'r Item,
        update: BoundUpdate<'r>,
        /// Makes no item where there is none.
        only_takes_away: bool,
    },
    Delete,
    /// Nothing: it is a condition check.
    Nothing,
}

/// Logical sizes of an action's old and new item.
pub(crate) type Sizes = (u32, u32);

/// What became of an action.
pub(crate) struct Committed {
    pub(crate) table: Arc<Table>,
    pub(crate) sizes: Sizes,
    /// What it cost each index of the table; empty where that is nothing.
    pub(crate) index_units: IndexUnits,
}

/// An action that can go ahead.
struct Judged<'r> {
    write: Option<ItemWrite<'r>>,
    old: Option<OldItem>,
    sizes: Sizes,
}

impl<'r> Action<'r> {
    /// Whether it is more than a condition check.
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.change, Change::Nothing)
    }

    /// Looks at the item. Only under its lock. `is_other` is whether the table is no longer that by
    /// which a new item was judged: an index that has come may not take it.
    fn judge(self, is_other: bool) -> Result<Judged<'r>> {
        let Self { table, key, check, change } = self;
        let mut write =
            ItemWrite { table, key: key?, new: None, check, granted: Granted::Transaction };
        let is_update = matches!(change, Change::Update { .. });
        let fits = |write: &ItemWrite<'_>, new: &NewItem, refusal: &str| {
            check_item_with_entries(&write.table.indexes, &write.key, new, refusal)
        };
        if let Change::Put(new) = &change {
            fits(&write, new, message::ITEM_SIZE)?;
            if is_other {
                write.table.key.indexed().check(&ItemView::new(new.as_bytes())?.decode()?)?;
            }
        }
        let mut old = read_old(&write, is_update)?;
        let old_bytes = old.as_ref().map_or(0, |old| old.size_bytes);
        let is_change = match change {
            Change::Put(new) => {
                write.new = Some(new);
                true
            }
            Change::Delete => {
                // Of a hundred deleted items, not all that their indexes hold is kept until the commit.
                old.iter_mut().for_each(OldItem::forget_values);
                true
            }
            Change::Nothing => false,
            Change::Update { key, update, only_takes_away: true } if old.is_none() => {
                // Nothing comes of it, but its paths have to lead somewhere.
                update.apply(key.clone())?;
                false
            }
            Change::Update { key, update, .. } => {
                let item = old.as_mut().and_then(|old| old.item.take());
                let indexed = write.table.key.indexed().values_of(item.as_ref());
                let mut item = update.apply(item.unwrap_or_else(|| key.clone()))?;
                write.new = Some(NewItem::encode(&mut item).map_err(as_update)?);
                write.table.key.indexed().check_updated(&indexed, &item)?;
                if let Some(new) = &write.new {
                    fits(&write, new, message::UPDATED_ITEM_SIZE)?;
                }
                true
            }
        };
        let new_bytes = write.new.as_ref().map_or(0, NewItem::logical_size);
        Ok(Judged { write: is_change.then_some(write), old, sizes: (old_bytes, new_bytes) })
    }
}

impl Tables {
    /// Commits actions, no two of them on the same item, with the token; answers what became of each, when all are as durable as the database's default says.
    ///
    /// # Errors
    /// `TransactionCanceled` where an action cannot go ahead, or another transaction has its item.
    pub(crate) async fn commit_transaction(
        &self,
        actions: Vec<Action<'_>>,
        mut ongoing: Ongoing,
        token: Option<(u128, TokenWrite)>,
        waiting: Waiting,
    ) -> Result<Vec<Committed>> {
        let with_key = |action: &Action<'_>| {
            let key = action.key.as_ref().ok()?;
            Some((action.table.id(), key.clone()))
        };
        if let Err(conflicts) = ongoing.take(actions.iter().filter_map(with_key).collect()) {
            return Err(conflicting(actions, conflicts));
        }
        let stripes = actions.iter().filter_map(|action| {
            let key = action.key.as_ref().ok()?;
            Some(ItemLocks::stripe_of(action.table.id(), key))
        });
        let stripes = stripes.filter(|_| !mutant!("items_transaction_not_locked")).collect();
        let guard = Arc::clone(self.locks()).lock(stripes).await.with(ongoing);
        let mut pace =
            (waiting == Waiting::Polls).then(|| Pace::new(self.db().world().clock.as_ref()));
        let mut reasons = Vec::with_capacity(actions.len());
        // Each action that goes ahead, and whether it writes.
        let mut judgements = Vec::with_capacity(actions.len());
        let mut writes = Vec::with_capacity(actions.len());
        let mut written = Vec::with_capacity(actions.len());
        // Of what is held in memory: the new items, or those that a failure answers.
        let mut volume = Volume::default();
        for mut action in actions {
            if let Some(pace) = &mut pace {
                pace.pause().await;
            }
            let is_other = to_latest(&mut action.table);
            let table = Arc::clone(&action.table);
            let judged = action.judge(is_other).and_then(|judged| {
                match &judged.write {
                    Some(write) => self.admit_write(write)?,
                    None => self.admit(Resource::table(&table), Use::Write)?,
                }
                Ok(judged)
            });
            match judged {
                Ok(judged) => {
                    volume.add(judged.sizes.1.into())?;
                    judgements.push((table, judged.sizes, judged.write.is_some()));
                    if let Some(write) = judged.write {
                        writes.push(write);
                        written.push(Written::over(judged.old));
                    }
                    reasons.push(CancellationReason::none());
                }
                // Told as an error of the request, not as a reason.
                Err(error) if message::is_empty_key(error.message()) => return Err(error),
                Err(error) => {
                    let reason = CancellationReason::of(error)?;
                    volume.add(reason.item.as_ref().map_or(0, size_of))?;
                    reasons.push(reason);
                }
            }
        }
        if judgements.len() < reasons.len() {
            return Err(TableError::transaction_canceled(reasons));
        }
        if let Err((at, error)) = self.check_collections(&writes, &written) {
            let mut writing = judgements.iter().enumerate().filter(|(_, (.., writes))| *writes);
            if let Some((position, _)) = writing.nth(at) {
                reasons[position] = CancellationReason::of(error)?;
            }
            return Err(TableError::transaction_canceled(reasons));
        }
        let token = token.map(|(payload_hash, write)| {
            let sizes = judgements.iter().map(|(_, (old, new), _)| *old.max(new)).collect();
            Token { write, record: Record { payload_hash, sizes } }
        });
        self.finish(&writes, &mut written, token.as_ref(), guard, waiting).await?;
        if let Some(token) = &token {
            self.tokens().committed(&token.write);
        }
        for (table, (old, new), _) in judgements.iter().filter(|(_, _, writes)| !writes) {
            let units = TRANSACTION_FACTOR * write_units((*old).into(), (*new).into());
            self.charge(Resource::table(table), Use::Write, units);
        }
        let mut units = written.into_iter().map(|written| written.index_units);
        let committed = |(table, sizes, writes): (Arc<Table>, Sizes, bool)| {
            let index_units = if writes { units.next() } else { None };
            Committed { table, sizes, index_units: index_units.unwrap_or_default() }
        };
        Ok(judgements.into_iter().map(committed).collect())
    }
}

/// Why a transaction is cancelled of which others have some of the items: `conflicts` are those of
/// the actions that have a key.
fn conflicting(actions: Vec<Action<'_>>, conflicts: Vec<bool>) -> TableError {
    let mut conflicts = conflicts.into_iter();
    let reasons = actions.into_iter().map(|action| match action.key {
        Ok(_) if conflicts.next() == Some(true) => CancellationReason::of(ongoing::conflict()),
        Ok(_) => Ok(CancellationReason::none()),
        Err(error) => CancellationReason::of(error),
    });
    match reasons.collect() {
        Ok(reasons) => TableError::transaction_canceled(reasons),
        Err(error) => error,
    }
}

/// The logical bytes of a valid item.
fn size_of(item: &Item) -> u64 {
    item.iter().map(|(name, value)| (name.len() + value.size_bytes()) as u64).sum()
}
