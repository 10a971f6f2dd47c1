//! Compaction as the engine runs it: asks the strategy, carries the task out, makes the result durable and visible.
//!
//! One runs at a time, under `compacting`. I2: the list of snapshots is taken after the inputs are chosen, and all
//! inputs hold only published entries, so whatever a later snapshot can see is kept.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use esker_base::names::FileKind;
use esker_base::{Error, ErrorKind, FileNumber, Result, mutant};
use esker_compaction::values::{self, GARBAGE_PERCENT_RIDE};
use esker_compaction::{Built, Options, Picture, Rules, Task, TaskKind, ValueUsage, for_kind};
use esker_manifest::{
    AddedFile, Edit, FileMeta, KeyspaceState, MovedFile, RemovedFile, StrategyKind,
};
use esker_sstable::Reader;

use crate::core::Core;
use crate::flush::added_values;
use crate::keyspace::KeyspaceInner;
use crate::pacing::Use;
use crate::view::{Levels, View};

/// When somebody asks for a compaction, value files with more garbage than this share of what is live, in percent, are
/// emptied.
const GARBAGE_PERCENT_ASKED: u64 = 5;

/// Files in level 0 from which on they are merged.
const LEVEL0_TRIGGER: usize = 4;

/// The same while much is written and read: each merge rewrites what it meets below, so the more files it brings the less
/// is written a byte. Reads pay a look into a filter for each of them.
const LEVEL0_TRIGGER_MIXED: usize = 12;

/// The same while hardly anything is read.
const LEVEL0_TRIGGER_FILLED: usize = 24;

/// Bits of filter a key in the last level, which holds nine keys of ten: false positives of half a percent.
pub(crate) const FILTER_BITS_LAST: u32 = 12;

/// The same above it. A key that is missing is looked for in every file of level 0 and once a level, so a bit does more
/// where a file has few keys (Dayan, Athanassoulis and Idreos, *Monkey*, SIGMOD 2017), and costs little: few of the
/// keys are there.
pub(crate) const FILTER_BITS_ABOVE: u32 = 16;

/// How often a merge that was asked for is chosen anew because an ingest came before it began.
const PICKS_MAX: usize = 16;

impl Core {
    /// Runs the most useful compaction of some keyspace; false if none is due.
    pub(crate) fn compaction_step(&self) -> Result<bool> {
        let _one_at_a_time = self.compacting.lock();
        self.check_writable()?;
        let keyspaces = self.keyspaces.all();
        let candidates = keyspaces.iter().filter_map(|keyspace| {
            let (state, options) = self.state_of(keyspace)?;
            let strategy = for_kind(keyspace.meta.strategy);
            let picture = picture(&state, &options);
            let view = keyspace.view();
            let damaged = view.levels.values().damaged();
            let usage = ValueUsage::without(&state, &damaged);
            let exceeds = |percent| usage.exceeds(percent, self.garbage_floor());
            let is_due = exceeds(values::GARBAGE_PERCENT_MAX);
            // Garbage counts as debt, or it would wait for ever behind the merges of a busier keyspace.
            let garbage = if is_due { usage.garbage_bytes } else { 0 };
            let debt = strategy.debt_bytes(&picture).saturating_add(garbage);
            let empties = || {
                let emptied =
                    || values::worst(&state, GARBAGE_PERCENT_RIDE, self.garbage_floor(), &damaged);
                let unreadable = view.levels.damaged();
                is_due.then(|| values::pick(&state.levels, &unreadable, &emptied())).flatten()
            };
            // Writers wait for level 0, so that goes first. It moves pointers and copies few values.
            let is_urgent = exceeds(values::GARBAGE_PERCENT_URGENT)
                && state.levels[0].len() < options.level0_trigger;
            let tasks: Vec<Task> = match is_urgent {
                // Whatever the first fails on must not keep the keyspace from being merged.
                true => empties().into_iter().chain(strategy.pick(&picture)).collect(),
                false => strategy.pick(&picture).or_else(empties).into_iter().collect(),
            };
            Some((debt, keyspace, tasks, state))
        });
        let mut candidates: Vec<_> = candidates.collect();
        candidates.sort_by_key(|(debt, ..)| Reverse(*debt));
        // A keyspace that cannot be merged, because a file is damaged, must not keep all others from being merged.
        let mut first_error = None;
        for (_, keyspace, tasks, state) in candidates {
            for task in tasks {
                match self.run_task(keyspace, &task, &state, GARBAGE_PERCENT_RIDE) {
                    // Where an ingest came in between, the next step looks again.
                    Ok(_) => {
                        self.metrics.background_errors.add(u64::from(first_error.is_some()));
                        return Ok(true);
                    }
                    Err(error) => first_error = first_error.or(Some(error)),
                }
                self.check_writable()?;
            }
        }
        first_error.map_or(Ok(false), Err)
    }

