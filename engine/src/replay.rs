//! Filling the memtables from the log, for an open.
//!
//! The log is read and judged segment by segment. What a segment holds for a keyspace is sorted and then inserted in
//! order, which costs a fraction of inserting it as it comes; and that happens on a thread of its own, beside the reading
//! of the next segment and the copying of the tail. Nothing here writes; everything that a log can be refused for is
//! found before its entries are sorted, so building cannot fail.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;

use esker_base::limits::BATCH_LEN_MAX;
use esker_base::names::FileKind;
use esker_base::{
    BatchOp, EntryKind, Error, FileNumber, KeyspaceId, Result, SeqNo, batch, key, mutant,
};
use esker_manifest::{KeyspaceState, Version};
use esker_memtable::{Inserter, Memtable};
use esker_wal::{Group, Groups};

use crate::core::Keyspaces;
use crate::keyspace::KeyspaceInner;
use crate::open::Replayed;
use crate::sync::Mutex;
use crate::sync::thread::{self, JoinHandle};
use crate::view::View;

/// How many entries before an entry is inserted its bytes are asked for.
const FETCH_AHEAD: usize = 16;

/// Fewer entries are not worth a thread.
const THREAD_ENTRIES_MIN: usize = 4096;

/// Collects what the sstables do not hold yet.
pub(crate) struct Replay<'a> {
    version: &'a Version,
    dir: &'a Path,
    replayed: &'a Replayed,
    targets: BTreeMap<KeyspaceId, Target>,
    building: Building,
}

/// A keyspace and what the current segment holds for it.
struct Target {
    keyspace: Arc<KeyspaceInner>,
    flushed_through: SeqNo,
    entries: Entries,
}

/// What the current segment holds for a keyspace, so far.
#[derive(Default)]
struct Entries {
    all: Vec<Entry>,
    /// How many bytes at the front all keys share.
    shared: usize,
    /// The tags of the first so many entries were taken when the keys shared more.
    stale: usize,
}

/// Where an entry lies in its segment, which is at most 1 GiB.
#[derive(Clone, Copy)]
struct Entry {
    /// The first bytes of the key behind what all keys share, so that most comparisons touch nothing else.
    tag: u64,
    trailer: u64,
    key_at: u32,
    key_len: u32,
    value_at: u32,
    value_len: u32,
}

impl<'a> Replay<'a> {
    /// `is_threaded` says whether building may take a thread.
    pub(crate) fn new(
        version: &'a Version,
        keyspaces: &Keyspaces,
        dir: &'a Path,
        replayed: &'a Replayed,
        is_threaded: bool,
    ) -> Replay<'a> {
        let target = |state: &Arc<KeyspaceState>| {
            let keyspace = keyspaces.get(state.meta.id)?;
            let flushed_through = state.flushed_through;
            Some((state.meta.id, Target { keyspace, flushed_through, entries: Entries::default() }))
        };
        let targets = version.keyspaces.values().filter_map(target).collect();
        let building = Building { is_threaded, under_way: None };
        Replay { version, dir, replayed, targets, building }
    }

    /// Takes a segment's groups, and has its entries inserted.
    pub(crate) fn take(&mut self, groups: &mut Groups<'_>) -> Result<()> {
        let bytes = groups.bytes();
        while let Some(group) = groups.next()? {
            self.replayed.groups.add_alone(1);
            self.collect(&group, bytes)?;
        }
        let full = self.targets.values_mut().filter(|target| !target.entries.all.is_empty());
        let runs = full.map(|target| Run {
            keyspace: Arc::clone(&target.keyspace),
            bytes: Arc::clone(bytes),
            entries: std::mem::take(&mut target.entries),
        });
        self.building.start(runs.collect());
        Ok(())
    }

    /// What is left to wait for.
    pub(crate) fn building(self) -> Building {
        self.building
    }

    fn collect(&mut self, group: &Group<'_>, bytes: &[u8]) -> Result<()> {
        let malformed = || {
            let newest = self.version.wal.last().map_or(FileNumber(0), |segment| segment.number);
            let path = self.dir.join(FileKind::Wal.name(newest));
            let seq = group.first_seq;
            Error::corruption(path, 0, format!("the log's group at sequence {seq} is malformed"))
        };
        for ops in group.batches() {
            let mut seq = ops.first_seq;
            let end = SeqNo(ops.first_seq.0 + u64::from(ops.op_count));
            for op in batch::ops(ops.bytes) {
                let op = op.filter(|op| seq < end && op.value.len() <= BATCH_LEN_MAX);
                let op = op.ok_or_else(malformed)?;
                match self.targets.get_mut(&op.keyspace) {
                    Some(target) if seq > target.flushed_through => {
                        target.entries.push(&op, seq, bytes);
                        self.replayed.entries.add_alone(1);
                    }
                    // Flushed already, or of a keyspace that was dropped since: ids are never reused.
                    Some(_) => {}
                    None if op.keyspace < self.version.next_keyspace => {}
                    None => return Err(malformed()),
                }
                seq = seq.next();
                if mutant!("recovery_batch_halved") {
                    seq = end;
                    break;
                }
            }
            if seq != end {
                return Err(malformed());
            }
        }
        Ok(())
    }
}

