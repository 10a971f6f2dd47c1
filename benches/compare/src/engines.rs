//! The engines that this build can measure. `child.rs` opens them by name; each adapter's header is the documentation
//! of how it is configured. Nothing else may name an engine's crate.

use crate::engine::{Config, Failure, Result, Store};

mod esker;
#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "lmdb")]
mod lmdb;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "sled")]
mod sled;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "surrealkv")]
mod surrealkv;

/// What an engine, of this build or not, promises and is given; for the report.
pub struct Facts {
    /// Its name.
    pub name: &'static str,
    /// What an unsynced write survives.
    pub unsynced: &'static str,
    /// What makes a synced write durable.
    pub synced: &'static str,
    /// What is made of the memory M on the command line.
    pub memory: &'static str,
    /// How it compresses when it is to.
    pub compression: &'static str,
}

/// Of every engine.
pub const FACTS: &[Facts] = &[
    Facts {
        name: "esker",
        unsynced: "process crash",
        synced: "fdatasync",
        memory: "2 M in all: cache with indexes and filters at most 1.33 M, memtables at most 1.33 M",
        compression: "lz4 or none",
    },
    Facts {
        name: "rocksdb",
        unsynced: "process crash",
        synced: "fdatasync",
        memory: "cache M, 2 write buffers of M",
        compression: "lz4 or none",
    },
    Facts {
        name: "fjall",
        unsynced: "process crash",
        synced: "fdatasync",
        memory: "cache M, memtable M (at most 64 MiB)",
        compression: "lz4 or none",
    },
    Facts {
        name: "lmdb",
        unsynced: "process crash; a power cut may damage everything",
        synced: "fdatasync",
        memory: "the page cache, without limit",
        compression: "has none",
    },
    Facts {
        name: "surrealkv",
        unsynced: "process crash",
        synced: "fsync",
        memory: "cache M, memtable M",
        compression: "snappy or none",
    },
    Facts {
        name: "redb",
        unsynced: "WEAKER: nothing",
        synced: "fdatasync",
        memory: "cache M",
        compression: "has none",
    },
    Facts {
        name: "sled",
        unsynced: "WEAKER: what is older than 500 ms",
        synced: "WEAKER: no fdatasync; no peer there",
        memory: "cache M",
        compression: "off (has zstd only)",
    },
    Facts {
        name: "sqlite",
        unsynced: "process crash",
        synced: "fsync",
        memory: "cache M for each connection",
        compression: "has none",
    },
];

/// An engine of this build.
#[derive(Clone, Copy, Debug)]
pub struct Engine {
    /// The name on the command line and in the results.
    pub name: &'static str,
    open: fn(&Config) -> Result<Box<dyn Store>>,
}

/// Every engine of this build, Esker first.
pub const ENGINES: &[Engine] = &[
    Engine { name: "esker", open: esker::open },
    #[cfg(feature = "rocksdb")]
    Engine { name: "rocksdb", open: rocksdb::open },
    #[cfg(feature = "fjall")]
    Engine { name: "fjall", open: fjall::open },
    #[cfg(feature = "lmdb")]
    Engine { name: "lmdb", open: lmdb::open },
    #[cfg(feature = "surrealkv")]
    Engine { name: "surrealkv", open: surrealkv::open },
    #[cfg(feature = "redb")]
    Engine { name: "redb", open: redb::open },
    #[cfg(feature = "sled")]
    Engine { name: "sled", open: sled::open },
    #[cfg(feature = "sqlite")]
    Engine { name: "sqlite", open: sqlite::open },
];

/// Whether an engine, of this build or not, can compress: with lz4, SurrealKV with snappy. The others have one mode.
pub fn can_compress(engine: &str) -> bool {
    !["lmdb", "redb", "sled", "sqlite"].contains(&engine)
}

/// Whether an engine's synced writes are on the device when they return; otherwise it is no peer for synced workloads.
pub fn syncs(engine: &str) -> bool {
    engine != "sled"
}

/// The engine called `name`.
pub fn named(name: &str) -> Result<&'static Engine> {
    ENGINES.iter().find(|engine| engine.name == name).ok_or_else(|| {
        let known: Vec<_> = ENGINES.iter().map(|engine| engine.name).collect();
        Failure::from(format!("no engine {name:?} in this build; it has {}", known.join(", ")))
    })
}

impl Engine {
    /// Opens its database in the configured directory, creating it if there is none.
    pub fn open(&self, config: &Config) -> Result<Box<dyn Store>> {
        (self.open)(config)
    }
}
