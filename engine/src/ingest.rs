//! Bulk loads: sorted entries go straight into sstables, past the log and the memtables, and appear at once.
//!
//! [`Ingest`] takes the entries; its chunks go through a [`pipe`] to a thread that builds files of them (`stream.rs`
//! lets it read them as a cursor), or are built by the caller where that is little or the database has no threads.
//! `install.rs` makes the finished files part of the keyspace.
//!
//! Entries are stamped with a sequence number that lies so far ahead that commits do not reach it while the files are
//! built; installing them makes it the last one that is taken. If commits or another ingest got there first, the files are
//! written once more with a later one, and no other ingest is installed meanwhile. So files need no second notion of a
//! sequence, and every reader, merge and repair takes them as it takes any other. Until they are installed they have
//! temporary names (`staged.rs`).
//!
//! Nothing here may become visible, or keep a number that is taken, before `install.rs` has made it durable.

use esker_base::{BatchOp, EntryKind, Error, ErrorKind, Result, SeqNo, batch};
use esker_compaction::{Below, Built, Retain, Rules};

use crate::compact::FILTER_BITS_LAST;
use crate::core::Core;
use crate::keyspace::{Keyspace, KeyspaceInner};
use crate::sync::{AtomicBool, Mutex, MutexGuard};

mod install;
mod pipe;
mod restamp;
mod staged;
mod stream;

pub(crate) use install::Merging;
use pipe::Worker;
use stream::{Source, Stream};

/// Entries go to the building thread in chunks of this many bytes, or less where memory is scarce.
const CHUNK_LEN_MAX: usize = 512 << 10;

/// What is small enough to be built by the caller in a moment is stamped this far ahead.
const AHEAD_NEAR: u64 = 1 << 20;

/// What is built while the caller brings more is stamped this far ahead: so many operations can be committed meanwhile
/// before it has to be written again. A thousand million ingests use up the sequence numbers.
const AHEAD_FAR: u64 = 1 << 26;

/// A bulk load of one keyspace: takes entries in ascending order of their keys and writes them to sstables as they come.
/// Made by [`Keyspace::start_ingest`].
///
/// Nothing of it can be seen before [`Ingest::finish`], and everything at once after it. Dropped without that it leaves
/// nothing behind. It takes a few MiB of memory however much is loaded.
///
/// ```
/// # fn main() -> esker::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// let db = esker::Db::open(dir.path())?;
/// let users = db.keyspace("users")?;
/// let mut ingest = users.start_ingest()?;
/// for number in 0..10_000u32 {
///     ingest.put(number.to_be_bytes(), b"a value")?;
/// }
/// assert_eq!(users.get(7u32.to_be_bytes())?, None);
/// ingest.finish()?;
/// assert_eq!(users.get(7u32.to_be_bytes())?.as_deref(), Some(&b"a value"[..]));
/// # Ok(())
/// # }
/// ```
#[must_use = "an ingest that is dropped without `finish` changes nothing"]
pub struct Ingest {
    keyspace: Keyspace,
    /// Entries that are not handed on yet, as `stream.rs` reads them.
    chunk: Vec<u8>,
    /// The chunk is handed on when it has this many bytes.
    chunk_len: usize,
    last_key: Vec<u8>,
    is_empty: bool,
    stamp: Option<SeqNo>,
    worker: Option<Worker>,
    /// What the caller has built itself.
    built: Built,
    /// The first failure: an ingest is all or nothing.
    error: Option<Error>,
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest").field("keyspace", &self.keyspace).finish_non_exhaustive()
    }
}

impl Keyspace {
    /// Begins a bulk load of sorted entries: the fastest way to bring many. Any number may be under way at once, beside
    /// writes of any kind.
    ///
    /// # Errors
    /// As of [`crate::Db::write`].
    pub fn start_ingest(&self) -> Result<Ingest> {
        let core = &self.db.core;
        core.check_writable()?;
        self.inner.check_live()?;
        let chunk_len = match core.has_threads() {
            true => CHUNK_LEN_MAX.min(core.options.memory_budget_bytes / 64),
            false => core.options.sstable_bytes as usize,
        };
        core.ingests.stamps.lock().open += 1;
        Ok(Ingest {
            keyspace: self.clone(),
            chunk: Vec::new(),
            chunk_len,
            last_key: Vec::new(),
            is_empty: true,
            stamp: None,
            worker: None,
            built: Built::default(),
            error: None,
        })
    }

