//! Esker's in-memory table of the newest entries: sorted, filled by one writer, read by many at the
//! same time.
//!
//! The engine's commit owner inserts what the log has taken; point reads and cursors look at it
//! from any thread without a lock; a flush writes it to an sstable and drops it whole. Nothing is
//! ever removed or changed before that, which is what makes the readers so cheap.
//!
//! - [`Memtable`] is the door: insert, get, counters, cursors.
//! - `skiplist` is the structure: an append-only skip list whose links carry a piece of the next
//!   key.
//! - `tag` makes these pieces.
//! - `sync` is where atomics and locks come from: from `std`, or from loom to check every order of
//!   events in `skiplist/models.rs` (`cargo test --manifest-path memtable/loom/Cargo.toml`).
//! - `arena` is the memory: chunks that grow, freed together.
//!
//! Unsafe code lives in `arena`, `skiplist` and one line of `cursor`; the numbered invariants that
//! it relies on stand at the top of `skiplist`.

mod arena;
mod cursor;
mod memtable;
mod skiplist;
mod sync;
mod tag;

pub use cursor::MemtableCursor;
pub use memtable::{Found, Inserter, Memtable};

#[cfg(all(test, not(loom)))]
mod tests;
