//! Which transactions are under way, and which items and tokens they have. A second transaction on
//! an item, and a single write of one, are refused instead of waiting, as the service does. That
//! alone keeps nothing apart: writes that have begun before go on, and the item locks
//! (`item_lock.rs`) put them in order. Reads, and the writes of a batch, do not ask here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::error::{Result, TableError, TableErrorKind};
use crate::key_codec::StoredKey;
use crate::message;

/// An item: its table's id and its key.
type Target = (u64, StoredKey);

/// All transactions of a database that are under way.
#[derive(Default)]
pub(crate) struct Transactions {
    /// How many items they have, so that a write that meets none needs no lock.
    item_count: AtomicUsize,
    /// A leaf.
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    items: BTreeSet<Target>,
    /// With the hash of what belongs to the token.
    tokens: BTreeMap<String, u128>,
}

impl Transactions {
    /// Refuses a write of an item that a transaction has.
    pub(crate) fn refuse_conflict(&self, table_id: u64, key: &StoredKey) -> Result<()> {
        if self.item_count.load(Ordering::Relaxed) == 0
            || !self.taken.lock().items.contains(&(table_id, key.clone()))
        {
            return Ok(());
        }
        Err(conflict())
    }

    /// Begins a transaction; refuses one whose token another one has.
    pub(crate) fn begin(self: &Arc<Self>, token: Option<(&str, u128)>) -> Result<Ongoing> {
        let mut ongoing =
            Ongoing { transactions: Arc::clone(self), items: Vec::new(), token: None };
        if let Some((token, payload_hash)) = token {
            let mut taken = self.taken.lock();
            match taken.tokens.get(token) {
                None => {}
                Some(hash) if *hash == payload_hash => {
                    let kind = TableErrorKind::TransactionInProgress;
                    return Err(TableError::new(kind, message::TRANSACTION_IN_PROGRESS));
                }
                Some(_) => return Err(token_mismatch()),
            }
            taken.tokens.insert(token.to_owned(), payload_hash);
            ongoing.token = Some(token.to_owned());
        }
        Ok(ongoing)
    }
}

/// What an action gets whose item another transaction has.
pub(super) fn conflict() -> TableError {
    TableError::new(TableErrorKind::TransactionConflict, message::TRANSACTION_CONFLICT)
}

/// What a transaction gets whose token belongs to another one.
pub(crate) fn token_mismatch() -> TableError {
    TableError::new(TableErrorKind::IdempotentParameterMismatch, message::TOKEN_MISMATCH)
}

/// A transaction that is under way, until this is dropped.
pub(crate) struct Ongoing {
    transactions: Arc<Transactions>,
    items: Vec<Target>,
    token: Option<String>,
}

impl Ongoing {
    /// Takes all these items, no two of them the same, if no other transaction has one of them;
    /// otherwise none, and answers for each whether another has it.
    pub(super) fn take(&mut self, items: Vec<Target>) -> std::result::Result<(), Vec<bool>> {
        debug_assert!(self.items.is_empty());
        let mut taken = self.transactions.taken.lock();
        let conflicts: Vec<bool> = items.iter().map(|item| taken.items.contains(item)).collect();
        if conflicts.contains(&true) {
            return Err(conflicts);
        }
        taken.items.extend(items.iter().cloned());
        self.transactions.item_count.store(taken.items.len(), Ordering::Relaxed);
        self.items = items;
        Ok(())
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        let mut taken = self.transactions.taken.lock();
        for item in &self.items {
            taken.items.remove(item);
        }
        self.transactions.item_count.store(taken.items.len(), Ordering::Relaxed);
        if let Some(token) = &self.token {
            taken.tokens.remove(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> StoredKey {
        StoredKey::from_slice(text.as_bytes())
    }

    #[test]
    fn items_and_tokens_are_had_until_the_end() {
        let transactions = Arc::new(Transactions::default());
        let kind = |result: Result<()>| result.err().map(|error| error.kind());
        let mut first = transactions.begin(Some(("t", 1))).unwrap();
        first.take(vec![(1, key("a")), (1, key("b"))]).unwrap();
        let mut second = transactions.begin(None).unwrap();
        let wanted = vec![(1, key("c")), (1, key("b")), (2, key("a"))];
        assert_eq!(second.take(wanted.clone()), Err(vec![false, true, false]));
        assert_eq!(kind(transactions.refuse_conflict(1, &key("c"))), None);
        let conflict = Some(TableErrorKind::TransactionConflict);
        assert_eq!(kind(transactions.refuse_conflict(1, &key("a"))), conflict);
        let begun = |hash| kind(transactions.begin(Some(("t", hash))).map(|_| ()));
        assert_eq!(begun(1), Some(TableErrorKind::TransactionInProgress));
        assert_eq!(begun(2), Some(TableErrorKind::IdempotentParameterMismatch));
        drop(first);
        assert_eq!(kind(transactions.refuse_conflict(1, &key("a"))), None);
        assert_eq!(begun(2), None);
        assert_eq!(second.take(wanted), Ok(()));
        drop(second);
        assert_eq!(transactions.item_count.load(Ordering::Relaxed), 0);
    }
}
