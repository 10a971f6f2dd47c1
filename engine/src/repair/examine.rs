//! What is wrong with a database, and what a repair is to do about it. Reads everything and writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use esker_base::limits::COUNTER_MAX;
use esker_base::names::FileKind;
use esker_base::{Error, ErrorKind, FileId, FileNumber, KeyspaceId, Result, SeqNo, batch, key};
use esker_manifest::{FileMeta, KeyspaceMeta, KeyspaceState, Remains, Shutdown, Version};
use esker_sstable::{BlockCache, Identity, LostBlocks, Properties, ReadMode, Reader};
use esker_vfs::World;
use esker_wal::{SealInfo, SegmentExpectation};

use super::log::{Known, Segment, TakenLog, is_sound};
use super::values::KnownValues;
use super::{LostKeys, RepairReport, numbered};
use crate::open::is_denied;
use crate::view::identity;

/// A file of which only a part can be read.
#[derive(Clone, Debug)]
pub(super) struct DamagedFile {
    pub(super) keyspace: KeyspaceId,
    pub(super) level: usize,
    pub(super) number: FileNumber,
    pub(super) file_id: Option<FileId>,
}

/// What a repair starts from.
#[derive(Debug)]
pub(super) struct Plan {
    /// The keyspaces with their sound files; the log if it stays.
    pub(super) version: Version,
    pub(super) damaged: Vec<DamagedFile>,
    /// The value files that the sstables may point into.
    pub(super) values: KnownValues,
    /// What is taken of the log; `None` if it stays as it is.
    pub(super) log: Option<TakenLog>,
    /// Whether the files' levels are unknown: each keyspace's files are in level 0 in any order and must be merged.
    pub(super) is_rebuilt: bool,
}

pub(super) fn examine(world: &World, dir: &Path, skip_holes: bool) -> Result<(RepairReport, Plan)> {
    let mut examination = Examination { world, dir, skip_holes, report: RepairReport::default() };
    let plan = examination.run()?;
    Ok((examination.report, plan))
}

struct Examination<'a> {
    world: &'a World,
    dir: &'a Path,
    skip_holes: bool,
    report: RepairReport,
}

