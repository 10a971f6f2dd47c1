//! The last step of an ingest: its finished files become part of the keyspace, durably and at one place in the commit
//! order.
//!
//! 1. The keyspace's memtables are flushed, so that everything in memory stays newer than everything in files. Where
//!    writers keep filling them, that is repeated until little is left, and commits wait for that last, short flush.
//! 2. Under the log's lock no commit is under way. If commits have overtaken the files' stamp, the files are written again.
//! 3. The log is synced: what survives a power cut is a prefix of the commit order, and the ingest is its last part.
//! 4. The files get their names, and one edit of the manifest names all of them. Before it nothing refers to them, and an
//!    open removes them.
//! 5. Under the manifest's lock, before any other change: view, with a fresh memtable; history; visible sequence.
//!
//! Nothing of this may be put before an earlier step.

use std::sync::Arc;

use esker_base::{KeyspaceId, Result, SeqNo, mutant};
use esker_compaction::{Built, Task, TaskKind};
use esker_manifest::{AddedFile, Edit, FileMeta, KeyspaceState, LEVEL_COUNT, StrategyKind};
use esker_memtable::Memtable;

use super::restamp::{Restamped, Unlisted};
use super::{AHEAD_FAR, AHEAD_NEAR, CHUNK_LEN_MAX, everything};
use crate::commit::log::Log;
use crate::compact::FILTER_BITS_LAST;
use crate::core::Core;
use crate::db::told_in_doubt;
use crate::flush::added_values;
use crate::keyspace::KeyspaceInner;
use crate::view::{Levels, View};

/// How often memtables are flushed while commits go on, at least, before these wait for the last flush: what came in
/// during the second is little, unless commits come nearly as fast as they are flushed.
const FLUSHES_BESIDE_COMMITS: usize = 2;

/// How often at most, where every time more than a little is left.
const FLUSHES_BESIDE_COMMITS_MAX: usize = 8;

/// A little is this part of a memtable.
const LITTLE_PART: usize = 8;

/// Where a compaction puts its outputs: nothing else may come to lie between them.
#[derive(Debug)]
pub(crate) struct Merging {
    keyspace: KeyspaceId,
    level: usize,
    low: Vec<u8>,
    high: Vec<u8>,
}

/// While it lives, a compaction is known to ingests.
pub(crate) struct Announced<'a>(&'a Core);

impl Drop for Announced<'_> {
    fn drop(&mut self) {
        *self.0.ingests.merging.lock() = None;
    }
}

