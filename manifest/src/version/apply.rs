//! How an edit changes a picture, and what it must not do. Called by [`Version::apply_in_place`]
//! only.

use std::collections::BTreeSet;
use std::sync::Arc;

use esker_base::limits::{COUNTER_MAX, KEYSPACE_COUNT_MAX};
use esker_base::{Error, FileNumber, KeyspaceId, Result, SeqNo, key, mutant};

use super::{FileMeta, KeyspaceState, LEVEL_COUNT, Shutdown, Version};
use crate::edit::{Edit, WalEnd};

/// The order of level 0: the file with the newest entry first; numbers break ties.
pub(super) fn newer(a: &FileMeta, b: &FileMeta) -> bool {
    (a.max_seq, a.number) > (b.max_seq, b.number)
}

pub(super) fn apply(version: &mut Version, edit: &Edit) -> Result<()> {
    let floors = [
        edit.opened.map(|epoch| epoch.0),
        edit.next_file.map(|number| number.0),
        edit.next_keyspace.map(|id| id.0),
    ];
    if floors.into_iter().flatten().any(|floor| floor > COUNTER_MAX) {
        return Err(Error::invalid("a counter out of range"));
    }
    if let Some(epoch) = edit.opened {
        if epoch <= version.epoch {
            let old = version.epoch;
            return Err(Error::invalid(format!("epoch {epoch} does not follow {old}")));
        }
        version.epoch = epoch;
        version.shutdown = Shutdown::Open;
    }
    if version.shutdown != Shutdown::Open {
        return Err(Error::invalid("an edit after the database was closed"));
    }
    apply_keyspaces(version, edit)?;
    apply_files(version, edit)?;
    apply_wal(version, edit)?;
    if let Some(next) = edit.next_file {
        version.next_file = version.next_file.max(next);
    }
    if let Some(next) = edit.next_keyspace {
        version.next_keyspace = version.next_keyspace.max(next);
    }
    raise_last_seq(version, edit.last_seq.unwrap_or_default())?;
    if let Some(position) = edit.wal_synced {
        version.wal_synced = version.wal_synced.max(position);
    }
    if let Some(seal) = &edit.closed {
        if version.wal.last().map(|segment| segment.number) != Some(seal.segment) {
            return Err(Error::invalid("the sealed segment is not the last of the log"));
        }
        raise_last_seq(version, seal.last_seq)?;
        version.shutdown = Shutdown::Closed(seal.clone());
    }
    Ok(())
}

fn apply_keyspaces(version: &mut Version, edit: &Edit) -> Result<()> {
    for meta in &edit.created_keyspaces {
        meta.validate()?;
        if meta.id < version.next_keyspace || meta.id.0 >= COUNTER_MAX {
            let id = meta.id;
            return Err(Error::invalid(format!(
                "keyspace id {id} was used before or out of range"
            )));
        }
        if version.keyspaces.len() >= KEYSPACE_COUNT_MAX {
            return Err(Error::invalid(format!("more than {KEYSPACE_COUNT_MAX} keyspaces")));
        }
        if version.keyspace_named(&meta.name).is_some() {
            return Err(Error::invalid(format!("a keyspace called {} exists", meta.name)));
        }
        version.next_keyspace = meta.id.next();
        let state = KeyspaceState::new(Arc::new(meta.clone()));
        version.keyspaces.insert(meta.id, Arc::new(state));
    }
    for id in &edit.dropped_keyspaces {
        if version.keyspaces.remove(id).is_none() {
            return Err(missing_keyspace(*id));
        }
    }
    Ok(())
}

