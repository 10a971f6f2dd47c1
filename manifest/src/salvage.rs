//! What the manifests of a damaged database still tell: a picture, if one is whole though [`crate::recover()`] refuses
//! it, and otherwise which keyspaces there were. Repair calls it; it writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use esker_base::frame;
use esker_base::limits::COUNTER_MAX;
use esker_base::names::{self, CURRENT, FileKind};
use esker_base::{Epoch, Error, ErrorKind, FileNumber, KeyspaceId, Result};
use esker_vfs::{Fs, OpenMode};

use crate::edit::{Edit, v2};
use crate::format::{CURRENT_LEN, Current, FrameKind, Header};
use crate::recover::{MANIFEST_LEN_MAX, Reader};
use crate::version::{KeyspaceMeta, Version};

/// What could be read.
#[derive(Clone, Debug, Default)]
pub struct Remains {
    /// The whole picture, if the newest manifest is sound and only `CURRENT` is not.
    pub version: Option<Version>,
    /// The last picture before the damage; for identities of files and the like, not to be relied upon.
    pub before_damage: Option<Version>,
    /// The identity of the database.
    pub database_id: Option<[u8; 16]>,
    /// Every keyspace that any readable part names, the dropped ones left out.
    pub keyspaces: BTreeMap<KeyspaceId, KeyspaceMeta>,
    /// Keyspaces that were certainly dropped.
    pub dropped: BTreeSet<KeyspaceId>,
    /// Above every keyspace id that any readable part names.
    pub next_keyspace: KeyspaceId,
    /// The highest epoch that any readable part names.
    pub epoch: Epoch,
}

/// Reads what is left of `CURRENT` and the manifests of `dir`.
///
/// `Unsupported` for the formats of a later version; otherwise errors of listing the directory: what cannot be read is
/// left out.
pub fn salvage(fs: &dyn Fs, dir: &Path) -> Result<Remains> {
    let current = current(fs, dir)?;
    let listed = fs.list(dir).map_err(|error| Error::io("list", dir, error))?;
    let manifests = listed.iter().filter_map(|name| match names::parse(name) {
        Some((FileKind::Manifest, number)) => Some(number),
        _ => None,
    });
    let mut manifests: Vec<FileNumber> = manifests.collect();
    manifests.sort_unstable();
    let mut remains =
        Remains { database_id: current.map(|current| current.database_id), ..Remains::default() };
    let newest = manifests.last().copied();
    for number in manifests {
        let Some(reader) = open(fs, dir, number, current)? else { continue };
        remains.database_id.get_or_insert(reader.current.database_id);
        // Another manifest than the one that was live is out of date or was never finished, however sound it is.
        let may_be_live = match current {
            Some(current) => current.manifest == number,
            None => Some(number) == newest,
        };
        remains.take(&reader, may_be_live)?;
    }
    Ok(remains)
}

fn current(fs: &dyn Fs, dir: &Path) -> Result<Option<Current>> {
    let path = dir.join(CURRENT);
    let mut bytes = [0; CURRENT_LEN + 1];
    let read = fs.open(&path, OpenMode::Read).and_then(|file| file.read_at(&mut bytes, 0));
    let Ok(read) = read else { return Ok(None) };
    only_supported(Current::decode(&bytes[..read], &path))
}

/// `None` for damage, but not for a format that is merely newer.
fn only_supported<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::Unsupported => Err(error),
        Err(_) => Ok(None),
    }
}

/// A manifest in memory, its identity from its header or from `CURRENT`.
fn open(
    fs: &dyn Fs,
    dir: &Path,
    number: FileNumber,
    current: Option<Current>,
) -> Result<Option<Reader>> {
    let path = dir.join(FileKind::Manifest.name(number));
    let content = fs.open(&path, OpenMode::Read).and_then(|file| {
        let mut content = vec![0; file.len()?.min(MANIFEST_LEN_MAX) as usize];
        file.read_exact_at(&mut content, 0)?;
        Ok(content)
    });
    let Ok(content) = content else { return Ok(None) };
    let header = only_supported(Header::decode(&content, &path))?;
    let named = current.filter(|current| current.manifest == number);
    let identity = match (header, named) {
        (_, Some(named)) => named,
        (Some(header), None) if header.number == number => Current {
            manifest: number,
            file_id: header.file_id,
            database_id: header.database_id,
            min_len: 0,
        },
        _ => return Ok(None),
    };
    Ok(Some(Reader { path, content, current: identity }))
}

impl Remains {
    fn take(&mut self, reader: &Reader, may_be_live: bool) -> Result<()> {
        let snapshot = only_supported(reader.snapshot())?;
        let mut from = crate::format::HEADER_LEN as u64;
        if let Some((snapshot, at)) = snapshot {
            from = at;
            self.keyspaces.extend(
                snapshot.keyspaces.values().map(|state| (state.meta.id, (*state.meta).clone())),
            );
            // Ids are never used again, so what is below the counter and not there was dropped.
            let known: BTreeSet<_> = snapshot.keyspaces.keys().copied().collect();
            self.keyspaces.retain(|id, _| *id >= snapshot.next_keyspace || known.contains(id));
            self.next_keyspace = self.next_keyspace.max(snapshot.next_keyspace);
            self.epoch = self.epoch.max(snapshot.epoch);
            let mut version = snapshot.clone();
            let whole = reader.edits(&mut version, at).and_then(|(_, end)| {
                reader.judge_tail(&version, end)?;
                version.check()
            });
            let long_enough = reader.content.len() as u64 >= reader.current.min_len;
            if only_supported(whole)?.is_some() && long_enough && may_be_live {
                self.version = Some(version.clone());
            }
            if may_be_live || self.before_damage.is_none() {
                self.before_damage = Some(reader.before_damage(snapshot, at));
            }
        }
        for frame in frame::scan(reader.current.file_id, from, &reader.content) {
            if frame.kind == FrameKind::Edit as u8
                && frame.version == v2::VERSION
                && let Ok(edit) = v2::decode_edit(frame.payload)
            {
                self.follow(edit);
            }
        }
        Ok(())
    }

    fn follow(&mut self, edit: Edit) {
        let is_sound = |meta: &KeyspaceMeta| meta.validate().is_ok() && meta.id.0 < COUNTER_MAX;
        for meta in edit.created_keyspaces.into_iter().filter(is_sound) {
            self.next_keyspace = self.next_keyspace.max(meta.id.next());
            self.keyspaces.insert(meta.id, meta);
        }
        for id in edit.dropped_keyspaces {
            self.keyspaces.remove(&id);
            self.dropped.insert(id);
        }
        let next_keyspace = edit.next_keyspace.filter(|id| id.0 <= COUNTER_MAX).unwrap_or_default();
        let epoch = edit.opened.filter(|epoch| epoch.0 <= COUNTER_MAX).unwrap_or_default();
        self.next_keyspace = self.next_keyspace.max(next_keyspace);
        self.epoch = self.epoch.max(epoch);
    }
}

impl Reader {
    /// The picture after the last edit from `at` on that can be applied.
    fn before_damage(&self, mut version: Version, mut at: u64) -> Version {
        while let Ok(Ok((FrameKind::Edit, frame))) = self.frame(at) {
            let next = v2::decode_edit(frame.payload).ok().and_then(|e| version.apply(&e).ok());
            let Some(next) = next else { break };
            version = next;
            at = frame.end();
        }
        version
    }
}

#[cfg(test)]
mod tests;