impl Core {
    /// Lets ingests know where `task`, which was picked from `state`, puts its outputs; `None` if an ingest has put a
    /// file there since. Only one compaction runs at a time.
    pub(crate) fn announce(
        &self,
        keyspace: &KeyspaceInner,
        task: &Task,
        state: &KeyspaceState,
    ) -> Option<Announced<'_>> {
        let mut merging = self.ingests.merging.lock();
        let files = || task.inputs.iter().map(|(_, file)| file);
        let level = task.output_level;
        let low = files().map(|file| file.smallest_user_key()).min()?;
        let high = files().map(|file| file.largest_user_key()).max()?;
        if level > 0 && task.kind != TaskKind::Drop {
            let version = Arc::clone(&self.manifest.lock().version);
            let now = version.keyspaces.get(&keyspace.id())?;
            let is_new = |file: &FileMeta| {
                !state.levels[level].iter().any(|known| known.number == file.number)
            };
            if now.levels[level].iter().any(|file| file.overlaps(low, high) && is_new(file)) {
                return None;
            }
        }
        let (low, high) = (low.to_vec(), high.to_vec());
        *merging = Some(Merging { keyspace: keyspace.id(), level, low, high });
        Some(Announced(self))
    }

    /// Makes `built`, whose entries all have the sequence number `stamp`, part of the keyspace. Emptied where the files
    /// are or may be part of it; otherwise nothing names what is left in it, under temporary names or their own.
    pub(super) fn install_ingest(
        &self,
        keyspace: &Arc<KeyspaceInner>,
        built: &mut Built,
        mut stamp: SeqNo,
    ) -> Result<()> {
        self.pace_ingest(keyspace, built.bytes())?;
        let _under_way = self.background.steps.read();
        let _one_at_a_time = self.ingests.installing.lock();
        self.check_writable()?;
        let (mut gate, mut flushes) = (None, 0);
        loop {
            if has_memtables(keyspace) {
                let least = match self.leaves_little(keyspace) {
                    true => FLUSHES_BESIDE_COMMITS,
                    false => FLUSHES_BESIDE_COMMITS_MAX,
                };
                if gate.is_none() && flushes >= least {
                    gate = Some(self.ingests.close_gate());
                }
                flushes += 1;
                self.flush_keyspace(keyspace)?;
            }
            let mut log = self.log.lock();
            self.check_still_open()?;
            keyspace.check_live()?;
            if has_memtables(keyspace) {
                continue;
            }
            if stamp > log.last_seq {
                let result = self.install_stamped(&mut log, keyspace, built, stamp);
                drop(log);
                drop(gate);
                self.update_pressure();
                self.background.wake();
                return result;
            }
            drop(log);
            (gate, flushes) = (None, 0);
            stamp = self.restamp(keyspace, built)?;
        }
    }

    /// Whether to flush the keyspace's memtables takes but a moment. Those of others that are frozen are flushed before.
    fn leaves_little(&self, keyspace: &KeyspaceInner) -> bool {
        let active = keyspace.view_guard().active.memory_bytes();
        let frozen = self.metrics.frozen_bytes.get();
        frozen == 0 && active <= self.options.memtable_bytes() / LITTLE_PART
    }

    /// Writes the files again with a later stamp.
    fn restamp(&self, keyspace: &KeyspaceInner, built: &mut Built) -> Result<SeqNo> {
        // Only commits can overtake it now.
        let is_small = built.bytes() <= CHUNK_LEN_MAX as u64;
        let stamp = self.near_stamp(if is_small { AHEAD_NEAR } else { AHEAD_FAR })?;
        let fs = self.staged_fs();
        let unlisted = |meta: &FileMeta| Unlisted { core: self, fs: &fs, meta: meta.clone() };
        let mut entries = Restamped::new(built.files.iter().map(unlisted).collect(), stamp);
        let again = self.build(keyspace, FILTER_BITS_LAST, |context| {
            context.fs = Arc::clone(&fs);
            esker_compaction::build(&mut entries, everything(), context)
        })?;
        drop(entries);
        let before = std::mem::replace(&mut built.files, again.files);
        let before = Built { files: before, ..Built::default() };
        self.remove_uninstalled(before.names());
        self.metrics.ingests_restamped.add(1);
        Ok(stamp)
    }

    fn install_stamped(
        &self,
        log: &mut Log,
        keyspace: &Arc<KeyspaceInner>,
        built: &mut Built,
        stamp: SeqNo,
    ) -> Result<()> {
        if !mutant!("ingest_log_not_synced") {
            self.write_deferred(log)?;
            self.sync_log(log)?;
        }
        let synced = log.writer()?.known_synced();
        self.unstage(&built.names())?;
        let id = keyspace.id();
        // No compaction may choose where it writes from here until the files are in their levels.
        let merging = self.ingests.merging.lock();
        let version = Arc::clone(&self.manifest.lock().version);
        let bytes = built.bytes();
        let added: Vec<AddedFile> = match version.keyspaces.get(&id) {
            Some(state) => {
                let place = Place {
                    state,
                    merging: merging.as_ref().filter(|merging| merging.keyspace == id),
                    is_small: bytes < self.base_level_bytes(),
                };
                let added = |file: &FileMeta| {
                    let level = place.level_of(file);
                    AddedFile { keyspace: id, level, file: Arc::new(file.clone()) }
                };
                built.files.iter().map(added).collect()
            }
            None => Vec::new(),
        };
        drop(version);
        let edit = Edit {
            added_files: added,
            added_value_files: added_values(id, built.value_files.clone()),
            wal_synced: Some(synced),
            ..Edit::default()
        };
        let ranges = built
            .files
            .iter()
            .map(|file| [file.smallest_user_key().to_vec(), file.largest_user_key().to_vec()]);
        let ranges: Vec<_> = ranges.collect();
        let prefix = common_prefix(&ranges).to_vec();
        let show = |state: &KeyspaceState| {
            keyspace.replace_view(|view| {
                // Whoever reads takes the view first and the visible sequence second. A view of before the ingest must not
                // go on to show what is committed after it, so commits get a memtable that it does not have.
                let active = match mutant!("race_ingest_memtable_kept") {
                    false => Arc::new(Memtable::with_common_prefix(&prefix)),
                    true => Arc::clone(&view.active),
                };
                let levels = Arc::new(Levels::next(&view.levels, state, &self.files));
                View { active, frozen: view.frozen.clone(), levels }
            });
            if !mutant!("ingest_history_forgotten") {
                self.history.record_ranges(id, ranges, stamp);
            }
            self.snapshots.publish(stamp);
        };
        if mutant!("race_ingest_published_early") {
            self.snapshots.publish(stamp);
        }
        let result = self.edit_and(edit, |version| {
            if let Some(state) = version.keyspaces.get(&id) {
                show(state);
            }
        });
        drop(merging);
        match result {
            Ok(()) => {
                self.account(keyspace);
                log.last_seq = stamp;
                *built = Built::default();
                self.metrics.ingests.add(1);
                self.metrics.ingest_bytes.add(bytes);
                Ok(())
            }
            Err(error) => {
                if self.health.cause().is_some() {
                    // Perhaps the manifest names the files.
                    *built = Built::default();
                }
                Err(told_in_doubt(error))
            }
        }
    }
}

