//! Carrying out a repair: new sstables, links to everything that goes aside, the new manifest, and only then the old
//! names go.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use esker_base::cursor::Cursor;
use esker_base::merge::MergingCursor;
use esker_base::names::{CURRENT, FileKind};
use esker_base::{
    EntryKind, Error, ErrorKind, FileNumber, InternalKey, KeyspaceId, Result, SeqNo, batch, key,
};
use esker_compaction::{compression_of, file_meta, value_file_meta};
use esker_manifest::{
    FileMeta, KeyspaceMeta, KeyspaceState, LEVEL_COUNT, ManifestLog, StrategyKind, Version,
};
use esker_memtable::Memtable;
use esker_sstable::{
    BlockCache, ReadMode, Reader, ValueSalvage, ValueWriter, Writer, WriterOptions,
};
use esker_vfs::World;

use super::examine::{DamagedFile, Plan};
use super::log::TakenLog;
use super::values::{KnownValues, Named};
use super::{RepairReport, link_or_copy, numbered, record};
use crate::core::new_file_id;
use crate::view::identity;

/// Entries of the log are written to sstables when they take this much memory.
const MEMTABLES_BYTES: usize = 32 << 20;

/// The size at which a merge starts a new file, in bytes.
const SSTABLE_BYTES: u64 = 64 << 20;

pub(super) fn apply(
    world: &World,
    dir: &Path,
    plan: Plan,
    report: &mut RepairReport,
) -> Result<()> {
    let highest = numbered(&*world.fs, dir)?.into_iter().map(|(_, number)| number.0).max();
    let next_file = plan.version.next_file.0.max(highest.unwrap_or(0) + 1);
    let aside = record::begin(world, dir, report)?;
    let mut work = Work { world, dir, aside, next_file, made: BTreeSet::new(), has_moved: false };
    let result = work.run(plan, report);
    if result.is_err() {
        work.remove_made(|_| true);
        if !work.has_moved {
            record::give_up(&*world.fs, &work.aside);
        }
    }
    result
}

struct Work<'a> {
    world: &'a World,
    dir: &'a Path,
    /// Where the files go that the repaired database does without.
    aside: PathBuf,
    next_file: u64,
    /// Sstables and value files that the repair wrote.
    made: BTreeSet<(FileKind, FileNumber)>,
    /// Whether files may be in `aside` of which nobody can say that they are elsewhere too.
    has_moved: bool,
}

