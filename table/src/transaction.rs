//! What is peculiar to transactions: their limits are here; which of them are under way
//! (`ongoing.rs`), the tokens of those that have ended (`token.rs`), and how one is committed
//! (`commit.rs`). Called by TransactWriteItems and TransactGetItems; single writes ask here whether
//! they meet a transaction.

mod commit;
mod ongoing;
pub(crate) mod token;

use std::collections::BTreeSet;

use crate::error::{Result, TableError};
use crate::key_codec::StoredKey;
use crate::message;
pub(crate) use commit::{Action, Change, Committed};
pub(crate) use ongoing::{Ongoing, Transactions, token_mismatch};

/// Actions of one transaction.
const ACTIONS_MAX: usize = 100;
/// Logical bytes of all items of one transaction.
const BYTES_MAX: u64 = 4 << 20;

/// Refuses a transaction of no actions, or of more than 100.
///
/// # Errors
/// `Validation`.
pub fn check_action_count(count: usize) -> Result<()> {
    const MEMBER: &str = "transactItems";
    let error = match count {
        0 => message::constraint("[]", MEMBER, "have length greater than or equal to 1"),
        1..=ACTIONS_MAX => return Ok(()),
        _ => {
            let must = format!("have length less than or equal to {ACTIONS_MAX}");
            message::list_constraint(MEMBER, &must)
        }
    };
    Err(TableError::validation(message::validation_errors(&[error])))
}

/// The items that a transaction names, each once.
#[derive(Default)]
pub(crate) struct Targets(BTreeSet<(u64, StoredKey)>);

impl Targets {
    /// Adds an item; refuses one that is there.
    pub(crate) fn add(&mut self, table_id: u64, key: &StoredKey) -> Result<()> {
        if self.0.insert((table_id, key.clone())) {
            return Ok(());
        }
        Err(TableError::validation(message::TRANSACTION_DUPLICATES))
    }
}

/// The logical bytes of a transaction's items so far.
#[derive(Default)]
pub(crate) struct Volume(u64);

impl Volume {
    /// Adds an item's, up to 4 MB of all.
    pub(crate) fn add(&mut self, size_bytes: u64) -> Result<()> {
        self.0 = self.0.saturating_add(size_bytes);
        if self.0 <= BYTES_MAX {
            return Ok(());
        }
        Err(TableError::validation(message::TRANSACTION_SIZE))
    }
}
