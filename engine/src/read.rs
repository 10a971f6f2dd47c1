//! Point reads: the newest entry that a sequence may see, memtables first, then files from young to old.

use bytes::Bytes;
use esker_base::{EntryKind, Error, ErrorKind, Result, SeqNo, mutant};

use crate::metrics::Counters;
use crate::view::View;

/// The value of `key` at `seq`, handed to `borrowed` where it lies in a memtable (which the caller's view keeps alive
/// only for the call) or to `owned` where it comes from a file.
pub(crate) fn get<T>(
    view: &View,
    key: &[u8],
    seq: SeqNo,
    counters: &Counters,
    borrowed: impl FnOnce(&[u8]) -> T,
    owned: impl FnOnce(Bytes) -> T,
) -> Result<Option<T>> {
    counters.reads.add(1);
    if mutant!("read_frozen_oldest_first")
        && let Some(found) = view.frozen.iter().rev().find_map(|table| table.get(key, seq))
    {
        return has_value(found.kind).map(|put| put.then(|| borrowed(found.value)));
    }
    for memtable in std::iter::once(&view.active).chain(&view.frozen) {
        if let Some(found) = memtable.get(key, seq) {
            return has_value(found.kind).map(|put| put.then(|| borrowed(found.value)));
        }
    }
    // Level 0 is newest first and every deeper level is older, so the first version found is the newest.
    for file in view.levels.candidates(key) {
        if let Some(found) = file.reader()?.get(key, seq)? {
            return has_value(found.kind).map(|put| put.then(|| owned(found.value)));
        }
    }
    Ok(None)
}

/// Whether an entry of this kind is a value.
pub(crate) fn has_value(kind: EntryKind) -> Result<bool> {
    match kind {
        EntryKind::Put => Ok(true),
        EntryKind::Delete => Ok(false),
        other => Err(Error::new(
            ErrorKind::Unsupported,
            format!("an entry of kind {other:?} was written by a newer version"),
        )),
    }
}
