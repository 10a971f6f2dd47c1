//! Value files in a repair: which are sound, which values are lost with the others, and the copies of those that are not.
//!
//! A value file that is damaged anywhere goes aside. The sstables that point into it are written anew: what can still be
//! read of it is copied to a new value file. Where a value is lost, a delete takes its entry's place, at the same sequence
//! number, so that no older version of the key comes back; the keys are named.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use esker_base::names::FileKind;
use esker_base::{EntryKind, Error, FileId, FileNumber, InternalKey, Result};
use esker_compaction::value_identity;
use esker_manifest::{KeyspaceState, ValueFileMeta, Version};
use esker_sstable::{Identity, ReadMode, ValuePointer, ValueReader, ValueSalvage, identify_values};
use esker_vfs::World;

use super::examine::is_damage;
use super::{RepairReport, numbered};

/// What is known of the value files.
#[derive(Debug, Default)]
pub(super) struct KnownValues {
    /// Those that are sound.
    pub(super) sound: BTreeMap<FileNumber, Arc<ValueFileMeta>>,
    /// The identities of others, as far as anything tells.
    ids: BTreeMap<FileNumber, FileId>,
    /// What is wrong with others.
    pub(super) damage: Vec<String>,
}

/// User keys of entries whose values are lost, from the first to the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LostRange {
    pub(super) from: Vec<u8>,
    pub(super) through: Vec<u8>,
    /// Whether all entries between them are lost; a range of many may span some that are kept.
    pub(super) is_whole: bool,
}

/// So many keys of an sstable are named one by one; all behind them, if there are more, by one range.
const NAMED_MAX: usize = 1000;

impl KnownValues {
    /// Looks at every value file that `version` names.
    pub(super) fn listed(world: &World, dir: &Path, version: &Version) -> Result<KnownValues> {
        let mut known = KnownValues::default();
        for meta in version.keyspaces.values().flat_map(|state| state.value_files.values()) {
            match verify(world, dir, &value_identity(meta))? {
                Ok(_) => drop(known.sound.insert(meta.number, Arc::clone(meta))),
                Err(error) => {
                    known.ids.insert(meta.number, meta.file_id);
                    known.damage.push(error.to_string());
                }
            }
        }
        Ok(known)
    }

    /// Looks at every value file of the directory; `before` helps with the identities of damaged ones.
    pub(super) fn found(
        world: &World,
        dir: &Path,
        before: Option<&Version>,
    ) -> Result<KnownValues> {
        let mut known = KnownValues::default();
        let listed = before.into_iter().flat_map(|version| version.keyspaces.values());
        for meta in listed.flat_map(|state| state.value_files.values()) {
            known.ids.insert(meta.number, meta.file_id);
        }
        for (kind, number) in numbered(&*world.fs, dir)? {
            if kind != FileKind::Values {
                continue;
            }
            let name = kind.name(number);
            match identify_values(&world.fs, dir, number)? {
                None => known.damage.push(format!("{name} is damaged at its ends")),
                Some(identity) => match verify(world, dir, &identity)? {
                    Ok(meta) => drop(known.sound.insert(number, Arc::new(meta))),
                    Err(error) => {
                        known.ids.insert(number, identity.file_id);
                        known.damage.push(error.to_string());
                    }
                },
            }
        }
        Ok(known)
    }

    /// Whether every value file that an sstable with these references points into is sound.
    pub(super) fn has_all(&self, values: &[esker_base::ValueReference]) -> bool {
        values.iter().all(|reference| self.sound.contains_key(&reference.file))
    }

    /// If the entry points into a file that is not sound: where, and that file's identity.
    pub(super) fn unsound(
        &self,
        key: &[u8],
        value: &[u8],
    ) -> Option<(ValuePointer, Option<FileId>)> {
        let entry = InternalKey::decode(key)?;
        let pointer = ValuePointer::decode(value)?;
        let is_unsound =
            entry.kind == EntryKind::ValuePointer && !self.sound.contains_key(&pointer.file);
        is_unsound.then(|| (pointer, self.ids.get(&pointer.file).copied()))
    }

    /// What is lost of the values that the readable entries of sstable `number` point to.
    pub(super) fn lost_of(
        &self,
        world: &World,
        dir: &Path,
        number: FileNumber,
        file_id: Option<FileId>,
    ) -> Result<Vec<LostRange>> {
        let (mut lost, mut adjoins): (Vec<LostRange>, bool) = (Vec::new(), false);
        let mut found = ValueSalvage::new(&world.fs, dir);
        esker_sstable::salvage(&*world.fs, dir, number, file_id, |key, value| {
            let is_lost = match self.unsound(key, value) {
                Some((pointer, id)) => !found.can_read(id, &pointer)?,
                None => false,
            };
            if is_lost {
                let user_key = esker_base::key::user_key(key);
                let is_many = lost.len() > NAMED_MAX;
                match lost.last_mut() {
                    // Another version of the same key.
                    Some(range) if range.through == user_key => {}
                    Some(range) if is_many => {
                        range.through = user_key.to_vec();
                        range.is_whole &= adjoins;
                    }
                    _ => {
                        let (from, through) = (user_key.to_vec(), user_key.to_vec());
                        lost.push(LostRange { from, through, is_whole: true });
                    }
                }
            }
            adjoins = is_lost;
            Ok(())
        })?;
        Ok(lost)
    }

    /// Gives `state` the value files that its sstables point into.
    pub(super) fn settle(&self, state: &mut KeyspaceState) {
        let referenced = state.live_values();
        let of = |number: &FileNumber| Some((*number, Arc::clone(self.sound.get(number)?)));
        state.value_files = referenced.keys().filter_map(of).collect();
    }
}

