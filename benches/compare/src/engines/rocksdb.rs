//! RocksDB. Opened by `engines.rs`.
//!
//! - memory: the block cache (LRU) is the given number; `write_buffer_size` too, with its default of two write buffers;
//!   indexes and filters outside the cache, its default
//! - filter: bloom with 10 bits a key, whole keys
//! - compression: lz4 on every level, or none; `level_compaction_dynamic_level_bytes`; format version 5; blocks of 4 KiB,
//!   its default, better for point reads than the 16 KiB of its tuning guide
//! - two background jobs, one for each core; `bytes_per_sync` 1 MiB, as the guide recommends
//! - unsynced: `WriteOptions::sync` off with the log on, survives the end of the process; synced: `sync` on
//! - bulk load: `SstFileWriter` and `ingest_external_file` with moved files of at most 64 MiB

use std::path::PathBuf;

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, IngestExternalFileOptions, Options,
    SstFileWriter, WriteBatch, WriteOptions,
};

use crate::engine::{Config, Key, Result, Session, Store};

struct RocksDb {
    db: DB,
    options: Options,
    write: WriteOptions,
    dir: PathBuf,
}

pub(super) fn open(config: &Config) -> Result<Box<dyn Store>> {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(config.memory_bytes));
    blocks.set_bloom_filter(10.0, false);
    blocks.set_format_version(5);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(config.memory_bytes);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_bytes_per_sync(1 << 20);
    options.set_max_background_jobs(2);
    options.set_compression_type(match config.compress {
        true => DBCompressionType::Lz4,
        false => DBCompressionType::None,
    });
    let db = DB::open(&options, config.dir.join("db"))?;
    let mut write = WriteOptions::default();
    write.set_sync(config.sync);
    Ok(Box::new(RocksDb { db, options, write, dir: config.dir.clone() }))
}

impl Store for RocksDb {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(RocksDbSession { store: self }))
    }

    fn bulk_load(&self, entries: &mut dyn Iterator<Item = (Key, Vec<u8>)>) -> Result<()> {
        let mut entries = entries.peekable();
        let mut files = Vec::new();
        while entries.peek().is_some() {
            let path = self.dir.join(format!("ingest-{}.sst", files.len()));
            let mut writer = SstFileWriter::create(&self.options);
            writer.open(&path)?;
            let mut bytes = 0;
            while let Some((key, value)) = entries.next_if(|_| bytes < 64 << 20) {
                writer.put(key, &value)?;
                bytes += key.len() + value.len();
            }
            writer.finish()?;
            files.push(path);
        }
        let mut ingest = IngestExternalFileOptions::default();
        ingest.set_move_files(true);
        Ok(self.db.ingest_external_file_opts(&ingest, files)?)
    }

    fn flush(&self) -> Result<()> {
        Ok(self.db.flush()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.db.cancel_all_background_work(true);
        Ok(())
    }
}

struct RocksDbSession<'a> {
    store: &'a RocksDb,
}

impl Session for RocksDbSession<'_> {
    fn put(&mut self, key: &Key, value: &[u8]) -> Result<()> {
        Ok(self.store.db.put_opt(key, value, &self.store.write)?)
    }

    fn delete(&mut self, key: &Key) -> Result<()> {
        Ok(self.store.db.delete_opt(key, &self.store.write)?)
    }

    fn write_batch(&mut self, entries: &[(Key, Vec<u8>)]) -> Result<()> {
        let mut batch = WriteBatch::default();
        for (key, value) in entries {
            batch.put(key, value);
        }
        Ok(self.store.db.write_opt(batch, &self.store.write)?)
    }

    fn get(&mut self, key: &Key, found: &mut dyn FnMut(&[u8])) -> Result<bool> {
        match self.store.db.get_pinned(key)? {
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
        // The raw iterator: the other one copies every key and value.
        let mut entries = self.store.db.raw_iterator();
        entries.seek(start);
        let mut count = 0;
        while count < limit {
            let Some((key, value)) = entries.item() else { break };
            found(key, value);
            count += 1;
            entries.next();
        }
        entries.status()?;
        Ok(count)
    }

    fn get_many(&mut self, keys: &[Key], found: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        for (position, value) in self.store.db.multi_get(keys).into_iter().enumerate() {
            if let Some(value) = value? {
                found(position, &value);
            }
        }
        Ok(())
    }
}
