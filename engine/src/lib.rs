//! Esker: an embeddable, durable, transactional storage engine.
//!
//! Keys and values in ordered keyspaces, on a log-structured merge tree: writes go to a write-ahead log and a memtable,
//! are flushed to sorted tables with bloom filters, and are merged in the background. Durable by default: a write that
//! returned has been synced. Synchronous, with threads of its own and no async runtime; [`PendingCommit`] is a future
//! for those who have one.
//!
//! ```
//! # fn main() -> esker::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path();
//! let db = esker::Db::open(path)?;
//! let users = db.keyspace("users")?;
//! users.put(b"alice", b"engineer")?;
//! assert_eq!(users.get(b"alice")?.as_deref(), Some(&b"engineer"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! Start with [`Db`] and [`Keyspace`]; then [`Batch`] for atomic writes, [`Snapshot`] for consistent reads,
//! [`Transaction`] for reads and writes that belong together, [`Ingest`] for bulk loads, [`Durability`] for what an
//! acknowledgement means.

#![forbid(unsafe_code)]

mod background;
mod batch;
mod bounds;
mod checkpoint;
mod commit;
mod compact;
mod core;
mod cursor;
mod db;
mod flush;
mod health;
mod ingest;
mod inspect;
mod keyspace;
mod metrics;
mod open;
mod options;
mod pacing;
mod read;
mod repair;
mod replay;
mod scrub;
mod snapshot;
mod sync;
mod takeover;
mod transaction;
mod values;
mod verify;
mod view;

#[cfg(test)]
mod tests;

pub use background::BackgroundStep;
pub use batch::Batch;
pub use bytes::Bytes as Value;
pub use commit::queue::PendingCommit;
pub use cursor::Range;
pub use db::Db;
pub use esker_base::limits;
pub use esker_base::{Error, ErrorKind, KeyspaceId, Result, SeqNo};
#[doc(hidden)]
pub use esker_base::{mutant, mutants};
pub use esker_sstable::ReadMode;
pub use esker_vfs as vfs;
pub use ingest::Ingest;
pub use inspect::{
    Inspection, KeyspaceInspection, LevelInspection, SstableInspection, ValueFileInspection,
    WalInspection,
};
pub use keyspace::Keyspace;
pub use metrics::{LevelMetrics, Metrics};
pub use options::{Background, Builder, CompactionStrategy, Durability, KeyspaceOptions, Options};
pub use repair::{LostCommits, LostKeys, RepairOptions, RepairReport, repair};
pub use snapshot::Snapshot;
pub use transaction::{Transaction, TransactionRange};
pub use verify::VerifyReport;