fn apply_files(version: &mut Version, edit: &Edit) -> Result<()> {
    // All that leave go before any that come, so that a level may be rearranged by one edit.
    let mut moved = Vec::with_capacity(edit.moved_files.len());
    for step in &edit.moved_files {
        let keyspace = keyspace_mut(version, step.keyspace)?;
        moved.push((step.keyspace, step.to, take_file(keyspace, step.from, step.number)?));
    }
    for step in &edit.removed_files {
        take_file(keyspace_mut(version, step.keyspace)?, step.level, step.number)?;
    }
    for (id, level, file) in moved {
        place_file(keyspace_mut(version, id)?, level, file)?;
    }
    for step in &edit.added_files {
        step.file.validate()?;
        place_file(keyspace_mut(version, step.keyspace)?, step.level, step.file.clone())?;
        raise_next_file(version, step.file.number)?;
        raise_last_seq(version, step.file.max_seq)?;
    }
    apply_value_files(version, edit)?;
    for &(id, seq) in &edit.flushed_through {
        let keyspace = keyspace_mut(version, id)?;
        if seq < keyspace.flushed_through {
            return Err(Error::invalid(format!(
                "keyspace {id}: flushed_through goes back to {seq}"
            )));
        }
        keyspace.flushed_through = seq;
        raise_last_seq(version, seq)?;
    }
    Ok(())
}

/// Value files come, and those that no sstable points into any more go.
fn apply_value_files(version: &mut Version, edit: &Edit) -> Result<()> {
    for step in &edit.added_value_files {
        let keyspace = keyspace_mut(version, step.keyspace)?;
        let number = step.file.number;
        if keyspace.value_files.insert(number, step.file.clone()).is_some() {
            return Err(Error::invalid(format!("value file {number} is there already")));
        }
        raise_next_file(version, number)?;
    }
    let removed = edit.removed_files.iter().map(|step| step.keyspace);
    let added = edit.added_files.iter().map(|step| step.keyspace);
    let brought = edit.added_value_files.iter().map(|step| step.keyspace);
    for id in removed.chain(added).chain(brought).collect::<BTreeSet<_>>() {
        let keyspace = keyspace_mut(version, id)?;
        let mut referenced: BTreeSet<FileNumber> =
            keyspace.files().flat_map(|(_, file)| file.values.iter().map(|r| r.file)).collect();
        let drops = mutant!("values_dropped_while_referenced") && !edit.removed_files.is_empty();
        if drops {
            // The newest stays.
            let newest = referenced.last().copied();
            referenced.retain(|number| Some(*number) == newest);
        } else if let Some(step) = edit
            .added_value_files
            .iter()
            .find(|step| step.keyspace == id && !referenced.contains(&step.file.number))
        {
            let number = step.file.number;
            return Err(Error::invalid(format!("nothing points into value file {number}")));
        }
        if !mutant!("values_last_reference_forgotten") {
            keyspace.value_files.retain(|number, _| referenced.contains(number));
            if !drops {
                check_values(keyspace)?;
            }
        }
    }
    Ok(())
}

/// Every reference leads to a value file that has as much, and every value file is referenced.
pub(super) fn check_values(keyspace: &KeyspaceState) -> Result<()> {
    if keyspace.value_files.is_empty() && keyspace.files().all(|(_, file)| file.values.is_empty()) {
        return Ok(());
    }
    let live = keyspace.live_values();
    for (number, reference) in &live {
        let known = keyspace.value_files.get(number);
        if known.is_none_or(|file| {
            reference.bytes > file.record_bytes || reference.entries > file.record_count
        }) {
            return Err(Error::invalid(format!(
                "value file {number} is not there, or holds less than is referenced"
            )));
        }
    }
    match keyspace.value_files.keys().find(|number| !live.contains_key(number)) {
        Some(number) => Err(Error::invalid(format!("nothing points into value file {number}"))),
        None => Ok(()),
    }
}

fn apply_wal(version: &mut Version, edit: &Edit) -> Result<()> {
    if edit.wal_removed.is_empty() && edit.wal_added.is_empty() && edit.wal_ended.is_empty() {
        return Ok(());
    }
    for &number in &edit.wal_removed {
        let at = segment_index(version, number)?;
        version.wal.remove(at);
    }
    for segment in &edit.wal_added {
        raise_next_file(version, segment.number)?;
        raise_last_seq(version, segment.last_seq.unwrap_or_default())?;
        version.wal.push(segment.clone());
    }
    for end in &edit.wal_ended {
        apply_wal_end(version, end)?;
    }
    check_wal(version)
}

