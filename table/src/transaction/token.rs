//! The tokens of transactions that have ended: who sends one again within ten minutes is answered
//! without anything being done. They are in a keyspace of their own, written in the batch of their
//! transaction, so that whatever survives a crash survives with its token. Expired ones are removed in
//! the batches of later transactions that have tokens. This file is the format's only description;
//! a golden test pins it.
//!
//! | key | value |
//! |---|---|
//! | `01`, length of the token (1), token, time (8, big-endian) | a transaction |
//! | `02`, time (8, big-endian), token | empty |
//!
//! The time is when the transaction was committed, in milliseconds of the wall clock. As it is in the
//! key, the removal of an expired token cannot touch a new one of the same text. A transaction,
//! little-endian:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | version: 1 |
//! | 1 | 16 | hash of the actions: XXH3-128 of what `payload_hash` puts together |
//! | 17 | 4 each | for each action, the logical size of the larger of its old and its new item |
//!
//! Example: the token `a` of one action on an item of 300 bytes, at 5 ms, with the hash 7, is
//! `01 01 61 0000000000000005` with `01 07000000000000000000000000000000 2C010000`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use esker::{Batch, Db, Keyspace};
use xxhash_rust::xxh3::Xxh3;

use crate::Item;
use crate::catalog::format::damaged;
use crate::error::{Result, TableError};
use crate::item::EncodedItem;
use crate::message;
use crate::operation::{TransactAction, TransactWriteItem};

/// Names that start with `esker.` are reserved; those of tables' keyspaces go on with `t.`.
const KEYSPACE: &str = "esker.tokens";

/// For how long a token is known.
const VALID_MS: u64 = 10 * 60 * 1000;

/// A transaction removes so many expired tokens at most: more than one, so that they do not pile up.
const REMOVED_MAX: usize = 8;

/// UTF-16 units of a token, as the service counts.
const TOKEN_LEN_MAX: usize = 36;

const RECORDS: u8 = 1;
const TIMES: u8 = 2;

const VERSION: u8 = 1;
const HASH_BYTES: usize = 16;

/// Refuses a token that is empty or too long.
pub(crate) fn check_token(token: &str) -> Result<()> {
    let must = match token.encode_utf16().count() {
        0 => "have length greater than or equal to 1".to_owned(),
        1..=TOKEN_LEN_MAX => return Ok(()),
        _ => format!("have length less than or equal to {TOKEN_LEN_MAX}"),
    };
    let error = message::constraint(token, "clientRequestToken", &must);
    Err(TableError::validation(message::validation_errors(&[error])))
}

/// The hash of everything that a token stands for: valid actions, with their sets sorted.
pub(crate) fn payload_hash<'r>(actions: impl Iterator<Item = &'r TransactWriteItem>) -> u128 {
    let mut hash = Xxh3::new();
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    let item_bytes = |item: &Item| EncodedItem::encode_sized(item, 0);
    for action in actions {
        part(action.table_name.as_bytes());
        let (tag, item) = match &action.action {
            TransactAction::Put(item) => (1, item),
            TransactAction::Update { key, update_expression } => {
                part(update_expression.as_bytes());
                (2, key)
            }
            TransactAction::Delete(key) => (3, key),
            TransactAction::ConditionCheck(key) => (4, key),
        };
        part(&[tag]);
        part(item_bytes(item).as_bytes());
        let condition = action.condition_expression.as_deref();
        part(&[condition.is_some().into()]);
        part(condition.unwrap_or_default().as_bytes());
        let names = action.expression_attribute_names.iter().flatten();
        part(&(names.clone().count() as u64).to_le_bytes());
        for (key, name) in names {
            part(key.as_bytes());
            part(name.as_bytes());
        }
        if let Some(values) = &action.expression_attribute_values {
            part(item_bytes(values).as_bytes());
        }
        part(&[u8::from(action.return_values_on_condition_check_failure.is_some())]);
        part(&[action.return_values_on_condition_check_failure.unwrap_or_default() as u8]);
    }
    hash.digest128()
}

/// The tokens of a database.
#[derive(Default)]
pub(crate) struct Tokens {
    /// Made with the first token.
    keyspace: OnceLock<Keyspace>,
    /// Tokens from before this time are removed already.
    removed_before_ms: AtomicU64,
}

/// A transaction that a token belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) payload_hash: u128,
    /// What each action's larger item weighed.
    pub(crate) sizes: Vec<u32>,
}

impl Tokens {
    fn existing(&self, db: &Db) -> Result<Option<&Keyspace>> {
        if self.keyspace.get().is_none()
            && let Some(keyspace) = db.existing_keyspace(KEYSPACE)?
        {
            return Ok(Some(self.keyspace.get_or_init(|| keyspace)));
        }
        Ok(self.keyspace.get())
    }

    /// The transaction that a token belongs to, if it is known still.
    pub(crate) fn find(&self, db: &Db, token: &str, now_ms: u64) -> Result<Option<Record>> {
        let Some(keyspace) = self.existing(db)? else { return Ok(None) };
        // The youngest one: others of the same text are expired.
        let Some(entry) = keyspace.prefix(records_prefix(token)).next_back() else {
            return Ok(None);
        };
        let (key, value) = entry?;
        if now_ms.saturating_sub(time_at_end(&key)?) >= VALID_MS {
            return Ok(None);
        }
        Record::decode(&value).map(Some)
    }

