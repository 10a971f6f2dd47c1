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
use super::numbered;

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

/// The user keys of adjacent entries whose values are lost, the first and the last.
pub(super) type LostRange = (Vec<u8>, Vec<u8>);

/// So many keys of an sstable are named one by one; those behind them, if there are more, by ranges.
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
                let is_many = lost.len() >= NAMED_MAX;
                match lost.last_mut() {
                    // Another version of the same key.
                    Some(range) if range.1 == user_key => {}
                    Some(range) if adjoins && is_many => range.1 = user_key.to_vec(),
                    _ => lost.push((user_key.to_vec(), user_key.to_vec())),
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
