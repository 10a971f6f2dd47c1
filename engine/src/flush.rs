//! Flush: frozen memtables become level-0 sstables, and the log lets go of what they held.
//!
//! Before the edit is made durable the log is synced through everything that was written when the flush began, so
//! no batch of which a part is in an sstable can lose its other part in a power cut. Where no other keyspace has anything
//! in memory there is nothing to lose: every batch through the newest flushed entry is in sstables. Then the log is left
//! alone, and what is soon removed need never be written to the device.

use std::collections::BTreeMap;
use std::sync::Arc;

use esker_base::cursor::Cursor;
use esker_base::names::FileKind;
use esker_base::{FileNumber, KeyspaceId, LogPosition, Result, SeqNo, mutant};
use esker_compaction::{
    Below, BuildContext, Built, Retain, Rules, Unlimited, ValuePolicy, compression_of,
};
use esker_manifest::{AddedFile, AddedValueFile, Edit, ValueFileMeta};
use esker_memtable::Memtable;
use esker_sstable::WriterOptions;

use crate::commit::log::Log;
use crate::compact::FILTER_BITS_ABOVE;
use crate::core::Core;
use crate::keyspace::KeyspaceInner;
use crate::view::{Levels, View};

impl Core {
    /// Moves the active memtable of `keyspace` to the frozen ones and accounts for it; true if it held anything. The
    /// log's lock is held.
    pub(crate) fn freeze(&self, _log: &Log, keyspace: &KeyspaceInner) -> bool {
        self.account(keyspace);
        if !keyspace.freeze() {
            return false;
        }
        let bytes = keyspace.set_accounted(0);
        self.metrics.memtable_bytes.sub(bytes);
        self.metrics.frozen_bytes.add(bytes);
        true
    }

    /// Brings the metric of memtable memory up to date with the keyspace's active memtable. The log's lock is held.
    pub(crate) fn account(&self, keyspace: &KeyspaceInner) {
        let now = keyspace.view_guard().active.memory_bytes() as u64;
        let before = keyspace.set_accounted(now);
        self.metrics.memtable_bytes.add(now.saturating_sub(before));
        self.metrics.memtable_bytes.sub(before.saturating_sub(now));
    }

    /// Freezes the keyspaces that keep the oldest segments from going, once the live log is large. The log's lock is
    /// held.
    pub(crate) fn flush_pinning(&self, log: &Log) {
        let Some(oldest) = log.finished.front() else { return };
        if log.live_bytes() <= self.options.wal_bytes_max() {
            return;
        }
        for keyspace in self.keyspaces.all() {
            let pins = |first: SeqNo| first <= oldest.last_seq;
            if keyspace.view_guard().active.first_seq().is_some_and(pins) {
                self.freeze(log, &keyspace);
            }
        }
    }

    /// Writes everything that is in memtables now to sstables.
    pub(crate) fn flush(&self) -> Result<()> {
        self.check_writable()?;
        let through = {
            let mut log = self.log.lock();
            self.check_still_open()?;
            if !mutant!("flush_deferred_not_written") {
                self.write_deferred(&mut log)?;
            }
            for keyspace in self.keyspaces.all() {
                self.freeze(&log, &keyspace);
            }
            log.last_seq
        };
        // What is frozen later is newer than the call, and waiting for it might never end.
        let waits = || self.keyspaces.all().iter().any(|k| k.has_frozen_through(through));
        while waits() && self.flush_step()? {}
        Ok(())
    }

    /// Writes everything that `keyspace` has in memtables now to sstables.
    pub(crate) fn flush_keyspace(&self, keyspace: &KeyspaceInner) -> Result<()> {
        let through = {
            let mut log = self.log.lock();
            self.check_still_open()?;
            self.write_deferred(&mut log)?;
            self.freeze(&log, keyspace);
            log.last_seq
        };
        while keyspace.has_frozen_through(through) && self.flush_step()? {}
        Ok(())
    }

