//! Esker's in-memory table of the newest entries: sorted, filled by one writer, read by many at the
//! same time.
//!
//! The engine's commit owner inserts what the log has taken; point reads and cursors look at it
//! from any thread without a lock; a flush writes it to an sstable and drops it whole. Nothing is
//! ever removed or changed before that, which is what makes the readers so cheap.
//!
//! - [`Memtable`] is the door: insert, get, counters, cursors.
//! - `tree` is the structure: an append-only B+tree whose nodes carry a piece of each key.
//! - `tag` makes these pieces.
//! - `sync` is where atomics and locks come from: from `std`, or from loom to check every order of
//!   events in `tree/models.rs` (`cargo test --manifest-path memtable/loom/Cargo.toml`).
//! - `arena` is the memory: chunks that grow, freed together.
//!
//! Unsafe code lives in `arena`, `tree` and one line of `cursor`; the numbered invariants that it
//! relies on stand at the top of `tree`.

mod arena;
mod cursor;
mod memtable;
mod sync;
mod tag;
mod tree;

pub use cursor::MemtableCursor;
pub use memtable::{Found, Inserter, Memtable};

#[cfg(all(test, not(loom)))]
mod tests;
