//! fjall 3. Opened by `engines.rs`.
//!
//! - memory: `cache_size` is the given number; `max_memtable_size` too, at most 64 MiB as its documentation recommends
//! - filter: its default, bloom with about 10 bits a key
//! - compression: lz4 for data blocks on every level, or none; its journal's lz4 (for values over a threshold) likewise
//! - unsynced: its default, a write call for each commit; synced: the same and `persist(PersistMode::SyncData)`
//! - bulk load: `start_ingestion`, its door for sorted input

use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::engine::{Config, Key, Result, Session, Store};

struct Fjall {
    db: Database,
    entries: Keyspace,
    sync: bool,
}

pub(super) fn open(config: &Config) -> Result<Box<dyn Store>> {
    let compression = match config.compress {
        true => CompressionType::Lz4,
        false => CompressionType::None,
    };
    let memory = config.memory_bytes as u64;
    let db = Database::builder(&config.dir)
        .cache_size(memory)
        .journal_compression(compression)
        .open()?;
    let entries = db.keyspace("entries", || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(memory.min(64 << 20))
            .data_block_compression_policy(CompressionPolicy::all(compression))
    })?;
    Ok(Box::new(Fjall { db, entries, sync: config.sync }))
}

impl Fjall {
    fn committed(&self) -> Result<()> {
        if self.sync {
            self.db.persist(PersistMode::SyncData)?;
        }
        Ok(())
    }
}

impl Store for Fjall {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(FjallSession { store: self }))
    }

    fn bulk_load(&self, entries: &mut dyn Iterator<Item = (Key, Vec<u8>)>) -> Result<()> {
        let mut ingestion = self.entries.start_ingestion()?;
        for (key, value) in entries {
            ingestion.write(key, value)?;
        }
        Ok(ingestion.finish()?)
    }

    fn flush(&self) -> Result<()> {
        Ok(self.entries.rotate_memtable_and_wait()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.db.persist(PersistMode::SyncAll)?;
        Ok(())
    }
}

struct FjallSession<'a> {
    store: &'a Fjall,
}

impl Session for FjallSession<'_> {
    fn put(&mut self, key: &Key, value: &[u8]) -> Result<()> {
        self.store.entries.insert(key, value)?;
        self.store.committed()
    }

    fn delete(&mut self, key: &Key) -> Result<()> {
        self.store.entries.remove(key)?;
        self.store.committed()
    }

    fn write_batch(&mut self, entries: &[(Key, Vec<u8>)]) -> Result<()> {
        let mut batch = self.store.db.batch();
        for (key, value) in entries {
            batch.insert(&self.store.entries, key, &value[..]);
        }
        batch.commit()?;
        self.store.committed()
    }

    fn get(&mut self, key: &Key, found: &mut dyn FnMut(&[u8])) -> Result<bool> {
        match self.store.entries.get(key)? {
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
        for entry in self.store.entries.range(&start[..]..).take(limit) {
            let (key, value) = entry.into_inner()?;
            found(&key, &value);
            count += 1;
        }
        Ok(count)
    }
}
