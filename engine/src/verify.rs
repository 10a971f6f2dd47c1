//! Verification: every byte of every file against its checksums, every key against its order, the manifest against the
//! files.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use esker_base::cursor::Cursor;
use esker_base::{EntryKind, Error, InternalKey, LogPosition, Result, ValueReferences, key};
use esker_sstable::ValuePointer;
use esker_wal::{FinishedSegment, SegmentExpectation};

use crate::core::Core;
use crate::view::{Levels, Sstable};

/// What a verification looked at and found sound. The first contradiction is an error instead.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Sstables read.
    pub sstables: u64,
    /// Their bytes.
    pub sstable_bytes: u64,
    /// Their blocks.
    pub blocks: u64,
    /// Value files read.
    pub value_files: u64,
    /// Their bytes.
    pub value_file_bytes: u64,
    /// Entries whose values stand in them, each found.
    pub separated_values: u64,
    /// Their entries, several versions of a key and deletes included.
    pub entries: u64,
    /// Finished segments of the write-ahead log read; the one that is being written was judged when it was opened.
    pub wal_segments: u64,
    /// Groups of commits in them.
    pub wal_groups: u64,
    /// Groups of commits that the open read from the log, all of them checked by that.
    pub replayed_groups: u64,
    /// The entries in them that no sstable held.
    pub replayed_entries: u64,
}

impl Core {
    pub(crate) fn verify(&self) -> Result<VerifyReport> {
        self.check_open()?;
        let mut report = VerifyReport {
            replayed_groups: self.replayed.groups.get(),
            replayed_entries: self.replayed.entries.get(),
            ..VerifyReport::default()
        };
        {
            let manifest = self.manifest.lock();
            manifest.version.check()?;
            // What is on disk must say the same; nothing is appended while the lock is held.
            let found = esker_manifest::recover(&*self.world.fs, &self.dir)?;
            // After a failed append it is unknown whether the last edit is there.
            let is_known = manifest.log.as_ref().is_some_and(|log| log.failure().is_none());
            if is_known && found.version != *manifest.version {
                let path = self.dir.join(esker_base::names::CURRENT);
                return Err(Error::corruption(path, 0, "the manifest is not what was written"));
            }
        }
        for keyspace in self.keyspaces.all() {
            let levels = Arc::clone(&keyspace.view().levels);
            check_order(&levels)?;
            for file in levels.0.iter().flatten() {
                let seen = file.reader()?.verify()?;
                report.sstables += 1;
                report.sstable_bytes += seen.bytes;
                report.blocks += seen.blocks;
                report.entries += seen.entries;
                report.separated_values += verify_values(&levels, file)?;
            }
            for file in levels.values().all() {
                file.reader()?.verify()?;
                report.value_files += 1;
                report.value_file_bytes += file.meta.len;
            }
        }
        self.file_pins.fetch_add(1, Ordering::AcqRel);
        let result = self.verify_log(&mut report);
        self.file_pins.fetch_sub(1, Ordering::AcqRel);
        self.background.wake();
        result.map(|()| report)
    }

    /// Reads the finished segments once more, up to their ends. After a failure only those that are known to be durable:
    /// what the disk keeps of the others is for the next open to find out.
    fn verify_log(&self, report: &mut VerifyReport) -> Result<()> {
        let finished: Vec<_> = {
            let mut log = self.log.lock();
            let synced = match self.health.cause() {
                Some(_) => log.writer().ok().map(|writer| writer.known_synced()),
                None => None,
            };
            let is_durable = |segment: &&FinishedSegment| {
                synced.is_none_or(|synced| {
                    (segment.number, segment.end) <= (synced.file, synced.offset)
                })
            };
            log.finished.iter().filter(is_durable).copied().collect()
        };
        let version = self.manifest.lock().version.clone();
        let listed = finished.iter().filter_map(|segment| {
            let meta = version.wal.iter().find(|meta| meta.number == segment.number)?;
            Some(SegmentExpectation {
                number: segment.number,
                file_id: meta.file_id,
                ends_at: Some(segment.end),
                sealed: None,
                optional: false,
            })
        });
        let listed: Vec<_> = listed.collect();
        report.wal_segments = listed.len() as u64;
        let count = |_: esker_wal::Group<'_>| {
            report.wal_groups += 1;
            Ok(())
        };
        esker_wal::replay(&*self.world.fs, &self.dir, &listed, LogPosition::default(), count)?;
        Ok(())
    }
}

/// Every pointer of `file` leads to a sound record, and they are as many as the manifest says.
fn verify_values(levels: &Levels, file: &Sstable) -> Result<u64> {
    if file.meta.values.is_empty() {
        return Ok(0);
    }
    let (mut counted, mut entries) = (ValueReferences::default(), 0);
    let mut open = BTreeMap::new();
    let mut cursor = file.reader()?.cursor(false);
    cursor.seek_to_first()?;
    while cursor.valid() {
        let is_pointer = InternalKey::decode(cursor.key())
            .is_some_and(|entry| entry.kind == EntryKind::ValuePointer);
        if is_pointer && let Some(pointer) = ValuePointer::decode(cursor.value()) {
            let handle = match open.entry(pointer.file) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(free) => {
                    let reader = levels.values().find(pointer.file).ok_or_else(|| {
                        let message = "an entry points into a value file that is not there";
                        Error::corruption(file.meta.name(), 0, message)
                    })?;
                    let reader = reader.reader()?;
                    free.insert((reader, reader.file()?))
                }
            };
            handle.0.check(&*handle.1, &pointer)?;
            counted.add(pointer.file, 1, u64::from(pointer.record_len));
            entries += 1;
        }
        cursor.next()?;
    }
    if counted.list() != file.meta.values {
        let message = "the entries do not point where the manifest says";
        return Err(Error::corruption(file.meta.name(), 0, message));
    }
    Ok(entries)
}

/// Every level but the first is sorted and disjoint.
fn check_order(levels: &Levels) -> Result<()> {
    for level in levels.0.iter().skip(1) {
        for pair in level.windows(2) {
            let (before, after) = (&pair[0].meta, &pair[1].meta);
            if key::user_key(&before.largest) >= key::user_key(&after.smallest) {
                let path = esker_base::names::FileKind::Sstable.name(after.number);
                return Err(Error::corruption(path, 0, "sstables of one level overlap"));
            }
        }
    }
    Ok(())
}