/// A user key where a range begins or ends.
type Bound<'r> = Option<&'r [u8]>;

/// The keys that a report names as lost of one sstable; to be asked for in ascending order.
pub(super) struct Named<'r> {
    /// By their first keys; `None` is before all keys there, and behind all of them as a last key.
    ranges: Vec<(Bound<'r>, Bound<'r>)>,
    /// How many of them begin at or before the last key that was asked for, and how far these reach.
    begun: usize,
    through: Bound<'r>,
}

impl<'r> Named<'r> {
    pub(super) fn of(report: &'r RepairReport, file: &str) -> Named<'r> {
        let lost = report.lost_keys.iter().filter(|lost| lost.file == file);
        let mut ranges: Vec<_> =
            lost.map(|lost| (lost.from.as_deref(), lost.through.as_deref())).collect();
        ranges.sort_unstable();
        Named { ranges, begun: 0, through: Some(&[]) }
    }

    /// Whether `user_key` is among them.
    pub(super) fn covers(&mut self, user_key: &[u8]) -> bool {
        while let Some(&(from, through)) = self.ranges.get(self.begun)
            && from.is_none_or(|from| from <= user_key)
        {
            self.through = self.through.zip(through).map(|(a, b)| a.max(b));
            self.begun += 1;
        }
        self.begun > 0 && self.through.is_none_or(|through| user_key <= through)
    }
}

/// Whether a value file is sound, and what it holds; the outer error is none of its making.
fn verify(
    world: &World,
    dir: &Path,
    identity: &Identity,
) -> Result<std::result::Result<ValueFileMeta, Error>> {
    let reader = ValueReader::open(&world.fs, dir, identity, ReadMode::Positioned);
    let verified = reader.and_then(|reader| reader.verify().map(|()| reader));
    match verified {
        Ok(reader) => Ok(Ok(ValueFileMeta {
            number: identity.number,
            file_id: identity.file_id,
            len: identity.len,
            checksum: identity.checksum,
            record_count: reader.record_count(),
            record_bytes: reader.record_bytes(),
        })),
        Err(error) if is_damage(&error) => Ok(Err(error)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::repair::LostKeys;
    use esker_base::SeqNo;
    use esker_sstable::{Compression, ValueWriter, Writer, WriterOptions};
    use esker_vfs::simulated::Simulation;

    fn named(ranges: &[(Option<&str>, Option<&str>)]) -> RepairReport {
        let bytes = |key: Option<&str>| key.map(|key| key.as_bytes().to_vec());
        let lost = |file: &str, from, through| LostKeys {
            keyspace: None,
            file: file.to_owned(),
            from: bytes(from),
            through: bytes(through),
            seqs: None,
            is_deleted: true,
        };
        let mut lost_keys = vec![lost("other", None, None)];
        lost_keys.extend(ranges.iter().map(|&(from, through)| lost("it", from, through)));
        RepairReport { lost_keys, ..RepairReport::default() }
    }

    #[test]
    fn keys_are_covered_by_what_is_named_of_their_file() {
        let ranges = [(Some("m"), Some("p")), (Some("b"), Some("d")), (Some("n"), Some("n"))];
        let report = named(&ranges);
        let mut of = Named::of(&report, "it");
        let covered: String =
            ('a'..='z').filter(|key| of.covers(key.to_string().as_bytes())).collect();
        assert_eq!(covered, "bcdmnop");
        assert!(!Named::of(&named(&[]), "it").covers(b""));
        for (range, expected) in [((None, Some("b")), "ab"), ((Some("y"), None), "yz")] {
            let report = named(&[range]);
            let mut of = Named::of(&report, "it");
            let covered: String =
                ('a'..='z').filter(|key| of.covers(key.to_string().as_bytes())).collect();
            assert_eq!(covered, expected);
        }
    }

    /// Every other value is in a file that is gone: no two of the lost ones are neighbors.
    #[test]
    fn a_list_of_lost_keys_is_bounded() {
        let sim = Simulation::new(1);
        let (world, dir) = (sim.world(), Path::new("/"));
        let id = |number: u64| (FileNumber(number), FileId([number as u8; 16]));
        let ((number, file_id), compression) = (id(2), Compression::None);
        let mut values =
            ValueWriter::create(world.fs.clone(), dir, number, file_id, compression).unwrap();
        let pointer = values.add(b"sound").unwrap();
        values.finish().unwrap();
        let options = WriterOptions::default();
        let (table, table_id) = id(1);
        let mut writer = Writer::create(world.fs.clone(), dir, table, table_id, options).unwrap();
        let key = |at: usize| format!("{at:06}").into_bytes();
        let count = 4 * NAMED_MAX;
        for at in 0..count {
            let file = FileNumber(if at % 2 == 0 { 3 } else { 2 });
            let mut value = Vec::new();
            ValuePointer { file, ..pointer }.encode_into(&mut value);
            let kind = EntryKind::ValuePointer;
            writer.add(&esker_base::key::encode(&key(at), SeqNo(1), kind), &value).unwrap();
        }
        writer.finish().unwrap();
        let mut known = KnownValues::default();
        known.ids.extend([id(2), id(3)]);
        let lost = known.lost_of(&world, dir, table, Some(table_id)).unwrap();
        assert_eq!(lost.len(), NAMED_MAX + 1);
        for (at, range) in lost[..NAMED_MAX].iter().enumerate() {
            let (from, through) = (key(2 * at), key(2 * at));
            assert_eq!(*range, LostRange { from, through, is_whole: true });
        }
        let (from, through) = (key(2 * NAMED_MAX), key(count - 2));
        assert_eq!(lost[NAMED_MAX], LostRange { from, through, is_whole: false });
    }
}
