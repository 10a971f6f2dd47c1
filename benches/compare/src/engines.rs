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
