//! Scrubbing: every sstable and every value file is read from disk again and again, slowly, so that damage is found while there is still a
//! copy to restore from. What is found is counted and named in the metrics; the database goes on serving.
//!
//! A step reads one bounded piece. The thread spreads the pieces over time by [`Options::scrub_bytes_per_second`] and
//! begins a pass at most every [`PASS_EVERY`]; a caller of the step goes as fast as it likes.
//!
//! [`Options::scrub_bytes_per_second`]: crate::Options::scrub_bytes_per_second

use std::sync::Arc;
use std::time::Duration;

use esker_base::{Error, FileNumber, KeyspaceId, Result};
use esker_sstable::{BlockCache, ReadMode, Reader, ValueReader};

use crate::core::Core;
use crate::metrics::Counters;
use crate::sync::Mutex;
use crate::values::ValueFile;
use crate::view::{Files, Sstable, identity};

/// A piece is as long as what the rate allows in this time, so that a spinning disk is not held up for long.
const PIECE_EVERY: Duration = Duration::from_millis(250);

/// The shortest and the longest piece, in bytes.
const PIECE_BYTES: (u64, u64) = (16 << 10, 4 << 20);

/// A small database is not read over and over.
const PASS_EVERY: Duration = Duration::from_secs(3600);

/// Where the scrubbing is. A leaf lock; held while a piece is read, which nothing else waits for.
#[derive(Debug, Default)]
pub(crate) struct Scrub {
    state: Mutex<State>,
    /// The last damage or failed read. A leaf lock.
    last_error: Mutex<Option<Error>>,
}

#[derive(Debug, Default)]
struct State {
    /// The file that is being read and its next block.
    at: Option<(Arc<Sstable>, Reader, usize)>,
    /// The value file that is being read, and where it goes on.
    values_at: Option<(Arc<ValueFile>, u64)>,
    /// Files up to this one were read in this pass.
    after: Option<(KeyspaceId, FileNumber)>,
}

impl Scrub {
    /// Names damage in the metrics: what scrubbing or a merge has found.
    pub(crate) fn note(&self, metrics: &Counters, error: &Error) {
        metrics.scrub_errors.add(1);
        *self.last_error.lock() = Some(error.clone());
    }
}

/// A file whose turn it is.
enum Scrubbed {
    Sstable(Arc<Sstable>),
    Values(Arc<ValueFile>),
}

/// The length of a piece at `rate` bytes a second.
fn piece_bytes(rate: u64) -> u64 {
    (rate / (1000 / PIECE_EVERY.as_millis() as u64)).clamp(PIECE_BYTES.0, PIECE_BYTES.1)
}

impl Core {
    /// Reads the next piece; false at the end of a pass.
    pub(crate) fn scrub_step(&self) -> bool {
        self.scrub_piece(piece_bytes(self.options.scrub_bytes_per_second)).is_some()
    }

    /// How many bytes were read; `None` at the end of a pass.
    fn scrub_piece(&self, bytes_max: u64) -> Option<u64> {
        let mut state = self.scrub.state.lock();
        let current = state.at.take().filter(|(file, ..)| !file.is_obsolete());
        let (file, reader, block) = match current {
            Some((file, reader, block)) => (file, Ok(reader), block),
            None => {
                if let Some((file, from)) = state.values_at.take() {
                    return Some(self.scrub_values(&mut state, file, from, bytes_max));
                }
                let Some((key, file)) = self.next_to_scrub(state.after) else {
                    state.after = None;
                    return None;
                };
                let file = match file {
                    Scrubbed::Sstable(file) => file,
                    Scrubbed::Values(file) => {
                        state.after = Some(key);
                        return Some(self.scrub_values(&mut state, file, 0, bytes_max));
                    }
                };
                state.after = Some(key);
                let reader = self.open_to_scrub(&file);
                (file, reader, 0)
            }
        };
        let result = reader.and_then(|reader| Ok((reader.verify_piece(block, bytes_max)?, reader)));
        match result {
            Ok((piece, reader)) => {
                self.metrics.scrub_bytes.add(piece.bytes);
                match piece.next_block {
                    Some(next) => state.at = Some((file, reader, next)),
                    None => {
                        // What a merge met has passed.
                        file.set_damaged(false);
                        self.metrics.scrub_files.add(1);
                    }
                }
                Some(piece.bytes)
            }
            // A file that was merged away meanwhile may be gone from the disk.
            Err(_) if file.is_obsolete() => Some(0),
            Err(error) => {
                self.scrub.note(&self.metrics, &error);
                Some(bytes_max)
            }
        }
    }

    /// Reads the next piece of a value file, with a reader that sees the disk.
    fn scrub_values(
        &self,
        state: &mut State,
        file: Arc<ValueFile>,
        from: u64,
        bytes_max: u64,
    ) -> u64 {
        let Files { fs, dir, .. } = &*self.files;
        let identity = esker_compaction::value_identity(&file.meta);
        let piece = ValueReader::open(fs, dir, &identity, ReadMode::Positioned)
            .and_then(|reader| reader.verify_piece(from, bytes_max));
        match piece {
            Ok((bytes, next)) => {
                self.metrics.scrub_bytes.add(bytes);
                match next {
                    Some(next) => state.values_at = Some((file, next)),
                    None => {
                        file.clear_damaged();
                        self.metrics.scrub_files.add(1);
                    }
                }
                bytes
            }
            Err(_) if file.is_obsolete() => 0,
            Err(error) => {
                self.scrub.note(&self.metrics, &error);
                bytes_max
            }
        }
    }

    /// A reader of its own: it sees the disk and not the cache, and cold indexes do not stay in memory.
    fn open_to_scrub(&self, file: &Sstable) -> Result<Reader> {
        let Files { fs, dir, .. } = &*self.files;
        let cache = Arc::new(BlockCache::new(0));
        Reader::open(fs, dir, &identity(&file.meta), ReadMode::Positioned, cache)
    }

    fn next_to_scrub(
        &self,
        after: Option<(KeyspaceId, FileNumber)>,
    ) -> Option<((KeyspaceId, FileNumber), Scrubbed)> {
        let keyspaces = self.keyspaces.all();
        let files = keyspaces.iter().flat_map(|keyspace| {
            let view = keyspace.view();
            let id = keyspace.id();
            let sstables = view
                .levels
                .0
                .iter()
                .flatten()
                .map(|file| ((id, file.meta.number), Scrubbed::Sstable(Arc::clone(file))));
            let values = view.levels.values().all().iter();
            let values =
                values.map(|file| ((id, file.meta.number), Scrubbed::Values(Arc::clone(file))));
            sstables.chain(values).collect::<Vec<_>>()
        });
        files.filter(|(key, _)| Some(*key) > after).min_by_key(|(key, _)| *key)
    }

    pub(crate) fn scrub_error(&self) -> Option<String> {
        self.scrub.last_error.lock().as_ref().map(ToString::to_string)
    }

    /// The thread: waits, reads a piece, and waits again for as long as the piece may take.
    pub(crate) fn run_scrub(&self) {
        let rate = self.options.scrub_bytes_per_second;
        let piece = piece_bytes(rate);
        let mut began = None;
        let mut wait = PASS_EVERY;
        while self.background.sleep(wait) {
            let now = self.world.clock.monotonic();
            let start = *began.get_or_insert(now);
            wait = match self.scrub_piece(piece) {
                Some(bytes) => Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64),
                None => {
                    began = None;
                    PASS_EVERY.saturating_sub(now.saturating_sub(start)).max(PIECE_EVERY)
                }
            };
        }
    }
}
