//! redb 4. Opened by `engines.rs`.
//!
//! - memory: `set_cache_size` is the given number; there is no memtable
//! - filter and compression: it has none
//! - unsynced: `Durability::None`, which is *weaker* than the others': the writes since the last durable commit are lost
//!   with the process; synced: `Durability::Immediate`
//! - reads: a read transaction for each, so that it sees every earlier write as the others do
//! - bulk load: transactions of 100,000 sorted entries without durability and a durable one at the end

use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use crate::engine::{Config, Key, Result, Session, Store};

const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");

struct Redb {
    db: Database,
    durability: Durability,
}

pub(super) fn open(config: &Config) -> Result<Box<dyn Store>> {
    let mut builder = Database::builder();
    builder.set_cache_size(config.memory_bytes);
    let db = builder.create(config.dir.join("redb"))?;
    let durability = match config.sync {
        true => Durability::Immediate,
        false => Durability::None,
    };
    let store = Redb { db, durability };
    // Reads of a table that nobody has opened for writing fail.
    store.write(Durability::Immediate, |_| Ok(()))?;
    Ok(Box::new(store))
}

impl Redb {
    fn write(
        &self,
        durability: Durability,
        change: impl FnOnce(&mut redb::Table<'_, &'static [u8], &'static [u8]>) -> Result<()>,
    ) -> Result<()> {
        let mut transaction = self.db.begin_write()?;
        transaction.set_durability(durability)?;
        change(&mut transaction.open_table(ENTRIES)?)?;
        Ok(transaction.commit()?)
    }
}

impl Store for Redb {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(RedbSession { store: self }))
    }

    fn bulk_load(&self, entries: &mut dyn Iterator<Item = (Key, Vec<u8>)>) -> Result<()> {
        let mut entries = entries.peekable();
        while entries.peek().is_some() {
            self.write(Durability::None, |table| {
                for (key, value) in entries.by_ref().take(100_000) {
                    table.insert(&key[..], &value[..])?;
                }
                Ok(())
            })?;
        }
        self.persist()
    }

    fn persist(&self) -> Result<()> {
        self.write(Durability::Immediate, |_| Ok(()))
    }

    fn flush(&self) -> Result<()> {
        self.persist()
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.persist()
    }
}

struct RedbSession<'a> {
    store: &'a Redb,
}

impl Session for RedbSession<'_> {
    fn put(&mut self, key: &Key, value: &[u8]) -> Result<()> {
        self.store.write(self.store.durability, |table| {
            table.insert(&key[..], value)?;
            Ok(())
        })
    }

    fn delete(&mut self, key: &Key) -> Result<()> {
        self.store.write(self.store.durability, |table| {
            table.remove(&key[..])?;
            Ok(())
        })
    }

    fn write_batch(&mut self, entries: &[(Key, Vec<u8>)]) -> Result<()> {
        self.store.write(self.store.durability, |table| {
            for (key, value) in entries {
                table.insert(&key[..], &value[..])?;
            }
            Ok(())
        })
    }

    fn get(&mut self, key: &Key, found: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let table = self.store.db.begin_read()?.open_table(ENTRIES)?;
        match table.get(&key[..])? {
            Some(value) => found(value.value()),
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
        let table = self.store.db.begin_read()?.open_table(ENTRIES)?;
        let mut count = 0;
        for entry in table.range(&start[..]..)?.take(limit) {
            let (key, value) = entry?;
            found(key.value(), value.value());
            count += 1;
        }
        Ok(count)
    }
}