/// What all keys in `ranges`, which ascend, begin with.
fn common_prefix(ranges: &[[Vec<u8>; 2]]) -> &[u8] {
    let (Some([first, _]), Some([_, last])) = (ranges.first(), ranges.last()) else { return &[] };
    let shared = first.iter().zip(last).take_while(|(a, b)| a == b).count();
    &first[..shared]
}

fn has_memtables(keyspace: &KeyspaceInner) -> bool {
    let view = keyspace.view_guard();
    let holds = !view.active.is_empty() || !view.frozen.is_empty();
    holds && !mutant!("ingest_memtables_ignored")
}

/// What decides where a file goes.
struct Place<'a> {
    state: &'a KeyspaceState,
    merging: Option<&'a Merging>,
    /// Whether all of the ingest is less than level 0 brings down at a time.
    is_small: bool,
}

impl Place<'_> {
    /// The deepest level such that neither it nor one above it holds a file with keys in the range.
    fn level_of(&self, file: &FileMeta) -> usize {
        if self.state.meta.strategy == StrategyKind::Fifo {
            // It knows level 0 only.
            return 0;
        }
        let (low, high) = (file.smallest_user_key(), file.largest_user_key());
        let levels = &self.state.levels;
        let meets = |level: usize| levels[level].iter().any(|other| other.overlaps(low, high));
        let free = (0..LEVEL_COUNT).find(|&level| meets(level)).unwrap_or(LEVEL_COUNT);
        if mutant!("ingest_overlap_above_ignored") {
            let free = (1..LEVEL_COUNT).rev().find(|&level| !meets(level));
            return free.unwrap_or(0);
        }
        let level = free.saturating_sub(1);
        let is_merged_into = self.merging.is_some_and(|merging| {
            let is_there = merging.level == level && file.overlaps(&merging.low, &merging.high);
            is_there && !mutant!("race_ingest_beside_merge")
        });
        let level = if is_merged_into { level.saturating_sub(1) } else { level };
        let begins_level = level < LEVEL_COUNT - 1 && levels[level].is_empty();
        // A level that a little would begin costs every read a look, and nothing drains it.
        if begins_level && self.is_small { 0 } else { level }
    }
}
