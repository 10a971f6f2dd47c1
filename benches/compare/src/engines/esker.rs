//! Esker. Opened by `engines.rs`.
//!
//! - memory: `memory_budget_bytes` is twice the given number M, for cache and memtables together (RocksDB's are M of cache
//!   and two memtables of M). The engine takes between a third and two thirds for memtables (each frozen at a sixth of the
//!   budget) and gives the rest to its cache, indexes and filters included: where nothing is written 1.33 M, of which
//!   RocksDB has M as cache and its indexes and filters outside; where much is written 0.67 M
//! - filter: its own default
//! - compression: lz4 or none, `KeyspaceOptions::compress`
//! - unsynced: `Durability::Buffered`, survives the end of the process; synced: `Durability::Sync`
//! - bulk load: `Keyspace::ingest`, which is durable when it returns

use std::cell::RefCell;

use crate::engine::{Config, Key, Result, Session, Store};

struct Esker {
    db: esker::Db,
    entries: esker::Keyspace,
}

pub(super) fn open(config: &Config) -> Result<Box<dyn Store>> {
    let durability = match config.sync {
        true => esker::Durability::Sync,
        false => esker::Durability::Buffered,
    };
    let db = esker::Db::builder()
        .memory_budget_bytes(2 * config.memory_bytes)
        .durability(durability)
        .open(&config.dir)?;
    let entries = match db.existing_keyspace("entries")? {
        Some(entries) => entries,
        None => {
            let options =
                esker::KeyspaceOptions { compress: config.compress, ..Default::default() };
            db.create_keyspace("entries", options)?
        }
    };
    Ok(Box::new(Esker { db, entries }))
}

impl Store for Esker {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(EskerSession { store: self }))
    }

    fn bulk_load(&self, entries: &mut dyn Iterator<Item = (Key, Vec<u8>)>) -> Result<()> {
        Ok(self.entries.ingest(entries)?)
    }

    fn flush(&self) -> Result<()> {
        Ok(self.db.flush()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.db.close()?)
    }
}

struct EskerSession<'a> {
    store: &'a Esker,
}

impl Session for EskerSession<'_> {
    fn put(&mut self, key: &Key, value: &[u8]) -> Result<()> {
        Ok(self.store.entries.put(key, value)?)
    }

    fn delete(&mut self, key: &Key) -> Result<()> {
        Ok(self.store.entries.delete(key)?)
    }

    fn write_batch(&mut self, entries: &[(Key, Vec<u8>)]) -> Result<()> {
        let mut batch = self.store.db.batch();
        for (key, value) in entries {
            batch.put(&self.store.entries, key, value);
        }
        Ok(self.store.db.write(batch)?)
    }

    fn get(&mut self, key: &Key, found: &mut dyn FnMut(&[u8])) -> Result<bool> {
        // The door takes an `Fn`; the cell lets it call an `FnMut`.
        let found = RefCell::new(found);
        let seen = self.store.entries.get_and(key, |value| found.borrow_mut()(value))?;
        Ok(seen.is_some())
    }

    fn scan(
        &mut self,
        start: &Key,
        limit: usize,
        found: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize> {
        let mut count = 0;
        let mut range = self.store.entries.range(&start[..]..);
        while count < limit
            && let Some((key, value)) = range.next_entry()?
        {
            found(key, value);
            count += 1;
        }
        Ok(count)
    }

    fn get_many(&mut self, keys: &[Key], found: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        for (position, value) in self.store.entries.get_many(keys)?.into_iter().enumerate() {
            if let Some(value) = value {
                found(position, &value);
            }
        }
        Ok(())
    }
}