fn apply_wal_end(version: &mut Version, end: &WalEnd) -> Result<()> {
    let at = segment_index(version, end.segment)?;
    if let Some(next) = end.continued_by
        && version.wal.get(at + 1).map(|segment| segment.number) != Some(next)
    {
        return Err(Error::invalid(format!(
            "log segment {} is not followed by {next}",
            end.segment
        )));
    }
    raise_last_seq(version, end.last_seq.unwrap_or_default())?;
    let segment = &mut version.wal[at];
    if segment.ends_at.is_some_and(|before| before != end.ends_at) {
        return Err(Error::invalid(format!("log segment {} ended elsewhere before", end.segment)));
    }
    segment.ends_at = Some(end.ends_at);
    segment.last_seq = end.last_seq.or(segment.last_seq);
    Ok(())
}

/// The log's segments are distinct and below the counters.
pub(super) fn check_wal(version: &Version) -> Result<()> {
    let mut numbers = BTreeSet::new();
    for segment in &version.wal {
        let number = segment.number;
        if !numbers.insert(number) || number >= version.next_file {
            return Err(Error::invalid(format!("log segment {number} is there twice or not yet")));
        }
        if segment.epoch > version.epoch {
            return Err(Error::invalid(format!("log segment {number} is of a later epoch")));
        }
    }
    Ok(())
}

fn segment_index(version: &Version, number: FileNumber) -> Result<usize> {
    let index = version.wal.iter().position(|segment| segment.number == number);
    index.ok_or_else(|| Error::invalid(format!("log segment {number} is not live")))
}

fn keyspace_mut(version: &mut Version, id: KeyspaceId) -> Result<&mut KeyspaceState> {
    version.keyspaces.get_mut(&id).map(Arc::make_mut).ok_or_else(|| missing_keyspace(id))
}

fn missing_keyspace(id: KeyspaceId) -> Error {
    Error::invalid(format!("keyspace {id} does not exist"))
}

fn take_file(
    keyspace: &mut KeyspaceState,
    level: usize,
    number: FileNumber,
) -> Result<Arc<FileMeta>> {
    let files = level_mut(keyspace, level)?;
    let Some(at) = files.iter().position(|file| file.number == number) else {
        return Err(Error::invalid(format!("file {number} is not in level {level}")));
    };
    Ok(files.remove(at))
}

fn place_file(keyspace: &mut KeyspaceState, level: usize, file: Arc<FileMeta>) -> Result<()> {
    let number = file.number;
    if keyspace.files().any(|(_, other)| other.number == number) {
        return Err(Error::invalid(format!("file {number} is there already")));
    }
    let files = level_mut(keyspace, level)?;
    if level == 0 {
        let at = files.partition_point(|other| newer(other, &file));
        files.insert(at, file);
        return Ok(());
    }
    let at = files.partition_point(|other| key::compare(&other.smallest, &file.smallest).is_lt());
    let neighbours = [at.checked_sub(1).and_then(|before| files.get(before)), files.get(at)];
    for other in neighbours.into_iter().flatten() {
        if other.overlaps(file.smallest_user_key(), file.largest_user_key()) {
            return Err(Error::invalid(format!(
                "file {number} overlaps file {} in level {level}",
                other.number
            )));
        }
    }
    files.insert(at, file);
    Ok(())
}

fn level_mut(keyspace: &mut KeyspaceState, level: usize) -> Result<&mut Vec<Arc<FileMeta>>> {
    let files = keyspace.levels.get_mut(level);
    files.ok_or_else(|| Error::invalid(format!("level {level} of {LEVEL_COUNT} does not exist")))
}

fn raise_next_file(version: &mut Version, number: FileNumber) -> Result<()> {
    if number.0 >= COUNTER_MAX {
        return Err(Error::invalid("file number out of range"));
    }
    version.next_file = version.next_file.max(number.next());
    Ok(())
}

fn raise_last_seq(version: &mut Version, seq: SeqNo) -> Result<()> {
    if seq > SeqNo::MAX {
        return Err(Error::invalid(format!("sequence number {seq} out of range")));
    }
    version.last_seq = version.last_seq.max(seq);
    Ok(())
}
