//! Point reads: the newest entry that a sequence may see, memtables first, then files from young to old.
//!
//! Everything that several files are asked with is computed once, and what each of them looks at first is asked for
//! before the first of them looks.

use std::convert::Infallible;

use bytes::Bytes;
use esker_base::{EntryKind, Error, ErrorKind, Result, SeqNo, mutant};
use esker_sstable::{KeyHash, Reader, ValuePointer, key_hash};

use crate::metrics::Counters;
use crate::values::Missing;
use crate::view::View;

/// The files that are asked for their memory ahead of the search.
const FILES_AHEAD: usize = 8;

/// Keys of a [`get_many`] that are looked for at once.
const KEYS_AHEAD: usize = 64;

/// What cannot fail.
type Sure = std::result::Result<(), Infallible>;

/// What `use_it` makes of the value of `key` at `seq`, where it lies.
pub(crate) fn get_with<T>(
    view: &View,
    key: &[u8],
    seq: SeqNo,
    counters: &Counters,
    use_it: impl FnOnce(&[u8]) -> T,
) -> Result<Option<T>> {
    counters.reads.add(1);
    // Used up by the one version that is found.
    let mut use_it = Some(use_it);
    let mut seen = |kind, value: &[u8]| {
        let Some(use_it) = use_it.take().filter(|_| kind != EntryKind::Delete) else {
            return Ok(None);
        };
        match kind {
            EntryKind::ValuePointer => view.levels.values().get_with(value, use_it).map(Some),
            _ => Ok(has_value(kind)?.then(|| use_it(value))),
        }
    };
    if let Some(found) = in_memory(view, key, seq) {
        return seen(found.kind, found.value);
    }
    let found = in_files(view, key, key_hash(key), |reader, hash| {
        reader.get_with(key, hash, seq, |found| seen(found.kind, found.value))
    })?;
    found.unwrap_or(Ok(None))
}

/// The value of `key` at `seq`; a slice of what it was found in, or a copy.
pub(crate) fn get(
    view: &View,
    key: &[u8],
    seq: SeqNo,
    counters: &Counters,
) -> Result<Option<Bytes>> {
    counters.reads.add(1);
    let look = |reader: &Reader, hash| reader.get_hashed(key, hash, seq);
    resolve(view, get_owned(view, key, key_hash(key), seq, look)?)
}

/// A value, or where it stands.
enum Got {
    Value(Option<Bytes>),
    Apart(Bytes),
}

fn get_owned(
    view: &View,
    key: &[u8],
    hash: KeyHash,
    seq: SeqNo,
    look: impl FnMut(&Reader, KeyHash) -> Result<Option<esker_sstable::Found>>,
) -> Result<Got> {
    if let Some(found) = in_memory(view, key, seq) {
        let value = has_value(found.kind)?.then(|| Bytes::copy_from_slice(found.value));
        return Ok(Got::Value(value));
    }
    match in_files(view, key, hash, look)? {
        Some(found) if found.kind == EntryKind::ValuePointer => Ok(Got::Apart(found.value)),
        Some(found) => Ok(Got::Value(has_value(found.kind)?.then_some(found.value))),
        None => Ok(Got::Value(None)),
    }
}

fn resolve(view: &View, got: Got) -> Result<Option<Bytes>> {
    match got {
        Got::Value(value) => Ok(value),
        Got::Apart(pointer) => view.levels.values().get(&pointer).map(Some),
    }
}

/// The values of `keys` at `seq`, in their order. What all of them need is asked for first, so that memory and devices
/// are waited for together.
pub(crate) fn get_many<K: AsRef<[u8]>>(
    view: &View,
    keys: &[K],
    seq: SeqNo,
    counters: &Counters,
) -> Result<Vec<Option<Bytes>>> {
    counters.reads.add(keys.len() as u64);
    let mut values = Vec::with_capacity(keys.len());
    let mut found = Vec::with_capacity(keys.len().min(KEYS_AHEAD));
    let mut missing = Missing::default();
    // Not more at once than what the nearest caches hold.
    for keys in keys.chunks(KEYS_AHEAD) {
        let mut hashes = [key_hash(&[]); KEYS_AHEAD];
        for (key, hash) in keys.iter().zip(&mut hashes) {
            *hash = key_hash(key.as_ref());
            let all: Sure = view.levels.each_candidate(key.as_ref(), |file| {
                file.opened().into_iter().for_each(|reader| reader.prefetch(*hash));
                Ok(false)
            });
            let Ok(()) = all;
        }
        for (key, hash) in keys.iter().zip(hashes) {
            let key = key.as_ref();
            let all: Sure = view.levels.each_candidate(key, |file| {
                let reader = file.opened().filter(|reader| reader.may_contain_hash(hash));
                reader.into_iter().for_each(|reader| reader.announce(key, seq));
                Ok(reader.is_some())
            });
            let Ok(()) = all;
        }
        for (key, hash) in keys.iter().zip(hashes) {
            let key = key.as_ref();
            let look = |reader: &Reader, hash| reader.get_announced(key, hash, seq);
            let got = get_owned(view, key, hash, seq, look)?;
            if let Got::Apart(entry) = &got
                && let Some(pointer) = ValuePointer::decode(entry)
            {
                view.levels.values().announce(&pointer, &mut missing);
            }
            found.push(got);
        }
        view.levels.values().fetch(&mut missing);
        for got in found.drain(..) {
            values.push(resolve(view, got)?);
        }
    }
    Ok(values)
}

fn in_memory<'a>(view: &'a View, key: &[u8], seq: SeqNo) -> Option<esker_memtable::Found<'a>> {
    if mutant!("read_frozen_oldest_first")
        && let Some(found) = view.frozen.iter().rev().find_map(|table| table.get(key, seq))
    {
        return Some(found);
    }
    view.active.get(key, seq).or_else(|| view.frozen.iter().find_map(|table| table.get(key, seq)))
}

/// What the first file says that has a version of the key.
#[inline]
fn in_files<T>(
    view: &View,
    key: &[u8],
    hash: KeyHash,
    mut look: impl FnMut(&Reader, KeyHash) -> Result<Option<T>>,
) -> Result<Option<T>> {
    // Level 0 is newest first and every deeper level is older, so the first version found is the newest.
    let mut ahead = [None; FILES_AHEAD];
    let mut count = 0;
    let all: Sure = view.levels.each_candidate(key, |file| {
        if let Some(reader) = file.opened() {
            reader.prefetch(hash);
        }
        ahead[count] = Some(file);
        count += 1;
        Ok(count == FILES_AHEAD)
    });
    let Ok(()) = all;
    for file in ahead[..count].iter().flatten() {
        if let Some(found) = look(file.reader()?, hash)? {
            return Ok(Some(found));
        }
    }
    if count < FILES_AHEAD {
        return Ok(None);
    }
    // There may be more files than were looked at.
    let (mut passed, mut found) = (0, None);
    view.levels.each_candidate(key, |file| -> Result<bool> {
        passed += 1;
        if passed > FILES_AHEAD {
            found = look(file.reader()?, hash)?;
        }
        Ok(found.is_some())
    })?;
    Ok(found)
}

/// Whether an entry of this kind is a value, or points to one.
pub(crate) fn has_value(kind: EntryKind) -> Result<bool> {
    match kind {
        EntryKind::Put | EntryKind::ValuePointer => Ok(true),
        EntryKind::Delete => Ok(false),
        other => Err(Error::new(
            ErrorKind::Unsupported,
            format!("an entry of kind {other:?} was written by a newer version"),
        )),
    }
}
