//! SQLite, through `rusqlite` with the bundled library. Opened by `engines.rs`.
//!
//! - table: `WITHOUT ROWID`, so that the rows are the index
//! - memory: `cache_size` is the given number for each connection; one connection a thread, shared by nobody
//! - `journal_mode=WAL`; filter and compression: it has none
//! - unsynced: `synchronous=NORMAL`, which syncs at checkpoints only and survives the end of the process; synced: `FULL`
//! - bulk load: one transaction of sorted inserts, `synchronous=OFF` and a full checkpoint at the end

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::engine::{Config, Key, Result, Session, Store};

const PUT: &str = "INSERT INTO entries (k, v) VALUES (?1, ?2) \
                   ON CONFLICT (k) DO UPDATE SET v = excluded.v";

struct Sqlite {
    path: PathBuf,
    memory_bytes: usize,
    sync: bool,
}

pub(super) fn open(config: &Config) -> Result<Box<dyn Store>> {
    let store = Sqlite {
        path: config.dir.join("entries.sqlite"),
        memory_bytes: config.memory_bytes,
        sync: config.sync,
    };
    let connection = store.connect()?;
    connection.execute_batch(
        "PRAGMA journal_mode=WAL;
         CREATE TABLE IF NOT EXISTS entries (k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID;",
    )?;
    Ok(Box::new(store))
}

impl Sqlite {
    fn connect(&self) -> Result<Connection> {
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(std::time::Duration::from_secs(60))?;
        connection.pragma_update(None, "cache_size", -((self.memory_bytes / 1024) as i64))?;
        connection.pragma_update(None, "synchronous", if self.sync { "FULL" } else { "NORMAL" })?;
        Ok(connection)
    }
}

impl Store for Sqlite {
    fn session(&self) -> Result<Box<dyn Session + '_>> {
        Ok(Box::new(SqliteSession { connection: self.connect()? }))
    }

    fn bulk_load(&self, entries: &mut dyn Iterator<Item = (Key, Vec<u8>)>) -> Result<()> {
        let mut connection = self.connect()?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        let transaction = connection.transaction()?;
        {
            let mut insert = transaction.prepare("INSERT INTO entries (k, v) VALUES (?1, ?2)")?;
            for (key, value) in entries {
                insert.execute(params![&key[..], value])?;
            }
        }
        transaction.commit()?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        // A reader or writer in between makes it do less, which is no error.
        self.connect()?.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct SqliteSession {
    connection: Connection,
}

impl Session for SqliteSession {
    fn put(&mut self, key: &Key, value: &[u8]) -> Result<()> {
        self.connection.prepare_cached(PUT)?.execute(params![&key[..], value])?;
        Ok(())
    }

    fn delete(&mut self, key: &Key) -> Result<()> {
        self.connection
            .prepare_cached("DELETE FROM entries WHERE k = ?1")?
            .execute(params![&key[..]])?;
        Ok(())
    }

    fn write_batch(&mut self, entries: &[(Key, Vec<u8>)]) -> Result<()> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut put = transaction.prepare_cached(PUT)?;
            for (key, value) in entries {
                put.execute(params![&key[..], value])?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn get(&mut self, key: &Key, found: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let mut get = self.connection.prepare_cached("SELECT v FROM entries WHERE k = ?1")?;
        let row = get
            .query_row(params![&key[..]], |row| {
                found(row.get_ref(0)?.as_blob()?);
                Ok(())
            })
            .optional()?;
        Ok(row.is_some())
    }

    fn scan(
        &mut self,
        start: &Key,
        limit: usize,
        found: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<usize> {
        let mut scan = self
            .connection
            .prepare_cached("SELECT k, v FROM entries WHERE k >= ?1 ORDER BY k LIMIT ?2")?;
        let mut rows = scan.query(params![&start[..], limit as i64])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            found(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
            count += 1;
        }
        Ok(count)
    }
}