    /// Flushes a keyspace and merges all its files into its last level.
    pub(crate) fn compact_keyspace(&self, keyspace: &Arc<KeyspaceInner>) -> Result<()> {
        self.check_writable()?;
        if keyspace.meta.strategy == StrategyKind::Fifo {
            // Its files are never merged; what is too much goes when it is too much.
            return self.flush_keyspace(keyspace);
        }
        self.flush_keyspace(keyspace)?;
        // One pass: what is flushed meanwhile is newer than the call, and waiting for it might never end.
        {
            let _one_at_a_time = self.compacting.lock();
            self.check_still_open()?;
            for _ in 0..PICKS_MAX {
                let Some((state, options)) = self.state_of(keyspace) else { return Ok(()) };
                let task = esker_compaction::pick_range(&picture(&state, &options), None, None);
                let Some(task) = task else { break };
                if self.run_task(keyspace, &task, &state, GARBAGE_PERCENT_ASKED)? {
                    break;
                }
            }
        }
        // What that merge dropped is garbage in the value files now. Each round empties some for one sstable, as much as a
        // merge copies; in between level 0 may go.
        let Some((state, _)) = self.state_of(keyspace) else { return Ok(()) };
        let bytes: u64 = state.value_files.values().map(|file| file.record_bytes).sum();
        let bytes_max = values::COPY_FILES_MAX.saturating_mul(self.options.sstable_bytes).max(1);
        let rounds = state.files().count() as u64 + bytes / bytes_max;
        for _ in 0..rounds {
            let _one_at_a_time = self.compacting.lock();
            self.check_still_open()?;
            let Some((state, _)) = self.state_of(keyspace) else { break };
            let view = keyspace.view();
            let (floor, damaged) = (self.garbage_floor(), view.levels.values().damaged());
            let emptied = values::worst(&state, GARBAGE_PERCENT_ASKED, floor, &damaged);
            let unreadable = view.levels.damaged();
            let Some(task) = values::pick(&state.levels, &unreadable, &emptied) else { break };
            drop(view);
            self.run_task(keyspace, &task, &state, GARBAGE_PERCENT_ASKED)?;
        }
        Ok(())
    }

    /// Less garbage than this, in bytes, is not worth a merge.
    fn garbage_floor(&self) -> u64 {
        self.options.sstable_bytes / 16
    }

    /// About what level 0 brings down at a time, in bytes.
    pub(crate) fn base_level_bytes(&self) -> u64 {
        4 * self.options.memtable_bytes() as u64
    }

    /// Bytes that compaction is behind, over all keyspaces.
    pub(crate) fn compaction_debt_bytes(&self) -> u64 {
        let debt = |keyspace: &Arc<KeyspaceInner>| {
            let (state, options) = self.state_of(keyspace)?;
            Some(for_kind(keyspace.meta.strategy).debt_bytes(&picture(&state, &options)))
        };
        self.keyspaces.all().iter().filter_map(debt).sum()
    }

