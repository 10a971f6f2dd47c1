//! The operations of the histories, carried out on a database.
//!
//! Reads and conditional writes go through transactions, which are run again on a conflict; plain writes do not.

use esker::{Db, Durability, Error, ErrorKind, Keyspace, Result};

use super::history::{Answer, Op, State};
use crate::Rng;

/// A database, and the two keys of one history in it.
pub(super) struct Store<'d> {
    pub(super) db: &'d Db,
    pub(super) keyspace: &'d Keyspace,
    /// What the keys of this history start with.
    pub(super) history: u64,
}

pub(super) fn number(bytes: &[u8]) -> Result<u64> {
    let bytes = bytes.try_into().map_err(|_| Error::invalid("a value has the wrong length"))?;
    Ok(u64::from_le_bytes(bytes))
}

/// Sometimes lets another thread run: where operations are short, they would hardly overlap otherwise.
pub(super) fn pause(rng: &mut Rng) {
    if rng.chance(40) {
        std::thread::yield_now();
    }
}

/// Runs a transaction until it does not conflict. The reads go through it, and `work` says what to answer.
pub(super) fn transact<T>(
    db: &Db,
    durability: Durability,
    mut work: impl FnMut(&mut esker::Transaction) -> Result<T>,
) -> Result<T> {
    loop {
        let mut transaction = db.transaction()?;
        let answer = work(&mut transaction)?;
        match transaction.commit_with(durability) {
            Ok(()) => return Ok(answer),
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
}

impl Store<'_> {
    pub(super) fn key(&self, key: usize) -> [u8; 9] {
        let mut bytes = [key as u8; 9];
        bytes[..8].copy_from_slice(&self.history.to_be_bytes());
        bytes
    }

    fn value(&self, transaction: &esker::Transaction, key: usize) -> Result<Option<u64>> {
        transaction.get(self.keyspace, self.key(key))?.map(|bytes| number(&bytes)).transpose()
    }

    fn set(&self, transaction: &mut esker::Transaction, key: usize, value: u64) -> Result<()> {
        transaction.put(self.keyspace, self.key(key), value.to_le_bytes())
    }

    /// Both keys at one moment, asked in one of four ways.
    fn both(&self, rng: &mut Rng) -> Result<State> {
        let keys = [self.key(0), self.key(1)];
        let mut state = [None, None];
        match rng.below(4) {
            0 => {
                for (at, value) in self.keyspace.get_many(&keys)?.into_iter().enumerate() {
                    state[at] = value.map(|bytes| number(&bytes)).transpose()?;
                }
            }
            1 => {
                let snapshot = self.db.snapshot();
                for (at, key) in keys.iter().enumerate() {
                    pause(rng);
                    let value = self.keyspace.get_at(&snapshot, key)?;
                    state[at] = value.map(|bytes| number(&bytes)).transpose()?;
                }
            }
            2 => {
                for entry in self.keyspace.prefix(self.history.to_be_bytes()) {
                    let (key, value) = entry?;
                    pause(rng);
                    state[usize::from(key[8])] = Some(number(&value)?);
                }
            }
            _ => {
                let transaction = self.db.transaction()?;
                state[0] = self.value(&transaction, 0)?;
                pause(rng);
                state[1] = self.value(&transaction, 1)?;
                transaction.commit()?;
            }
        }
        Ok(state)
    }

    /// Carries out one operation.
    pub(super) fn run(&self, op: Op, rng: &mut Rng) -> Result<Answer> {
        let durability = *rng.pick(&[Durability::Volatile, Durability::Buffered, Durability::Sync]);
        match op {
            Op::Get(key) => {
                let value = self.keyspace.get(self.key(key))?;
                value.map(|bytes| number(&bytes)).transpose().map(Answer::Value)
            }
            Op::Put(key, value) => {
                let value = value.to_le_bytes();
                self.keyspace.put_with(self.key(key), value, durability).map(|()| Answer::Done)
            }
            Op::Delete(key) => {
                let mut batch = self.db.batch();
                batch.delete(self.keyspace, self.key(key));
                self.db.write_with(batch, durability).map(|()| Answer::Done)
            }
            Op::CompareAndSet(key, expected, value) => transact(self.db, durability, |tx| {
                let swapped = self.value(tx, key)? == expected;
                pause(rng);
                if swapped {
                    self.set(tx, key, value)?;
                }
                Ok(Answer::Swapped(swapped))
            }),
            Op::Add(key, more) => transact(self.db, durability, |tx| {
                let before = self.value(tx, key)?;
                pause(rng);
                self.set(tx, key, before.unwrap_or(0).wrapping_add(more))?;
                Ok(Answer::Value(before))
            }),
            Op::Move(from, most) => transact(self.db, durability, |tx| {
                let before = [self.value(tx, 0)?, self.value(tx, 1)?];
                pause(rng);
                let amount = before[from].unwrap_or(0).min(most);
                let to = before[1 - from].unwrap_or(0).wrapping_add(amount);
                self.set(tx, from, before[from].unwrap_or(0) - amount)?;
                self.set(tx, 1 - from, to)?;
                Ok(Answer::Both(before))
            }),
            Op::GetBoth => self.both(rng).map(Answer::Both),
        }
    }
}