    /// Writes the oldest frozen memtable of one keyspace to level 0; false if there is none.
    pub(crate) fn flush_step(&self) -> Result<bool> {
        let _one_at_a_time = self.flushing.lock();
        self.check_still_open()?;
        let oldest = |keyspace: &Arc<KeyspaceInner>| keyspace.view_guard().frozen.last().cloned();
        let keyspaces = self.keyspaces.all();
        let frozen = keyspaces.iter().filter_map(|keyspace| Some((keyspace, oldest(keyspace)?)));
        let Some((keyspace, memtable)) = frozen.min_by_key(|(_, table)| table.first_seq()) else {
            return Ok(false);
        };
        self.share_memory();
        let (retired, synced) = self.prepare_log(keyspace, &memtable)?;
        let built = self.write_memtable(keyspace, &memtable)?;
        let bytes = built.bytes();
        self.install_flush(keyspace, &memtable, built, &retired, synced)?;
        self.metrics.flushes.add(1);
        self.metrics.flush_bytes.add(bytes);
        self.share_memory();
        self.update_pressure();
        // Files can be removed now, and the log perhaps made small.
        self.background.wake();
        Ok(true)
    }

    /// Gives the cache what memtables do not use: what is frozen, and one that is being filled.
    fn share_memory(&self) {
        let memtables = self.metrics.frozen_bytes.get() as usize + self.options.memtable_bytes();
        self.files.set_cache_bytes(self.options.cache_bytes(memtables) as u64);
    }

    /// Syncs the log through everything that `memtable` holds, if another keyspace has anything in memory, and finds
    /// the segments that nothing else needs.
    fn prepare_log(
        &self,
        keyspace: &KeyspaceInner,
        memtable: &Arc<Memtable>,
    ) -> Result<(Vec<FileNumber>, LogPosition)> {
        let is_needed = {
            let mut log = self.log.lock();
            if !mutant!("flush_deferred_not_written") {
                self.write_deferred(&mut log)?;
            }
            self.has_others(keyspace) && !mutant!("flush_log_not_synced")
        };
        if is_needed {
            // All that the memtable holds was written before it was frozen.
            self.sync_outside(|log| match log.writer()?.failure() {
                None => Ok(Some(log.writer()?.sync_handle()?)),
                // A failed write is behind what is synced then.
                Some(_) => self.sync_log(log).map(|()| None),
            })?;
        }
        let mut log = self.log.lock();
        let mut needed = log.last_seq.next();
        for other in self.keyspaces.all() {
            if mutant!("flush_segment_retired_early") {
                break;
            }
            let view = other.view_guard();
            let tables = std::iter::once(&view.active).chain(&view.frozen);
            let others = tables.filter(|table| !Arc::ptr_eq(table, memtable));
            needed = others.filter_map(|table| table.first_seq()).fold(needed, SeqNo::min);
        }
        let unneeded = log.finished.iter().take_while(|segment| segment.last_seq < needed);
        let retired = unneeded.map(|segment| segment.number).collect();
        Ok((retired, log.writer()?.known_synced()))
    }

    /// Whether another keyspace's memtables hold anything: entries that are older than the newest that is flushed, or the
    /// other part of its batch. Those of its own are of newer batches: the oldest memtable goes first. The log's lock is
    /// held.
    fn has_others(&self, keyspace: &KeyspaceInner) -> bool {
        self.keyspaces.all().iter().filter(|other| other.id() != keyspace.id()).any(|other| {
            let view = other.view_guard();
            !view.active.is_empty() || !view.frozen.is_empty()
        })
    }

    fn write_memtable(&self, keyspace: &KeyspaceInner, memtable: &Arc<Memtable>) -> Result<Built> {
        let snapshots = self.snapshots.list();
        let mut cursor = memtable.cursor();
        // Whatever older versions there are lie below, so every tombstone stays.
        let rules = Rules { snapshots: &snapshots, floor: None, keep_tombstones: false };
        cursor.seek_to_first()?;
        self.build(keyspace, FILTER_BITS_ABOVE, |context| {
            context.target_file_bytes = u64::MAX;
            context.values.target_file_bytes = u64::MAX;
            esker_compaction::build(&mut cursor, Retain::new(rules, Below::unknown()), context)
        })
    }