impl Examination<'_> {
    fn run(&mut self) -> Result<Plan> {
        let fs = &*self.world.fs;
        let version = match esker_manifest::recover(fs, self.dir) {
            Ok(recovered) => recovered.version,
            Err(error) if is_damage(&error) => {
                self.report.damage.push(error.to_string());
                let remains = esker_manifest::salvage(fs, self.dir)?;
                match remains.version.clone() {
                    Some(version) => version,
                    None => return self.rebuild(remains),
                }
            }
            Err(error) => return Err(error),
        };
        if let Some(why) = self.last_edit_is_lost(&version)? {
            self.report.damage.push(why);
            self.lose_missing(&version)?;
            let keyspaces = version.keyspaces.values();
            return self.rebuild(Remains {
                database_id: Some(version.database_id),
                keyspaces: keyspaces.map(|s| (s.meta.id, (*s.meta).clone())).collect(),
                next_keyspace: version.next_keyspace,
                epoch: version.epoch,
                before_damage: Some(version),
                ..Remains::default()
            });
        }
        self.follow(version)
    }

    /// Why the last edit of the manifest must be lost, although it looks torn: the log goes on where the manifest does
    /// not know of it, or a listed file is gone while there are unlisted ones that may hold the same.
    fn last_edit_is_lost(&self, version: &Version) -> Result<Option<String>> {
        let last = version.wal.last().map_or(FileNumber(0), |segment| segment.number);
        let (files, listed) = (numbered(&*self.world.fs, self.dir)?, version.live_sstables());
        for &(kind, number) in &files {
            if kind != FileKind::Wal || number <= last {
                continue;
            }
            match esker_wal::look_at(&*self.world.fs, self.dir, number)? {
                Some((header, true)) if header.epoch == version.epoch => {
                    let name = kind.name(number);
                    return Ok(Some(format!("{name} holds commits, but is not in the manifest")));
                }
                _ => {}
            }
        }
        let wal = version.wal.iter().map(|segment| (FileKind::Wal, segment.number));
        let tables = listed.iter().map(|&number| (FileKind::Sstable, number));
        let values = version.live_value_files();
        let tables = tables.chain(values.into_iter().map(|number| (FileKind::Values, number)));
        let missing = wal.chain(tables).find(|file| !files.contains(file));
        let has_unlisted =
            files.iter().any(|(kind, n)| *kind == FileKind::Sstable && !listed.contains(n));
        let lost = missing.filter(|_| has_unlisted && version.shutdown == Shutdown::Open);
        Ok(lost.map(|(kind, number)| {
            format!("{} is missing, and others are not in the manifest", kind.name(number))
        }))
    }

    /// Notes the listed files that are gone. Another file may hold the same, but nothing proves it.
    fn lose_missing(&mut self, version: &Version) -> Result<()> {
        let files = numbered(&*self.world.fs, self.dir)?;
        for state in version.keyspaces.values() {
            for (_, file) in state.files() {
                if !files.contains(&(FileKind::Sstable, file.number)) {
                    self.report.damage.push(format!("{} is missing", file.name()));
                    self.lose_of(&state.meta, file)?;
                }
            }
        }
        Ok(())
    }

    /// The plan for a sound manifest.
    fn follow(&mut self, mut version: Version) -> Result<Plan> {
        let mut damaged = Vec::new();
        let values = KnownValues::listed(self.world, self.dir, &version)?;
        self.report.damage.extend(values.damage.iter().cloned());
        for state in version.keyspaces.values_mut() {
            let meta = Arc::clone(&state.meta);
            let levels = &mut Arc::make_mut(state).levels;
            for (level, files) in levels.iter_mut().enumerate() {
                let mut sound = Vec::new();
                for file in std::mem::take(files) {
                    match self.verify(&identity(&file))? {
                        Ok(_) if values.has_all(&file.values) => sound.push(file),
                        verified => {
                            match verified {
                                Ok(_) => self.report.replaced_sstables += 1,
                                Err(error) => {
                                    self.report.damage.push(error.to_string());
                                    self.lose_of(&meta, &file)?;
                                }
                            }
                            let keyspace = (meta.id, meta.name.clone());
                            let seqs = Some((file.min_seq, file.max_seq));
                            let id = Some(file.file_id);
                            self.lose_values(keyspace, (file.number, id), seqs, &values)?;
                            damaged.push(DamagedFile {
                                keyspace: meta.id,
                                level,
                                number: file.number,
                                file_id: Some(file.file_id),
                            });
                        }
                    }
                }
                *files = sound;
            }
        }
        let log = match self.check_log(&version)? {
            None => None,
            Some(error) => {
                self.report.damage.push(error.to_string());
                Some(self.take_log(&mut version)?)
            }
        };
        Ok(Plan { version, damaged, values, log, is_rebuilt: false })
    }

    /// Whether a file is sound; the outer error is none of its making.
    fn verify(&self, identity: &Identity) -> Result<Result<Properties>> {
        let cache = Arc::new(BlockCache::new(0));
        let reader = Reader::open(&self.world.fs, self.dir, identity, ReadMode::Positioned, cache);
        match reader.and_then(|reader| reader.verify().map(|_| reader.properties().clone())) {
            Err(error) if !is_damage(&error) => Err(error),
            result => Ok(result),
        }
    }

    /// Notes what is lost of a damaged file that the manifest describes.
    fn lose_of(&mut self, keyspace: &KeyspaceMeta, file: &FileMeta) -> Result<()> {
        let found = esker_sstable::salvage(
            &*self.world.fs,
            self.dir,
            file.number,
            Some(file.file_id),
            |_, _| Ok(()),
        )?;
        self.report.replaced_sstables += 1;
        if found.entries == file.entry_count {
            return Ok(());
        }
        let lost = or_all(found.lost);
        self.report.lost_keys.extend(lost.into_iter().map(|lost| LostKeys {
            keyspace: Some((keyspace.id, keyspace.name.clone())),
            file: file.name(),
            from: Some(lost.from.unwrap_or_else(|| key::user_key(&file.smallest).to_vec())),
            through: Some(lost.through.unwrap_or_else(|| key::user_key(&file.largest).to_vec())),
            seqs: Some((file.min_seq, file.max_seq)),
            is_deleted: false,
        }));
        Ok(())
    }

    /// Notes what is lost of the values that a file points to.
    fn lose_values(
        &mut self,
        keyspace: (KeyspaceId, String),
        (number, file_id): (FileNumber, Option<FileId>),
        seqs: Option<(SeqNo, SeqNo)>,
        values: &KnownValues,
    ) -> Result<()> {
        let lost = values.lost_of(self.world, self.dir, number, file_id)?;
        self.report.lost_keys.extend(lost.into_iter().map(|lost| LostKeys {
            keyspace: Some(keyspace.clone()),
            file: FileKind::Sstable.name(number),
            from: Some(lost.from),
            through: Some(lost.through),
            seqs,
            is_deleted: lost.is_whole,
        }));
        Ok(())
    }

    /// Why the log cannot be replayed as it is, if so.
    fn check_log(&self, version: &Version) -> Result<Option<Error>> {
        let sealed = match &version.shutdown {
            Shutdown::Open => None,
            Shutdown::Closed(seal) => Some(SealInfo {
                segment: seal.segment,
                len: seal.len,
                checksum: seal.checksum,
                last_seq: seal.last_seq,
            }),
        };
        let expected = version.wal.iter().map(|segment| SegmentExpectation {
            number: segment.number,
            file_id: segment.file_id,
            ends_at: segment.ends_at,
            sealed: sealed.filter(|seal| seal.segment == segment.number),
            optional: false,
        });
        let expected: Vec<_> = expected.collect();
        let check = |group: esker_wal::Group<'_>| {
            let known = |keyspace| keyspace < version.next_keyspace;
            let ops = |bytes| batch::ops(bytes).flatten().all(|op| known(op.keyspace));
            if is_sound(&group) && group.batches().all(|batch| ops(batch.bytes)) {
                return Ok(());
            }
            let seq = group.first_seq;
            Err(Error::corruption(self.dir, 0, format!("the group at sequence {seq} is malformed")))
        };
        let synced = version.wal_synced;
        match esker_wal::replay(&*self.world.fs, self.dir, &expected, synced, check) {
            Ok(_) => Ok(None),
            Err(error) if is_damage(&error) => Ok(Some(error)),
            Err(error) => Err(error),
        }
    }

    /// Takes what can be taken of the listed log, and makes `version` do without it.
    fn take_log(&mut self, version: &mut Version) -> Result<TakenLog> {
        let segments = version.wal.iter().map(|segment| Segment {
            number: segment.number,
            file_id: Some(segment.file_id),
            ends_at: segment.ends_at,
        });
        let flushed = version.keyspaces.values().map(|state| state.flushed_through).min();
        let known = Known {
            flushed: flushed.unwrap_or_default(),
            last_seq: version.last_seq,
            is_sealed: version.shutdown != Shutdown::Open,
            synced: version.wal_synced,
            skip_holes: self.skip_holes,
        };
        let log = TakenLog::read(&*self.world.fs, self.dir, segments.collect(), known)?;
        self.report.lost_commits.clone_from(&log.lost);
        self.report.log_entries = log.entries;
        // A keyspace whose creation is lost is found again by its operations.
        let next = version.next_keyspace;
        let ids = self.keyspaces_in(&log)?.into_iter().filter(|id| *id >= next).collect();
        self.add_unnamed(version, &ids);
        self.lose_dropped(&log, version)?;
        leave_log(version);
        Ok(log)
    }

    /// Names the keys of commits that could be read, but stand behind the hole where the log ends.
    fn lose_dropped(&mut self, log: &TakenLog, version: &Version) -> Result<()> {
        let mut lost: BTreeMap<(FileNumber, KeyspaceId), LostKeys> = BTreeMap::new();
        log.visit_dropped(&*self.world.fs, self.dir, |segment, group| {
            for ops in group.batches() {
                let mut seq = ops.first_seq;
                for op in batch::ops(ops.bytes).flatten() {
                    let state = version.keyspaces.get(&op.keyspace);
                    // What is flushed is in the files.
                    if state.is_none_or(|state| seq > state.flushed_through) {
                        let known = lost.entry((segment, op.keyspace));
                        let known = known.or_insert_with(|| LostKeys {
                            keyspace: Some((
                                op.keyspace,
                                state.map_or_else(|| unnamed(op.keyspace), |s| s.meta.name.clone()),
                            )),
                            file: FileKind::Wal.name(segment),
                            from: Some(op.key.to_vec()),
                            through: Some(op.key.to_vec()),
                            seqs: Some((seq, seq)),
                            is_deleted: false,
                        });
                        widen(known, op.key, seq);
                    }
                    seq = seq.next();
                }
            }
            Ok(())
        })?;
        self.report.lost_keys.extend(lost.into_values());
        Ok(())
    }

    /// The plan without a manifest.
    fn rebuild(&mut self, remains: Remains) -> Result<Plan> {
        self.report.is_rebuilt = true;
        let mut id = [0; 16];
        self.world.random.fill(&mut id);
        let mut version = Version::new(remains.database_id.unwrap_or(id));
        version.epoch = remains.epoch;
        version.next_keyspace = version.next_keyspace.max(remains.next_keyspace);
        for meta in remains.keyspaces.values() {
            version.next_keyspace =
                version.next_keyspace.max(KeyspaceId(meta.id.0.saturating_add(1)));
            let state = KeyspaceState::new(Arc::new(meta.clone()));
            version.keyspaces.insert(meta.id, Arc::new(state));
        }
        let before = remains.before_damage.as_ref();
        // Ids are never used again, so one that is known to be used and not there was dropped.
        let is_dropped = |id: KeyspaceId| {
            let used = before.is_some_and(|before| id < before.next_keyspace);
            remains.dropped.contains(&id) || (used && !remains.keyspaces.contains_key(&id))
        };
        let (mut sound, mut damaged) = (Vec::new(), Vec::new());
        let values = KnownValues::found(self.world, self.dir, before)?;
        self.report.damage.extend(values.damage.iter().cloned());
        let mut segments = Vec::new();
        for (kind, number) in numbered(&*self.world.fs, self.dir)? {
            match kind {
                FileKind::Manifest | FileKind::Values => {}
                FileKind::Sstable => {
                    self.find_table(number, (before, &values), &mut sound, &mut damaged)?;
                }
                FileKind::Wal => {
                    let header = esker_wal::look_at(&*self.world.fs, self.dir, number)?;
                    if let Some((header, _)) = header {
                        version.epoch = version.epoch.max(header.epoch);
                    }
                    let listed = before.and_then(|b| b.wal.iter().find(|s| s.number == number));
                    let file_id = listed.map(|segment| segment.file_id);
                    let ends_at = listed.and_then(|segment| segment.ends_at);
                    segments.push(Segment { number, file_id, ends_at });
                }
            }
        }
        sound.retain(|(id, _)| !is_dropped(*id));
        damaged.retain(|file: &DamagedFile| !is_dropped(file.keyspace));
        let known = Known { skip_holes: self.skip_holes, ..Known::default() };
        let log = TakenLog::read(&*self.world.fs, self.dir, segments, known)?;
        self.report.lost_commits.clone_from(&log.lost);
        self.report.log_entries = log.entries;
        let mut ids: BTreeSet<KeyspaceId> = self.keyspaces_in(&log)?;
        ids.retain(|id| !is_dropped(*id));
        ids.extend(sound.iter().map(|(id, _)| *id));
        ids.extend(damaged.iter().map(|file| file.keyspace));
        self.add_unnamed(&mut version, &ids);
        self.lose_dropped(&log, &version)?;
        for (id, file) in sound {
            // A file of an id that no keyspace can have goes aside.
            let Some(state) = version.keyspaces.get_mut(&id) else {
                let name = file.name();
                self.report.damage.push(format!("{name} says that it is of keyspace {id}"));
                let seqs = Some((file.min_seq, file.max_seq));
                let (from, through, is_deleted) = (None, None, false);
                let lost = LostKeys { keyspace: None, file: name, from, through, seqs, is_deleted };
                self.report.lost_keys.push(lost);
                continue;
            };
            version.last_seq = version.last_seq.max(file.max_seq);
            Arc::make_mut(state).levels[0].push(Arc::new(file));
        }
        Ok(Plan { version, damaged, values, log: Some(log), is_rebuilt: true })
    }

    /// Sorts an sstable that nothing vouches for into the sound or the damaged ones.
    fn find_table(
        &mut self,
        number: FileNumber,
        (before, values): (Option<&Version>, &KnownValues),
        sound: &mut Vec<(KeyspaceId, FileMeta)>,
        damaged: &mut Vec<DamagedFile>,
    ) -> Result<()> {
        let fs = &*self.world.fs;
        let name_of = |id: KeyspaceId| {
            let known = before.and_then(|version| version.keyspaces.get(&id));
            known.map_or_else(|| unnamed(id), |state| state.meta.name.clone())
        };
        let listed = before.and_then(|version| {
            let mut files = version
                .keyspaces
                .values()
                .flat_map(|state| state.files().map(|(_, file)| (&state.meta, file)));
            files.find(|(_, file)| file.number == number)
        });
        if let Some(identity) = esker_sstable::identify(fs, self.dir, number)? {
            match self.verify(&identity)? {
                Ok(properties) => {
                    let id = properties.keyspace;
                    let meta = meta_of(&identity, properties);
                    if values.has_all(&meta.values) {
                        sound.push((id, meta));
                        return Ok(());
                    }
                    let seqs = Some((meta.min_seq, meta.max_seq));
                    let (level, file_id) = (0, Some(meta.file_id));
                    self.lose_values((id, name_of(id)), (number, file_id), seqs, values)?;
                    damaged.push(DamagedFile { keyspace: id, level, number, file_id });
                    self.report.replaced_sstables += 1;
                    return Ok(());
                }
                Err(error) => self.report.damage.push(error.to_string()),
            }
        } else {
            let name = FileKind::Sstable.name(number);
            self.report.damage.push(format!("{name} has a damaged header"));
        }
        let file_id = listed.map(|(_, file)| file.file_id);
        let found = esker_sstable::salvage(fs, self.dir, number, file_id, |_, _| Ok(()))?;
        let properties = found.properties.as_ref();
        let keyspace = properties.map(|p| p.keyspace).or(listed.map(|(meta, _)| meta.id));
        let count = properties.map(|p| p.entry_count).or(listed.map(|(_, file)| file.entry_count));
        let seqs = properties.map(|p| (p.min_seq, p.max_seq));
        let seqs = seqs.or(listed.map(|(_, file)| (file.min_seq, file.max_seq)));
        if let Some(keyspace) = keyspace {
            damaged.push(DamagedFile { keyspace, level: 0, number, file_id });
            self.report.replaced_sstables += 1;
            let of = (keyspace, name_of(keyspace));
            self.lose_values(of, (number, file_id), seqs, values)?;
        }
        if keyspace.is_some() && count == Some(found.entries) {
            return Ok(());
        }
        let lost = match keyspace {
            Some(_) => or_all(found.lost),
            // Nobody knows whose entries they are, so all of them are lost, the readable ones too.
            None => vec![LostBlocks::default()],
        };
        self.report.lost_keys.extend(lost.into_iter().map(|lost| LostKeys {
            keyspace: keyspace.map(|id| (id, name_of(id))),
            file: FileKind::Sstable.name(number),
            from: lost.from,
            through: lost.through,
            seqs,
            is_deleted: false,
        }));
        Ok(())
    }

    /// The keyspaces that the taken part of the log writes to.
    fn keyspaces_in(&self, log: &TakenLog) -> Result<BTreeSet<KeyspaceId>> {
        let mut ids = BTreeSet::new();
        log.replay(&*self.world.fs, self.dir, |group| {
            let ops = group.batches().flat_map(|batch| batch::ops(batch.bytes));
            ids.extend(ops.flatten().map(|op| op.keyspace));
            Ok(())
        })?;
        Ok(ids)
    }

    /// Gives those of `ids` that are no keyspaces yet a name.
    fn add_unnamed(&mut self, version: &mut Version, ids: &BTreeSet<KeyspaceId>) {
        for &id in ids {
            if version.keyspaces.contains_key(&id) || id.0 >= COUNTER_MAX {
                continue;
            }
            let mut name = unnamed(id);
            while version.keyspace_named(&name).is_some() {
                name.push('-');
            }
            self.report.unnamed_keyspaces.push(name.clone());
            let state = KeyspaceState::new(Arc::new(KeyspaceMeta::new(id, name)));
            version.keyspaces.insert(id, Arc::new(state));
            version.next_keyspace = version.next_keyspace.max(KeyspaceId(id.0 + 1));
        }
    }
}