impl Entries {
    /// Adds `op`, whose key and value stand in `bytes`.
    fn push(&mut self, op: &BatchOp<'_>, seq: SeqNo, bytes: &[u8]) {
        match self.all.first() {
            None => self.shared = op.key.len(),
            Some(first) => {
                let first = first.key(bytes);
                // Almost always they still share all of it, which is one comparison of memory.
                if op.key.get(..self.shared) != Some(&first[..self.shared]) {
                    let same = first.iter().zip(op.key).take_while(|(a, b)| a == b);
                    self.shared = same.count();
                    self.stale = self.all.len();
                }
            }
        }
        self.all.push(Entry { tag: tag(&op.key[self.shared..]), ..Entry::new(op, seq, bytes) });
    }

    /// In the order of the tree.
    fn sort(&mut self, bytes: &[u8]) {
        let shared = self.shared;
        for entry in &mut self.all[..self.stale] {
            entry.tag = tag(&entry.key(bytes)[shared..]);
        }
        self.stale = 0;
        self.all.sort_unstable_by(|a, b| {
            let by_key = || a.key(bytes)[shared..].cmp(&b.key(bytes)[shared..]);
            a.tag.cmp(&b.tag).then_with(by_key).then_with(|| b.trailer.cmp(&a.trailer))
        });
    }
}

impl Entry {
    /// `op`, whose key and value stand in `bytes`.
    fn new(op: &BatchOp<'_>, seq: SeqNo, bytes: &[u8]) -> Entry {
        let at = |part: &[u8]| match part {
            [] => 0,
            _ => (part.as_ptr().addr() - bytes.as_ptr().addr()) as u32,
        };
        Entry {
            tag: 0,
            trailer: key::trailer(seq, op.kind),
            key_at: at(op.key),
            key_len: op.key.len() as u32,
            value_at: at(op.value),
            value_len: op.value.len() as u32,
        }
    }

    fn key<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        &bytes[self.key_at as usize..][..self.key_len as usize]
    }

    fn value<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        &bytes[self.value_at as usize..][..self.value_len as usize]
    }

    /// From the key to the value's end; a value stands behind its key.
    fn whole<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        let end = (self.key_at + self.key_len).max(self.value_at + self.value_len);
        &bytes[self.key_at as usize..end as usize]
    }
}

/// What one segment holds for one keyspace.
struct Run {
    keyspace: Arc<KeyspaceInner>,
    bytes: Arc<Vec<u8>>,
    entries: Entries,
}

impl Run {
    fn insert(&mut self) {
        let bytes = &self.bytes[..];
        self.entries.sort(bytes);
        let Entries { all, shared, .. } = &self.entries;
        let Some(first) = all.first() else { return };
        if self.keyspace.view_guard().active.is_empty() {
            let prefix = &first.key(bytes)[..*shared];
            self.keyspace.replace_view(|view| View {
                active: Arc::new(Memtable::with_common_prefix(prefix)),
                frozen: view.frozen.clone(),
                levels: Arc::clone(&view.levels),
            });
        }
        let view = self.keyspace.view_guard();
        let mut inserter = view.active.writer();
        for (index, entry) in all.iter().enumerate() {
            // In their order the entries lie anywhere in the segment.
            if let Some(soon) = all.get(index + FETCH_AHEAD) {
                Inserter::fetch(soon.whole(bytes));
            }
            let kind = EntryKind::try_from(entry.trailer as u8);
            let kind = kind.expect("invariant: made of a kind");
            inserter.insert(entry.key(bytes), SeqNo(entry.trailer >> 8), kind, entry.value(bytes));
        }
    }
}

/// The first 8 bytes, in an order that numbers have too.
fn tag(rest: &[u8]) -> u64 {
    match rest.first_chunk::<8>() {
        Some(first) => u64::from_be_bytes(*first),
        None => (0_u64..)
            .zip(rest)
            .fold(0, |tag, (index, &byte)| tag | u64::from(byte) << (56 - 8 * index)),
    }
}

/// The building of memtables, of which one segment's is under way at a time.
pub(crate) struct Building {
    is_threaded: bool,
    under_way: Option<JoinHandle<()>>,
}

impl Building {
    fn start(&mut self, runs: Vec<Run>) {
        self.finish();
        let entries: usize = runs.iter().map(|run| run.entries.all.len()).sum();
        // Shared, so that they are still there if there is no thread to be had.
        let runs = Arc::new(Mutex::new(runs));
        let theirs = Arc::clone(&runs);
        let build = move || theirs.lock().iter_mut().for_each(Run::insert);
        if self.is_threaded && entries >= THREAD_ENTRIES_MIN {
            let builder = thread::Builder::new().name("esker-replay".to_string());
            self.under_way = builder.spawn(build).ok();
        }
        if self.under_way.is_none() {
            runs.lock().iter_mut().for_each(Run::insert);
        }
    }

    /// Waits until everything that was replayed is in the memtables.
    pub(crate) fn finish(&mut self) {
        if let Some(Err(panic)) = self.under_way.take().map(JoinHandle::join) {
            resume_unwind(panic);
        }
    }
}

impl Drop for Building {
    /// An open that fails leaves no thread behind.
    fn drop(&mut self) {
        if let Some(under_way) = self.under_way.take() {
            let _ = under_way.join();
        }
    }
}