impl Work<'_> {
    fn run(&mut self, plan: Plan, report: &mut RepairReport) -> Result<()> {
        let Plan { mut version, damaged, mut values, log, is_rebuilt } = plan;
        for file in &damaged {
            self.replace(&mut version, file, &mut values, report)?;
        }
        if let Some(log) = &log {
            self.write_log(&mut version, log, is_rebuilt)?;
            // Segments of the old log that are not away yet are then of an earlier open.
            version.epoch = version.epoch.next();
        }
        let states: Vec<_> = version.keyspaces.values().cloned().collect();
        for state in states {
            let mut state = KeyspaceState::clone(&state);
            if is_rebuilt {
                report.replaced_sstables += self.merge(&mut state)?;
            }
            values.settle(&mut state);
            // Newest first, as level 0 is read.
            state.levels[0].sort_by_key(|file| std::cmp::Reverse((file.max_seq, file.number)));
            version.last_seq =
                state.files().map(|(_, file)| file.max_seq).fold(version.last_seq, SeqNo::max);
            version.keyspaces.insert(state.meta.id, Arc::new(state));
        }
        let number = self.take_number();
        version.next_file = FileNumber(self.next_file);
        version.check()?;
        let fs = &*self.world.fs;
        fs.sync_dir(self.dir).map_err(|error| Error::io("sync", self.dir, error))?;
        let names = self.link_aside(&version)?;
        self.has_moved = true;
        ManifestLog::create(self.world, self.dir, number, new_file_id(self.world), &version)?;
        // From here on the database is repaired; what cannot be removed now is removed by the next open.
        for name in names.iter().filter(|name| *name != CURRENT) {
            let _ = fs.remove_file(&self.dir.join(name));
        }
        let live = version.live_sstables();
        let live_values = version.live_value_files();
        self.remove_made(|(kind, number)| match kind {
            FileKind::Values => !live_values.contains(&number),
            _ => !live.contains(&number),
        });
        let _ = fs.sync_dir(self.dir);
        record::finish(fs, &self.aside);
        report.moved = names;
        report.moved_to = Some(self.aside.clone());
        Ok(())
    }

    fn take_number(&mut self) -> FileNumber {
        self.next_file += 1;
        FileNumber(self.next_file - 1)
    }

    /// Best effort: what stays is an orphan that the next open removes.
    fn remove_made(&self, is_unneeded: impl Fn((FileKind, FileNumber)) -> bool) {
        for &(kind, number) in self.made.iter().filter(|file| is_unneeded(**file)) {
            let _ = self.world.fs.remove_file(&self.dir.join(kind.name(number)));
        }
    }

    fn writer(&mut self, keyspace: &KeyspaceMeta) -> Result<Writer> {
        let number = self.take_number();
        let options = WriterOptions {
            compression: compression_of(keyspace.compression),
            keyspace: keyspace.id,
            ..WriterOptions::default()
        };
        let fs = Arc::clone(&self.world.fs);
        let writer = Writer::create(fs, self.dir, number, new_file_id(self.world), options)?;
        self.made.insert((FileKind::Sstable, number));
        Ok(writer)
    }

    fn value_writer(&mut self, keyspace: &KeyspaceMeta) -> Result<ValueWriter> {
        let number = self.take_number();
        let (fs, id) = (Arc::clone(&self.world.fs), new_file_id(self.world));
        let compression = compression_of(keyspace.compression);
        let writer = ValueWriter::create(fs, self.dir, number, id, compression)?;
        self.made.insert((FileKind::Values, number));
        Ok(writer)
    }

    fn finish(&self, writer: Writer) -> Result<Arc<FileMeta>> {
        Ok(Arc::new(file_meta(writer.finish()?, self.world.clock.wall_ms())))
    }

    /// Writes what can be read of a damaged file to a new one in its place.
    fn replace(
        &mut self,
        version: &mut Version,
        file: &DamagedFile,
        values: &mut KnownValues,
        report: &RepairReport,
    ) -> Result<()> {
        let Some(state) = version.keyspaces.get(&file.keyspace).cloned() else { return Ok(()) };
        let (mut writer, mut value_writer) = (None, None);
        let (fs, dir) = (Arc::clone(&self.world.fs), self.dir);
        let mut found = ValueSalvage::new(&fs, dir);
        let name = FileKind::Sstable.name(file.number);
        let mut named = Named::of(report, &name);
        let (mut new_key, mut pointer) = (Vec::new(), Vec::new());
        esker_sstable::salvage(&*fs, dir, file.number, file.file_id, |key, value| {
            let (mut key, mut value) = (key, value);
            if let Some((old, id)) = values.unsound(key, value) {
                let to = match &mut value_writer {
                    Some(to) => to,
                    None => value_writer.insert(self.value_writer(&state.meta)?),
                };
                pointer.clear();
                match found.copy(id, &old, to)? {
                    Some(copied) => copied.encode_into(&mut pointer),
                    None => {
                        // Without it, an older version of the key would come back.
                        new_key.clear();
                        let entry = InternalKey::decode(key);
                        let entry = entry.expect("invariant: what points to a value was decoded");
                        // It was read when the report was made. What that does not name is not deleted.
                        if !named.covers(entry.user_key) {
                            let path = dir.join(FileKind::Values.name(old.file));
                            let what = "a value could be read at first, and cannot be now";
                            let message = format!("{what}; repair again ({})", path.display());
                            return Err(Error::new(ErrorKind::Io, message));
                        }
                        InternalKey { kind: EntryKind::Delete, ..entry }.encode_into(&mut new_key);
                        key = &new_key;
                    }
                }
                value = &pointer;
            }
            let writer = match &mut writer {
                Some(writer) => writer,
                None => writer.insert(self.writer(&state.meta)?),
            };
            writer.add(key, value)
        })?;
        if let Some(written) = value_writer.filter(|written| written.written_bytes() > 0) {
            let meta = value_file_meta(written.finish()?);
            values.sound.insert(meta.number, Arc::new(meta));
        }
        if let Some(writer) = writer {
            let meta = self.finish(writer)?;
            let mut state = KeyspaceState::clone(&state);
            let files = &mut state.levels[file.level];
            files.push(meta);
            if file.level > 0 {
                files.sort_by(|a, b| key::compare(&a.smallest, &b.smallest));
            }
            version.keyspaces.insert(file.keyspace, Arc::new(state));
        }
        Ok(())
    }

    /// Writes what is taken of the log to sstables of level 0.
    fn write_log(&mut self, version: &mut Version, log: &TakenLog, is_rebuilt: bool) -> Result<()> {
        let mut tables: BTreeMap<KeyspaceId, Arc<Memtable>> = BTreeMap::new();
        let mut written = Vec::new();
        let fs = Arc::clone(&self.world.fs);
        log.replay(&*fs, self.dir, |group| {
            for ops in group.batches() {
                let mut seq = ops.first_seq;
                for op in batch::ops(ops.bytes).flatten() {
                    // What a keyspace has flushed is in its files, or lost with them.
                    let state = version.keyspaces.get(&op.keyspace);
                    if state.is_some_and(|state| is_rebuilt || seq > state.flushed_through) {
                        let table = tables.entry(op.keyspace).or_default();
                        table.insert(op.key, seq, op.kind, op.value);
                    }
                    seq = seq.next();
                }
            }
            let bytes: usize = tables.values().map(|table| table.memory_bytes()).sum();
            if bytes >= MEMTABLES_BYTES {
                written.extend(self.write_tables(version, std::mem::take(&mut tables))?);
            }
            Ok(())
        })?;
        written.extend(self.write_tables(version, tables)?);
        version.last_seq = version.last_seq.max(log.last_seq);
        for state in version.keyspaces.values_mut() {
            let state = Arc::make_mut(state);
            state.flushed_through = state.flushed_through.max(log.last_taken());
        }
        for (id, file) in written {
            let state = version.keyspaces.get_mut(&id).map(Arc::make_mut);
            state.expect("invariant: only entries of keyspaces are collected").levels[0].push(file);
        }
        Ok(())
    }

    fn write_tables(
        &mut self,
        version: &Version,
        tables: BTreeMap<KeyspaceId, Arc<Memtable>>,
    ) -> Result<Vec<(KeyspaceId, Arc<FileMeta>)>> {
        let mut files = Vec::new();
        for (id, table) in tables {
            let state = version.keyspaces.get(&id);
            let meta = &state.expect("invariant: only entries of keyspaces are collected").meta;
            let mut cursor = table.cursor();
            cursor.seek_to_first()?;
            for file in self.write_sorted(meta, &mut cursor, u64::MAX)? {
                files.push((id, file));
            }
        }
        Ok(files)
    }

    /// Writes every entry from the cursor on, once, to files of about `file_bytes` that share no key.
    fn write_sorted(
        &mut self,
        keyspace: &KeyspaceMeta,
        cursor: &mut impl Cursor,
        file_bytes: u64,
    ) -> Result<Vec<Arc<FileMeta>>> {
        let mut files = Vec::new();
        let mut writer: Option<Writer> = None;
        let mut last: Vec<u8> = Vec::new();
        while cursor.valid() {
            let is_new = last.is_empty() || key::compare(&last, cursor.key()).is_ne();
            if is_new {
                let is_new_key =
                    !last.is_empty() && key::user_key(&last) != key::user_key(cursor.key());
                if is_new_key && writer.as_ref().is_some_and(|w| w.written_bytes() >= file_bytes) {
                    files.extend(writer.take().map(|writer| self.finish(writer)).transpose()?);
                }
                let writer = match &mut writer {
                    Some(writer) => writer,
                    None => writer.insert(self.writer(keyspace)?),
                };
                writer.add(cursor.key(), cursor.value())?;
                last.clear();
                last.extend_from_slice(cursor.key());
            }
            cursor.next()?;
        }
        files.extend(writer.map(|writer| self.finish(writer)).transpose()?);
        Ok(files)
    }

    /// Merges the files of a keyspace, whose levels are unknown, into its last level; how many files of the database
    /// that replaces. Every version stays, because nothing tells which may go.
    fn merge(&mut self, state: &mut KeyspaceState) -> Result<u64> {
        // One file needs no order, and the files of FIFO follow one another.
        if state.meta.strategy == StrategyKind::Fifo || state.levels[0].len() <= 1 {
            return Ok(0);
        }
        let files = std::mem::take(&mut state.levels[0]);
        let mut cursors = Vec::new();
        for file in &files {
            let (fs, cache) = (&self.world.fs, Arc::new(BlockCache::new(0)));
            let mode = ReadMode::Positioned;
            let reader = Reader::open(fs, self.dir, &identity(file), mode, cache)?;
            cursors.push(Arc::new(reader).cursor(false));
        }
        let mut cursor = MergingCursor::new(cursors);
        cursor.seek_to_first()?;
        state.levels[LEVEL_COUNT - 1] =
            self.write_sorted(&state.meta, &mut cursor, SSTABLE_BYTES)?;
        Ok(files
            .iter()
            .filter(|file| !self.made.contains(&(FileKind::Sstable, file.number)))
            .count() as u64)
    }

    /// Links every file that the repaired database does without into the directory aside, durably; the names.
    fn link_aside(&self, version: &Version) -> Result<Vec<String>> {
        let fs = &*self.world.fs;
        let mut live: BTreeSet<(FileKind, FileNumber)> = BTreeSet::new();
        live.extend(version.live_sstables().into_iter().map(|n| (FileKind::Sstable, n)));
        live.extend(version.wal.iter().map(|segment| (FileKind::Wal, segment.number)));
        live.extend(version.live_value_files().into_iter().map(|n| (FileKind::Values, n)));
        live.extend(self.made.iter().copied());
        let files = numbered(fs, self.dir)?;
        let dead = files.difference(&live).map(|(kind, number)| kind.name(*number));
        let mut names: Vec<String> = dead.collect();
        match fs.exists(&self.dir.join(CURRENT)) {
            Ok(true) => names.push(CURRENT.to_string()),
            Ok(false) => {}
            Err(error) => return Err(Error::io("look at", self.dir, error)),
        }
        let aside = &self.aside;
        for name in &names {
            link_or_copy(fs, &self.dir.join(name), &aside.join(name))?;
        }
        fs.sync_dir(aside).map_err(|error| Error::io("sync", aside, error))?;
        Ok(names)
    }
}