    /// Loads `entries`, whose keys must ascend, in one step: all of them are there when this returns, durably, whatever
    /// the default durability is, or none of them.
    ///
    /// ```
    /// # fn main() -> esker::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = esker::Db::open(dir.path())?;
    /// let squares = db.keyspace("squares")?;
    /// squares.ingest((0..1000u64).map(|n| (n.to_be_bytes(), (n * n).to_be_bytes())))?;
    /// assert_eq!(squares.get(12u64.to_be_bytes())?.as_deref(), Some(&144u64.to_be_bytes()[..]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As of [`Ingest::put`] and [`Ingest::finish`].
    pub fn ingest<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<()> {
        let mut ingest = self.start_ingest()?;
        entries.into_iter().try_for_each(|(key, value)| ingest.put(key, value))?;
        ingest.finish()
    }
}

impl Ingest {
    /// Adds an entry. The key must be above all before.
    ///
    /// # Errors
    /// `InvalidArgument` for a key that is not above the one before, naming it, and for one or a value over the limits;
    /// the file system's while files are written. After an error the ingest can only be dropped: every other call
    /// returns the same.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.add(EntryKind::Put, key.as_ref(), value.as_ref())
    }

    /// Adds the removal of a key; not an error if it is absent. Else as [`Ingest::put`].
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> Result<()> {
        self.add(EntryKind::Delete, key.as_ref(), &[])
    }

    fn add(&mut self, kind: EntryKind, key: &[u8], value: &[u8]) -> Result<()> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let result = self.try_add(kind, key, value);
        result.inspect_err(|error| self.error = Some(error.clone()))
    }

    #[inline]
    fn try_add(&mut self, kind: EntryKind, key: &[u8], value: &[u8]) -> Result<()> {
        let op = BatchOp { kind, keyspace: self.keyspace.id(), key, value };
        batch::op_len(&op, 0)?;
        if !self.is_empty && key <= &self.last_key[..] {
            return Err(out_of_order(key, &self.last_key));
        }
        self.is_empty = false;
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        stream::encode(kind, key, value, &mut self.chunk);
        if self.chunk.len() >= self.chunk_len { self.hand_on() } else { Ok(()) }
    }

    /// Has files made of the chunk: by the thread, or at once in a database without threads.
    fn hand_on(&mut self) -> Result<()> {
        let core = &self.keyspace.db.core;
        let stamp = match self.stamp {
            Some(stamp) => stamp,
            None => *self.stamp.insert(core.far_stamp()?),
        };
        if !core.has_threads() {
            return self.build_chunk(stamp);
        }
        let worker = match &mut self.worker {
            Some(worker) => worker,
            None => self.worker.insert(Worker::start(core, &self.keyspace.inner, stamp)?),
        };
        worker.send(&mut self.chunk)
    }

    fn build_chunk(&mut self, stamp: SeqNo) -> Result<()> {
        let core = &self.keyspace.db.core;
        let mut once = Some(std::mem::take(&mut self.chunk));
        let mut source = |_: Vec<u8>| Ok(once.take());
        let built = core.build_ingest(&self.keyspace.inner, stamp, &mut source)?;
        self.built.files.extend(built.files);
        self.built.value_files.extend(built.value_files);
        Ok(())
    }

    /// Makes everything that was added durable and visible, at one place in the order of commits: whoever read before
    /// does not see it, and a transaction that read a key or range that it changes gets a conflict. What is in the
    /// keyspace's memtables is flushed before. Commits wait for three syncs; where they fill the keyspace's memtable
    /// meanwhile, also for a flush of what came last: an eighth of a memtable at most, or more if they come nearly as fast
    /// as they can be flushed. One ingest at a time gets so far.
    ///
    /// Where merging falls behind, this takes its time as writes do, and waits while level 0 is full.
    ///
    /// # Errors
    /// `Indeterminate` if the disk failed at the last step: the next open shows all of it or nothing. After any other
    /// error nothing was changed, and never will be: as of [`Ingest::put`] and [`crate::Db::write`].
    pub fn finish(mut self) -> Result<()> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        if self.is_empty {
            let core = &self.keyspace.db.core;
            return core.check_writable().and_then(|()| self.keyspace.inner.check_live());
        }
        match self.worker.take() {
            Some(mut worker) => {
                if !self.chunk.is_empty() {
                    worker.send(&mut self.chunk)?;
                }
                self.built = worker.finish()?;
            }
            None if !self.chunk.is_empty() => {
                let stamp = match self.stamp {
                    Some(stamp) => stamp,
                    None => *self.stamp.insert(self.keyspace.db.core.near_stamp(AHEAD_NEAR)?),
                };
                self.build_chunk(stamp)?;
            }
            None => {}
        }
        let stamp = self.stamp.expect("invariant: files are stamped before they are built");
        let Keyspace { db, inner } = &self.keyspace;
        db.core.install_ingest(inner, &mut self.built, stamp)
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        // The thread takes back what it has made before this one goes on.
        drop(self.worker.take());
        let core = &self.keyspace.db.core;
        let files = self.built.names();
        if !files.is_empty() {
            // The directory of a closed database may be another process's.
            let _under_way = core.background.steps.read();
            if core.check_open().is_ok() {
                core.remove_uninstalled(files);
            }
        }
        let mut stamps = core.ingests.stamps.lock();
        stamps.open -= 1;
        if stamps.open == 0 {
            stamps.drawn = SeqNo(0);
        }
    }
}

