//! Point reads: the newest version of a key in one file.
//!
//! Called by the engine's read path. Keys are searched where they are stored; of packed values only the piece that
//! holds the value is unpacked, up to its end, into memory of the thread. An absent key unpacks nothing.

use std::cell::Cell;

use bytes::Bytes;
use esker_base::{EntryKind, Result, SeqNo};

use crate::block::{Layout, check_value, kind_of};
use crate::filter::{KeyHash, key_hash};
use crate::format::{Compression, Defect};
use crate::lz4::{Decoder, SLACK_LEN};
use crate::reader::Reader;
use crate::stored::Stored;

/// The newest visible version of a key in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// When it was committed.
    pub seq: SeqNo,
    /// Put, delete or value pointer.
    pub kind: EntryKind,
    /// The value or the pointer to it, a slice of the block or the map that it was found in; empty for a delete.
    pub value: Bytes,
}

/// As [`Found`], borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundRef<'a> {
    /// When it was committed.
    pub seq: SeqNo,
    /// Put, delete or value pointer.
    pub kind: EntryKind,
    /// The value or the pointer to it; empty for a delete.
    pub value: &'a [u8],
}

/// A version that was found.
struct Hit<'a> {
    trailer: u64,
    kind: EntryKind,
    value: &'a [u8],
    /// What the value is a part of, unless it is the thread's memory.
    owner: Option<&'a Bytes>,
}

/// The longest piece that is unpacked into memory that a thread keeps.
const SCRATCH_LEN_MAX: usize = 64 * 1024;

thread_local! {
    /// Where point reads unpack values. Taken while in use, so that a read within a read finds none and makes its own.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Reader {
    /// The newest version of `user_key` in this file that a reader at `seq` may see.
    /// [`esker_base::ErrorKind::Corruption`] if the block that would hold it is damaged.
    pub fn get(&self, user_key: &[u8], seq: SeqNo) -> Result<Option<Found>> {
        self.get_hashed(user_key, key_hash(user_key), seq)
    }

    /// As [`Reader::get`], with the key's hash computed by the caller, once for many files.
    pub fn get_hashed(&self, user_key: &[u8], hash: KeyHash, seq: SeqNo) -> Result<Option<Found>> {
        self.get_owned(user_key, hash, seq, true)
    }

    /// As [`Reader::get_hashed`], for a key that was announced with [`Reader::announce`].
    pub fn get_announced(
        &self,
        user_key: &[u8],
        hash: KeyHash,
        seq: SeqNo,
    ) -> Result<Option<Found>> {
        self.get_owned(user_key, hash, seq, false)
    }

    fn get_owned(
        &self,
        user_key: &[u8],
        hash: KeyHash,
        seq: SeqNo,
        fetch: bool,
    ) -> Result<Option<Found>> {
        self.find(user_key, hash, seq, fetch, |hit| {
            let value = match hit.owner {
                Some(owner) => owner.slice_ref(hit.value),
                None => Bytes::copy_from_slice(hit.value),
            };
            Found { seq: SeqNo(hit.trailer >> 8), kind: hit.kind, value }
        })
    }

    /// As [`Reader::get_hashed`], handing the value to `use_it` where it stands: no copy, no shared counter touched.
    pub fn get_with<R>(
        &self,
        user_key: &[u8],
        hash: KeyHash,
        seq: SeqNo,
        use_it: impl FnOnce(FoundRef<'_>) -> R,
    ) -> Result<Option<R>> {
        self.find(user_key, hash, seq, true, |hit| {
            use_it(FoundRef { seq: SeqNo(hit.trailer >> 8), kind: hit.kind, value: hit.value })
        })
    }

    /// Asks for the memory that a read of a key with this hash looks at first; a hint.
    #[inline]
    pub fn prefetch(&self, hash: KeyHash) {
        if let Some(filter) = &self.filter {
            filter.prefetch(hash);
        }
    }

    #[inline]
    fn find<R>(
        &self,
        user_key: &[u8],
        hash: KeyHash,
        seq: SeqNo,
        fetch: bool,
        use_it: impl FnOnce(Hit<'_>) -> R,
    ) -> Result<Option<R>> {
        if !self.may_contain_hash(hash) {
            return Ok(None);
        }
        // As in a seek key: above every kind of that sequence.
        let trailer_max = seq.0 << 8 | 0xff;
        let Some(at) = self.index().find(user_key, trailer_max) else { return Ok(None) };
        let (compression, stored) = self.block(at, true, fetch)?;
        let owner = match &stored {
            Stored::Mapped(_) => self.map(),
            Stored::Owned(content) => Some(content),
        };
        search(stored.content(), compression, (user_key, trailer_max), owner, use_it)
            .map_err(|defect| self.block_defect(at, defect))
    }
}

/// Looks for a key and the highest trailer in the content of a block, which is a part of `owner`.
#[inline]
fn search<R>(
    content: &[u8],
    compression: Compression,
    (user_key, trailer_max): (&[u8], u64),
    owner: Option<&Bytes>,
    use_it: impl FnOnce(Hit<'_>) -> R,
) -> std::result::Result<Option<R>, Defect> {
    let layout = Layout::parse(content, compression)?;
    let block = layout.of(content);
    let Some(hit) = block.search(user_key, trailer_max)? else { return Ok(None) };
    let (trailer, kind) = (hit.trailer, kind_of(hit.trailer)?);
    let found = |value, owner| {
        check_value(kind, value)?;
        Ok(Some(use_it(Hit { trailer, kind, value, owner })))
    };
    if !layout.is_packed() {
        return found(&block.plain_values()[hit.value], owner);
    }
    if hit.value.is_empty() {
        return found(&[], owner);
    }
    let piece = block.piece_of(&hit.value)?;
    let value = hit.value.start - piece.values.start..hit.value.end - piece.values.start;
    if piece.is_plain() {
        return found(&piece.stored[value], owner);
    }
    let len = piece.values.len();
    let mut scratch = SCRATCH.take();
    if scratch.len() < len + SLACK_LEN {
        scratch.resize(len + SLACK_LEN, 0);
    }
    let unpacked = Decoder::new(piece.stored, len).decode_until(value.end, &mut scratch);
    let result = unpacked.and_then(|()| found(&scratch[value], None));
    if scratch.len() <= SCRATCH_LEN_MAX + SLACK_LEN {
        SCRATCH.set(scratch);
    }
    result
}
