//! LMDB, through `heed`. Opened by `engines.rs`. The only file with unsafe code: opening a map is.
//!
//! - memory: it has no cache of its own and uses the page cache, without limit; the map is 64 GiB of address space
//! - filter and compression: it has none
//! - unsynced: `MDB_NOSYNC`, survives the end of the process (a power cut may damage the whole database, which is less
//!   than the others promise); synced: its default
//! - `MDB_NORDAHEAD`, as its documentation advises for random reads of more data than memory
//! - reads: a read transaction for each, so that it sees every earlier write as the others do
//! - bulk load: `MDB_APPEND` in transactions of 100,000 sorted entries

use std::ops::Bound;

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions, PutFlags};

use crate::engine::{Config, Key, Result, Session, Store};

struct Lmdb {
    env: Env,
    entries: Database<Bytes, Bytes>,
}

#[allow(unsafe_code)]
pub(super) fn open(config: &Config) -> Result<Box<dyn Store>> {
    let mut flags = EnvFlags::NO_READ_AHEAD;
    flags.set(EnvFlags::NO_SYNC, !config.sync);
    let mut options = EnvOpenOptions::new();
    options.map_size(64 << 30).max_readers(256);
    // SAFETY: the directory is the measurement's own: no other process changes the file behind the map, and this
    // process opens it once at a time.
    let env = unsafe { options.flags(flags).open(&config.dir)? };
    let mut transaction = env.write_txn()?;
    let entries = env.create_database(&mut transaction, None)?;
    transaction.commit()?;
    Ok(Box::new(Lmdb { env, entries }))
}

impl Store for Lmdb {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(LmdbSession { store: self }))
    }

    fn bulk_load(&self, entries: &mut dyn Iterator<Item = (Key, Vec<u8>)>) -> Result<()> {
        let mut entries = entries.peekable();
        while entries.peek().is_some() {
            let mut transaction = self.env.write_txn()?;
            for (key, value) in entries.by_ref().take(100_000) {
                self.entries.put_with_flags(&mut transaction, PutFlags::APPEND, &key, &value)?;
            }
            transaction.commit()?;
        }
        Ok(self.env.force_sync()?)
    }

    fn flush(&self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.env.force_sync()?;
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}

struct LmdbSession<'a> {
    store: &'a Lmdb,
}

impl Session for LmdbSession<'_> {
    fn put(&mut self, key: &Key, value: &[u8]) -> Result<()> {
        let mut transaction = self.store.env.write_txn()?;
        self.store.entries.put(&mut transaction, key, value)?;
        Ok(transaction.commit()?)
    }

    fn delete(&mut self, key: &Key) -> Result<()> {
        let mut transaction = self.store.env.write_txn()?;
        self.store.entries.delete(&mut transaction, key)?;
        Ok(transaction.commit()?)
    }

    fn write_batch(&mut self, entries: &[(Key, Vec<u8>)]) -> Result<()> {
        let mut transaction = self.store.env.write_txn()?;
        for (key, value) in entries {
            self.store.entries.put(&mut transaction, key, value)?;
        }
        Ok(transaction.commit()?)
    }

    fn get(&mut self, key: &Key, found: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let transaction = self.store.env.read_txn()?;
        match self.store.entries.get(&transaction, key)? {
            Some(value) => found(value),
            None => return Ok(false),
        }
        Ok(true)
    }

    fn scan(
        &mut self,
        start: &Key,
        limit: usize,
        found: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize> {
        let transaction = self.store.env.read_txn()?;
        let mut count = 0;
        let range = (Bound::Included(&start[..]), Bound::Unbounded);
        for entry in self.store.entries.range(&transaction, &range)?.take(limit) {
            let (key, value) = entry?;
            found(key, value);
            count += 1;
        }
        Ok(count)
    }
}