#[cold]
fn out_of_order(key: &[u8], last: &[u8]) -> Error {
    const SHOWN: usize = 64;
    let show = |key: &[u8]| {
        let shown = key[..key.len().min(SHOWN)].escape_ascii().to_string();
        if key.len() > SHOWN { format!("\"{shown}\"...") } else { format!("\"{shown}\"") }
    };
    let (key, last) = (show(key), show(last));
    Error::invalid(format!("the keys of an ingest must ascend; {key} comes after {last}"))
}

/// What ingests share.
#[derive(Debug, Default)]
pub(crate) struct Ingests {
    /// A leaf lock.
    stamps: Mutex<Stamps>,
    /// Held by the ingest that is being installed: while it is written again, no other one overtakes it.
    pub(crate) installing: Mutex<()>,
    /// Held by an ingest that keeps commits from coming, for a moment.
    gate: Mutex<()>,
    is_gated: AtomicBool,
    /// What the compaction that runs now makes. Taken before the manifest's lock: by a compaction that begins, and by an
    /// ingest from the choice of levels until its files are in them.
    pub(crate) merging: Mutex<Option<Merging>>,
}

#[derive(Debug, Default)]
struct Stamps {
    open: usize,
    /// The highest far one that an ingest which may still be open has drawn.
    drawn: SeqNo,
}

/// Commits wait at the gate until this is dropped.
struct Gate<'a> {
    ingests: &'a Ingests,
    _held: MutexGuard<'a, ()>,
}

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        self.ingests.is_gated.store(false, std::sync::atomic::Ordering::Release);
    }
}

impl Ingests {
    /// Whether commits are to wait with [`Ingests::wait_at_gate`].
    #[inline]
    pub(crate) fn is_gated(&self) -> bool {
        self.is_gated.load(std::sync::atomic::Ordering::Acquire)
    }

    pub(crate) fn wait_at_gate(&self) {
        drop(self.gate.lock());
    }

    fn close_gate(&self) -> Gate<'_> {
        let _held = self.gate.lock();
        self.is_gated.store(true, std::sync::atomic::Ordering::Release);
        Gate { ingests: self, _held }
    }
}

impl Core {
    /// A sequence number far ahead of all that are taken or drawn: so ingests that are begun one after the other, and end
    /// so, do not overtake each other.
    fn far_stamp(&self) -> Result<SeqNo> {
        let mut stamps = self.ingests.stamps.lock();
        let after = self.snapshots.visible().max(stamps.drawn);
        let stamp = ahead_of(after, AHEAD_FAR)?;
        stamps.drawn = stamp;
        Ok(stamp)
    }

    /// A sequence number ahead of all that are taken, for what is installed in a moment. It is not ahead of those drawn: a
    /// large ingest would be overtaken by every small one. Where two draw the same, the second to be installed notices.
    fn near_stamp(&self, ahead: u64) -> Result<SeqNo> {
        ahead_of(self.snapshots.visible(), ahead)
    }

    /// Files of all that `source` brings. While they are made the database is not closed. On an error nothing stays.
    fn build_ingest(
        &self,
        keyspace: &KeyspaceInner,
        stamp: SeqNo,
        source: &mut dyn Source,
    ) -> Result<Built> {
        let _under_way = self.background.steps.read();
        self.check_open()?;
        self.build(keyspace, FILTER_BITS_LAST, |context| {
            context.fs = self.staged_fs();
            esker_compaction::build(&mut Stream::new(source, stamp), everything(), context)
        })
    }
}

fn ahead_of(seq: SeqNo, ahead: u64) -> Result<SeqNo> {
    let stamp = SeqNo(seq.0 + ahead);
    if stamp > SeqNo::MAX {
        return Err(Error::new(ErrorKind::Unsupported, "the sequence numbers are used up"));
    }
    Ok(stamp)
}

/// Nothing is dropped: a delete may be of a key that lies in another file.
fn everything() -> Retain<'static> {
    let rules = Rules { snapshots: &[], floor: None, keep_tombstones: true };
    Retain::new(rules, Below::unknown())
}
