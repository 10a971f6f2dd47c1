//! The one door through which every engine is measured: `Store` is an open database, `Session` one thread's way into
//! it. `engines/` implements it, `workload/` calls it. It must never know an engine by name, and a call here must mean
//! the same for all of them: a write is visible to every later read, a read sees every earlier write.

use std::path::PathBuf;

/// What anything here fails with.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The result of everything here.
pub type Result<T> = std::result::Result<T, Failure>;

/// Keys have 20 bytes.
pub type Key = [u8; 20];

/// What an engine is opened with. Its adapter turns this into its own options.
#[derive(Clone, Debug)]
pub struct Config {
    /// An existing directory of the measurement's own.
    pub dir: PathBuf,
    /// The block or page cache, in bytes; memtables may take about as much again.
    pub memory_bytes: usize,
    /// Whether blocks are compressed with lz4, where the engine can.
    pub compress: bool,
    /// Whether a write returns only when it is on the device; otherwise it survives the end of the process.
    pub sync: bool,
}

/// An open database.
pub trait Store: Send + Sync {
    /// A way in for one thread.
    fn session(&self) -> Result<Box<dyn Session + '_>>;

    /// Loads entries that come in key order into the empty database by the fastest documented way, durable at the end.
    fn bulk_load(&self, entries: &mut dyn Iterator<Item = (Key, Vec<u8>)>) -> Result<()>;

    /// Hands what has been written to the operating system, for engines whose unsynced writes stay in the process.
    fn persist(&self) -> Result<()> {
        Ok(())
    }

    /// Starts writing memory to files, where the engine has such a call. The caller waits until the disk is quiet.
    fn flush(&self) -> Result<()> {
        Ok(())
    }

    /// Closes the database.
    fn close(self: Box<Self>) -> Result<()>;
}

/// One thread's way into a database.
pub trait Session {
    /// Sets one key.
    fn put(&mut self, key: &Key, value: &[u8]) -> Result<()>;

    /// Removes one key.
    fn delete(&mut self, key: &Key) -> Result<()>;

    /// Sets many keys atomically.
    fn write_batch(&mut self, entries: &[(Key, Vec<u8>)]) -> Result<()>;

    /// Calls `found` with the value of `key`; false if there is none.
    fn get(&mut self, key: &Key, found: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// Calls `found` with each of the first `limit` entries from `start` on; returns how many there were.
    fn scan(
        &mut self,
        start: &Key,
        limit: usize,
        found: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize>;

    /// Calls `found` with the position and value of every key that exists; in one call where the engine has one.
    fn get_many(&mut self, keys: &[Key], found: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        for (position, key) in keys.iter().enumerate() {
            self.get(key, &mut |value| found(position, value))?;
        }
        Ok(())
    }
}