    /// Makes the flush durable and visible: the files come, the memtable and the log segments that nothing needs any
    /// more go.
    fn install_flush(
        &self,
        keyspace: &Arc<KeyspaceInner>,
        memtable: &Arc<Memtable>,
        built: Built,
        retired: &[FileNumber],
        synced: LogPosition,
    ) -> Result<()> {
        let through = memtable.last_seq().expect("invariant: only filled memtables are frozen");
        let too_high = mutant!("flush_through_too_high");
        let through = if too_high { self.log.lock().last_seq } else { through };
        let still_listed = mutant!("wal_recycled_still_listed");
        if mutant!("flush_segment_removed_early") {
            for number in retired {
                let _ = self.world.fs.remove_file(&self.dir.join(FileKind::Wal.name(*number)));
            }
        }
        let id = keyspace.id();
        let names = built.names();
        let added = |file| AddedFile { keyspace: id, level: 0, file: Arc::new(file) };
        let edit = Edit {
            added_files: built.files.into_iter().map(added).collect(),
            added_value_files: added_values(id, built.value_files),
            flushed_through: vec![(id, through)],
            wal_removed: if still_listed { Vec::new() } else { retired.to_vec() },
            wal_synced: Some(synced),
            ..Edit::default()
        };
        let result = self.edit_and(edit, |version| {
            let Some(state) = version.keyspaces.get(&id) else { return };
            if mutant!("race_view_in_two_steps") {
                keyspace.replace_view(|view| View {
                    active: Arc::clone(&view.active),
                    frozen: Vec::new(),
                    levels: Arc::clone(&view.levels),
                });
            }
            keyspace.replace_view(|view| View {
                active: Arc::clone(&view.active),
                frozen: view.frozen.iter().filter(|t| !Arc::ptr_eq(t, memtable)).cloned().collect(),
                levels: Arc::new(Levels::next(&view.levels, state, &self.files)),
            });
            self.metrics.frozen_bytes.sub(memtable.memory_bytes() as u64);
        });
        match result {
            Ok(()) => {
                self.let_go(retired);
                Ok(())
            }
            // The keyspace was dropped while its memtable was written, and the edit refused before it was logged.
            Err(_) if keyspace.is_dropped() => {
                self.bury_all(names);
                Ok(())
            }
            Err(error) => {
                // Unless the manifest is in doubt, nothing names the new files.
                if self.health.cause().is_none() || mutant!("manifest_doubt_deletes") {
                    self.bury_all(names);
                }
                Err(error)
            }
        }
    }

    /// Runs `build` with what building sstables for `keyspace` needs.
    pub(crate) fn build(
        &self,
        keyspace: &KeyspaceInner,
        filter_bits_per_key: u32,
        build: impl FnOnce(&mut BuildContext<'_>) -> Result<Built>,
    ) -> Result<Built> {
        build(&mut BuildContext {
            fs: Arc::clone(&self.world.fs),
            dir: &self.dir,
            writer: WriterOptions {
                compression: compression_of(keyspace.meta.compression),
                keyspace: keyspace.id(),
                filter_bits_per_key,
                ..WriterOptions::default()
            },
            values: ValuePolicy {
                large_value_bytes: keyspace.meta.large_value_bytes,
                compression: compression_of(keyspace.meta.compression),
                target_file_bytes: self.options.sstable_bytes,
                emptied: BTreeMap::new(),
                copy_bytes_max: 0,
            },
            target_file_bytes: self.options.sstable_bytes,
            grandparents: Vec::new(),
            grandparent_bytes_max: 10 * self.options.sstable_bytes,
            cancel: &self.background.cancelled,
            limiter: &Unlimited,
            next_file: &mut || Ok((self.next_file_number(), self.new_file_id())),
            now_ms: self.world.clock.wall_ms(),
        })
    }
}

/// The value files that came with new sstables of a keyspace, as an edit names them.
pub(crate) fn added_values(keyspace: KeyspaceId, files: Vec<ValueFileMeta>) -> Vec<AddedValueFile> {
    files.into_iter().map(|file| AddedValueFile { keyspace, file: Arc::new(file) }).collect()
}
