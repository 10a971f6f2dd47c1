//! SurrealKV 1. Opened by `engines.rs`.
//!
//! - memory: `with_block_cache_capacity` is the given number (at least its default of 32 MiB: below it, its documentation
//!   says, index and filter partitions may not fit into a shard); `with_max_memtable_size` too
//! - filter: its default, bloom with 10 bits a key
//! - compression: snappy (it has no lz4) on every level, or none
//! - unsynced: `Durability::Eventual`, a write call for each commit; synced: `Durability::Immediate`
//! - its commits are futures: each is awaited by the calling thread on a runtime of two threads; one that
//!   fails because another thread wrote the key meanwhile is made again
//! - bulk load: sorted transactions of 10,000 and a sync of the log; it has no door of its own for it, nor one to flush

use surrealkv::{
    CompressionType, Durability, Error, LSMIterator, Mode, Options, Transaction, Tree, TreeBuilder,
};
use tokio::runtime::{Builder, Runtime};

use crate::engine::{Config, Key, Result, Session, Store};

struct SurrealKv {
    tree: Tree,
    durability: Durability,
    runtime: Runtime,
}

pub(super) fn open(config: &Config) -> Result<Box<dyn Store>> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut options = Options::new()
        .with_path(config.dir.clone())
        .with_max_memtable_size(config.memory_bytes)
        .with_block_cache_capacity(config.memory_bytes.max(32 << 20) as u64);
    if config.compress {
        options = options.with_compression_per_level(vec![CompressionType::SnappyCompression]);
    }
    let tree = {
        let _inside = runtime.enter();
        TreeBuilder::with_options(options).build()?
    };
    let durability = match config.sync {
        true => Durability::Immediate,
        false => Durability::Eventual,
    };
    Ok(Box::new(SurrealKv { tree, durability, runtime }))
}

impl SurrealKv {
    fn write(
        &self,
        durability: Durability,
        change: impl Fn(&mut Transaction) -> Result<()>,
    ) -> Result<()> {
        loop {
            let mut transaction = self.tree.begin_with_mode(Mode::WriteOnly)?;
            transaction.set_durability(durability);
            change(&mut transaction)?;
            match self.runtime.block_on(transaction.commit()) {
                Err(Error::TransactionWriteConflict) => {}
                result => return Ok(result?),
            }
        }
    }
}

impl Store for SurrealKv {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(SurrealKvSession { store: self }))
    }

    fn bulk_load(&self, entries: &mut dyn Iterator<Item = (Key, Vec<u8>)>) -> Result<()> {
        loop {
            let part: Vec<(Key, Vec<u8>)> = entries.take(10_000).collect();
            if part.is_empty() {
                break;
            }
            self.write(Durability::Eventual, |transaction| {
                for (key, value) in &part {
                    transaction.set(&key[..], &value[..])?;
                }
                Ok(())
            })?;
        }
        Ok(self.tree.flush_wal(true)?)
    }

    fn flush(&self) -> Result<()> {
        Ok(self.tree.flush_wal(true)?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.runtime.block_on(self.tree.close())?)
    }
}

struct SurrealKvSession<'a> {
    store: &'a SurrealKv,
}

impl Session for SurrealKvSession<'_> {
    fn put(&mut self, key: &Key, value: &[u8]) -> Result<()> {
        self.store.write(self.store.durability, |transaction| Ok(transaction.set(key, value)?))
    }

    fn delete(&mut self, key: &Key) -> Result<()> {
        self.store.write(self.store.durability, |transaction| Ok(transaction.delete(key)?))
    }

    fn write_batch(&mut self, entries: &[(Key, Vec<u8>)]) -> Result<()> {
        self.store.write(self.store.durability, |transaction| {
            for (key, value) in entries {
                transaction.set(key, &value[..])?;
            }
            Ok(())
        })
    }

    fn get(&mut self, key: &Key, found: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let transaction = self.store.tree.begin_with_mode(Mode::ReadOnly)?;
        match transaction.get(key)? {
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
        let transaction = self.store.tree.begin_with_mode(Mode::ReadOnly)?;
        let mut entries = transaction.scan(&start[..]..)?;
        let mut count = 0;
        let mut valid = entries.seek_first()?;
        while valid && count < limit {
            found(entries.key().user_key(), &entries.value_ref()?);
            count += 1;
            valid = entries.next()?;
        }
        Ok(count)
    }
}