/// Makes a version do without its log.
fn leave_log(version: &mut Version) {
    version.wal.clear();
    version.wal_synced = esker_base::LogPosition::default();
    version.shutdown = Shutdown::Open;
}

/// What is lost of a file that has fewer or more entries than it should have: all of it, if nothing tells where.
fn or_all(lost: Vec<LostBlocks>) -> Vec<LostBlocks> {
    if lost.is_empty() { vec![LostBlocks::default()] } else { lost }
}

fn widen(lost: &mut LostKeys, key: &[u8], seq: SeqNo) {
    if lost.from.as_deref().is_none_or(|from| key < from) {
        lost.from = Some(key.to_vec());
    }
    if lost.through.as_deref().is_none_or(|through| key > through) {
        lost.through = Some(key.to_vec());
    }
    lost.seqs = lost.seqs.map(|(low, high)| (low.min(seq), high.max(seq)));
}

fn unnamed(id: KeyspaceId) -> String {
    format!("recovered-{id}")
}

/// Damage, as opposed to a format that is newer, or a machine that says no for reasons that pass: a file that may not be
/// read is as sound as ever.
pub(super) fn is_damage(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Corruption => true,
        ErrorKind::Io => !is_denied(error),
        _ => false,
    }
}

fn meta_of(identity: &Identity, properties: Properties) -> FileMeta {
    FileMeta {
        number: identity.number,
        file_id: identity.file_id,
        len: identity.len,
        checksum: identity.checksum,
        smallest: properties.smallest,
        largest: properties.largest,
        min_seq: properties.min_seq,
        max_seq: properties.max_seq,
        entry_count: properties.entry_count,
        delete_count: properties.delete_count,
        seq_override: None,
        created_ms: 0,
        values: properties.values,
    }
}