    /// How many files in level 0 of a leveled keyspace make it worth merging now.
    pub(crate) fn level0_trigger(&self) -> usize {
        match self.used_for() {
            Use::Quiet => LEVEL0_TRIGGER,
            Use::Mixed => LEVEL0_TRIGGER_MIXED,
            Use::Filled => LEVEL0_TRIGGER_FILLED,
        }
    }

    /// Whether there will be something to merge as soon as the load changes.
    pub(crate) fn compaction_waits(&self) -> bool {
        let level0 = |keyspace: &Arc<KeyspaceInner>| {
            keyspace.view_guard().levels.0.first().map_or(0, Vec::len)
        };
        let mut keyspaces = self.keyspaces.all().into_iter();
        self.level0_trigger() > LEVEL0_TRIGGER && keyspaces.any(|k| level0(&k) >= LEVEL0_TRIGGER)
    }

    /// The levels of a keyspace and the limits that its strategy goes by; `None` once it is dropped.
    fn state_of(&self, keyspace: &KeyspaceInner) -> Option<(Arc<KeyspaceState>, Options)> {
        let state = self.manifest.lock().version.keyspaces.get(&keyspace.id())?.clone();
        let snapshots = self.snapshots.list();
        let rules = Rules { snapshots: &snapshots, floor: None, keep_tombstones: false };
        let options = Options {
            base_level_bytes: self.base_level_bytes(),
            level0_trigger: match keyspace.meta.strategy {
                StrategyKind::Leveled => self.level0_trigger(),
                StrategyKind::Tiered | StrategyKind::Fifo => LEVEL0_TRIGGER,
            },
            target_file_bytes: self.options.sstable_bytes,
            droppable_through: rules.droppable_through(),
            fifo_max_bytes: match keyspace.meta.strategy {
                StrategyKind::Fifo => keyspace.meta.fifo_max_bytes,
                _ => u64::MAX,
            },
            now_ms: self.world.clock.wall_ms(),
            ..Options::default()
        };
        Some((state, options))
    }

    /// Carries out `task`; false if an ingest has changed the picture since, so that whoever called has to look again.
    fn run_task(
        &self,
        keyspace: &Arc<KeyspaceInner>,
        task: &Task,
        state: &KeyspaceState,
        garbage_percent: u64,
    ) -> Result<bool> {
        let Some(_announced) = self.announce(keyspace, task, state) else { return Ok(false) };
        let id = keyspace.id();
        let mut edit = Edit::default();
        let removed = task.inputs.iter().map(|(level, file)| RemovedFile {
            keyspace: id,
            level: *level,
            number: file.number,
        });
        let mut outputs = Vec::new();
        match task.kind {
            TaskKind::Move => {
                let moved = task.inputs.iter().map(|(level, file)| MovedFile {
                    keyspace: id,
                    number: file.number,
                    from: *level,
                    to: task.output_level,
                });
                edit.moved_files.extend(moved);
                self.metrics.compaction_moves.add(1);
            }
            TaskKind::Drop => edit.removed_files.extend(removed),
            TaskKind::Merge => {
                edit.removed_files.extend(removed);
                let built = self.merge(keyspace, task, state, garbage_percent)?;
                outputs = built.names();
                let written = built.bytes();
                let level = task.output_level;
                let added = |file| AddedFile { keyspace: id, level, file: Arc::new(file) };
                edit.added_files.extend(built.files.into_iter().map(added));
                edit.added_value_files = added_values(id, built.value_files);
                self.metrics.compactions.add(1);
                self.metrics.compaction_read_bytes.add(task.input_bytes());
                self.metrics.compaction_write_bytes.add(written);
            }
        }
        self.install_compaction(keyspace, edit, outputs).map(|()| true)
    }