    /// What a transaction's batch is to hold for its token, apart from the record.
    pub(crate) fn prepare(&self, db: &Db, token: &str, now_ms: u64) -> Result<TokenWrite> {
        let keyspace = match self.existing(db)? {
            Some(keyspace) => keyspace,
            None => {
                let keyspace = db.keyspace(KEYSPACE)?;
                self.keyspace.get_or_init(|| keyspace)
            }
        };
        let mut removed = Vec::new();
        let mut removed_before_ms = 0;
        if let Some(expired_ms) = now_ms.checked_sub(VALID_MS) {
            let start = times_key(self.removed_before_ms.load(Ordering::Relaxed), "");
            let end = times_key(expired_ms + 1, "");
            let expired = (start <= end).then(|| keyspace.range(start..end));
            for entry in expired.into_iter().flatten().take(REMOVED_MAX) {
                let (key, _) = entry?;
                let (time_ms, token) = split_times_key(&key)?;
                removed.push(record_key(token, time_ms));
                removed.push(key.to_vec());
                removed_before_ms = time_ms;
            }
        }
        let keyspace = keyspace.clone();
        Ok(TokenWrite { keyspace, token: token.to_owned(), now_ms, removed, removed_before_ms })
    }

    /// Says that a batch with this write is committed.
    pub(crate) fn committed(&self, write: &TokenWrite) {
        self.removed_before_ms.fetch_max(write.removed_before_ms, Ordering::Relaxed);
    }
}

/// The part of a batch that is about a token.
pub(crate) struct TokenWrite {
    keyspace: Keyspace,
    token: String,
    now_ms: u64,
    removed: Vec<Vec<u8>>,
    /// After it, older ones are no more.
    removed_before_ms: u64,
}

impl TokenWrite {
    pub(crate) fn put(&self, batch: &mut Batch, record: &Record) {
        for key in &self.removed {
            batch.delete(&self.keyspace, key);
        }
        batch.put(&self.keyspace, record_key(&self.token, self.now_ms), record.encode());
        batch.put(&self.keyspace, times_key(self.now_ms, &self.token), []);
    }
}

impl Record {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.payload_hash.to_le_bytes());
        bytes.extend(self.sizes.iter().flat_map(|size| size.to_le_bytes()));
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let wrong = || damaged("the record of a transaction's token");
        let (&version, rest) = bytes.split_first().ok_or_else(wrong)?;
        let (hash, sizes) = rest.split_first_chunk::<HASH_BYTES>().ok_or_else(wrong)?;
        let (sizes, []) = sizes.as_chunks::<4>() else { return Err(wrong()) };
        if version != VERSION {
            return Err(wrong());
        }
        let sizes = sizes.iter().map(|size| u32::from_le_bytes(*size)).collect();
        Ok(Self { payload_hash: u128::from_le_bytes(*hash), sizes })
    }
}

/// What the keys of all records of a token start with.
fn records_prefix(token: &str) -> Vec<u8> {
    let len = u8::try_from(token.len()).expect("invariant: tokens are checked");
    [&[RECORDS, len], token.as_bytes()].concat()
}

fn record_key(token: &str, time_ms: u64) -> Vec<u8> {
    let mut key = records_prefix(token);
    key.extend(time_ms.to_be_bytes());
    key
}

fn times_key(time_ms: u64, token: &str) -> Vec<u8> {
    [&[TIMES], &time_ms.to_be_bytes()[..], token.as_bytes()].concat()
}

fn time_at_end(key: &[u8]) -> Result<u64> {
    let time = key.last_chunk().ok_or_else(|| damaged("the key of a transaction's token"))?;
    Ok(u64::from_be_bytes(*time))
}

fn split_times_key(key: &[u8]) -> Result<(u64, &str)> {
    let wrong = || damaged("the time of a transaction's token");
    let (time, token) = key.get(1..).and_then(<[u8]>::split_first_chunk).ok_or_else(wrong)?;
    let token = std::str::from_utf8(token).map_err(|_| wrong())?;
    if token.len() > usize::from(u8::MAX) {
        return Err(wrong());
    }
    Ok((u64::from_be_bytes(*time), token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02X}")).collect()
    }

    #[test]
    fn the_format_is_as_described() {
        let record = Record { payload_hash: 7, sizes: vec![300] };
        assert_eq!(hex(&record_key("a", 5)), "0101610000000000000005");
        assert_eq!(hex(&record.encode()), "01070000000000000000000000000000002C010000");
        assert_eq!(hex(&times_key(5, "a")), "02000000000000000561");
        assert_eq!(Record::decode(&record.encode()), Ok(record));
        assert_eq!(split_times_key(&times_key(5, "a")), Ok((5, "a")));
        assert_eq!(time_at_end(&record_key("a", 5)), Ok(5));
    }

    #[test]
    fn damage_is_told() {
        let bytes = Record { payload_hash: 7, sizes: vec![300, 0] }.encode();
        for len in (0..bytes.len()).filter(|len| (len + 3) % 4 != 0 || *len < 17) {
            assert!(Record::decode(&bytes[..len]).is_err(), "{len}");
        }
        assert!(Record::decode(&[&[2], &bytes[1..]].concat()).is_err());
        assert!(split_times_key(&[2, 0, 0]).is_err());
        assert!(split_times_key(&[[2; 9].as_slice(), &[255]].concat()).is_err());
        assert!(split_times_key(&[2; 300]).is_err());
        assert!(time_at_end(&[1, 2]).is_err());
    }
}
