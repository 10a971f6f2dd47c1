//! sled 0.34, the last stable release. Opened by `engines.rs`.
//!
//! - memory: `cache_capacity` is the given number
//! - filter: it has none; compression: off, it offers only zstd, by a feature
//! - unsynced: its default, written by a thread every 500 ms, which is *weaker* than the others'; synced: `flush` after
//!   every write, which on Linux calls `sync_file_range` and no fdatasync: *not durable*, so that it is no peer there
//! - bulk load: sorted batches of 10,000 and a flush; it has no door of its own for it

use sled::{Batch, Db};

use crate::engine::{Config, Key, Result, Session, Store};

struct Sled {
    db: Db,
    sync: bool,
}

pub(super) fn open(config: &Config) -> Result<Box<dyn Store>> {
    let db =
        sled::Config::new().path(&config.dir).cache_capacity(config.memory_bytes as u64).open()?;
    Ok(Box::new(Sled { db, sync: config.sync }))
}

impl Sled {
    fn committed(&self) -> Result<()> {
        if self.sync {
            self.db.flush()?;
        }
        Ok(())
    }
}

impl Store for Sled {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(SledSession { store: self }))
    }

    fn bulk_load(&self, entries: &mut dyn Iterator<Item = (Key, Vec<u8>)>) -> Result<()> {
        let mut entries = entries.peekable();
        while entries.peek().is_some() {
            let mut batch = Batch::default();
            for (key, value) in entries.by_ref().take(10_000) {
                batch.insert(&key, value);
            }
            self.db.apply_batch(batch)?;
        }
        self.persist()
    }

    fn persist(&self) -> Result<()> {
        self.db.flush()?;
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.persist()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.persist()
    }
}

struct SledSession<'a> {
    store: &'a Sled,
}

impl Session for SledSession<'_> {
    fn put(&mut self, key: &Key, value: &[u8]) -> Result<()> {
        self.store.db.insert(key, value)?;
        self.store.committed()
    }

    fn delete(&mut self, key: &Key) -> Result<()> {
        self.store.db.remove(key)?;
        self.store.committed()
    }

    fn write_batch(&mut self, entries: &[(Key, Vec<u8>)]) -> Result<()> {
        let mut batch = Batch::default();
        for (key, value) in entries {
            batch.insert(key, &value[..]);
        }
        self.store.db.apply_batch(batch)?;
        self.store.committed()
    }

    fn get(&mut self, key: &Key, found: &mut dyn FnMut(&[u8])) -> Result<bool> {
        match self.store.db.get(key)? {
            Some(value) => found(&value),
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
        let mut count = 0;
        for entry in self.store.db.range(&start[..]..).take(limit) {
            let (key, value) = entry?;
            found(&key, &value);
            count += 1;
        }
        Ok(count)
    }
}