    fn merge(
        &self,
        keyspace: &KeyspaceInner,
        task: &Task,
        state: &KeyspaceState,
        garbage_percent: u64,
    ) -> Result<Built> {
        // Not the whole view: its memtables would be kept in memory for as long as the merge takes.
        let levels = Arc::clone(&keyspace.view().levels);
        let open = |meta: &Arc<FileMeta>| -> Result<Arc<Reader>> {
            let mut files = levels.0.iter().flatten();
            let file = files.find(|file| file.meta.number == meta.number).ok_or_else(|| {
                Error::new(ErrorKind::NotFound, "the keyspace was dropped while it was merged")
            })?;
            file.reader().cloned()
        };
        let snapshots = self.snapshots.list();
        let rules = Rules { snapshots: &snapshots, floor: None, keep_tombstones: false };
        let known = levels.values();
        let damaged = known.damaged();
        let limits = (garbage_percent, self.garbage_floor());
        let target = self.options.sstable_bytes;
        let (emptied, copy_bytes_max) = values::to_empty(state, task, limits, target, &damaged);
        let last = state.levels.iter().rposition(|files| !files.is_empty());
        let is_last = last.is_none_or(|last| task.output_level >= last);
        let bits = if is_last { FILTER_BITS_LAST } else { FILTER_BITS_ABOVE };
        let built = self.build(keyspace, bits, |context| {
            context.values.emptied = emptied;
            context.values.copy_bytes_max = copy_bytes_max;
            esker_compaction::compact(task, &state.levels, rules, &open, context)
        });
        let built = built.inspect_err(|error| self.note_unreadable(&levels, error))?;
        for (number, error) in &built.damaged {
            // To be left alone from now on, or it would be merged for ever.
            if known.find(*number).is_some_and(|file| file.set_damaged()) {
                self.scrub.note(&self.metrics, error);
            }
        }
        Ok(built)
    }

    /// Remembers the sstable that a merge failed on, so that none is made again for the garbage behind it alone.
    fn note_unreadable(&self, levels: &Levels, error: &Error) {
        if error.is_unreadable() {
            let mut files = levels.0.iter().flatten();
            let is_it = |path: &Path| files.find(|f| path == self.dir.join(f.meta.name()));
            if let Some(file) = error.path().and_then(is_it) {
                file.set_damaged(true);
            }
        }
    }

    fn install_compaction(
        &self,
        keyspace: &Arc<KeyspaceInner>,
        edit: Edit,
        outputs: Vec<(FileKind, FileNumber)>,
    ) -> Result<()> {
        let id = keyspace.id();
        let removed: BTreeSet<_> = edit.removed_files.iter().map(|file| file.number).collect();
        if mutant!("compact_inputs_removed_early") {
            for number in &removed {
                let name = FileKind::Sstable.name(*number);
                let _ = self.world.fs.remove_file(&self.dir.join(name));
            }
        }
        let result = self.edit_and(edit, |version| {
            let Some(state) = version.keyspaces.get(&id) else { return };
            keyspace.replace_view(|view| {
                for file in view.levels.0.iter().flatten() {
                    if removed.contains(&file.meta.number) {
                        file.set_obsolete();
                        if mutant!("compact_inputs_removed_under_readers") {
                            self.bury(FileKind::Sstable, [file.meta.number]);
                        }
                    }
                }
                View {
                    active: Arc::clone(&view.active),
                    frozen: view.frozen.clone(),
                    levels: Arc::new(Levels::next(&view.levels, state, &self.files)),
                }
            });
        });
        self.update_pressure();
        match result {
            Err(_) if keyspace.is_dropped() => {
                self.bury_all(outputs);
                Ok(())
            }
            Err(error) => {
                // Unless the manifest is in doubt, nothing names the outputs.
                if self.health.cause().is_none() || mutant!("manifest_doubt_deletes") {
                    self.bury_all(outputs);
                }
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }
}

/// One compaction runs at a time, so no file is busy when the next is chosen.
fn picture<'a>(state: &'a KeyspaceState, options: &'a Options) -> Picture<'a> {
    static IDLE: BTreeSet<FileNumber> = BTreeSet::new();
    Picture { levels: &state.levels, busy: &IDLE, options }
}
